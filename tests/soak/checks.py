"""What must hold after each run, and when all is over."""

import hashlib
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.federation import FEDERATION, LABELS, Federation
from tests.soak.growth import LEFT

from sottovoce.errors import SottovoceError
from sottovoce.release.check import check
from sottovoce.release.manifest import MANIFEST_FILE
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.budget.rows import Kind
from sottovoce_server.home.runs import RunFolder

TRACEBACK = re.compile(r"Traceback \(most recent call last\):\n(?P<frames>(?:[ \t].*\n)+)(?P<error>.*)")
OURS = re.compile(r"/(shared|client|server|simulations|site-packages)/sottovoce\w*/")
"""Path of this project's code in a traceback."""
WEIGHTS = "model.safetensors"


@dataclass
class Checks:
    """Compares what is on disks with what must hold.

    Args:
        federation: whose disks.
        complain: called with what must not be.
    """

    federation: Federation
    complain: Callable[[str], None]
    cosigned: Counter[int] = field(default_factory=Counter)
    """Published releases by their number of co-signatures."""
    rounds: Counter[int] = field(default_factory=Counter)
    """Sums by their number of labels."""
    aborted: int = 0
    foreign: Counter[str] = field(default_factory=Counter)
    """Tracebacks of Flower's own processes."""
    _rows: dict[str, list[object]] = field(default_factory=dict)
    _journal: str | None = None
    _read: dict[Path, int] = field(default_factory=dict)

    def run_over(self, folder: RunFolder, state: str, undisturbed: set[str]) -> None:
        """A run is over; labels that nothing had happened to for a while have signed its release."""
        progress = folder.progress()
        history = progress.get("history", {})
        for record in history.get("rounds", []):
            if record["aborted"]:
                self.aborted += 1
            else:
                self.rounds[len(record["survivors"])] += 1
            if record["liars"] or record["disputes"] or record["unfollowed"]:
                self.complain(f"run {folder.run[:8]}: somebody is called a liar, or cannot follow: {record}")
            for name in record["survivors"]:
                if (bytes.fromhex(folder.run), record["number"]) not in self._charges(name):
                    self.complain(f"{name} is in round {record['number']} of {folder.run[:8]}, and was not charged")
        if state == "published":
            promised = {each["label"] for each in history["promises"]}
            self._release(folder, promised, progress["not_cosigned"], undisturbed & promised)
        for name in LABELS:
            self._charges(name)
        self.journal()
        self.logs()

    def _release(self, folder: RunFolder, promised: set[str], others: dict[str, str], expected: set[str]) -> None:
        """The release is signed, and is what each co-signer computed from the sums by itself, to the bit."""
        key = self.federation.server.identity().public_key
        try:
            checked = check(folder.release, key)
        except SottovoceError as error:
            self.complain(f"the release of {folder.run[:8]} does not verify: {error.message}")
            return
        signers = {each.name for each in checked.signatures} - {FEDERATION}
        if signers | set(others) != promised or signers & set(others):
            self.complain(f"run {folder.run[:8]}: {promised} promised, {signers} signed, {others} did not")
        if expected - signers:
            self.complain(f"run {folder.run[:8]}: {expected - signers} did not sign, undisturbed: {others}")
        weights = hashlib.sha256((folder.release / WEIGHTS).read_bytes()).hexdigest()
        release = hashlib.sha256((folder.release / MANIFEST_FILE).read_bytes()).hexdigest()
        for name in signers:
            diary = self.federation.label(name).diary
            if diary.weights(folder.run) != weights:
                self.complain(f"{name} signed weights of {folder.run[:8]} that its own sums do not give")
            if release not in diary.cosigned_releases(folder.run):
                self.complain(f"{name} signed a release of {folder.run[:8]} without a note of it")
        self.cosigned[len(signers)] += 1

    def _charges(self, name: str) -> set[tuple[bytes, int]]:
        """A label's charges; its ledger verifies, has lost no row, and charges no round twice."""
        try:
            with Ledger(self.federation.label(name).ledger_file) as ledger:
                ledger.verify()
                rows = ledger.rows()
        except SottovoceError as error:
            self.complain(f"{name}'s ledger: {error.message}")
            return set()
        before = self._rows.get(name, [])
        if list(rows[: len(before)]) != before:
            self.complain(f"{name}'s ledger has lost a row")
        self._rows[name] = list(rows)
        charges = Counter((row.run, row.round) for row in rows if row.kind is Kind.CHARGE)
        for (run, number), times in charges.items():
            if times > 1:
                self.complain(f"{name} was charged {times} times for round {number} of {run.hex()[:8]}")
        return set(charges)

    def journal(self) -> None:
        """The coordinator's journal verifies, and contains what it contained."""
        journal = self.federation.server.journal()
        try:
            entries = journal.verify(self._journal)
        except SottovoceError as error:
            self.complain(f"the journal: {error.message}")
        else:
            self._journal = entries[-1].digest if entries else None

    def logs(self) -> None:
        """No log has a secret, or a traceback through this project's code."""
        for log in sorted(self.federation.logs.glob("*.log")):
            with log.open(errors="replace") as file:
                file.seek(self._read.get(log, 0))
                text = file.read()
                self._read[log] = file.tell()
            for found in TRACEBACK.finditer(text):
                if OURS.search(found["frames"]):
                    self.complain(f"{log.name} has a traceback: {found[0]}")
                else:  # of one of Flower's own processes, which is restarted
                    self.foreign[f"{log.stem}: {found['error'][:100]}"] += 1
            if "PRIVATE KEY" in text:
                self.complain(f"{log.name} has a private key")

    # At the end -----------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """All services are stopped: what doctors find is harmless, and nothing is left of any run."""
        for name in (*LABELS, "coordinator", "registry"):
            self._doctor(name)
        for name in LABELS:
            with Ledger(self.federation.label(name).ledger_file) as ledger:
                for run in ledger.open_runs():
                    self.complain(f"{name} keeps its promise to run {run.hex()[:8]}, which is over")
        for path in self._left():
            self.complain(f"left on disk: {path}")
        for name in (*LABELS, "coordinator", "registry"):
            for database in self.federation.disk(name).rglob("*.sqlite"):
                with sqlite3.connect(database) as connection:
                    (found,) = connection.execute("PRAGMA integrity_check").fetchone()
                if found != "ok":
                    self.complain(f"{database}: {found}")

    def _doctor(self, name: str) -> None:
        kind = {"coordinator": "server", "registry": "registry"}.get(name, "label")
        where = ("--data" if kind == "registry" else "--home", self.federation.home(name))
        found = self.federation.done(kind, "doctor", *where, "--json", codes=(0, 1, 7))
        if found.wait() == 7:
            self.complain(f"the doctor cannot repair {name}: {found.stdout}")
        self.federation.done(kind, "doctor", *where, "--repair", "--json", codes=(0, 1, 7))
        again = self.federation.done(kind, "doctor", *where, "--json", codes=(0, 1, 7))
        if again.wait():
            self.complain(f"the doctor has not repaired {name}: {again.stdout}")

    def _left(self) -> Iterator[Path]:
        for name in (*LABELS, "coordinator", "registry"):
            for path in self.federation.disk(name).rglob("*"):
                if path.is_file() and any(re.search(left, str(path)) for left in LEFT) and path.suffix != ".lock":
                    yield path
