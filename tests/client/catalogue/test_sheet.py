import os
import unicodedata
from pathlib import Path

import pytest

from sottovoce.errors import CatalogueError
from sottovoce_client.catalogue.consent import Consent
from sottovoce_client.catalogue.sheet import Row, read_sheet

HEADER = "path,style,title,artist,album,isrc,consent\n"


def rows_of(root: Path, text: str | bytes) -> dict[str, Row]:
    (root / "catalogue.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    rows = read_sheet(root)
    assert rows is not None
    return rows


def test_no_sheet_is_not_an_empty_sheet(root: Path) -> None:
    assert read_sheet(root) is None


def test_every_column_is_read(root: Path) -> None:
    rows = rows_of(root, HEADER + 'a/b.wav,jazz,"So, What",Miles  Davis,Kind of Blue,USSM15900113,style; editor\n')
    assert rows["a/b.wav"] == Row(
        line=2,
        path="a/b.wav",
        style="jazz",
        title="So, What",
        artist="Miles Davis",
        album="Kind of Blue",
        isrc="USSM15900113",
        consent=Consent.parse("style; editor"),
    )


@pytest.mark.parametrize(
    "text", ["Path , STYLE\na.wav,jazz\n", "path;style\na.wav;jazz", "path\tstyle\r\na.wav\tjazz\r\n"]
)
def test_spreadsheets_write_it_in_their_own_ways(root: Path, text: str) -> None:
    rows = rows_of(root, b"\xef\xbb\xbf" + text.encode())
    assert (rows["a.wav"].style, rows["a.wav"].line, rows["a.wav"].consent) == ("jazz", 2, None)


def test_columns_of_the_labels_own_are_passed_over(root: Path) -> None:
    assert rows_of(root, "catalogue number,path,style,notes\n7,a.wav,jazz,loud\n")["a.wav"].style == "jazz"


def test_the_name_of_the_sheet_may_be_in_capitals(root: Path) -> None:
    (root / "Catalogue.CSV").write_text("path,style\na.wav,jazz\n")
    assert read_sheet(root) == {"a.wav": Row(2, "a.wav", style="jazz")}
    (root / "catalogue.csv").write_text("path,style\n")
    with pytest.raises(CatalogueError, match=r"2 files named catalogue\.csv"):
        read_sheet(root)


def test_a_line_is_where_its_row_begins(root: Path) -> None:
    rows = rows_of(root, 'path,style,title\n\na.wav,jazz,"two\nlines"\nb.wav,folk,x\n')
    assert [(row.path, row.line, row.title) for row in rows.values()] == [("a.wav", 3, "two lines"), ("b.wav", 5, "x")]


def test_two_spellings_of_a_letter_are_one_path(root: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "Björk.wav")
    assert "Björk.wav" in rows_of(root, f"path,style\n{decomposed},pop\n")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "catalogue.csv, line 1: the header has no column 'path'.", "path,style"),
        ("path,consent\n", "catalogue.csv, line 1: the header has no column 'style'.", "path,style"),
        ("path,style,consnet\n", "catalogue.csv, line 1: the header has a column 'consnet'.", "'consent'"),
        ("path,style,consent,consent\n", "line 1: the header has the column 'consent' 2 times.", None),
        (b"path,style\na.wav,jazz\nb.wav,caf\xe9\n", "catalogue.csv, line 3: this is not UTF-8.", "CSV UTF-8"),
        ('path,style\na.wav,"jazz\nb.wav,folk\n', "catalogue.csv, line 2: this is not CSV", None),
        ('path,style\na.wav,"jazz" x\n', "catalogue.csv, line 2: this is not CSV", None),
    ],
)
def test_a_sheet_that_is_none_stops_the_scan(root: Path, text: str | bytes, message: str, hint: str | None) -> None:
    with pytest.raises(CatalogueError) as caught:
        rows_of(root, text)
    assert message in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")


@pytest.mark.timeout(10)
def test_a_sheet_that_cannot_be_read_never_means_no_sheet(root: Path) -> None:
    os.mkfifo(root / "catalogue.csv")
    with pytest.raises(CatalogueError, match=r"catalogue\.csv is not a file"):
        read_sheet(root)
    (root / "catalogue.csv").unlink()
    (root / "catalogue.csv").symlink_to("nowhere")
    with pytest.raises(CatalogueError, match=r"catalogue\.csv cannot be read: No such file"):
        read_sheet(root)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a.wav,jazz,,,,,stlye", "a consent says 'stlye'; expected style, generator, editor or none"),
        ("a.wav,jazz,,,,,style until 2027-13-01", "a consent ends on '2027-13-01', which is not a date (YYYY-MM-DD)"),
        ("a.wav,jazz,So, What,,,,style", "it has 8 cells where the header has 7"),
    ],
)
def test_a_row_that_cannot_be_understood_has_a_problem(root: Path, row: str, problem: str) -> None:
    rows = rows_of(root, HEADER + row + "\nb.wav,folk\n")
    assert (rows["a.wav"].problem or "").startswith(problem)
    assert rows["b.wav"].problem is None


def test_rows_that_name_no_file_are_each_reported(root: Path) -> None:
    rows = rows_of(root, "path,style\n,jazz\n,folk\n")
    assert [(row.line, row.problem) for row in rows.values()] == [(2, "it has no path"), (3, "it has no path")]


def test_a_file_named_twice_in_the_same_words_counts_once(root: Path) -> None:
    rows = rows_of(root, "path,style,consent\na.wav,jazz,style\n./a.wav,jazz,style\n")
    assert [(row.line, row.problem) for row in rows.values()] == [(2, None)]


def test_a_file_named_twice_in_other_words_cannot_be_used(root: Path) -> None:
    rows = rows_of(root, "path,style,consent\na.wav,jazz,style\na.wav,jazz,none\n")
    assert rows["a.wav"].problem == "line 3 contradicts it about the same file"
