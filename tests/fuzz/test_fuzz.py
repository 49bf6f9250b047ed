"""Inputs of the corpora are read or refused, and a short search beyond them finds no fault; `make fuzz` searches on."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fuzz import corpus
from tests.fuzz.targets import Target, targets

from sottovoce.errors import ConfigurationError

NAMES = sorted(file.stem for file in corpus.CORPORA.glob("*.zip"))
RUNS = 4_000
"""Inputs of the short search, of all targets together."""


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return targets(tmp_path_factory.mktemp("files"))


def test_every_target_has_a_corpus(known: dict[str, Target]) -> None:
    assert sorted(known) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_read_or_refused(known: dict[str, Target], name: str) -> None:
    valid = [known[name].try_on(data) for data in corpus.read(name)]
    assert any(valid), "No input is valid: `python -m tests.fuzz --seeds` adds those that the code writes."


def test_a_fault_is_told_from_a_refusal() -> None:
    def refuse(data: bytes) -> bytes:
        raise ConfigurationError(f"{len(data)} bytes are refused.")

    assert not Target(refuse).try_on(b"a")
    assert Target(bytes, bytes).try_on(b"a")
    with pytest.raises(UnicodeDecodeError):
        Target(bytes.decode).try_on(b"\xff")
    with pytest.raises(AssertionError, match="Two encodings"):
        Target(bytes.lower, bytes).try_on(b"A")


@pytest.mark.skipif(not importlib.util.find_spec("atheris"), reason="atheris has no wheel for this platform")
def test_a_short_search_finds_no_fault(known: dict[str, Target], tmp_path: Path) -> None:
    for number, name in enumerate(known):
        corpus.unpack([bytes([number]) + data for data in corpus.read(name)], tmp_path / "inputs")
    line = [sys.executable, "-m", "tests.fuzz.fuzzer", "all", f"-runs={RUNS}", "-seed=1", "-max_len=8192"]
    done = subprocess.run(
        [*line, f"-artifact_prefix={tmp_path}/", str(tmp_path / "inputs")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"Done {RUNS} runs" in done.stderr
