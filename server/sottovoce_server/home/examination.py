"""What is wrong in a coordinator's home, what is safe to do, and repairs that need no decision."""

import shutil
from collections.abc import Iterator
from functools import partial

from sottovoce.errors import ConfigurationError, OtherVersion
from sottovoce.findings import REPAIR, Finding, leftovers, open_to_others, unless
from sottovoce_server.home.coordinator_home import ServerHome
from sottovoce_server.home.runs import UNREADABLE, RunFolder

RESTORE = "Restore it from the newest backup of this home."
_OF_WORTH = ("checkpoint.safetensors", "release", "over.json")
"""What a run's folder holds that is not thrown away."""
_PRIVATE = ("*.key", "*.secret", "*.token", "*.sqlite", "*.jsonl", "enrolments", "runs", "runs/*")


def examine(home: ServerHome) -> Iterator[Finding]:
    """Everything that is wrong in a coordinator's home; nothing is changed until a finding's `repair` is called."""
    root = home.root
    yield from open_to_others(root, (path for pattern in _PRIVATE for path in sorted(root.glob(pattern))))
    folders = (
        root,
        root / "enrolments",
        root / "signed",
        home.runs,
        *(folder.folder for folder in RunFolder.all(home)),
    )
    yield from leftovers(root, folders)
    identity = list(unless("signing.key", home.identity, RESTORE))
    yield from identity
    yield from unless("control.token", home.token, RESTORE)
    yield from unless("federation.toml", home.settings, "Correct the file by hand.")
    yield from unless("enrolments", home.enrolled)
    if home.invitation_file.exists():
        yield from unless("signed/federation.toml", home.invitation, "sottovoce server sign")
    if not identity:
        yield from _journal(home)
    if home.invitation_file.exists() and not (root / "log.jsonl").exists():
        yield Finding("log.jsonl", "It is missing: labels and consumers would take a new log for a lie.", RESTORE)
    for folder in RunFolder.all(home):
        if not folder.under_way:
            yield from _run(folder)


def _journal(home: ServerHome) -> Iterator[Finding]:
    journal = home.journal()
    yield from unless("journal.jsonl", journal.verify, RESTORE)
    if journal.is_unfinished:
        what = "Its last line is unfinished: the machine or a process stopped while it was written."
        yield Finding("journal.jsonl", what, REPAIR, journal.heal)


def _run(folder: RunFolder) -> Iterator[Finding]:
    name = f"run {folder.run[:8]}"
    end = f"sottovoce server end {folder.run[:8]}"
    try:
        folder.order()
    except OtherVersion:
        return  # it ends with the release that began it
    except ConfigurationError:
        if not any((folder.folder / kept).exists() for kept in _OF_WORTH):
            yield Finding(name, "Its folder was made and never filled.", REPAIR, partial(shutil.rmtree, folder.folder))
            return
        yield Finding(name, "Its order is missing or damaged.", RESTORE)
    if folder.progress()["state"] == UNREADABLE:
        what = "Its progress is unreadable; the run itself is not damaged."
        yield Finding(name, what, REPAIR, partial(folder.report, "stopped"))
    yield from unless(f"{name}, over.json", folder.keeper.ending.read, RESTORE)
    yield from unless(
        f"{name}, leave-out.json", folder.left_out_by_hand, "Remove the file, and leave labels out again."
    )
    if folder.keeper.has_snapshot and folder.progress()["state"] not in ("published", "ended"):
        yield from unless(f"{name}, checkpoint", folder.keeper.load, end)
