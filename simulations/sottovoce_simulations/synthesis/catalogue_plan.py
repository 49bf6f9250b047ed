"""Plans catalogues: which label has which artists and tracks."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import ConfigurationError
from sottovoce_simulations.synthesis.artist import Artist, title
from sottovoce_simulations.synthesis.styles import STYLES
from sottovoce_simulations.synthesis.track import Track, seed_of

VERSION = 2  # raised whenever the same request would sound different
LABELS_A_STYLE = 2
MOST_LABELS = 1000
MOST_TRACKS = 100_000
_TRACKS_AN_ARTIST = 4.0
_TRACKS_AN_ALBUM = 5
_CONSENTS = ("", "", "style", "style; generator", "style; editor until 2099-12-31", "style; generator; editor")
_SUFFIXES, _SHARES = ("flac", "wav", "ogg"), (0.8, 0.1, 0.1)


@dataclass(frozen=True)
class Request:
    """Parameters of synthetic catalogues; equal requests give equal samples.

    Args:
        labels: number of catalogues.
        tracks: number of tracks per catalogue.
        seconds: shortest and longest track.
        seed: source of all randomness.
        styles: names from `STYLES`.
        skew: concentration of the Dirichlet distribution of styles at a label: 0.3 is very uneven, 100 nearly even.
        eccentric: mean probability of each unusual change of an arrangement, which makes styles overlap.
        version: version of the synthesis.
    """

    labels: int
    tracks: int
    seconds: tuple[float, float]
    seed: int
    styles: tuple[str, ...]
    skew: float
    eccentric: float
    version: int = VERSION

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type is float:  # 1 and 1.0 are the same request
                object.__setattr__(self, field.name, float(getattr(self, field.name)))
        object.__setattr__(self, "seconds", tuple(float(value) for value in self.seconds))
        shortest, longest = self.seconds
        _expect(1 <= self.labels <= MOST_LABELS, f"labels={self.labels} from 1 to {MOST_LABELS}")
        _expect(1 <= self.tracks <= MOST_TRACKS, f"tracks={self.tracks} from 1 to {MOST_TRACKS}")
        _expect(1 <= shortest <= longest <= 600, f"seconds={self.seconds} from 1 to 600, the shorter first")
        _expect(self.seed >= 0, f"seed={self.seed} >= 0")
        _expect(0 < self.skew < float("inf"), f"skew={self.skew} > 0")
        _expect(0 <= self.eccentric <= 1, f"eccentric={self.eccentric} from 0 to 1")
        for style in self.styles:
            if style not in STYLES:
                raise ConfigurationError(f"Unknown style '{style}'.", hint=f"Choose from {', '.join(STYLES)}.")
        _expect(len(set(self.styles)) == len(self.styles) > 0, f"styles={self.styles} to be some different ones")
        places = min(LABELS_A_STYLE, self.labels) * len(self.styles)
        if self.labels * self.tracks < places:
            raise ConfigurationError(
                f"{self.labels} labels of {self.tracks} tracks are too few for {len(self.styles)} styles, "
                f"each at {min(LABELS_A_STYLE, self.labels)} labels.",
                hint=f"Use at least {-(-places // self.labels)} tracks per label.",
            )


def _expect(holds: bool, wanted: str) -> None:
    if not holds:
        raise ConfigurationError(f"Expected {wanted}.")


def plan(request: Request) -> list[list[Track]]:
    """The tracks of each label, sorted by path."""
    names: set[str] = set()
    return [
        sorted(_label(request, number, counts, names), key=lambda track: track.path)
        for number, counts in enumerate(_shares(request))
    ]


def _shares(request: Request) -> NDArray[np.int64]:
    """Number of tracks, `[labels, styles]`: Dirichlet proportions, with each style at two labels or more."""
    rng = np.random.default_rng(seed_of(request.seed, "shares"))
    styles = len(request.styles)
    shares = rng.dirichlet(np.full(styles, request.skew), request.labels) * request.tracks
    counts = np.floor(shares).astype(np.int64)
    for row, share in zip(counts, shares, strict=True):
        missing = request.tracks - int(row.sum())
        row[np.argsort(row - share, kind="stable")[:missing]] += 1
    wanted = min(LABELS_A_STYLE, request.labels)
    few = max(1, request.tracks // (8 * styles))
    for style in range(styles):
        while np.count_nonzero(counts[:, style]) < wanted:
            counts = _given(counts, style, few, wanted)
    return counts


def _given(counts: NDArray[np.int64], style: int, few: int, wanted: int) -> NDArray[np.int64]:
    """Give one more label a few tracks of a style, taken from its most frequent styles."""
    spare = counts.copy()
    spare[counts[:, style] > 0] = 0
    for other in range(counts.shape[1]):
        if np.count_nonzero(counts[:, other]) <= wanted:
            spare[:, other] -= 1  # keep the last track of a rare style
    label, rich = np.unravel_index(int(spare.argmax()), spare.shape)
    moved = max(1, min(few, int(spare[label, rich]) // 2))
    counts[label, rich] -= moved
    counts[label, style] += moved
    return counts


def _label(request: Request, number: int, counts: NDArray[np.int64], names: set[str]) -> Iterator[Track]:
    code = 0
    for style, count in zip(request.styles, counts, strict=True):
        rng = np.random.default_rng(seed_of(request.seed, "label", number, style))
        left = int(count)
        while left:
            artist = _artist(request, rng, names)
            for position in range(min(left, 1 + int(rng.geometric(1 / _TRACKS_AN_ARTIST)))):
                code += 1
                left -= 1
                if position % _TRACKS_AN_ALBUM == 0:
                    album = title(rng)
                yield _track(request, rng, style, artist, album, position, f"QZS{number:03d}{code:06d}")


def _artist(request: Request, rng: np.random.Generator, names: set[str]) -> Artist:
    while True:
        artist = Artist.invent(int(rng.integers(2**63)), eccentric=request.eccentric)
        if slug(artist.name) not in names:
            names.add(slug(artist.name))
            return artist


def _track(
    request: Request, rng: np.random.Generator, style: str, artist: Artist, album: str, position: int, isrc: str
) -> Track:
    name = title(rng)
    suffix = rng.choice(_SUFFIXES, p=_SHARES)
    return Track(
        path=f"{style}/{slug(artist.name)}/{position + 1:02d}-{slug(name)}.{suffix}",
        style=style,
        artist=artist,
        title=name,
        album=album,
        isrc=isrc,
        consent=str(rng.choice(_CONSENTS)),
        tagged=bool(rng.random() < 0.7),
        seconds=float(rng.uniform(*request.seconds)),
        seed=int(rng.integers(2**63)),
    )


def slug(text: str) -> str:
    """A text as part of a path."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
