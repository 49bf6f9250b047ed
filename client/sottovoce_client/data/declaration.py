"""A suggested declaration for the policy: the approximate number of units that the label trains on.

Sampling rates and noise follow from the declaration, so it must reveal nothing about single tracks. It is taken from a
coarse series of numbers, and an existing one is kept until the catalogue has grown or shrunk by two steps: two-digit
numbers are exact below 100, and one that is updated after each scan would follow the catalogue track by track.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from sottovoce_client.catalogue import Split
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy

SERIES = (10, 12, 16, 20, 25, 32, 40, 50, 63, 80)
"""Suggested numbers, times powers of ten: steps of about a quarter (ISO 3, series R10)."""
LEAST_CHANGE = 1.4
"""Smallest ratio of a suggestion and a declaration that replaces the latter: more than one step of the series."""


class Suggestion(NamedTuple):
    """Approximate numbers of units that the label trains on, from `SERIES`."""

    tracks: int
    artists: int


def suggestion(splits: Iterable[Split]) -> Suggestion:
    """The numbers for the purpose with the most tracks to train on, given the sides of each purpose's tracks."""
    largest = max((split.train for split in splits), key=len, default=())
    # Counted like units in training: a track of an unknown artist is on its own.
    artists = {track.artist_key or track.samples_digest for track in largest}
    return Suggestion(coarse(len(largest)), coarse(len(artists)))


def coarse(number: int) -> int:
    """The nearest number of the series; smaller numbers are kept, since no label trains with so few units."""
    if number < SERIES[0]:
        return number
    scale = 10 ** (len(str(number)) - len(str(SERIES[0])))
    return min((each * scale for each in (*SERIES, 100)), key=lambda each: abs(math.log(number / each)))


def declare(home: LabelHome, suggested: Suggestion) -> Suggestion:
    """Write a declaration into the policy, unless the existing one is still approximately right.

    Returns:
        The policy's declaration from now on.
    """
    policy = Policy.from_toml(home.policy_file)
    standing = (policy.declared_tracks, policy.declared_artists)
    stated = Suggestion(*map(_kept_or_replaced, standing, suggested))
    lines = home.policy_file.read_text(encoding="utf-8").splitlines()
    names = ("declared_tracks", "declared_artists")
    values = dict(zip(names, stated, strict=True))
    found = {name for name in names for line in lines if line.partition("=")[0].strip() == name}
    kept = [f"{name} = {values[name]}" if (name := line.partition("=")[0].strip()) in found else line for line in lines]
    kept += [f"{name} = {values[name]}" for name in names if name not in found]
    home.write_policy("\n".join(kept) + "\n")
    return stated


def _kept_or_replaced(declared: int, suggested: int) -> int:
    low, high = sorted((declared, suggested))
    return declared if low and high / low <= LEAST_CHANGE else suggested
