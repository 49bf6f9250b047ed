"""Turns facts about files into tracks: decides which source wins, and which of two equal files is kept."""

from collections.abc import Iterable
from pathlib import Path

from sottovoce.audio.reject_reason import RejectReason
from sottovoce_client.catalogue import isrc
from sottovoce_client.catalogue.file_facts import Facts
from sottovoce_client.catalogue.folder_layout import Candidate
from sottovoce_client.catalogue.tracks import Rejected, Remark, Track


def resolve(
    root: Path, examined: Iterable[tuple[Candidate, Facts]], segment_seconds: float
) -> tuple[list[Track], list[Rejected], list[Remark]]:
    """Tracks, unusable files and remarks from the candidates. Of files with equal samples, the first one wins.

    The sheet has precedence, then the folder (for the style), then the embedded tags.
    """
    tracks: dict[str, Track] = {}
    by_isrc: dict[str, Track] = {}
    rejected: list[Rejected] = []
    remarks: list[Remark] = []
    for candidate, facts in examined:
        path = candidate.file.path
        refusal = _refusal(candidate, facts, segment_seconds)
        if refusal is not None:
            rejected.append(refusal)
            continue
        track = _track(root, candidate, facts)
        if track.samples_digest in tracks:
            rejected.append(_duplicate(path, track, tracks[track.samples_digest], root))
            continue
        tracks[track.samples_digest] = track
        code = _said(candidate, facts, "isrc")
        if code and track.isrc is None:
            remarks.append(
                Remark(path, f"'{code}' is not an ISRC (two letters, three letters or digits, seven digits).")
            )
        if track.isrc is not None and by_isrc.setdefault(track.isrc, track) is not track:
            other = _name(by_isrc[track.isrc], root)
            remarks.append(Remark(path, f"It has the same ISRC as {other}: if they are one recording, keep one."))
    return list(tracks.values()), rejected, remarks


def _refusal(candidate: Candidate, facts: Facts, segment_seconds: float) -> Rejected | None:
    path = candidate.file.path
    if facts.reason is not None:
        return Rejected(path, facts.reason, facts.detail)
    if facts.seconds < segment_seconds:
        length = f"It lasts {facts.seconds:.2f} s, less than a segment of {segment_seconds:g} s."
        return Rejected(path, RejectReason.TOO_SHORT, length)
    if not (candidate.style or facts.tags.genre):
        return Rejected(path, RejectReason.NO_STYLE, "No sheet, folder or embedded tag names its style.")
    return None


def _track(root: Path, candidate: Candidate, facts: Facts) -> Track:
    return Track(
        digest=facts.digest,
        samples_digest=facts.samples_digest,
        path=root / candidate.file.path,
        style=candidate.style or facts.tags.genre,
        title=_said(candidate, facts, "title"),
        artist=_said(candidate, facts, "artist"),
        album=_said(candidate, facts, "album"),
        isrc=isrc.parse(_said(candidate, facts, "isrc")),
        consent=candidate.consent,
        seconds=facts.seconds,
    )


def _said(candidate: Candidate, facts: Facts, name: str) -> str:
    on_sheet: str = getattr(candidate.row, name, "")
    embedded: str = getattr(facts.tags, name)
    return on_sheet or embedded


def _duplicate(path: str, track: Track, first: Track, root: Path) -> Rejected:
    same = "content" if track.digest == first.digest else "audio"
    detail = f"Its {same} is the same as that of {_name(first, root)}"
    conflicts = []
    if track.style != first.style:
        conflicts.append(f"style '{first.style}' there, '{track.style}' here")
    if track.consent != first.consent:
        conflicts.append(f"consent '{first.consent}' there, '{track.consent}' here")
    if conflicts:
        detail += f", and they contradict each other: {', '.join(conflicts)}"
    return Rejected(path, RejectReason.DUPLICATE, f"{detail}.")


def _name(track: Track, root: Path) -> str:
    return track.path.relative_to(root).as_posix()
