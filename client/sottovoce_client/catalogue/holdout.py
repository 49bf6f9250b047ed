"""Holding out tracks for evaluation, so that no artist is on both sides and no track decides about another.

Which side a track is on must depend on nothing but itself: if adding one track could move others into training, or out
of it, that one track would change the training set by more than itself, and ε would promise less than it says.
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


def group_of(track: Track) -> str:
    """What keeps tracks together: their artist where known, else their album, else the track alone."""
    if track.artist_key is not None:
        return f"artist:{track.artist_key}"
    if track.album_key is not None:
        return f"album:{track.album_key}"
    return f"track:{track.digest}"


def holdout(tracks: Sequence[Track], fraction: float, *, key: bytes) -> Split:
    """Hold out a track when `HMAC-SHA256(key, group_of(track))`, read as a number in [0, 1), is below `fraction`.

    The share held out is thus `fraction` on average over keys, and the further off the fewer the artists are; a style
    with a single artist is on one side as a whole.

    Args:
        tracks: of a catalogue.
        fraction: share to hold out, in (0, 1).
        key: the label's own; who knows it and an artist's name knows the artist's side.

    Raises:
        ConfigurationError: the fraction lies outside (0, 1), or the key is empty.
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
