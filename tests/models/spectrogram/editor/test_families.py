from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.models import discovery, parameters
from sottovoce.models.editor._conditioning import observe
from sottovoce.models.editor._noise import with_noise


def test_known_frames_come_back_as_they_are_without_noise(family, model, spec):
    values = torch.randn(2, spec.n_mels, 50).clamp(-4, 4)
    missing = torch.zeros(2, 50, dtype=torch.bool)
    missing[0, 20:30] = True
    found = family.restore(model, values, missing, torch.zeros(2, dtype=torch.bool))
    known = ~missing[:, None].expand_as(values)
    assert torch.equal(found[known], values[known])
    assert torch.isfinite(found).all()
    assert found.abs().max() <= 4


@settings(max_examples=12)
@given(
    start=st.integers(0, 49),
    length=st.integers(1, 50),
    noisy=st.booleans(),
    other=st.sampled_from([0.0, 3.0, 1e6, float("nan"), float("inf")]),
)
def test_what_missing_frames_hold_makes_no_difference(family, model, spec, start, length, noisy, other):
    values = torch.randn(1, spec.n_mels, 50, generator=torch.Generator().manual_seed(1))
    missing = torch.zeros(1, 50, dtype=torch.bool)
    missing[0, start : start + length] = True
    changed = values.masked_fill(missing[:, None], other)
    one, two = (family.restore(model, each, missing, torch.tensor([noisy])) for each in (values, changed))
    assert torch.isfinite(one).all()
    assert torch.equal(one, two)


def test_equal_input_gives_equal_output(family, model, spec):
    values, missing = torch.randn(1, spec.n_mels, 60), torch.zeros(1, 60, dtype=torch.bool)
    missing[0, 10:30] = True
    one, two = (family.restore(model, values, missing, torch.tensor([True])) for _ in range(2))
    assert torch.equal(one, two)


def test_families_are_found_by_their_files():
    assert discovery.families("editor") == ("cnn", "rnn")
    assert discovery.spec_of("editor", "rnn").n_mels >= 229


def test_a_toy_problem_is_learnt(family, spec):
    """Sounds that fade, with gaps and under noise: what comes back is nearer to them than what was there is."""
    rng = np.random.default_rng(0)
    features = torch.from_numpy(0.1 * rng.standard_normal((16, spec.n_mels, 32)).astype(np.float32)) - 1.5
    half = spec.n_mels // 2
    features[::2, :half] += 3
    features[1::2, half:] += 3
    features -= 0.06 * torch.arange(32)
    model = parameters.model_of(family, spec, 2, parameters.initial(family, spec, 2, seed=0)).train()
    model.levels = replace(model.levels, mean=torch.full((32,), -40.0), std=torch.full((32,), 15.0))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    targets, first = torch.zeros(16, dtype=torch.long), None
    for step in range(60):
        loss = family.losses(model, features, targets, torch.Generator().manual_seed(step)).mean()
        first = float(loss.detach()) if first is None else first
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.8 * first
    whole = torch.zeros(16, 32, dtype=torch.bool)
    gap = whole.clone()
    gap[:, 10:] = True
    for noisy, missing, (heard, wanted) in (
        (False, gap, (features, features)),
        (True, whole, with_noise(model.levels, features, torch.Generator().manual_seed(99))),
    ):
        nothing_done = observe(heard, missing, torch.tensor([noisy])).interpolated
        found = family.restore(model.eval(), heard, missing, torch.full((16,), noisy))
        assert (found - wanted).abs().mean() < 0.7 * (nothing_done - wanted).abs().mean()
