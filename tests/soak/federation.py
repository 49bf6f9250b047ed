"""Five labels, a coordinator and a registry: homes on small disks of their own, and the services that run them."""

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from tests.conftest import Forked
from tests.soak.processes import Unit, sottovoce

from sottovoce_client.home.confirmations import confirm
from sottovoce_client.home.label_home import LabelHome
from sottovoce_server.home.coordinator_home import ServerHome

LABELS = ("east", "north", "south", "west", "isle")
STYLES = "ambient,blues,bossa,chiptune,chorale,gamelan,march,techno,waltz"
DISKS = {"coordinator": 256, "registry": 128} | dict.fromkeys(LABELS, 64)
"""Size of the disk that a home is on, MiB."""
FEDERATION = "isles"
TRACKS, SECONDS = 30, 5
"""Tracks of each label, and the length of each."""
EPSILON_LIFETIME = 1e6


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(*arguments: str) -> None:
    """`sottovoce ARGUMENTS` in this process."""
    from sottovoce.cli import main

    sys.argv = ["sottovoce", *arguments]
    main()


@dataclass
class Federation:
    """Everybody, in one folder.

    Args:
        root: a new folder.
        music: folder for the labels' catalogues, which is used again.
    """

    root: Path
    music: Path
    units: dict[str, Unit] = field(default_factory=dict)
    members: tuple[str, ...] = LABELS
    commands: int = 0
    _ports: tuple[int, int, int] = (0, 0, 0)

    # Places ---------------------------------------------------------------------------------------------------------

    def disk(self, name: str) -> Path:
        return self.root / f"disk-{name}"

    def home(self, name: str) -> Path:
        return self.disk(name) / "home"

    @property
    def server(self) -> ServerHome:
        return ServerHome.open(self.home("coordinator"))

    def label(self, name: str) -> LabelHome:
        return LabelHome.open(self.home(name))

    @property
    def invitation(self) -> Path:
        return self.home("coordinator") / "signed" / "federation.toml"

    @property
    def superlink(self) -> str:
        """The SuperLink's own address, which labels reach through the proxy only."""
        return f"https://127.0.0.1:{self._ports[1]}"

    @property
    def registry(self) -> str:
        return f"https://127.0.0.1:{self._ports[2]}"

    @property
    def health(self) -> dict[str, str]:
        """Where each service says that it works."""
        return {"superlink": f"{self.superlink}/health", "registry": f"{self.registry}/v1/health"}

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    # Setting up -----------------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make disks, homes, catalogues and the agreement."""
        self.logs.mkdir()
        self._ports = free_port(), free_port(), free_port()
        for name, size in DISKS.items():
            self.disk(name).mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", self.disk(name)], check=True)
            (self.disk(name) / "tmp").mkdir()
        self.done("synthesise", self.music, "--labels", len(LABELS), "--tracks", TRACKS, "--seconds", SECONDS, "--json")
        self.done("server", "init", FEDERATION, "--address", f"127.0.0.1:{self._ports[0]}", *self._at("coordinator"))
        listing = []
        for name, catalogue in zip(LABELS, sorted(self.music.glob("label-*")), strict=True):
            at, enrolment = self._at(name), self.root / f"{name}.json"
            self.done("label", "init", name, *at, "--federation", FEDERATION, "--out", enrolment)
            (self.home(name) / "split.key").write_bytes(sha256(name.encode()).digest())
            listing.append(self.command("label", "catalogue", catalogue, "--declare", *at, "--json"))
        for name, command in zip(LABELS, listing, strict=True):
            if command.wait():
                raise AssertionError(command.stderr)
            home = self.label(name)
            text = home.policy_file.read_text()
            text = re.sub(r"(?m)^epsilon_lifetime = .*$", f"epsilon_lifetime = {EPSILON_LIFETIME}", text)
            home.write_policy(re.sub(r"(?m)^trust = .*$", 'trust = ["distributed", "local"]', text))
        self.sign("local", LABELS)
        token = self.root / "publish.token"
        data = ("--data", self.home("registry"))
        self.done("registry", "token", "create", FEDERATION, "--scope", "publish", *data, "--out", token)
        self._services()

    def _at(self, name: str) -> tuple[object, ...]:
        return "--home", self.home(name)

    def _services(self) -> None:
        front, port, registry = self._ports
        shutil.copy(self.home("coordinator") / "server.pem", self.root / "registry.pem")
        shutil.copy(self.home("coordinator") / "server.key", self.root / "registry.key")
        shutil.copy(self.home("coordinator") / "authority.pem", self.root / "authority.pem")
        certificate = ("--tls-cert", self.root / "registry.pem", "--tls-key", self.root / "registry.key")
        self._unit("network", [sys.executable, "-m", "tests.soak.proxy", str(front), str(port)])
        listening = ("--host", "127.0.0.1", "--port", port)
        self._unit("coordinator", sottovoce("server", "start", *self._at("coordinator"), *listening))
        served = ("--data", self.home("registry"), "--key", self.root / "federation.toml", "--port", registry)
        self._unit("registry", sottovoce("registry", "serve", *served, *certificate))
        for name in LABELS:
            handed = self.root / f"{name}.toml"
            self._unit(name, sottovoce("label", "join", handed, *self._at(name)))

    def _unit(self, name: str, command: list[str]) -> None:
        folder = self.disk(name) / "tmp"
        environment = {"TMPDIR": str(folder)} if folder.exists() else {}
        self.units[name] = Unit(name, command, environment, self.logs / f"{name}.log")

    # What people do -------------------------------------------------------------------------------------------------

    def sign(self, noise: str, members: Iterable[str]) -> None:
        """Sign the agreement anew: the coordinator's people, then each label's, who confirm one another again."""
        self.members = tuple(sorted(members))
        server = self.server
        text = server.settings_file.read_text()
        text = re.sub(r'(?m)^noise = "\w+"', f'noise = "{noise}"', text)
        text = re.sub(r"(?m)^min_honest = \d+", f"min_honest = {1 if noise == 'local' else 2}", text)
        server.settings_file.write_text(text)
        for name in LABELS:
            (server.enrolments / f"{name}.json").unlink(missing_ok=True)
        self.done("server", "enrol", *(self.root / f"{name}.json" for name in self.members), *self._at("coordinator"))
        self.done("server", "sign", *self._at("coordinator"))
        shutil.copy(self.invitation, self.root / "federation.toml")
        agreed = self.server.invitation().agreement.members
        for name in self.members:
            shutil.copy(self.invitation, self.root / f"{name}.toml")
            home = self.label(name)
            home.confirmations_file.unlink(missing_ok=True)
            confirm(home, home.identity(), FEDERATION, [member for member in agreed if member.name != name])

    def start(self) -> None:
        """Start all services of those who are in the agreement."""
        for name, unit in self.units.items():
            if name not in LABELS or name in self.members:
                unit.start()

    def restart(self) -> None:
        """After signing: the coordinator's service, and the labels' with the new agreement."""
        for name in ("coordinator", *LABELS):
            self.units[name].stop()
        for name in ("coordinator", *self.members):
            self.units[name].start()

    def tick(self) -> None:
        for unit in self.units.values():
            unit.tick()

    def stop(self) -> None:
        for name in self.units.keys() - {"network"}:
            self.units[name].stop()
        if "network" in self.units:
            self.units["network"].stop()

    # Commands -------------------------------------------------------------------------------------------------------

    def command(self, *arguments: object) -> Forked:
        """Start `sottovoce ARGUMENTS`."""
        self.commands += 1
        output = self.logs / f"command-{self.commands:05}-{arguments[0]}"
        output.mkdir()
        return Forked(program, *map(str, arguments), output=output)

    def done(self, *arguments: object, codes: Iterable[int] = (0,)) -> Forked:
        """Run a command to its end, while services are kept up."""
        command = self.command(*arguments)
        while command.alive():
            self.tick()
            time.sleep(0.05)
        if command.wait() not in codes:
            words = " ".join(map(str, arguments[:2]))
            raise AssertionError(f"sottovoce {words} ended with {command.wait()}: {command.stderr}")
        return command

    # Looks ----------------------------------------------------------------------------------------------------------

    def healthy(self, service: str, seconds: float = 5.0) -> float | None:
        """Seconds until a service's `/health` answered; None if it did not."""
        context = ssl.create_default_context(cafile=str(self.root / "authority.pem"))
        began = time.monotonic()
        with (
            suppress(OSError),
            urllib.request.urlopen(self.health[service], timeout=seconds, context=context) as answer,
        ):
            if answer.status == 200:
                return time.monotonic() - began
        return None

    def until(self, holds: Callable[[], object], what: str, seconds: float) -> None:
        """Keep services up until something holds."""
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                raise AssertionError(f"within {seconds:g} s this did not come: {what}")
            self.tick()
            time.sleep(0.2)

    def signal(self, number: int, which: signal.Signals) -> bool:
        try:
            os.kill(number, which)
        except ProcessLookupError:
            return False
        return True
