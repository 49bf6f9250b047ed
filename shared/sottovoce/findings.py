"""What a doctor finds in a home: in words, with what is safe to do, and how to repair it if that needs no person."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sottovoce.errors import SottovoceError
from sottovoce.files import clear_asides, clear_partials, left_asides, left_partials

REPAIRABLE = 1
"""Exit code: there is something that `--repair` repairs."""
FOR_PEOPLE = 7
"""Exit code: there is something that needs a person's decision."""
REPAIR = "--repair"


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Args:
        where: the file or run.
        what: what is wrong.
        remedy: what is safe to do.
        repair: repairs it without losing anything; None if a person must decide.
    """

    where: str
    what: str
    remedy: str
    repair: Callable[[], object] | None = field(default=None, repr=False, compare=False)


def unless(where: str, check: Callable[[], object], remedy: str = "") -> Iterator[Finding]:
    """A finding for a person if a check raises an error of ours, or a file cannot be read."""
    try:
        check()
    except SottovoceError as error:
        yield Finding(where, error.message, remedy or error.hint or "Restore it from a backup.")
    except OSError as error:
        yield Finding(where, f"It cannot be read: {error.strerror}.", remedy or "Restore it from a backup.")


def open_to_others(root: Path, paths: Iterable[Path]) -> Iterator[Finding]:
    """Findings for files and folders that others than their owner can use."""
    for path in (root, *paths):
        if path.exists() and path.stat().st_mode & 0o077:
            name = str(path.relative_to(root)) if path != root else path.name
            kept = path.stat().st_mode & 0o700
            yield Finding(name, "Others can read it.", REPAIR, lambda path=path, kept=kept: path.chmod(kept))  # type: ignore[misc]


def leftovers(root: Path, folders: Iterable[Path]) -> Iterator[Finding]:
    """Findings for what killed processes left in folders; it may hold secrets."""
    for folder in folders:
        name = str(folder.relative_to(root)) if folder != root else folder.name
        if found := left_asides(folder) if folder.is_dir() else []:
            what = f"{len(found)} of its files were left by a write that was killed."
            yield Finding(name, what, REPAIR, lambda folder=folder: clear_asides(folder))  # type: ignore[misc]
        if found := left_partials(folder) if folder.is_dir() else []:
            what = f"{len(found)} of its folders were left by a process that was killed."
            yield Finding(name, what, REPAIR, lambda folder=folder: clear_partials(folder))  # type: ignore[misc]


def exit_code(findings: Iterable[Finding]) -> int:
    """Exit code for what is left: 0 for nothing."""
    left = list(findings)
    if any(finding.repair is None for finding in left):
        return FOR_PEOPLE
    return REPAIRABLE if left else 0
