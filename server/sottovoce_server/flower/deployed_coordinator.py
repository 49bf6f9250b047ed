"""The coordinator's Flower app in a deployment: executes a run's order in the home of its SuperLink.

Our bundles name `sottovoce_server.flower.deployed_coordinator:app`. Flower starts it in a separate process for each
run, so that concurrent runs do not mix; its results are in the run's folder.
"""

import hashlib
import time
from contextlib import suppress
from logging import getLogger
from typing import Any

import httpx
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from sottovoce.errors import ReleaseError, RoundAborted, SottovoceError
from sottovoce.federation.log import release_entry
from sottovoce.files import clear_asides
from sottovoce.models import discovery
from sottovoce.models.initialisation import init_name, initial_parameters
from sottovoce.protocol.violations import WrongAgreement
from sottovoce.release.check import check
from sottovoce.release.manifest import LOG_FILE, MANIFEST_FILE, Manifest
from sottovoce.release.write import Provenance, write
from sottovoce_server.flower.cosignature_requests import WORDS, cosign
from sottovoce_server.flower.polling_grid import PollingGrid, sleep
from sottovoce_server.flower.run_app import train
from sottovoce_server.flower.run_endings import tell, tell_others
from sottovoce_server.home.coordinator_home import ServerHome, default_root
from sottovoce_server.home.journal import Journal
from sottovoce_server.home.runs import OVER, Order, RunFolder
from sottovoce_server.rounds.checkpoint import described
from sottovoce_server.rounds.history import Outcome, RunHistory
from sottovoce_server.rounds.own_words import remembered

LOG = getLogger(__name__)
POLL_SECONDS = 0.5
LATE_SECONDS = 5.0
"""Interval between checks for labels that do not know yet that a run is over, seconds."""

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Execute one run."""
    home = ServerHome.open(default_root())
    folder = RunFolder.of(home, str(context.run_config["run"]))
    with folder.worked_on():  # a second process must not report on the first one's run
        _execute(home, folder, PollingGrid(grid, sleep))


def _execute(home: ServerHome, folder: RunFolder, grid: Grid) -> None:
    """Execute one run, or tell its labels that it is over; report why it failed, if it does."""
    if folder.progress()["state"] in OVER:
        tell_late(grid, folder)
        return
    try:
        _Run(home, folder).do(grid)
    except SottovoceError as error:
        folder.report("failed", message=error.message, hint=error.hint, exit_code=error.exit_code)
        raise
    except httpx.TransportError as error:
        folder.report(
            "failed",
            message=f"The SuperLink could not be reached ({type(error).__name__}).",
            hint=f"To resume the run: sottovoce server train --resume {folder.run[:8]}",
            exit_code=SottovoceError.exit_code,
            transient=True,
        )
        raise
    except OSError as error:
        folder.report(
            "failed",
            message=f"The coordinator's disk cannot be used ({error.strerror}).",
            hint=f"When it can, resume the run: sottovoce server train --resume {folder.run[:8]}",
            exit_code=SottovoceError.exit_code,
        )
        raise
    except Exception as error:
        folder.report(
            "failed", message=f"This is a bug in Sottovoce ({type(error).__name__}).", hint=None, exit_code=70
        )
        raise


def tell_late(grid: Grid, folder: RunFolder) -> None:
    """Tell labels that a run is over as they connect, for as long as the run's order waits for labels."""
    deadline = time.monotonic() + folder.order().patience
    tell_of(grid, folder)
    if (ending := folder.keeper.ending.read()) and not folder.keeper.has_snapshot:
        tell_others(grid, ending)  # it broke off while labels joined it, and nothing says which
    while (ending := folder.keeper.ending.read()) and ending.untold and time.monotonic() < deadline:
        if set(ending.untold.values()) & set(grid.get_node_ids()):
            tell_of(grid, folder)
        time.sleep(LATE_SECONDS)


def tell_of(grid: Grid, folder: RunFolder) -> None:
    """Tell labels that a run is over, if it is and they do not know yet."""
    ending = folder.keeper.ending.read()
    if ending and ending.untold:
        folder.keeper.ending.write(tell(grid, ending, folder.keeper.sums))


def tell_untold(grid: Grid, home: ServerHome, *, but: RunFolder | None = None) -> None:
    """Tell connected labels which earlier runs are over, if they were away when these ended."""
    for folder in RunFolder.all(home):
        if folder == but:
            continue
        try:
            tell_of(grid, folder)
        except SottovoceError as error:  # another run's damaged folder does not stop this one
            LOG.warning("Cannot tell labels that run %s is over: %s", folder.run[:8], error.message)


