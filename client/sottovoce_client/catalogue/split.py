"""Holding out tracks for evaluation, so that no artist is on both sides."""

import hmac
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from sottovoce.errors import ConfigurationError
from sottovoce_client.catalogue.tracks import Track


@dataclass(frozen=True)
class Split:
    """Two disjoint parts of a catalogue, each in the catalogue's order."""

    train: tuple[Track, ...]
    held_out: tuple[Track, ...]


@dataclass(frozen=True)
class _Group:
    """Tracks that stay together, at a place of their own that only the key decides."""

    place: bytes
    style: str
    tracks: tuple[Track, ...]


def group_of(track: Track) -> str:
    """What keeps tracks together: their artist where known, else their album, else the track alone."""
    if track.artist_key is not None:
        return f"artist:{track.artist_key}"
    if track.album_key is not None:
        return f"album:{track.album_key}"
    return f"track:{track.digest}"


def holdout(tracks: Sequence[Track], fraction: float, *, key: bytes) -> Split:
    """Hold out about `fraction` of the tracks of each style, whole artists at a time.

    Each group (see `group_of`) stands at `HMAC-SHA256(key, group)`, which does not depend on the rest of the catalogue;
    in this order, groups are held out as long as that brings a style's share closer to `fraction`. So tracks that are
    added move at most the groups near the border, and the order of `tracks` means nothing. A group of several styles
    counts where most of its tracks are. A style that is home to two groups or more has one on each side at least,
    whatever that does to the share: with two artists of equal size it is a half. One with a single group is not held
    out at all.

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
    by_style: dict[str, list[_Group]] = defaultdict(list)
    for group in _groups(tracks, key):
        by_style[group.style].append(group)
    held = {track.digest for groups in by_style.values() for group in _held(groups, fraction) for track in group.tracks}
    return Split(
        train=tuple(track for track in tracks if track.digest not in held),
        held_out=tuple(track for track in tracks if track.digest in held),
    )


def _groups(tracks: Sequence[Track], key: bytes) -> list[_Group]:
    members: dict[str, list[Track]] = defaultdict(list)
    for track in tracks:
        members[group_of(track)].append(track)
    groups = []
    for name, together in members.items():
        styles = [track.style for track in together]
        home = min(set(styles), key=lambda style: (-styles.count(style), style))
        groups.append(_Group(hmac.digest(key, name.encode(), sha256), home, tuple(together)))
    return sorted(groups, key=lambda group: group.place)


def _held(groups: list[_Group], fraction: float) -> list[_Group]:
    """Which groups of one style to hold out, from groups in the order of their places."""
    if len(groups) < 2:
        return []
    wanted = fraction * sum(len(group.tracks) for group in groups)
    held: list[_Group] = []
    count = 0
    for group in groups:
        if abs(wanted - count - len(group.tracks)) < abs(wanted - count):
            held.append(group)
            count += len(group.tracks)
    smallest = min(groups, key=lambda group: len(group.tracks))
    if not held:
        return [smallest]
    if len(held) == len(groups):
        held.remove(smallest)
    return held
