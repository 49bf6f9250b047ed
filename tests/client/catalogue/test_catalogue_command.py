import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sottovoce.errors import CatalogueError, ConfigurationError
from sottovoce_client.commands.catalogue import catalogue


def run(*arguments: object) -> Result:
    return CliRunner().invoke(catalogue, ["scan", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture
def mixed(root: Path, write) -> Path:
    for number in range(3):
        write(f"jazz/{number}.wav", seconds=6)
    write("folk/a.flac", seconds=6)
    for number in range(7):
        (root / "folk" / f"bad {number}.wav").write_text("no audio" * 100)
    (root / "folk" / "cover.jpg").touch()
    return root


def test_tables_say_what_is_there_and_what_is_not_usable(mixed: Path, index: Path) -> None:
    result = run(mixed, "--index", index)
    assert result.exit_code == 0, result.output
    assert re.search(r"folk\s*│\s*1\s*│\s*0\.00\s*│\s*0", result.stdout)
    assert re.search(r"jazz\s*│\s*3\s*│", result.stdout)
    assert re.search(r"not audio\s*│\s*7\s*│\s*folk/bad 0\.wav: ", result.stdout)
    assert "folk/bad 4.wav" in result.stdout
    assert "folk/bad 5.wav" not in result.stdout
    assert "… and 2 more (--all names them)" in result.stdout
    assert "1 other file ignored." in result.stdout
    assert "11 files read in" in result.stdout
    assert result.stderr == ""


def test_all_names_every_file(mixed: Path, index: Path) -> None:
    result = run(mixed, "--index", index, "--all")
    assert "folk/bad 6.wav" in result.stdout
    assert "more" not in result.stdout


def test_json_is_one_object_with_every_file(mixed: Path, index: Path) -> None:
    told = json.loads(run(mixed, "--index", index, "--json").stdout)
    assert {name: told[name] for name in ("tracks", "artists", "reasons", "ignored", "opened", "withheld")} == {
        "tracks": 4,
        "artists": 0,
        "reasons": {"not audio": 7},
        "ignored": 1,
        "opened": 11,
        "withheld": [],
    }
    assert told["styles"]["jazz"] == {"tracks": 3, "hours": 0.005, "artists": 0}
    assert [file["path"] for file in told["unusable"]] == [f"folk/bad {number}.wav" for number in range(7)]
    assert json.loads(run(mixed, "--index", index, "--json").stdout)["opened"] == 0


def test_names_cannot_speak_to_the_terminal(root: Path, index: Path, write) -> None:
    write("jazz/a.wav")
    write("[red]x/b.wav")
    (root / os.fsdecode(b"jazz/\xff\x1b[2J[red].wav")).write_text("no audio")
    result = run(root, "--index", index)
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.stdout
    assert r"jazz/\xff\x1b[2J[red].wav: " in result.stdout
    assert "[red]x" in result.stdout
    assert json.loads(run(root, "--index", index, "--json").stdout)["unusable"][0]["path"].endswith("[red].wav")


def test_a_purpose_and_a_default_are_taken(root: Path, index: Path, write) -> None:
    write("a.wav")
    write("b.wav")
    (root / "catalogue.csv").write_text("path,style,consent\na.wav,jazz,generator\nb.wav,jazz,\n")
    told = json.loads(run(root, "--index", index, "--json", "--purpose", "generator").stdout)
    assert (told["tracks"], told["withheld"]) == (1, ["b.wav"])
    told = json.loads(run(root, "--index", index, "--json", "--purpose", "editor", "--purpose", "style").stdout)
    assert (told["tracks"], told["withheld"]) == (1, ["a.wav"])
    told = json.loads(run(root, "--index", index, "--json", "--default-consent", "none").stdout)
    assert (told["tracks"], told["withheld"]) == (1, ["b.wav"])


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (["--purpose", "dancing"], "'dancing' is not a purpose.", "style, generator, editor"),
        (["--default-consent", "dancing"], "A consent says 'dancing'", None),
        (["--default-consent", ""], "A consent lists no purpose", None),
    ],
)
def test_a_wrong_option_is_named(root: Path, options: list[str], message: str, hint: str | None) -> None:
    error = run(root, *options).exception
    assert isinstance(error, ConfigurationError)
    assert error.exit_code == 2
    assert message in error.message
    assert hint is None or hint in (error.hint or "")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    result = run(tmp_path / "nowhere")
    assert isinstance(result.exception, CatalogueError)
    assert result.exception.message == f"{tmp_path}/nowhere: There is no such folder."
    assert result.exception.exit_code == 2


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_nothing_usable_is_explained_before_it_is_an_error(root: Path, index: Path, write, options: list[str]) -> None:
    write("jazz/short.wav", seconds=1)
    result = run(root, "--index", index, *options)
    assert isinstance(result.exception, CatalogueError)
    assert result.exception.message == f"{root}: Nothing in this catalogue can be used: 1 too short."
    assert "jazz/short.wav" in result.stdout
    assert not options or json.loads(result.stdout)["tracks"] == 0


