"""Cost of a round beyond training in a deployment: masked rounds against Flower's plain FedAvg.

One SuperLink (TLS, node authentication) and the nodes of four labels on the loopback address, first with the masked run
as in `sottovoce server train`, then with `benchmarks.fedavg` on the same SuperLink, with the same node keys and data.
FedAvg runs as shipped by Flower: one process per message, and polling every three seconds. The masked run has its own
warm processes and polls more often (decision 0027), so the ratio compares what users wait for, not the protocols alone.
Only rounds that all labels answered are compared. FedAvg's rounds are reported with and without their own evaluation:
masked rounds send evaluation figures with the next report.
"""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from statistics import mean

import tomli_w

from benchmarks.fedavg import ORDER
from sottovoce.models.trainable import trainable_mask as moved
from sottovoce.run.configure import configure_run
from sottovoce.run.request import RunRequest
from sottovoce_client.flower import supernode
from sottovoce_client.home.confirmations import confirm
from sottovoce_client.home.label_home import LabelHome
from sottovoce_server.flower.control import SuperLinkGone, connected
from sottovoce_server.home.coordinator_home import ServerHome

LABELS = ("east", "north", "south", "west")
STYLES = ("ambient", "blues", "bossa", "chiptune", "chorale", "gamelan", "march", "techno", "waltz")
ROUNDS = 5
PATIENCE, LONGEST = 180, 1200
"""Seconds to wait for all labels, and for all rounds."""
ROOT = Path(__file__).parent.parent


def sottovoce(*arguments: object) -> str:
    command = [sys.executable, "-m", "sottovoce", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
    if done.returncode:
        raise SystemExit(f"sottovoce {arguments[0]} {arguments[1]} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def _environment(**more: str) -> dict[str, str]:
    sides = [ROOT, *(ROOT / side for side in ("shared", "client", "server", "simulations"))]
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, sides)), **more}


