"""Restoring a backup: a whole home, or what an existing home has lost; never an older ledger than the home knows."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from sottovoce.errors import ConfigurationError, LedgerError, PrivacyError
from sottovoce.files import flush_folder, new_home
from sottovoce_client.backup.archive import DATABASES, KEYS, LEDGER, SIDES, Backup, extracted
from sottovoce_client.budget.known_heads import known_heads, open_ledger
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.budget.rows import Head
from sottovoce_client.catalogue.sides import Sides
from sottovoce_client.home.label_home import LabelHome

DAMAGED = ".damaged"
"""Ending of the name that a damaged database keeps after another one took its place."""


@dataclass(frozen=True)
class Restored:
    """What was put back.

    Args:
        label: name of the label.
        created: time of the backup: UTC, ISO 8601.
        files: names of the files that were put back.
        kept: names of the backup's files that the home had, and keeps.
        charged: runs (hex) whose later charges are unknown: all that they might have spent is charged.
        keys: whether the home has its private keys.
    """

    label: str
    created: str
    files: tuple[str, ...]
    kept: tuple[str, ...]
    charged: tuple[str, ...]
    keys: bool


def restore(archive: Path, root: Path) -> Restored:
    """Restore a home, or what is missing or damaged in it.

    Args:
        archive: a backup.
        root: the home; it may not exist yet.

    Raises:
        ConfigurationError: the archive is damaged or another label's, or a process uses the home.
        LedgerError: its ledger is older than what the home knows; nothing is changed.
    """
    if not root.exists() or not any(root.iterdir()):
        root.parent.mkdir(parents=True, exist_ok=True)
        with extracted(archive, root.parent) as (backup, folder):
            return _whole(backup, folder, root.absolute())
    home = LabelHome.open(root) if (root / "home.json").exists() else None
    try:
        with FileLock(root / ".join.lock", mode=0o600, timeout=0), extracted(archive, root) as (backup, folder):
            if home is not None and home.name != backup.label:
                raise ConfigurationError(f"The backup is one of '{backup.label}', and this home is of '{home.name}'.")
            return _parts(backup, folder, root.absolute())
    except Timeout:
        raise ConfigurationError(
            "This label takes part in a federation now, in another process.", hint="Stop `sottovoce label join` first."
        ) from None


def _whole(backup: Backup, folder: Path, root: Path) -> Restored:
    with new_home(root) as aside:
        for name in backup.files:
            (folder / name).rename(aside / name)
        (aside / "runs").mkdir(mode=0o700)
        charged = _charge_unknown(aside)
        made = LabelHome.open(aside)
        if made.cache == Path(backup.root) / "cache":
            replace(made, cache=root / "cache").describe()
    return _restored(backup, root, tuple(backup.files), charged)


def _parts(backup: Backup, folder: Path, root: Path) -> Restored:
    lost = [name for name in backup.files if name not in DATABASES and not (root / name).exists()]
    home = LabelHome(root, backup.label, (), root / "cache")
    head = _head(home)
    if head is None or head.number < backup.ledger.number:
        _expect_newest(folder / LEDGER, home, backup, head)
        lost.append(LEDGER)
    if SIDES in backup.files and not _whole_sides(home):
        lost.append(SIDES)
    home.runs.mkdir(mode=0o700, exist_ok=True)
    for name in lost:
        if name in DATABASES:
            with suppress(FileNotFoundError):
                (root / name).replace(root / f"{name}{DAMAGED}")
            (root / f"{name}-journal").unlink(missing_ok=True)  # it belongs to the damaged one
        (folder / name).replace(root / name)
    flush_folder(root)
    return _restored(backup, root, tuple(sorted(lost)), _charge_unknown(root) if LEDGER in lost else ())


def _head(home: LabelHome) -> Head | None:
    """Head of the home's ledger; None if the ledger is missing, damaged, or older than what the home knows."""
    try:
        with open_ledger(home) as ledger:
            ledger.verify()
            return ledger.head
    except PrivacyError:
        return None


def _whole_sides(home: LabelHome) -> bool:
    try:
        with Sides(home.sides_file) as sides:
            sides.counts()
    except PrivacyError:
        return False
    return True


def _expect_newest(ledger_file: Path, home: LabelHome, backup: Backup, head: Head | None) -> None:
    with Ledger(ledger_file) as ledger:
        ledger.verify()
        try:
            for known in (*known_heads(home), *([head] if head else [])):
                ledger.expect(known)
        except LedgerError as error:
            raise LedgerError(
                f"The backup of {backup.created} is older than this home: {error.message}",
                hint="Restore a newer one. If there is none, what these tracks have spent is unknown: train with other "
                "tracks, in a new home (sottovoce label init).",
            ) from None


def _charge_unknown(root: Path) -> tuple[str, ...]:
    """Charge all that open runs without a state may have spent since the backup."""
    charged = []
    with Ledger(root / LEDGER) as ledger:
        for run in ledger.open_runs():
            if not (root / "runs" / f"{run.hex()}.json").exists():
                ledger.spend_rest(run)
                charged.append(run.hex())
    return tuple(charged)


def _restored(backup: Backup, root: Path, files: tuple[str, ...], charged: tuple[str, ...]) -> Restored:
    kept = tuple(sorted(backup.files.keys() - set(files)))
    return Restored(backup.label, backup.created, files, kept, charged, all((root / key).exists() for key in KEYS))
