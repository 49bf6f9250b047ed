"""Splitting one pool of tracks into labels, or using folders as labels."""

import csv
import math
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sottovoce.errors import CatalogueError, ConfigurationError
from sottovoce_simulations.engine.owned_folders import already_made, making

if TYPE_CHECKING:
    from sottovoce_client.catalogue import Track

LEAST_TRACKS = 8  # per client: a fifth of fewer tracks is too little for evaluation
SHEET = "catalogue.csv"
_HINT = "Choose from dirichlet:ALPHA (such as dirichlet:0.5; smaller is more uneven), iid and as-is."


class Kind(StrEnum):
    """Kind of partition."""

    DIRICHLET = "dirichlet"
    IID = "iid"
    AS_IS = "as-is"


@dataclass(frozen=True)
class Scheme:
    """How catalogues become labels.

    Args:
        kind: DIRICHLET spreads each style over the clients by proportions drawn from a Dirichlet distribution (Hsu et
            al. 2019, arXiv:1909.06335); IID spreads each evenly; AS_IS uses folders as labels.
        alpha: concentration of the Dirichlet distribution; None for the other kinds.
    """

    kind: Kind
    alpha: float | None = None

    def __post_init__(self) -> None:
        if (self.kind is Kind.DIRICHLET) != (self.alpha is not None):
            raise ConfigurationError(f"A partition '{self.kind}' cannot have alpha={self.alpha}.", hint=_HINT)
        if self.alpha is not None and not (math.isfinite(self.alpha) and self.alpha > 0):
            raise ConfigurationError(f"Expected the partition's ALPHA={self.alpha} > 0 and finite.", hint=_HINT)

    @staticmethod
    def default(clients: int | None) -> str:
        """The default scheme: with a number of clients, one pool is split evenly; otherwise folders are labels."""
        return Kind.IID if clients else Kind.AS_IS

    @classmethod
    def parse(cls, text: str) -> "Scheme":
        """Parse `dirichlet:0.5`, `iid` or `as-is`.

        Raises:
            ConfigurationError: the text has another form.
        """
        name, colon, alpha = text.strip().casefold().partition(":")
        try:
            kind = Kind(name)
        except ValueError:
            raise ConfigurationError(f"Unknown partition '{text}'.", hint=_HINT) from None
        if kind is not Kind.DIRICHLET:
            if colon:
                raise ConfigurationError(f"The partition '{kind}' takes no number.", hint=_HINT)
            return cls(kind)
        try:
            return cls(kind, float(alpha))
        except ValueError:
            raise ConfigurationError(f"The partition '{text}' needs a number.", hint=_HINT) from None

    def __str__(self) -> str:
        return self.kind if self.alpha is None else f"{self.kind}:{self.alpha:g}"


@dataclass(frozen=True)
class Item:
    """A track as a partition sees it: its style, and the group (an artist) that must stay together."""

    style: str
    group: str


def partition(pool: Path, out: Path, clients: int | None, scheme: Scheme, seed: int | None) -> list[Path]:
    """The labels' folders.

    A pool is scanned as any catalogue is; its usable tracks appear in `out/SCHEME-CLIENTS-SEED/label-XX/` as hard links
    (copies if the file system has none), each folder with its part of the sheet, including consents. An existing equal
    split of an unchanged pool is reused.

    Args:
        pool: a catalogue; as-is: a folder of catalogues.
        out: folder for splits.
        clients: number of labels; None for as-is.
        scheme: how tracks come to labels.
        seed: equal seeds give equal splits; None means 0, so that models are compared on one split.

    Raises:
        ConfigurationError: scheme and number of clients do not match, or `out` contains something else.
        CatalogueError: the pool cannot be read, or has too few tracks or artists for this number of clients.
        UserError: the disk is full, or `out` cannot be written.
    """
    if not pool.is_dir():
        raise CatalogueError(f"{pool} is not a folder.")
    if scheme.kind is Kind.AS_IS:
        if clients is not None:
            raise ConfigurationError(
                "The partition 'as-is' uses each folder as one label.",
                hint="Omit the number of clients, or choose another partition.",
            )
        return _as_is(pool)
    if clients is None:
        raise ConfigurationError(f"The partition '{scheme}' needs a number of clients.", hint="Add --clients N.")
    from sottovoce_client.catalogue import group_of, scan

    tracks = scan(pool).tracks
    seed = 0 if seed is None else seed
    split = assign([Item(track.style, group_of(track)) for track in tracks], clients, scheme, seed)
    root = out / f"{scheme}-{clients}-{seed}".replace(":", "-")
    request = {"split": [[(_below(pool, tracks[i]), tracks[i].digest) for i in part] for part in split]}
    names = [f"label-{number + 1:0{max(2, len(str(clients)))}d}" for number in range(clients)]
    if not already_made(root, request):
        with making(root, request) as aside:
            for name, part in zip(names, split, strict=True):
                _fill(aside / name, pool, [tracks[index] for index in part])
    return [root / name for name in names]