def test_help_shows_examples() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert "sottovoce catalogue scan ~/music --purpose generator --json" in result.stdout
    assert "catalogue.csv" in result.stdout


def test_importing_the_commands_imports_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "mutagen", "soundfile", "rich.table"}
    code = f"import sys, sottovoce_client.commands.catalogue; print(*{heavy} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ""


@pytest.mark.slow
def test_the_program_ends_with_the_code_of_its_error(root: Path, index: Path, write) -> None:
    write("jazz/a.wav")
    program = [sys.executable, "-c", "from sottovoce.cli import main; main()", "catalogue", "scan"]
    fine = subprocess.run([*program, root, "--index", index], capture_output=True, text=True)
    assert (fine.returncode, fine.stderr) == (0, "")
    (root / "jazz" / "a.wav").unlink()
    empty = subprocess.run([*program, root, "--index", index], capture_output=True, text=True)
    assert empty.returncode == 2
    assert "Nothing in this catalogue can be used: it is empty." in empty.stderr
    assert "Hint: Arrange audio as STYLE/track" in empty.stderr
    assert "Traceback" not in empty.stderr


@pytest.mark.slow
def test_a_terminal_sees_progress_and_nothing_else_does(root: Path, index: Path, write) -> None:
    for number in range(5):
        write(f"jazz/{number}.wav")
    ours, theirs = pty.openpty()
    program = [sys.executable, "-c", "from sottovoce.cli import main; main()", "catalogue", "scan", root, "--json"]
    done = subprocess.run([*program, "--index", index], stdout=subprocess.PIPE, stderr=theirs, check=True)
    assert json.loads(done.stdout)["tracks"] == 5
    shown = b""
    while select.select([ours], [], [], 0)[0]:  # a terminal gives 4 KiB at a time
        shown += os.read(ours, 1 << 16)
    shown = shown.decode()
    os.close(ours)
    os.close(theirs)
    assert "reading" in shown
    assert "5/5" in shown


@pytest.mark.slow
def test_an_interrupt_ends_the_program_at_once_and_keeps_what_was_learnt(
    root: Path, index: Path, write, program, eventually
) -> None:
    long = write("jazz/long.ogg", seconds=30)
    for number in range(199):
        (root / "jazz" / f"{number}.ogg").write_bytes(long.read_bytes())
    running = program("catalogue", "scan", root, "--index", index)
    wal = index.with_name(index.name + "-wal")
    eventually(
        lambda: wal.exists() and wal.stat().st_size > 20_000,
        "the first batch is written",
        alive=running.alive,
    )
    running.signal(signal.SIGINT)
    assert running.wait() == 130
    assert running.stderr.strip() == "Interrupted."
    told = json.loads(run(root, "--index", index, "--json").stdout)
    assert (told["tracks"], told["reasons"]) == (1, {"duplicate": 199})
    assert 64 <= 200 - told["opened"] < 200
