"""From a catalogue to data sets: scan, consent, hold-out, features, and what a run sees of them."""

import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from sottovoce.features.extract import default_spec
from sottovoce.models import registry
from sottovoce.training import TrainingConfig, Unit
from sottovoce_client.cache import FeatureCache
from sottovoce_client.catalogue import Progress, Purpose, Track, holdout, scan
from sottovoce_client.dataset import Sample, TrackDataset
from sottovoce_client.home import LabelHome
from sottovoce_client.policy import Policy


@dataclass(frozen=True)
class Prepared:
    """What a label brings to a run: tracks to train on, and tracks held out of training."""

    train: TrackDataset
    holdout: TrackDataset


def usable_tracks(
    home: LabelHome, task: str, *, workers: int | None = None, progress: Progress | None = None
) -> tuple[Track, ...]:
    """The tracks that may serve a task today, whatever their style; the others are not opened.

    Raises:
        CatalogueError: nothing in the catalogue can be used.
    """
    purpose = Purpose(task)
    catalogue = scan(
        home.catalogue,
        index=home.cache / "indexes" / f"{home.name}.sqlite",
        segment_seconds=default_spec().segment_seconds,
        purposes=frozenset({purpose}),
        default_consent=Policy.from_toml(home.policy_file).default_consent,
        workers=workers,
        progress=progress,
    )
    return catalogue.for_purpose(purpose, datetime.now(UTC).astimezone().date())


def prepare(home: LabelHome, config: TrainingConfig) -> Prepared:
    """The data sets of a run. Tracks whose style the run does not know take no part.

    Raises:
        CatalogueError: nothing in the catalogue can be used, or one side of the hold-out is empty.
    """
    tracks = [track for track in usable_tracks(home, config.task, workers=1) if track.style in config.classes]
    split = holdout(tracks, config.holdout, key=home.split_key_file.read_bytes())
    return Prepared(_dataset(home, split.train, config), _dataset(home, split.held_out, config))


def _dataset(home: LabelHome, tracks: Sequence[Track], config: TrainingConfig) -> TrackDataset:
    return TrackDataset.build(_samples(home, tracks, config), default_spec())


def _samples(home: LabelHome, tracks: Sequence[Track], config: TrainingConfig) -> Iterator[Sample]:
    """One sample a track; a track whose features cannot be computed after all takes no part."""
    view = registry.family(config.task, config.family).view
    key = home.split_key_file.read_bytes()
    found = FeatureCache(home.cache).load_view(tracks, default_spec(), view)
    for track, segments in zip(tracks, found, strict=True):
        if segments is not None:
            unit = track.artist_key if config.unit is Unit.ARTIST else None
            turn = turn_of(f"artist:{unit}" if unit else f"track:{track.digest}", key=key)
            yield Sample(segments, config.classes.index(track.style), unit, turn)


def turn_of(unit: str, *, key: bytes) -> int:
    """When a unit has its turn, a number in [0, 2^63): by the label's key and the unit alone.

    As with the hold-out, one unit more must not move the others' turns; a place in the catalogue's order would.
    """
    return int.from_bytes(hmac.digest(key, f"turn/{unit}".encode(), sha256)[:8]) >> 1
