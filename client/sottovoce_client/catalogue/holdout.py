"""Hold-out by tags: no artist is on both sides, and a track's side depends on no other track.

If adding one track could move others into or out of training, that track would change the training set by more than
itself, and ε would be understated. `sottovoce_client.data.split` applies this rule and, for tracks without tags, one on
their sound, and writes each side down.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from sottovoce.errors import ConfigurationError
from sottovoce_client.catalogue.tracks import Track

HELD_OUT_SHARE = 0.2
"""Share of a label's works that is held out, for ever and in every run."""


@dataclass(frozen=True)
class Split:
    """Two disjoint parts of a catalogue, each in the catalogue's order."""

    train: tuple[Track, ...]
    held_out: tuple[Track, ...]


def work_of(track: Track) -> str | None:
    """The work that a track's tags name: its artist if known, else its album; None if neither is known."""
    if track.artist_key is not None:
        return f"artist:{track.artist_key}"
    return None if track.album_key is None else f"album:{track.album_key}"


def group_of(track: Track) -> str:
    """The group that keeps tracks together: their work if tags name one, else the track alone."""
    return work_of(track) or f"track:{track.digest}"


def held_out_by_name(name: str, share: float, *, key: bytes) -> bool:
    """Whether `HMAC-SHA256(key, name)`, read as a number in [0, 1), is below `share`.

    Args:
        name: result of `work_of` or `group_of`.
        share: share of names to hold out, in (0, 1).
        key: the label's secret key; anybody who knows it and an artist's name can compute the artist's side.

    Raises:
        ConfigurationError: the share is outside (0, 1), or the key is empty.
    """
    if not 0 < share < 1:
        raise ConfigurationError(f"Expected share={share} in (0, 1).")
    if not key:
        raise ConfigurationError("A hold-out needs a key; without one, anybody could compute it.")
    return int.from_bytes(hmac.digest(key, name.encode(), sha256)) < int(share * 2**256)


def holdout(tracks: Sequence[Track], share: float, *, key: bytes) -> Split:
    """Split by `group_of` alone, the rule of earlier versions: a track without tags is a group of its own.

    The held-out share is `share` on average over keys, with larger deviations for fewer artists; a style with a
    single artist is entirely on one side.

    Raises:
        ConfigurationError: as `held_out_by_name`.
    """
    return divided(
        tracks, {track.samples_digest: held_out_by_name(group_of(track), share, key=key) for track in tracks}
    )


def divided(tracks: Sequence[Track], held_out: dict[str, bool]) -> Split:
    """Split tracks by whether `held_out` says so for the digest of their samples; tracks that it lacks are left out."""
    train, out = (
        tuple(track for track in tracks if held_out.get(track.samples_digest) is side) for side in (False, True)
    )
    return Split(train, out)
