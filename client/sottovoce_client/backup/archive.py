"""One archive of a label's home, consistent while the label runs. Runs under way are never in it.

A gzipped tar with `backup.json` (version, label, time, the ledger's head, digests) and the files that it names.
"""

import io
import sqlite3
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from sottovoce.canonical import canonical_json
from sottovoce.errors import ConfigurationError
from sottovoce.files import sha256_file, written_aside
from sottovoce.versioned import Format, Versioned
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.budget.rows import Head
from sottovoce_client.home.label_home import LabelHome

VERSION = 1
"""Version of the archive."""
DESCRIPTION = "backup.json"
LEDGER, SIDES = "ledger.sqlite", "sides.sqlite"
DATABASES = (LEDGER, SIDES)
KEYS = ("identity.key", "node.key")
FILES = (
    "home.json",
    "split.key",
    "policy.toml",
    "diary.jsonl",
    "federation.toml",
    "invitation.toml",
    "confirmations.json",
    "logs-seen.json",
    "superlink.pem",
)
"""Plain files of a home; the diary is copied before the ledger, which then holds all rows that its notes name."""
LARGEST_DESCRIPTION = 1 << 20
_UNREADABLE = (
    *(OSError, EOFError, zlib.error, tarfile.TarError),
    *(ValueError, KeyError, TypeError, AttributeError, RecursionError),
)
"""Errors of reading a damaged archive."""


@dataclass(frozen=True)
class Backup:
    """Description of an archive.

    Args:
        label: name of the label.
        root: home folder at the time.
        created: UTC, ISO 8601.
        ledger: head of the ledger.
        files: SHA-256 (hex) of each file, by name.
    """

    label: str
    root: str
    created: str
    ledger: Head
    files: Mapping[str, str]


def write_backup(home: LabelHome, path: Path, *, keys: bool = False) -> Backup:
    """Write an archive of a home: completely or not at all, readable by the owner only.

    Args:
        home: the label's home.
        path: the archive; must not exist.
        keys: include the label's private keys.

    Raises:
        ConfigurationError: the file exists.
        LedgerError: the ledger cannot be read, or was tampered with.
        OSError: a file cannot be read or written.
    """
    if path.exists():
        raise ConfigurationError(f"'{path.name}' exists already.", hint="Choose another name, or move it away.")
    with TemporaryDirectory(prefix=".backup.", dir=home.root) as folder:
        copies = Path(folder)
        for name in (*FILES, *(KEYS if keys else ())):
            if (home.root / name).exists():
                (copies / name).write_bytes((home.root / name).read_bytes())
        for name in DATABASES:
            if (home.root / name).exists():
                _copy_database(home.root / name, copies / name)
        with Ledger(copies / LEDGER) as ledger:
            ledger.verify()
            head = ledger.head
        files = {file.name: sha256_file(file) for file in sorted(copies.iterdir())}
        created = datetime.now(UTC).isoformat(timespec="seconds")
        made = Backup(home.name, str(home.root), created, head, files)
        with written_aside(path) as aside, tarfile.open(aside, "w:gz") as archive:
            _add(archive, DESCRIPTION, io.BytesIO(_described(made)))
            for name in files:
                with (copies / name).open("rb") as file:
                    _add(archive, name, file)
    return made


@contextmanager
def extracted(path: Path, folder: Path) -> Iterator[tuple[Backup, Path]]:
    """Yield an archive's description and a temporary folder with its files, each checked against its digest.

    Args:
        path: the archive.
        folder: where the temporary folder is made.

    Raises:
        ConfigurationError: it is no archive of a label's home, or it is damaged.
    """
    with TemporaryDirectory(prefix=".restore.", dir=folder) as temporary:
        into = Path(temporary)
        try:
            with tarfile.open(path, "r:gz") as archive:
                backup = _description(archive)
                while (member := archive.next()) is not None:
                    if member.name not in backup.files or not member.isfile() or (into / member.name).exists():
                        raise ValueError
                    _extract(archive, member, into / member.name)
            if {file.name: sha256_file(file) for file in into.iterdir()} != dict(backup.files):
                raise ValueError
        except FileNotFoundError:
            raise ConfigurationError(f"There is no file '{path.name}'.") from None
        except _UNREADABLE:
            raise ConfigurationError(f"'{path.name}' is no backup of a label's home, or it is damaged.") from None
        yield backup, into


def _copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite database at one moment, whatever is written to it meanwhile."""
    target.touch(mode=0o600)
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)) as database,
        closing(sqlite3.connect(target)) as copy,
    ):
        database.backup(copy)


def _described(backup: Backup) -> bytes:
    return canonical_json(
        {
            "version": VERSION,
            "label": backup.label,
            "root": backup.root,
            "created": backup.created,
            "ledger": backup.ledger.to_json(),
            "files": backup.files,
        }
    )


def _description(archive: tarfile.TarFile) -> Backup:
    member = archive.next()
    if member is None or member.name != DESCRIPTION or not member.isfile() or member.size > LARGEST_DESCRIPTION:
        raise ValueError
    file = archive.extractfile(member)
    return _FORMAT.decode(file.read() if file else b"")


class _Described(Versioned):
    label: str
    root: str
    created: str
    ledger: tuple[int, str]
    files: dict[str, str]


def _backup(kept: _Described) -> Backup:
    if not {LEDGER, "home.json"} <= kept.files.keys() or kept.files.keys() - {*FILES, *KEYS, *DATABASES}:
        raise ValueError("it names other files than those of a home.")
    number, digest = kept.ledger
    return Backup(kept.label, kept.root, kept.created, Head(number, bytes.fromhex(digest)), kept.files)


_FORMAT = Format(_Described, _backup, VERSION, "The backup", hint="Use the release that wrote it, or a newer one.")


def _add(archive: tarfile.TarFile, name: str, file: io.BufferedIOBase | io.BytesIO) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = 0o600
    entry.size = file.seek(0, io.SEEK_END)
    file.seek(0)
    archive.addfile(entry, file)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = archive.extractfile(member)
    if source is None:
        raise ValueError
    target.touch(mode=0o600)
    with target.open("wb") as out:
        while data := source.read(1 << 20):
            out.write(data)
