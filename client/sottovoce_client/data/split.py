"""The split into tracks for training and held-out tracks: decided when a track first appears, and for ever.

A new track's side is a function of the label's key and the track alone: of its artist if tags name one, else of its
album, else of its average spectrum. It is written to the table of sides and read from there ever after. A track's side
thus depends on its own past only: adding, removing or retagging a track moves no other one (`docs/privacy.md`).
"""

from collections.abc import Sequence

from sottovoce.audio.reject_reason import RejectReason
from sottovoce.run.configuration import Unit
from sottovoce_client.catalogue import Progress, Track
from sottovoce_client.catalogue.holdout import (
    HELD_OUT_SHARE,
    Split,
    divided,
    group_of,
    held_out_by_name,
    work_of,
)
from sottovoce_client.catalogue.sides import Sides
from sottovoce_client.data.parallel_extraction import compute_all
from sottovoce_client.data.spectral_split import held_out_by_spectrum, spectrum_of
from sottovoce_client.home.label_home import LabelHome


def split_of(
    home: LabelHome,
    tracks: Sequence[Track],
    *,
    unit: Unit = Unit.TRACK,
    workers: int | None = 1,
    progress: Progress | None = None,
) -> Split:
    """Split tracks, and decide for those that have no side yet.

    A new track whose audio cannot be read any more is on neither side.

    Args:
        home: the label's home, which has a table of sides.
        tracks: tracks of its catalogues.
        unit: unit of privacy. With `artist`, tracks whose side differs from their artist's (they were tagged otherwise
            when it was decided) are on neither side, so that each artist is entirely on one side.
        workers: number of processes that read audio; None for one per core, 1 to start none.
        progress: called with the number of new tracks without tags that are done, and their total.

    Raises:
        PrivacyError: the table is missing or damaged.
    """
    key = home.split_key_file.read_bytes()
    with Sides(home.sides_file) as table:
        sides = table.of(tracks, lambda new: _decided(new, key, workers, progress))
    if unit is Unit.ARTIST:
        tracks = [track for track in tracks if _with_artist(track, sides, key)]
    return divided(tracks, sides)


def write_down_former(home: LabelHome, tracks: Sequence[Track]) -> None:
    """Write the sides that tracks had before there was a table: by their tags, or each on its own.

    Raises:
        PrivacyError: the table is missing or damaged.
    """
    key = home.split_key_file.read_bytes()
    former = {track.samples_digest: held_out_by_name(group_of(track), HELD_OUT_SHARE, key=key) for track in tracks}
    with Sides(home.sides_file) as table:
        table.of(tracks, lambda _: former)


def _decided(tracks: Sequence[Track], key: bytes, workers: int | None, progress: Progress | None) -> dict[str, bool]:
    """Decide whether each new track is held out, by the digest of its samples."""
    works = {track.samples_digest: work_of(track) for track in tracks}
    sides = {
        samples: held_out_by_name(work, HELD_OUT_SHARE, key=key) for samples, work in works.items() if work is not None
    }
    nameless = [track for track in tracks if works[track.samples_digest] is None]
    for done, (track, spectrum) in enumerate(compute_all(nameless, spectrum_of, workers), start=1):
        if not isinstance(spectrum, RejectReason):
            sides[track.samples_digest] = held_out_by_spectrum(spectrum, HELD_OUT_SHARE, key=key)
        if progress:
            progress(done, len(nameless))
    return sides


def _with_artist(track: Track, sides: dict[str, bool], key: bytes) -> bool:
    """Whether a track is on its artist's side, or has no known artist."""
    if track.artist_key is None:
        return True
    return sides.get(track.samples_digest) is held_out_by_name(f"artist:{track.artist_key}", HELD_OUT_SHARE, key=key)
