"""A suggestion of what a label's people declare in the policy: about how many units it trains on."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sottovoce_client.catalogue import Catalogue, Purpose, holdout
from sottovoce_client.catalogue.holdout import HELD_OUT_SHARE
from sottovoce_client.data.preparation import tracks_for
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import two_digits


class Suggestion(NamedTuple):
    """About how many units the label trains on, in two significant digits."""

    tracks: int
    artists: int


def suggestion(home: LabelHome, catalogues: Sequence[Catalogue], purposes: Iterable[Purpose]) -> Suggestion:
    """The numbers of the purpose that has most tracks.

    Args:
        home: the label's.
        catalogues: its catalogues, as `catalogues_of` found them.
        purposes: those that the policy allows.
    """
    key = home.split_key_file.read_bytes()
    sides = [holdout(tracks_for(catalogues, purpose), HELD_OUT_SHARE, key=key).train for purpose in purposes]
    largest = max(sides, key=len, default=())
    # As training counts artists: a track of an unknown one stands alone.
    artists = {track.artist_key or track.digest for track in largest}
    return Suggestion(two_digits(len(largest)), two_digits(len(artists)))


def declare(home: LabelHome, suggested: Suggestion) -> None:
    """Write a declaration into the policy, in place of the one that is there."""
    lines = home.policy_file.read_text(encoding="utf-8").splitlines()
    names = ("declared_tracks", "declared_artists")
    values = dict(zip(names, suggested, strict=True))
    found = {name for name in names for line in lines if line.partition("=")[0].strip() == name}
    kept = [f"{name} = {values[name]}" if (name := line.partition("=")[0].strip()) in found else line for line in lines]
    kept += [f"{name} = {values[name]}" for name in names if name not in found]
    home.write_policy("\n".join(kept) + "\n")