def assign(
    items: Sequence[Item], clients: int, scheme: Scheme, seed: int, least: int = LEAST_TRACKS
) -> list[list[int]]:
    """Indices of each client's items, in order: every item at one client, every group at one client.

    A group with several styles counts for its most frequent one.

    Args:
        items: the pool.
        clients: number of clients.
        scheme: DIRICHLET or IID.
        seed: seed of every draw.
        least: smallest number of items per client.

    Raises:
        CatalogueError: there are too few items or groups.
    """
    if len(items) < clients * least:
        raise CatalogueError(
            f"{len(items)} tracks are too few for {clients} labels with at least {least} each.",
            hint="Use fewer clients.",
        )
    rng = np.random.default_rng(seed)
    members: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        members[item.group].append(index)
    styles: dict[str, list[list[int]]] = defaultdict(list)
    for group in members.values():
        styles[Counter(items[index].style for index in group).most_common(1)[0][0]].append(group)
    held: list[list[list[int]]] = [[] for _ in range(clients)]
    totals = np.zeros(clients)
    for style in sorted(styles):
        groups = styles[style]
        rng.shuffle(groups)
        groups.sort(key=len, reverse=True)  # place large groups while there is room
        share = np.full(clients, 1 / clients) if scheme.alpha is None else rng.dirichlet(np.full(clients, scheme.alpha))
        wanted = share * sum(map(len, groups))
        for group in groups:
            client = int(np.lexsort((rng.random(clients), totals, -wanted.round(9)))[0])
            held[client].append(group)
            wanted[client] -= len(group)
            totals[client] += len(group)
    _even_out(held, least)
    return [sorted(index for group in groups for index in group) for groups in held]


def _even_out(held: list[list[list[int]]], least: int) -> None:
    """Move small groups from the largest clients to those with too few items."""

    def size(client: int) -> int:
        return sum(map(len, held[client]))

    while size(poor := min(range(len(held)), key=size)) < least:
        for rich in sorted(range(len(held)), key=size, reverse=True):
            smallest = min(held[rich], key=len, default=[])
            if rich != poor and smallest and size(rich) - len(smallest) >= least:
                held[rich].remove(smallest)
                held[poor].append(smallest)
                break
        else:
            raise CatalogueError(
                f"The pool has too few artists for {len(held)} labels with {least} tracks each.",
                hint="Use fewer clients.",
            )


def _as_is(pool: Path) -> list[Path]:
    if (pool / SHEET).exists():
        raise CatalogueError(
            f"{pool} is one catalogue (it contains {SHEET}), not a folder of catalogues.",
            hint="Split it with --clients N, or pass the folder above it.",
        )
    labels = sorted(folder for folder in pool.iterdir() if not folder.name.startswith(".") and _is_catalogue(folder))
    if not labels:
        raise CatalogueError(
            f"{pool} contains no catalogues.",
            hint=f"Each label is a folder of STYLE/track, or has a {SHEET}. If this is one pool, add --clients N.",
        )
    return labels


def _is_catalogue(folder: Path) -> bool:
    """Whether a folder has a sheet, or audio in folders of styles."""
    from sottovoce_client.catalogue.walk import Found, walk

    if not folder.is_dir():
        return False
    return (folder / SHEET).exists() or any(isinstance(entry, Found) and "/" in entry.path for entry in walk(folder))


def _below(pool: Path, track: "Track") -> str:
    return track.path.relative_to(pool).as_posix()


def _fill(folder: Path, pool: Path, tracks: "list[Track]") -> None:
    folder.mkdir()
    with (folder / SHEET).open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "style", "title", "artist", "album", "isrc", "consent"))
        for track in tracks:
            path = _below(pool, track)
            facts = (track.title, track.artist, track.album, track.isrc or "", str(track.consent))
            rows.writerow((path, track.style, *facts))
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(track.path, target)
            except OSError:  # another file system, or one without hard links
                shutil.copy2(track.path, target)
