"""Locks hold what pyproject.toml requires, the wheel is the same each time, and what was not looked up is named."""

import hashlib
import os
import re
import runpy
import shutil
import tomllib
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCKS = ROOT / "supply_chain" / "locks"
verdict = runpy.run_path(str(LOCKS.with_name("advisories.py")))["verdict"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ROLES = {"label": (), "coordinator": ("postgres",), "researcher": ("audit", "repertoire"), "developer": ("dev",)}
ENTRY = re.compile(
    r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?: ; [^\\]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE
)


def required(extras: tuple[str, ...]) -> list[Requirement]:
    wanted = [Requirement(line) for line in PROJECT["dependencies"]]
    for extra in extras:
        wanted += [Requirement(line) for line in PROJECT["optional-dependencies"][extra]]
    nested = [each for each in wanted if each.name == PROJECT["name"]]
    own = [each for each in wanted if each.name != PROJECT["name"]]
    return own + [inner for each in nested for inner in required(tuple(each.extras))]


@pytest.mark.parametrize("role", ROLES)
def test_a_lock_has_what_the_project_needs_in_versions_that_it_allows(role: str) -> None:
    text = (LOCKS / f"{role}.txt").read_text()
    locked = {canonicalize_name(name): version for name, version, _ in ENTRY.findall(text)}
    for each in required(ROLES[role]):
        assert each.specifier.contains(locked[canonicalize_name(each.name)]), each
    named = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert len(named) == len(ENTRY.findall(text)) > 100  # each has a version and hashes


def test_the_locks_are_those_of_the_roles() -> None:
    assert {path.stem for path in LOCKS.glob("*.txt")} == set(ROLES)


def test_the_wheel_has_the_same_bytes_whenever_and_wherever_it_is_built(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns(".*", "tests", "docs", "site", "__pycache__", "runs", "demo", "dist", "benchmarks")
    copy = shutil.copytree(ROOT, tmp_path / "elsewhere", ignore=ignored)
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    wheels = [next(WheelBuilder(str(root)).build(directory=str(tmp_path / root.name))) for root in (ROOT, copy)]
    first, second = (hashlib.sha256(Path(wheel).read_bytes()).hexdigest() for wheel in wheels)
    assert first == second
    with zipfile.ZipFile(wheels[0]) as wheel:
        names = {Path(name).name for name in wheel.namelist() if name.startswith("sottovoce_server/studio/page/")}
    assert {"base.jinja", "studio.css", "studio.js", "htmx.min.js", "htmx.LICENSE"} <= names


def test_what_no_database_knew_was_not_checked() -> None:
    known = {"name": "a", "version": "1", "vulns": []}
    unknown = {"name": "b", "skip_reason": "not found"}
    affected = {"name": "c", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
    assert verdict([known]) == ("1 of 1 looked up, 0 with advisories", 0)
    text, outcome = verdict([known, affected])
    assert outcome == 1
    assert "c 2: PYSEC-1; fixed in 3" in text
    text, outcome = verdict([known, unknown, affected])
    assert outcome == 2
    assert "2 of 3 looked up" in text
    assert "NOT CHECKED (no database could be reached): b" in text
