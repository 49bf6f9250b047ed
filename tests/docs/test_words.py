"""No page falls back into the riddles that were once rewritten."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
RIDDLES = (
    "all in all it takes as long as",
    "a judge that hears eight beginnings",
    "that it takes for the style about as clearly",
    "with a past of its own",
    "a script that is not kept",
    "are no match for it",
    "what the summary features are told",
    "the least that was asked for",
    "by heart",
    "which the benchmark has not",
    "are gone on with",
    "all that depends on how many there are",
    "go on at the end",
    "how many times as long",
    "into so many labels",
    "of turns: rounds",
    "or none that you may see",
    "parameters is none",
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_holds_none_of_the_riddles(page):
    text = re.sub(r"[\s*`>]+", " ", page.read_text(encoding="utf-8")).lower()
    assert [riddle for riddle in RIDDLES if riddle in text] == []