@contextmanager
def running(commands: list[list[str]], environments: list[dict[str, str]], log: Path) -> Iterator[None]:
    """Processes, each in its own session, which end with the block and leave nothing behind."""
    started = []
    try:
        with log.open("ab") as file:
            for command, environment in zip(commands, environments, strict=True):
                started.append(
                    subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)
                )
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(25)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(holds, what: str, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(SuperLinkGone):
            if holds():
                return
        time.sleep(0.5)
    raise SystemExit(f"Timeout after {seconds:g} s waiting until {what}.")


def federation(root: Path) -> ServerHome:
    """Homes of all parties, with the agreement signed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    sottovoce("synthesise", root / "music", "--labels", len(LABELS), "--tracks", 120, "--seconds", 4, "--json")
    sottovoce("server", "init", "isles", "--address", f"127.0.0.1:{port}", "--home", root / "server")
    for name, catalogue in zip(LABELS, sorted((root / "music").glob("label-*")), strict=True):
        sottovoce("label", "init", name, "--home", root / name, "--federation", "isles", "--out", root / f"{name}.json")
        sottovoce("label", "catalogue", catalogue, "--declare", "--home", root / name, "--json")
    sottovoce("server", "enrol", *(root / f"{name}.json" for name in LABELS), "--home", root / "server")
    sottovoce("server", "sign", "--home", root / "server")
    server = ServerHome.open(root / "server")
    members = server.invitation().agreement.members
    for name in LABELS:
        home = LabelHome.open(root / name)
        confirm(home, home.identity(), "isles", [member for member in members if member.name != name])
    return server


def masked(root: Path, home: ServerHome) -> dict[str, float]:
    """Mean seconds of a masked round, and of the part beyond its slowest label's training."""
    join = [sys.executable, "-m", "sottovoce", "label", "join", str(home.invitation_file), "--home"]
    with running([[*join, str(root / name)] for name in LABELS], [_environment()] * len(LABELS), root / "joined.log"):
        asked = ("--classes", ",".join(STYLES), "--rounds", ROUNDS, "--patience", PATIENCE, "--json")
        figures = json.loads(sottovoce("server", "train", *asked, "--home", home.root))
    trained: dict[int, float] = {}
    for name in LABELS:
        for line in LabelHome.open(root / name).timings_file.read_text(encoding="utf-8").splitlines():
            noted = json.loads(line)
            if noted["stage"] == "training":
                trained[noted["round"]] = max(trained.get(noted["round"], 0.0), noted["seconds"])
    whole = [record for record in figures["rounds"] if len(record["survivors"]) == len(LABELS)]
    return _means([(record["seconds"], trained[record["number"]]) for record in whole])


def plain(root: Path, home: ServerHome, order: Path) -> dict[str, dict[str, float]]:
    """The same for FedAvg's rounds, without and with its own evaluation."""
    config = configure_run(
        RunRequest(task="style", family="svm", rounds=ROUNDS, private=False), classes=STYLES, labels=len(LABELS)
    )
    values = {"config": config.to_bytes().decode(), "labels": len(LABELS), "parameters": moved(config).size}
    order.write_text(json.dumps(values), encoding="utf-8")
    nodes = [_plain_node(root, LabelHome.open(root / name), home) for name in LABELS]
    commands, environments = [node[0] for node in nodes], [node[1] for node in nodes]
    done = Path(f"{order}.done")
    with running(commands, environments, root / "plain.log"), connected(home) as control:
        until(lambda: control.online() == len(LABELS), "all nodes are connected")
        number = control.start(*_plain_bundle(), "")
        until(lambda: done.exists() or control.run(number).over, "FedAvg ends", LONGEST)  # type: ignore[union-attr]
        if not done.exists():
            raise SystemExit(f"FedAvg failed: {control.run(number)}")
    rounds = [each for each in json.loads(done.read_text(encoding="utf-8")) if each["answered"] == len(LABELS)]
    return {
        "training_only": _means([(record["train_exchange"], record["training"]) for record in rounds]),
        "with_evaluation": _means([(record["round"], record["training"]) for record in rounds]),
    }


def _plain_node(root: Path, label: LabelHome, home: ServerHome) -> tuple[list[str], dict[str, str]]:
    """Flower's own SuperNode with a label's key, for a bundle with its own app."""
    environment = _environment(**supernode.environment(label, home.invitation().superlink, home.authority_file))
    environment["PYTHONPATH"] = _environment()["PYTHONPATH"]
    scripts = root / f"{label.name}-scripts"
    scripts.mkdir()
    for name, module in (
        ("flower-superexec", "flwr.supercore.cli.flower_superexec"),
        ("flwr-clientapp", "flwr.supernode.cli.flwr_clientapp"),
    ):
        function = name.replace("-", "_")
        script = scripts / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from {module} import {function}; {function}()" "$@"\n')
        script.chmod(0o700)
    environment["PATH"] = os.pathsep.join((str(scripts), os.defpath))
    key = root / f"{label.name}-node.key"
    key.touch(mode=0o600)
    key.write_bytes(label.node_key().openssh())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start = "from flwr.supernode.cli.flower_supernode import flower_supernode; flower_supernode()"
    command = [
        *(sys.executable, "-c", start),
        *("--superlink", home.invitation().superlink),
        *("--root-certificates", str(home.authority_file)),
        *("--auth-supernode-private-key", str(key)),
        *("--port", str(port)),
    ]
    return command, environment


def _plain_bundle() -> tuple[bytes, str]:
    app = {
        "publisher": "benchmarks",
        "components": {"serverapp": "benchmarks.fedavg:server", "clientapp": "benchmarks.fedavg:client"},
        "config": {"run": ""},
    }
    project = {"name": "fedavg", "version": "1.0.0", "license": "Apache-2.0", "dependencies": []}
    content = tomli_w.dumps({"project": project, "tool": {"flwr": {"app": app}}}).encode()
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("pyproject.toml", content)
        hashed = f"pyproject.toml,{hashlib.sha256(content).hexdigest()},{8 * len(content)}"
        archive.writestr(".info/CONTENT", hashed)
    return packed.getvalue(), hashlib.sha256(packed.getvalue()).hexdigest()


def _means(rounds: list[tuple[float, float]]) -> dict[str, float]:
    later = rounds[1:]  # the first round fills caches
    if not later:
        raise SystemExit("All labels answered in no round but the first, so there is nothing to compare.")
    seconds, training = mean(each[0] for each in later), mean(each[1] for each in later)
    return {
        "rounds": len(later),
        "round_seconds": seconds,
        "training_seconds": training,
        "beyond_training_seconds": seconds - training,
    }


def run() -> dict[str, object]:
    """Seconds per round of both, and the ratio of masked rounds' time beyond training to FedAvg's."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        home = federation(root)
        order = root / "order.json"
        start = [sys.executable, "-m", "sottovoce", "server", "start", "--home", str(home.root), "--host", "127.0.0.1"]
        with running([start], [_environment(**{ORDER: str(order)})], root / "superlink.log"):
            with connected(home) as control:
                until(lambda: control.online() == 0, "the SuperLink answers")
            ours = masked(root, home)
            theirs = plain(root, home, order)
    own = ours["beyond_training_seconds"]
    return {
        "labels": len(LABELS),
        "rounds": ROUNDS,
        "masked": ours,
        "fedavg": theirs,
        "ratio": {name: own / each["beyond_training_seconds"] for name, each in theirs.items()},
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