class _Run:
    """One run, from waiting for its labels to its release."""

    def __init__(self, home: ServerHome, folder: RunFolder) -> None:
        self._home = home
        self._folder = folder
        self._order: Order = folder.order()
        self._agreement = home.invitation().agreement
        self._note = _Notes(home.journal(), folder)

    def do(self, grid: Grid) -> None:
        order, agreement = self._order, self._agreement
        announcement = order.announcement
        if announcement.agreement != agreement.digest:
            raise WrongAgreement("The agreement has been signed again since this run was announced.")
        self._await_labels(grid)
        tell_untold(grid, self._home, but=self._folder)
        config = announcement.config
        self._note.begin(order)
        start = init_name(config, order.init)  # read now: the release may change during the run
        outcome = train(
            grid,
            agreement,
            config,
            announcement=announcement,
            keeper=self._folder.keeper,
            resume=order.resume,
            first=initial_parameters(config, order.init),
            on_change=self._note.change,
            on_over=lambda over: self._note.write("run-over", after=over.round, model=over.has_model),
            remembered=remembered(each for each in RunFolder.all(self._home) if each != self._folder),
            named=self._folder.left_out_by_hand,
            coordinator=self._home.identity(),
            timeout=order.timeout,
        )
        self._folder.report("publishing", history=described(outcome.history))
        self._publish(grid, outcome, start)

    def _await_labels(self, grid: Grid) -> None:
        """Wait until all labels are connected, or until patience ends and enough of them are."""
        members, least = len(self._agreement.members), self._agreement.n_min
        deadline = time.monotonic() + self._order.patience
        while True:
            connected = len(list(grid.get_node_ids()))
            self._folder.report("waiting", connected=connected, labels=members, least=least)
            late = time.monotonic() >= deadline
            if connected >= members or (late and connected >= least):
                return
            if late:
                raise RoundAborted(
                    f"Only {connected} of {members} labels are connected after {self._order.patience:g} s, but a round "
                    f"needs {least}.",
                    hint="Ask the others to run `sottovoce label join`, then start the run again; or wait longer with "
                    "--patience.",
                )
            time.sleep(POLL_SECONDS)

    def _publish(self, grid: Grid, outcome: Outcome, start: str) -> None:
        config = self._order.announcement.config
        provenance = Provenance(
            config=config,
            spec=discovery.spec_of(config.task, config.family),
            agreement=self._agreement,
            run=outcome.run,
            rounds=sum(not record.aborted for record in outcome.history.rounds),
            promises=[(promise.epsilon, promise.delta) for promise in outcome.history.promises],
            start=start,
            seeded=False,
        )
        manifest = self._written(provenance, outcome)
        raw = (self._folder.release / MANIFEST_FILE).read_bytes()
        self._home.log().append(release_entry(hashlib.sha256(raw).digest())).write(self._folder.release / LOG_FILE)
        files = {name: entry.sha256 for name, entry in manifest.files.items()}
        snapshot, _ = self._folder.keeper.load()
        cosigned = cosign(
            grid,
            self._folder.release,
            self._agreement,
            run=outcome.run,
            nodes=snapshot.nodes,
            history=outcome.history,
            first=lambda: tell_of(grid, self._folder),
            timeout=self._order.timeout,
        )
        self._note.write(
            "release", name=manifest.name, files=files, cosigned=cosigned.labels, not_cosigned=cosigned.others
        )
        self._folder.report(
            "published",
            history=described(outcome.history),
            release=str(self._folder.release),
            not_cosigned={label: WORDS[reason] for label, reason in cosigned.others.items()},
        )

    def _written(self, provenance: Provenance, outcome: Outcome) -> Manifest:
        """The run's only release: the one written before a crash, or a new one."""
        identity, folder = self._home.identity(), self._folder.release
        clear_asides(folder)  # a process killed while it added to the release leaves a file that no release may have
        with suppress(ReleaseError):
            written = check(folder, identity.public_key).manifest
            if written.run == outcome.run.hex():
                return written
        return write(folder, provenance, outcome.parameters, identity, name=self._order.name, replace=True)


class _Notes:
    """Writes news from a run's history to the journal and to the run's progress."""

    def __init__(self, journal: Journal, folder: RunFolder) -> None:
        self._journal = journal
        self._folder = folder
        self._rounds = 0
        self._joined = False

    def begin(self, order: Order) -> None:
        if order.resume:
            snapshot, _ = self._folder.keeper.load()
            self._joined, self._rounds = True, len(snapshot.history.rounds)
            self.write("resumption", after=self._rounds)
        else:
            self.write("announcement", configuration=order.announcement.config_digest.hex())

    def change(self, history: RunHistory) -> None:
        if not self._joined:
            self._joined = True
            values = described(history)
            self.write("set-up", protocol=history.protocol, behind=history.behind)
            for promise in values["promises"]:
                self.write("advert", **promise)
            for label, reason in values["refusals"].items():
                self.write("refusal", label=label, reason=reason)
        for record in history.rounds[self._rounds :]:
            self.write(
                "round",
                number=record.number,
                participants=record.participants,
                survivors=record.survivors,
                aborted=record.aborted,
                liars=record.liars,
                disputes=record.disputes,
                unfollowed=record.unfollowed,
            )
        self._rounds = len(history.rounds)
        self._folder.report("training", history=described(history))

    def write(self, kind: str, **data: Any) -> None:
        self._journal.append(kind, {"run": self._folder.run, **data})
