"""The wheel carries the licence and its companions, and NOTICE accounts for every weight file that is shipped."""

import re
from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling.builders.wheel import WheelBuilder

import sottovoce

ROOT = Path(__file__).parent.parent
PAPERS = ("LICENSE", "NOTICE", "CITATION.cff", "CONTRIBUTING.md", "SECURITY.md")
NOTICE = (ROOT / "NOTICE").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    return ZipFile(built)


def below(wheel, folder):
    return {name.partition(folder)[2] for name in wheel.namelist() if folder in name}


def test_the_wheel_carries_every_paper(wheel):
    assert below(wheel, ".dist-info/licenses/") == set(PAPERS)


@pytest.mark.parametrize("paper", PAPERS)
def test_a_paper_in_the_wheel_is_the_one_in_the_repository(wheel, paper):
    (name,) = (name for name in wheel.namelist() if name.endswith(f".dist-info/licenses/{paper}"))
    assert wheel.read(name) == (ROOT / paper).read_bytes()


def test_containers_are_built_with_every_paper():
    assert {f"!{paper}" for paper in PAPERS} <= set((ROOT / ".dockerignore").read_text().splitlines())


def test_the_notice_states_what_each_shipped_weight_file_was_learned_from(wheel):
    rows = re.findall(r"^  (\S+\.safetensors) .* (synthetic(?:, scores)?)$", NOTICE, re.MULTILINE)
    shipped = {name for name in wheel.namelist() if name.endswith(".safetensors")}
    assert {f"sottovoce/{file}" for file, _ in rows} == shipped
    assert len(rows) == len(shipped)


def test_the_citation_names_this_version():
    assert f"\nversion: {sottovoce.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
