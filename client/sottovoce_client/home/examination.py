"""What is wrong in a label's home, what is safe to do, and repairs that need no decision."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from sottovoce.errors import PrivacyError, SottovoceError
from sottovoce.files import cut_unfinished_line
from sottovoce.findings import REPAIR, Finding, leftovers, open_to_others, unless
from sottovoce_client.budget.known_heads import open_ledger
from sottovoce_client.catalogue.sides import Sides
from sottovoce_client.home.confirmations import confirmed_by
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds.promises import release_stale, stale_promises
from sottovoce_client.rounds.run_state import OWNER_ONLY, delete_state, lock_of

RESTORE = "sottovoce label restore BACKUP"
_HOUR = 3600.0
_PRIVATE = ("*.key", "*.sqlite", "policy.toml", "diary.jsonl", "*.damaged", "runs", "runs/*.json", "runs/*.model")


def examine(root: Path) -> Iterator[Finding]:
    """Everything that is wrong in a label's home; nothing is changed until a finding's `repair` is called."""
    yield from open_to_others(root, (path for pattern in _PRIVATE for path in sorted(root.glob(pattern))))
    yield from leftovers(root, (root, root / "runs"))
    yield from _temporary(root)
    described = list(unless("home.json", lambda: LabelHome.open(root), RESTORE))
    yield from described
    if described:
        return
    home = LabelHome.open(root)
    yield from _ledger(home)
    if home.keeps_sides:
        yield from unless("sides.sqlite", lambda: _open_sides(home), RESTORE)
    yield from unless("policy.toml", lambda: Policy.from_toml(home.policy_file), "Correct the file by hand.")
    for key in (home.identity_file, home.node_key_file):
        if not key.exists():
            yield Finding(key.name, "It is missing.", f"{RESTORE}, if the backup has keys; else enrol anew.")
    if home.agreement_file.exists():
        again = "sottovoce label join federation.toml, with the agreement from the coordinator"
        yield from unless("federation.toml", home.agreement, again)
        with suppress(SottovoceError):
            agreement = home.agreement()
            yield from unless("confirmations.json", lambda: confirmed_by(home, agreement), RESTORE)
    yield from _diary(home)


def _ledger(home: LabelHome) -> Iterator[Finding]:
    found = list(unless("ledger.sqlite", lambda: _verify(home), RESTORE))
    yield from found
    if found:
        return
    for run, why in stale_promises(home, now=time.time()).items():
        what = f"Its promise blocks ε for nothing: {why}."
        yield Finding(f"run {run.hex()[:8]}", what, REPAIR, partial(release_stale, home, now=time.time()))
    with open_ledger(home) as ledger:
        still_open = set(ledger.open_runs())
    for path in sorted([*home.runs.glob("[!.]*.json"), *home.runs.glob("[!.]*.model")]):
        of = _run_of(path)
        if of is not None and of not in still_open:
            yield Finding(f"runs/{path.name}", "It is left of a run that is over.", REPAIR, partial(_forget, home, of))
    for path in sorted(home.runs.glob("[!.]*.json")):
        if _run_of(path) in still_open and not _is_json(path):
            yield Finding(f"runs/{path.name}", "The run's state is damaged.", f"sottovoce label close {path.stem[:8]}")


def _diary(home: LabelHome) -> Iterator[Finding]:
    file = home.diary.file
    data = file.read_bytes() if file.exists() else b""
    if data and not data.endswith(b"\n"):
        yield Finding(file.name, "Its last note is unfinished.", REPAIR, partial(_cut, file))
    damaged = sum(not _parses(line) for line in data.split(b"\n")[:-1])
    if damaged:
        yield Finding(file.name, f"{damaged} of its notes cannot be read; they are skipped.", RESTORE)


def _temporary(root: Path) -> Iterator[Finding]:
    """Folders that a killed backup or restore left; a younger one may be in use."""
    for path in sorted([*root.glob(".backup.*"), *root.glob(".restore.*")]):
        if time.time() - path.stat().st_mtime > _HOUR:
            yield Finding(
                path.name, "A backup or restore that was killed left it.", REPAIR, partial(shutil.rmtree, path)
            )


def _verify(home: LabelHome) -> None:
    with open_ledger(home) as ledger:
        ledger.verify()


def _open_sides(home: LabelHome) -> None:
    with Sides(home.sides_file) as sides:
        sides.counts()


def _forget(home: LabelHome, run: bytes) -> None:
    with suppress(Timeout), FileLock(lock_of(home.runs, run), mode=OWNER_ONLY, timeout=0):
        with open_ledger(home) as ledger:
            if ledger.is_open(run):
                raise PrivacyError("The run was opened meanwhile.")
        delete_state(home.runs, run)
        lock_of(home.runs, run).unlink(missing_ok=True)


def _cut(file: Path) -> None:
    with FileLock(file.with_name(f".{file.name}.lock"), mode=OWNER_ONLY):
        cut_unfinished_line(file)


def _run_of(path: Path) -> bytes | None:
    try:
        return bytes.fromhex(path.stem)
    except ValueError:
        return None


def _is_json(path: Path) -> bool:
    return _parses(path.read_bytes())


def _parses(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data), dict)
    except (ValueError, RecursionError):
        return False
