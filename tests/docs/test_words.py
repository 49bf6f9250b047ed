"""No page, docstring, message or comment falls back into the words that were once rewritten (STYLE, "Words")."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
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
PACKAGES = ("shared", "client", "server", "simulations", "benchmarks")
WORDS = re.compile(
    r"(?i:\b(?:told|heard|so many|as far as|(?:go|goes|gone) on|whoever|by heart|is no number)\b)"
    r"|(?<!there )(?<!There )\b(?:is|are) none\b"
    r"|(?:^|[.:] )[oO]f (?:a|an|the|each|all|its) [^.:,]{1,40}[.:]"
)
"""Words for which the field or plain English has better ones, and sentences without a verb ("Of the run.")."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_holds_none_of_the_riddles(page):
    text = re.sub(r"[\s*`>]+", " ", page.read_text(encoding="utf-8")).lower()
    assert [riddle for riddle in RIDDLES if riddle in text] == []


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Docstrings, strings of several words, and comments of a module, or a whole template: (line, text)."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield 1, source
        return
    tree = ast.parse(source)
    parts: set[ast.expr] = set()
    for node in ast.walk(tree):  # a formatted string comes before its parts
        if isinstance(node, ast.JoinedStr):
            parts |= set(node.values)
            values = [part.value if isinstance(part, ast.Constant) else "x" for part in node.values]
            yield node.lineno, "".join(map(str, values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in parts:
            yield node.lineno, node.value if " " in node.value else ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")


@pytest.mark.parametrize("package", PACKAGES)
def test_code_is_in_plain_english(package):
    found = []
    for path in sorted(path for kind in ("*.py", "*.jinja") for path in (ROOT / package).rglob(kind)):
        for line, text in texts(path):
            plain = re.sub(r"[\s*`>]+", " ", text).strip()
            hits = [hit.group().strip() for hit in WORDS.finditer(plain)]
            hits += re.findall(r"(?m)^ +(\w+: of) ", text)
            hits += [riddle for riddle in RIDDLES if riddle in plain.lower()]
            found += [f"{path.relative_to(ROOT)}:{line}: {hit}" for hit in hits]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "NaN is no number",
        "Labels are none.",
        "The loss is told to nobody",
        "Of the run.",
        "Its rate. Of each label: a number.",
        "whoever has it can start runs",
    ],
)
def test_riddles_are_recognised(text):
    assert WORDS.search(text)


@pytest.mark.parametrize(
    "text", ["There is none.", "It is None.", "Of files with equal content, the first wins.", "The run's rate."]
)
def test_plain_english_is_not(text):
    assert not WORDS.search(text)
