"""The shell blocks of docs/upgrade.md, line by line: commands on a real home, `pip` without installing, units as files.

There is no system manager here to start a service: the page's order is played on a service that is up or down.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sottovoce_client.home.label_home import LabelHome
from sottovoce_server.home.coordinator_home import ServerHome

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
PAGE = (ROOT / "docs" / "upgrade.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
PREFIX = "/opt/sottovoce/bin/"
COPIES = "/mnt/copies"


@pytest.fixture(scope="module")
def pip():
    """Runs `pip install`; nothing is installed, fetched or built but the package's metadata."""
    done = {}

    def install(*what):
        if what not in done:
            kept = ("--dry-run", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
            command = [sys.executable, "-m", "pip", *what, *kept]
            done[what] = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return done[what]

    return install


@pytest.fixture
def sottovoce(here, tmp_path):
    """Runs `sottovoce` at a label and a coordinator; copies go to a folder of this test."""
    LabelHome.create(tmp_path / "label", name="blue-note")
    ServerHome.create(tmp_path / "server", federation="isles", address="isles.example:9092")
    homes = {"SOTTOVOCE_HOME": str(tmp_path / "label"), "SOTTOVOCE_SERVER_HOME": str(tmp_path / "server")}
    return lambda *words: here(*(word.replace(COPIES, str(tmp_path)) for word in words), env=homes)


@pytest.mark.parametrize("block", BLOCKS, ids=[block.split()[-1] for block in BLOCKS])
def test_a_service_is_stopped_upgraded_and_started_again(block, pip, sottovoce):
    up, installed, services = True, False, set()
    for line in block.splitlines():
        match shlex.split(line, comments=True):
            case ["systemctl", "stop" | "start" as verb, unit]:
                services.add(unit)
                assert (DEPLOY / f"{unit}.service").is_file()
                assert up is (verb == "stop")
                up = not up
            case [command, *what] if command == f"{PREFIX}pip":
                assert not up, "the code of a running service is replaced"
                done = pip(*what)
                assert done.returncode == 0, done.stderr
                assert "Would install sottovoce-" in done.stdout
                installed = True
            case ["sottovoce", *words]:
                assert words[1] != "doctor" or not up
                done = sottovoce(*words)
                assert done.exit_code == 0, done.output
            case unknown:
                pytest.fail(f"nobody knows how to try {unknown}")
    assert (up, installed, len(services)) == (True, True, 1)


def test_there_is_a_block_for_each_unit():
    assert {block.split()[-1] for block in BLOCKS} == {unit.stem for unit in DEPLOY.glob("*.service")}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_units_are_what_systemd_understands(tmp_path):
    program = tmp_path / "sottovoce"
    program.touch(mode=0o700)
    for unit in DEPLOY.glob("*.service"):
        text = unit.read_text(encoding="utf-8")
        assert f"\nExecStart={PREFIX}sottovoce " in text
        (tmp_path / unit.name).write_text(text.replace(f"{PREFIX}sottovoce", str(program)), encoding="utf-8")
    command = ["systemd-analyze", "--man=no", "verify", *map(str, tmp_path.glob("*.service"))]
    quiet = {**os.environ, "SYSTEMD_LOG_LEVEL": "warning"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
