import numpy as np
import pytest

from sottovoce.errors import CatalogueError
from sottovoce.randomness import Randomness
from sottovoce_client.data.dataset import Sample, TrackDataset

RANDOM = Randomness.system()


def counting(spec, lengths, units=None, targets=None):
    """Tracks whose segments are numbered through."""
    numbers = iter(range(sum(lengths)))
    return TrackDataset.build(
        (
            Sample(
                np.array([[next(numbers)] for _ in range(length)], dtype=np.float16),
                targets[index] if targets else 0,
                units[index] if units else None,
            )
            for index, length in enumerate(lengths)
        ),
        spec,
    )


def test_segments_lie_end_to_end(spec):
    dataset = counting(spec, [2, 1, 3])
    assert dataset.segments[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert dataset.offsets.tolist() == [0, 2, 3, 6]
    assert dataset.segments.dtype == np.float16
    assert len(dataset) == 3


def test_tracks_without_an_artist_are_units_by_themselves(spec):
    dataset = counting(spec, [1] * 5, units=["a", None, "b", "a", None])
    assert dataset.unit_of.tolist() == [0, 1, 2, 0, 3]
    assert dataset.units == 4


def test_an_artists_name_cannot_collide_with_a_nameless_track(spec):
    assert counting(spec, [1, 1], units=["#1", None]).units == 2


def test_a_unit_counts_for_its_most_frequent_class(spec):
    dataset = counting(spec, [1] * 5, units=["a", "b", "a", "b", "a"], targets=[0, 1, 2, 2, 2])
    assert dataset.unit_classes().tolist() == [2, 1]


def test_a_batch_draws_segments_without_repetition(spec):
    dataset = counting(spec, [4, 1, 3])
    seen = set()
    for _ in range(60):
        batch = dataset.batch(np.array([2, 0, 1]), 3, RANDOM)
        assert batch.features.shape == (3, 3, 1)
        assert batch.mask.tolist() == [[True] * 3, [True] * 3, [True, False, False]]
        rows = [sorted(row[kept].flatten().tolist()) for row, kept in zip(batch.features, batch.mask, strict=True)]
        assert rows[0] == [5.0, 6.0, 7.0]
        assert len(set(rows[1])) == 3
        assert rows[2] == [4.0]
        seen.add(tuple(rows[1]))
    assert len(seen) == 4  # every choice of 3 out of 4 turns up


def test_all_batches_show_every_segment_once(spec):
    dataset = counting(spec, [2, 1, 3, 1, 1], targets=[0, 1, 2, 0, 1])
    batches = list(dataset.all_batches(2))
    assert [len(batch.targets) for batch in batches] == [2, 2, 1]
    assert [value for batch in batches for value in batch.features[batch.mask].flatten().tolist()] == list(range(8))
    assert [target for batch in batches for target in batch.targets.tolist()] == [0, 1, 2, 0, 1]


def test_the_file_behind_it_has_no_name(spec, tmp_path):
    dataset = TrackDataset.build([Sample(np.ones((1, 2), dtype=np.float32), 0)], spec, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert dataset.segments.tolist() == [[1.0, 1.0]]


def test_features_of_two_shapes_are_refused(spec):
    with pytest.raises(CatalogueError, match="different shapes"):
        TrackDataset.build([Sample(np.ones((1, size), dtype=np.float32), 0) for size in (2, 3)], spec)


@pytest.mark.parametrize("lengths", [[], [0]])
def test_nothing_is_refused(spec, lengths):
    with pytest.raises(CatalogueError, match="no track"):
        counting(spec, lengths)


def test_a_track_without_segments_is_refused(spec):
    with pytest.raises(CatalogueError, match="without segments"):
        TrackDataset.build([Sample(np.ones((n, 2), dtype=np.float32), 0) for n in (1, 0)], spec)
