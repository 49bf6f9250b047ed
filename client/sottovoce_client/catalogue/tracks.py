"""The content of a catalogue: usable tracks, unusable files, and remarks."""

from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sottovoce.audio.reject_reason import RejectReason
from sottovoce.errors import CatalogueError
from sottovoce_client.catalogue.consent import Consent, Purpose
from sottovoce_client.catalogue.safe_text import identity

# Placeholder names: tracks under them have nothing in common.
PLACEHOLDERS = frozenset({"", "unknown", "unknown artist", "unknown album", "various", "various artists", "va", "n/a"})


@dataclass(frozen=True)
class Track:
    """One recording that can be used.

    Args:
        digest: SHA-256 of the file's content, 64 hexadecimal digits; no two tracks of a catalogue share one.
        samples_digest: SHA-256 of its decoded samples, likewise; unlike the file's, it survives an edit of its tags.
        path: the file, ready to be opened.
        style: from the sheet, the folder or the embedded genre.
        title: empty if unknown.
        artist: empty if unknown.
        album: empty if unknown.
        isrc: in its bare form, or None if it is missing or invalid.
        consent: the purposes that the track may be used for.
        seconds: its length.
    """

    digest: str
    samples_digest: str
    path: Path
    style: str
    title: str
    artist: str
    album: str
    isrc: str | None
    consent: Consent
    seconds: float

    @property
    def artist_key(self) -> str | None:
        """A key that is equal for all spellings of the artist's name, or None if the artist is unknown."""
        return _known(self.artist)

    @property
    def album_key(self) -> str | None:
        """A key that is equal for all spellings of the album's name, or None if the album is unknown."""
        return _known(self.album)


def _known(name: str) -> str | None:
    key = identity(name)
    return None if key in PLACEHOLDERS else key


@dataclass(frozen=True)
class Rejected:
    """A file that cannot be used.

    Args:
        path: relative to the catalogue, with `/`.
        reason: the kind of problem.
        detail: the problem in a sentence for the label's own people; it may name other files of the catalogue.
    """

    path: str
    reason: RejectReason
    detail: str


@dataclass(frozen=True)
class Remark:
    """A remark on a usable track: something that is worth checking."""

    path: str
    detail: str


@dataclass(frozen=True)
class Catalogue:
    """A label's catalogue at one moment.

    Args:
        root: its folder.
        tracks: the usable tracks, sorted by path.
        unusable: the unusable files, sorted by path.
        remarks: the remarks, sorted by path.
        withheld: files that were not opened for lack of consent, relative to the root, sorted.
        ignored: number of other files: hidden, or not audio by their name.
        opened: number of files that this scan read; the others were in the index.
    """

    root: Path
    tracks: tuple[Track, ...]
    unusable: tuple[Rejected, ...] = ()
    remarks: tuple[Remark, ...] = ()
    withheld: tuple[str, ...] = ()
    ignored: int = 0
    opened: int = 0

    @property
    def reasons(self) -> dict[RejectReason, int]:
        """Number of unusable files for each reason, most frequent first."""
        return dict(Counter(file.reason for file in self.unusable).most_common())

    def for_purpose(self, purpose: Purpose, today: date) -> tuple[Track, ...]:
        """The tracks that may be used for a purpose on a day."""
        return tuple(track for track in self.tracks if track.consent.allows(purpose, today))


class NothingUsable(CatalogueError):
    """No track of a catalogue can be used; `catalogue` gives the reason for each file."""

    def __init__(self, catalogue: Catalogue) -> None:
        counts = [f"{count} {reason}" for reason, count in catalogue.reasons.items()]
        if catalogue.withheld:
            counts.append(f"{len(catalogue.withheld)} without consent")
        if catalogue.ignored:
            counts.append(f"{catalogue.ignored} ignored")
        super().__init__(
            f"Nothing in this catalogue can be used: {', '.join(counts) or 'it is empty'}.",
            hint="Arrange audio as STYLE/track, or list it in a catalogue.csv.",
        )
        self.catalogue = catalogue
