"""Hold-out of tracks for evaluation: no artist is on both sides, and a track's side depends on no other track.

If adding one track could move others into or out of training, that track would change the training set by more than
itself, and ε would be understated.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from sottovoce.errors import ConfigurationError
from sottovoce_client.catalogue.tracks import Track

HELD_OUT_SHARE = 0.2
"""Share of a label's works that is held out, permanently and in every run."""


@dataclass(frozen=True)
class Split:
    """Two disjoint parts of a catalogue, each in the catalogue's order."""

    train: tuple[Track, ...]
    held_out: tuple[Track, ...]


def group_of(track: Track) -> str:
    """The group that keeps tracks together: their artist if known, else their album, else the track alone."""
    if track.artist_key is not None:
        return f"artist:{track.artist_key}"
    if track.album_key is not None:
        return f"album:{track.album_key}"
    return f"track:{track.digest}"


def holdout(tracks: Sequence[Track], fraction: float, *, key: bytes) -> Split:
    """Hold out a track when `HMAC-SHA256(key, group_of(track))`, read as a number in [0, 1), is below `fraction`.

    The held-out share is `fraction` on average over keys, with larger deviations for fewer artists; a style with a
    single artist is entirely on one side.

    Args:
        tracks: tracks of a catalogue.
        fraction: share to hold out, in (0, 1).
        key: the label's secret key; anybody who knows it and an artist's name can compute the artist's side.

    Raises:
        ConfigurationError: the fraction is outside (0, 1), or the key is empty.
    """
    if not 0 < fraction < 1:
        raise ConfigurationError(f"Expected fraction={fraction} in (0, 1).")
    if not key:
        raise ConfigurationError("A hold-out needs a key; without one, anybody could compute it.")
    limit = int(fraction * 2**256)
    held = [int.from_bytes(hmac.digest(key, group_of(track).encode(), sha256)) < limit for track in tracks]
    return Split(
        train=tuple(track for track, out in zip(tracks, held, strict=True) if not out),
        held_out=tuple(track for track, out in zip(tracks, held, strict=True) if out),
    )
