"""Limits on what a run's configuration may ask of a label."""

import pytest
import torch

from sottovoce.errors import ConfigurationError
from sottovoce.run.configuration import CLIPS, MOST_CLASSES, MOST_STEPS
from sottovoce_client.training.unit_gradients import ROUNDING


@pytest.mark.parametrize("clip", [2.3e-44, 1e-7, 1e7, 1e39])
def test_a_clip_beyond_what_float32_is_precise_for_is_refused(config, clip):
    with pytest.raises(ConfigurationError, match="max_grad_norm"):
        config.changed(max_grad_norm=clip)


@pytest.mark.parametrize(("clip", "holds"), [(CLIPS[0], True), (CLIPS[1], True), (2.3e-44, False)])
def test_a_clipped_vector_is_no_longer_than_a_clip_that_is_allowed(clip, holds):
    """Below 10⁻³⁸ float32 rounds to ever fewer bits: there, a clipped vector is up to twice as long as the clip."""
    gradients = torch.logspace(-3, 3, 200)[:, None] * torch.full((1, 1000), 1000**-0.5) * max(clip, 1.0)
    factor = (clip / (gradients.norm(dim=1) + ROUNDING)).clamp(max=1.0)
    longest = (factor[:, None] * gradients).double().norm(dim=1).max()
    assert (longest <= clip * (1 + 1e-5)) == holds


def test_more_steps_or_styles_than_a_label_can_account_for_and_count_are_refused(config):
    config.changed(rounds=MOST_STEPS, local_steps=1)
    with pytest.raises(ConfigurationError, match="steps"):
        config.changed(rounds=1000, local_steps=MOST_STEPS // 1000 + 1)
    styles = tuple(f"style {number}" for number in range(MOST_CLASSES + 1))
    config.changed(classes=styles[1:])
    with pytest.raises(ConfigurationError, match="1001 styles"):
        config.changed(classes=styles)
