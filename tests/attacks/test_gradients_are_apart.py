"""Promise: one track more changes no other track's gradient, not by a bit, whatever model the run begins with.

Own attack, which nearly worked: sampled tracks were rows of a batch in their order, so that one track more moved those
after it by a row. Matrix products compute rows at the end of a tile in another order: in batches of 37 random tracks,
one row of `cnn` and of `rnn` had other last bits at another place. A model made for it turns last bits into another
gradient, within the clip; a step's sum then changes by more than its noise covers.
"""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from sottovoce.features.extract import segment_shape
from sottovoce.models import discovery
from sottovoce.models.parameters import initial, model_of
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import RunConfiguration
from sottovoce_client.data.dataset import Sample, TrackDataset
from sottovoce_client.training.dp_sgd import batches
from sottovoce_client.training.round_inputs import RoundInputs
from sottovoce_client.training.unit_gradients import UnitGradients

CLASSES, TRACKS, ROWS = ("blues", "waltz"), 12, 37


class Plan:
    padded_batch = ROWS


def round_inputs(name: str, config: RunConfiguration, seed: int) -> RoundInputs:
    family, spec = discovery.family("style", name), discovery.spec_of("style", name)
    rng, shape = np.random.default_rng(0), segment_shape(spec, family.view)
    data = TrackDataset.build(
        [Sample(rng.normal(size=(1, *shape)).astype(np.float32), index % 2) for index in range(TRACKS)], spec
    )
    parameters = initial(family, spec, len(CLASSES), 0)
    return RoundInputs(family, parameters, data, config, Plan(), Randomness.for_simulation(seed))


def gradients_of(name: str, config: RunConfiguration, sampled: int) -> np.ndarray:
    """Gradients of the sampled tracks, in the order of their places: `[sampled, P]`."""
    inputs = round_inputs(name, config, seed=3)
    model = model_of(inputs.family, inputs.dataset.spec, len(CLASSES), inputs.parameters)
    gradients = UnitGradients(inputs.family, model, 1.0)
    (one,) = batches(inputs, gradients, np.arange(sampled))
    rows, _ = gradients.rows(one[0], one[1], torch.Generator().manual_seed(1))
    return rows[one[1] > 0].numpy()


@pytest.mark.parametrize("name", ["svm", "cnn", "rnn"])
def test_where_one_track_more_takes_a_padding_rows_place_no_bit_of_another_changes(name, run_configuration):
    config = run_configuration(family=name, classes=CLASSES, segments_per_track=1)
    fewer, more = (gradients_of(name, config, number) for number in (TRACKS - 1, TRACKS))
    others = [row for row in range(TRACKS) if (fewer == more[row]).all(axis=1).any()]
    assert len(others) == TRACKS - 1
    assert np.array_equal(fewer, more[others])


def test_a_tracks_place_is_any_however_many_come_before_it(run_configuration):
    config = run_configuration(family="svm", classes=CLASSES, segments_per_track=1)
    inputs = round_inputs("svm", config, seed=0)
    model = model_of(inputs.family, inputs.dataset.spec, len(CLASSES), inputs.parameters)
    gradients = UnitGradients(inputs.family, model, 1.0)
    track = 5
    first_value = float(inputs.dataset.segments[track].flat[0])
    for tracks in ([track], [*range(track), track]):
        places = Counter()
        for _ in range(20 * ROWS):
            ((batch, sampled),) = batches(inputs, gradients, np.array(tracks))
            (place,) = torch.nonzero((batch.features[:, 0, 0] == first_value) & (sampled > 0)).flatten().tolist()
            places[place] += 1
        assert chisquare([places[row] for row in range(ROWS)]).pvalue > 1e-6
