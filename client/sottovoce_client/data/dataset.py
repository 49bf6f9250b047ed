"""A label's tracks for training: concatenated segments of one view, with classes and units."""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from sottovoce.errors import CatalogueError
from sottovoce.features.extract import segment_shape
from sottovoce.features.spec import FeatureSpec, View
from sottovoce.models.interfaces import Batch
from sottovoce.privacy.class_balance import main_class
from sottovoce.randomness import Randomness


@dataclass(frozen=True)
class Sample:
    """One track.

    Args:
        segments: in the family's view, `[segments, *shape]`.
        target: class index.
        unit: the artist that it is protected with, or None for a track on its own.
        subset_key: derived from its unit alone, in [0, 2^63). Banded matrix factorisation trains on one subset of the
            units per round; this key modulo the number of subsets selects the subset.
    """

    segments: NDArray[np.floating]
    target: int
    unit: str | None = None
    subset_key: int = 0


@dataclass(frozen=True)
class TrackDataset:
    """Tracks in memory order; a track's segments are `segments[offsets[i]:offsets[i + 1]]`.

    Args:
        segments: `[all segments, *shape]`, float16 or float32; may be memory-mapped.
        offsets: `[tracks + 1]`.
        targets: class index of each track, `[tracks]`.
        unit_of: index of each track's unit, `[tracks]`; indices run from 0 without gaps.
        subset_keys: `Sample.subset_key` of each track, `[tracks]`.
        spec: the feature spec.
    """

    segments: NDArray[np.floating]
    offsets: NDArray[np.int64]
    targets: NDArray[np.int64]
    unit_of: NDArray[np.int64]
    subset_keys: NDArray[np.int64]
    spec: FeatureSpec

    def __post_init__(self) -> None:
        tracks = len(self.targets)
        if len(self.offsets) != tracks + 1 or not len(self.unit_of) == len(self.subset_keys) == tracks:
            raise CatalogueError("A data set's offsets, targets and units have different lengths.")
        if (np.diff(self.offsets) < 1).any() or self.offsets[0] != 0 or self.offsets[-1] != len(self.segments):
            raise CatalogueError("A data set has a track without segments.")
        if not np.array_equal(np.unique(self.unit_of), np.arange(self.units)):
            raise CatalogueError("A data set's units are not numbered from 0 without gaps.")

    @classmethod
    def build(cls, samples: Iterable[Sample], spec: FeatureSpec, *, folder: Path | None = None) -> Self:
        """Take up tracks one by one, without ever holding all of them twice.

        Segments are written to an anonymous memory-mapped file that disappears with the process, so a catalogue may be
        larger than memory.

        Args:
            samples: tracks with one segment or more, all of one shape and type.
            spec: their feature spec.
            folder: folder for the anonymous file; default: the system's temporary folder.

        Raises:
            CatalogueError: there are no tracks, or one has no segments or segments of another shape.
        """
        lengths = [0]
        targets: list[int] = []
        units: list[int] = []
        subset_keys: list[int] = []
        numbers: dict[str, int] = {}
        form: tuple[tuple[int, ...], np.dtype[np.floating]] | None = None
        with tempfile.TemporaryFile(dir=folder) as file:
            for sample in samples:
                form = form or (sample.segments.shape[1:], sample.segments.dtype)
                if (sample.segments.shape[1:], sample.segments.dtype) != form:
                    raise CatalogueError("Two tracks of a data set have features of different shapes.")
                file.write(np.ascontiguousarray(sample.segments).data)
                lengths.append(len(sample.segments))
                targets.append(sample.target)
                subset_keys.append(sample.subset_key)
                # A track on its own gets a name that no artist has.
                units.append(numbers.setdefault(f"={sample.unit}" if sample.unit else f"#{len(units)}", len(numbers)))
            offsets = np.cumsum(lengths, dtype=np.int64)
            if form is None or offsets[-1] == 0:
                raise CatalogueError("There are no tracks to train on or to evaluate.")
            file.flush()
            segments = np.memmap(file, dtype=form[1], mode="r", shape=(int(offsets[-1]), *form[0]))
        target, unit, key = (np.array(values, dtype=np.int64) for values in (targets, units, subset_keys))
        return cls(segments, offsets, target, unit, key, spec)

    @classmethod
    def empty(cls, spec: FeatureSpec, view: View) -> Self:
        """No track at all: a label that trains on it adds its noise and nothing else."""
        none = np.empty(0, np.int64)
        return cls(np.empty((0, *segment_shape(spec, view)), np.float32), np.zeros(1, np.int64), none, none, none, spec)

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def units(self) -> int:
        """Number of privacy units: tracks, or artists."""
        return int(self.unit_of.max(initial=-1)) + 1

    def unit_classes(self) -> NDArray[np.int64]:
        """The class that each unit counts for, `[units]`; see `sottovoce.privacy.class_balance.main_class`."""
        if not len(self):
            return np.empty(0, np.int64)
        order = np.argsort(self.unit_of, kind="stable")
        groups = np.split(self.targets[order], np.cumsum(np.bincount(self.unit_of))[:-1])
        return np.array([main_class(group) for group in groups], dtype=np.int64)

    def unit_subset_keys(self) -> NDArray[np.int64]:
        """`Sample.subset_key` of each unit, `[units]`; all tracks of a unit have the same."""
        return self.subset_keys.take(np.unique(self.unit_of, return_index=True)[1])

    def random_tracks(self, count: int, randomness: Randomness) -> NDArray[np.int64]:
        """Indices of tracks for padding, `[count]`; of an empty data set -1, for silence."""
        if not len(self):
            return np.full(count, -1)
        return randomness.integers(len(self), count)

    def batch(self, tracks: NDArray[np.int64], segments_per_track: int, randomness: Randomness) -> Batch:
        """Random segments of some tracks, without repetition within a track.

        The shape of the batch follows from the arguments, so that the time spent on it does not depend on the tracks.

        Args:
            tracks: indices, `[n]`; as from `random_tracks` if the data set is empty.
            segments_per_track: largest number of segments per track; the mask marks missing ones.
            randomness: source of the random choice.
        """
        if not len(self):
            return self._silence(len(tracks), segments_per_track)
        lengths = self._lengths(tracks)
        order = np.lexsort((randomness.uniform(int(lengths.sum())), np.repeat(np.arange(len(tracks)), lengths)))
        return self._batch(tracks, order, segments_per_track)

    def all_batches(self, tracks_per_batch: int, tracks: NDArray[np.intp] | None = None) -> Iterator[Batch]:
        """Batches of some tracks (default: all) with all their segments, in order."""
        chosen = np.arange(len(self)) if tracks is None else np.sort(tracks)
        for start in range(0, len(chosen), tracks_per_batch):
            tracks = chosen[start : start + tracks_per_batch]
            lengths = self._lengths(tracks)
            yield self._batch(tracks, np.arange(lengths.sum()), int(lengths.max()))

    def _lengths(self, tracks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of segments of each of these tracks."""
        return self.offsets[tracks + 1] - self.offsets[tracks]

    def _silence(self, rows: int, width: int) -> Batch:
        features = torch.zeros(rows, width, *self.segments.shape[1:])
        return Batch(features, torch.zeros(rows, dtype=torch.int64), torch.ones(rows, width, dtype=torch.bool))

    def _batch(self, tracks: NDArray[np.int64], order: NDArray[np.int64], width: int) -> Batch:
        """The first `width` segments of each track, in this order of all the tracks' segments, track by track."""
        lengths = self._lengths(tracks)
        starts = np.cumsum(lengths) - lengths
        row = np.repeat(np.arange(len(tracks)), lengths)
        place = np.arange(len(row)) - starts[row]
        kept = place < width
        segment = order + (self.offsets[tracks] - starts)[row]
        features = np.zeros((len(tracks), width, *self.segments.shape[1:]), dtype=np.float32)
        mask = np.zeros((len(tracks), width), dtype=np.bool_)
        target = row[kept], place[kept]
        features[target] = np.asarray(self.segments)[segment[kept]]
        mask[target] = True
        return Batch(torch.from_numpy(features), torch.from_numpy(self.targets[tracks]), torch.from_numpy(mask))
