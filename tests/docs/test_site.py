"""The documentation is built strictly into a site that asks no other host for anything."""

import os
import re
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

ROOT = Path(__file__).parents[2]
FETCHED = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)")
IMPORTED = re.compile(r"(?:url\(|@import\s+)[\"']?((?:https?:)?//[^\"')\s]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The one that `make test` has just built, or a new one."""
    if built := os.environ.get("BUILT_SITE"):
        return Path(built)
    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))
    return folder


def test_no_page_fetches_anything_from_another_host(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    found = {page.name: FETCHED.findall(page.read_text(encoding="utf-8")) for page in pages}
    assert {name: hosts for name, hosts in found.items() if hosts} == {}


def test_no_style_sheet_fetches_anything_from_another_host(site):
    sheets = list(site.rglob("*.css"))
    assert sheets
    assert [IMPORTED.findall(sheet.read_text(encoding="utf-8")) for sheet in sheets] == [[]] * len(sheets)


def test_every_decision_has_a_page(site):
    decisions = {path.stem for path in (ROOT / "docs" / "decisions").glob("0*.md")}
    assert {path.stem for path in (site / "decisions").glob("0*.html")} == decisions


def test_every_decision_is_listed():
    listed = re.findall(r"\]\((0[\w-]+\.md)\)", (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8"))
    assert listed == sorted(path.name for path in (ROOT / "docs" / "decisions").glob("0*.md"))


def test_the_readme_links_to_every_guide():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md", "changelog.md"}
    assert pages <= set(re.findall(r"\]\(docs/([\w]+\.md)\)", readme))


def built(folder, text):
    (folder / "index.md").write_text(f"# A page\n\n{text}\n", encoding="utf-8")
    build(
        load_config(
            str(ROOT / "mkdocs.yml"), docs_dir=str(folder), nav=["index.md"], site_dir=str(folder.parent / "out")
        )
    )


@pytest.mark.parametrize(
    "wrong", ["[a](nowhere.md)", "[a](index.md#nowhere)", "::: sottovoce.nowhere", "[a][sottovoce.no]"]
)
def test_a_broken_link_or_reference_fails(tmp_path, wrong):
    with pytest.raises(Abort):
        built(tmp_path, wrong)


def test_a_sound_link_and_reference_do_not_fail(tmp_path):
    built(tmp_path, "[a](index.md#a-page)\n\n::: sottovoce.errors")


def test_make_builds_the_site_with_its_warnings():
    """`mkdocs --quiet` hides warnings from strict mode, so that a broken link passes."""
    recipe = re.search(r"^docs: \$.*\n\t(.*)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert re.search(r"mkdocs build(?: +#.*)?$", recipe)
