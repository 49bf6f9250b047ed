"""From a catalogue to data sets: scan, consent, hold-out and features, as a run needs them."""

import hmac
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import chain
from pathlib import Path

from sottovoce.errors import CatalogueError
from sottovoce.features.extract import default_spec
from sottovoce.models import discovery
from sottovoce.run.configuration import RunConfiguration, Unit
from sottovoce_client.catalogue import Catalogue, NothingUsable, Progress, Purpose, Track, scan
from sottovoce_client.catalogue.sides import Sides
from sottovoce_client.data.dataset import Sample, TrackDataset
from sottovoce_client.data.feature_cache import FeatureCache
from sottovoce_client.data.split import split_of, write_down_former
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy


@dataclass(frozen=True)
class Prepared:
    """A label's data sets for a run: training tracks, and held-out tracks if there are any."""

    train: TrackDataset
    holdout: TrackDataset | None


def catalogues_of(
    home: LabelHome, purposes: Iterable[Purpose], *, workers: int | None = None, progress: Progress | None = None
) -> tuple[Catalogue, ...]:
    """The label's catalogues for some purposes, restricted to folders that its policy allows.

    A folder without usable tracks is an empty catalogue if there is another one.

    Raises:
        CatalogueError: no folder has usable tracks, or one cannot be read.
    """
    policy = Policy.from_toml(home.policy_file)
    folders = [folder for folder in home.catalogues if policy.holds(folder)]
    if not folders:
        raise CatalogueError(
            "This label has no catalogue in a folder that its policy allows.",
            hint="sottovoce label catalogue DIR registers one.",
        )
    found: list[Catalogue] = []
    for folder in folders:
        try:
            catalogue = scan(
                folder,
                index=index_of(home, folder),
                segment_seconds=default_spec().segment_seconds,
                purposes=frozenset(purposes),
                default_consent=policy.default_consent,
                workers=workers,
                progress=progress,
            )
        except NothingUsable as error:
            if len(folders) == 1:
                raise
            catalogue = error.catalogue
        found.append(catalogue)
    if not any(catalogue.tracks for catalogue in found):
        raise NothingUsable(found[-1])
    return tuple(found)


def index_of(home: LabelHome, folder: Path) -> Path:
    """Path of the index of one of the label's folders."""
    return home.cache / "indexes" / f"{home.name}-{sha256(os.fsencode(folder)).hexdigest()[:16]}.sqlite"


def tracks_for(catalogues: Iterable[Catalogue], purpose: Purpose) -> tuple[Track, ...]:
    """The tracks that may be used for a purpose today; of tracks with the same audio, the first."""
    today = datetime.now(UTC).astimezone().date()
    tracks: dict[str, Track] = {}
    for catalogue in catalogues:
        for track in catalogue.for_purpose(purpose, today):
            tracks.setdefault(track.samples_digest, track)
    return tuple(tracks.values())


def usable_tracks(
    home: LabelHome, task: str, *, workers: int | None = None, progress: Progress | None = None
) -> tuple[Track, ...]:
    """The tracks that may be used for a task today, in any style; others are not opened.

    Raises:
        CatalogueError: the catalogue has no usable tracks.
    """
    purpose = Purpose(task)
    return tracks_for(catalogues_of(home, [purpose], workers=workers, progress=progress), purpose)


def with_sides(
    home: LabelHome, *, workers: int | None = None, progress: Progress | None = None
) -> tuple[LabelHome, bool]:
    """The home with a table of held-out tracks, and whether the table was created now.

    The home of an earlier version gets a table with the sides that its tracks have had until now, so that no held-out
    track is ever trained on.

    Raises:
        CatalogueError: a catalogue of such a home cannot be read.
        PrivacyError: the table cannot be written.
    """
    if home.keeps_sides:
        return home, False
    purposes = [Purpose(name) for name in sorted(Policy.from_toml(home.policy_file).purposes & set(Purpose))]
    try:
        found = catalogues_of(home, purposes, workers=workers, progress=progress) if home.catalogues else ()
    except NothingUsable:
        found = ()
    if not home.sides_file.exists():
        Sides.create(home.sides_file)
    write_down_former(home, [track for catalogue in found for track in catalogue.tracks])
    return home.with_sides(), True


def prepare(home: LabelHome, config: RunConfiguration) -> Prepared:
    """The data sets of a run. Tracks of styles that are not in the run are ignored.

    In a private run, a label without any such track gets an empty data set, so that its participation reveals nothing
    about its tracks.

    Raises:
        CatalogueError: the catalogue cannot be read or, in a run without privacy, there are no tracks to train on.
    """
    try:
        usable = usable_tracks(home, config.task, workers=1)
    except NothingUsable:
        if not config.private:
            raise
        usable = ()
    tracks = [track for track in usable if track.style in config.classes]
    home, _ = with_sides(home, workers=1)
    split = split_of(home, tracks, unit=config.unit)
    train, held_out = (_dataset(home, side, config) for side in (split.train, split.held_out))
    if train is None and not config.private:
        raise CatalogueError("There are no tracks to train on.")
    spec = discovery.spec_of(config.task, config.family)
    # A small catalogue may hold out nothing (whole artists are held out): the label then trains but does not evaluate.
    return Prepared(train or TrackDataset.empty(spec, discovery.family(config.task, config.family).view), held_out)


def _dataset(home: LabelHome, tracks: Sequence[Track], config: RunConfiguration) -> TrackDataset | None:
    """The data set of some tracks, or None if none of them has features."""
    samples = _samples(home, tracks, config)
    first = next(samples, None)
    spec = discovery.spec_of(config.task, config.family)
    return None if first is None else TrackDataset.build(chain([first], samples), spec)


def _samples(home: LabelHome, tracks: Sequence[Track], config: RunConfiguration) -> Iterator[Sample]:
    """One sample per track; tracks whose features cannot be computed are skipped."""
    view = discovery.family(config.task, config.family).view
    key = home.split_key_file.read_bytes()
    found = FeatureCache(home.cache).load_view(tracks, discovery.spec_of(config.task, config.family), view)
    for track, segments in zip(tracks, found, strict=True):
        if segments is not None:
            unit = track.artist_key if config.unit is Unit.ARTIST else None
            subset_key = subset_key_of(f"artist:{unit}" if unit else f"track:{track.samples_digest}", key=key)
            yield Sample(segments, config.classes.index(track.style), unit, subset_key)


def subset_key_of(unit: str, *, key: bytes) -> int:
    """The number in [0, 2^63) that assigns a unit to a subset for banded matrix factorisation.

    It depends only on the label's key and the unit: as with the hold-out, adding a unit must not move others to another
    subset, as its position in the catalogue would.
    """
    return int.from_bytes(hmac.digest(key, f"turn/{unit}".encode(), sha256)[:8]) >> 1
