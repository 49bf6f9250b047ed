"""The program's frame: help, light imports, and what is said when something goes wrong."""

import errno
import json
import os
import signal
import subprocess
import sys

import click
import pytest
import typer

from sottovoce import errors
from sottovoce.cli import app
from sottovoce.commands import program
from sottovoce.version import __version__

HEAVY = {
    "httpx",
    "fastapi",
    "sqlalchemy",
    "uvicorn",
    "torch",
    "torchaudio",
    "flwr",
    "ray",
    "numpy",
    "sklearn",
    "scipy",
    "matplotlib",
    "opacus",
    "cryptography",
}
LEVELS = ([], ["classify"], ["evaluate"], ["release"], ["release", "show"], ["release", "verify"])
REMOTE = (["release", "list"], ["release", "pull"], ["release", "publish"])
SERVICE = (
    ["registry"],
    ["registry", "serve"],
    ["registry", "token"],
    ["registry", "token", "create"],
    ["registry", "audit"],
)
FOREIGN = (["catalogue"], ["catalogue", "scan"], ["simulate"], ["synthesise"], *SERVICE)


@pytest.fixture
def command_that(monkeypatch, sottovoce):
    """Run `sottovoce probe`, a command from an entry point, which does what a test wants."""

    class Point:
        name = "probe"

        def __init__(self, value):
            self.value = value

        def load(self):
            if isinstance(self.value, Exception):
                raise self.value
            return self.value

    def run(value, *arguments):
        program._loaded.cache_clear()
        monkeypatch.setattr(program, "_entry_points", lambda: {"probe": Point(value)})
        return sottovoce(*(arguments or ["probe"]))

    return run


def raising(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize("level", [*LEVELS, *REMOTE, *FOREIGN], ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_on_every_level(sottovoce, level, flag):
    result = sottovoce(*level, flag)
    assert result.exit_code == 0
    assert " ".join(["Usage: sottovoce", *level]) in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


@pytest.mark.parametrize("level", [*LEVELS, *REMOTE, *SERVICE], ids=" ".join)
def test_help_comes_with_an_example(sottovoce, level):
    assert f"$ sottovoce {' '.join(level)}".rstrip() in sottovoce(*level, "--help").stdout


def test_every_argument_and_option_is_explained():
    def commands(command):
        yield command
        for below in getattr(command, "commands", {}).values():
            yield from commands(below)

    for command in commands(typer.main.get_command(app)):
        assert command.help, command.name
        for parameter in command.params:
            assert parameter.help, (command.name, parameter.name)


def test_help_imports_nothing_heavy():
    levels = [*LEVELS, *REMOTE, *FOREIGN]
    script = f"""
import json, sys
from sottovoce.cli import app
for level in {levels!r}:
    try:
        app([*level, "--help"], prog_name="sottovoce")
    except SystemExit as stop:
        assert stop.code == 0, level
print(json.dumps(sorted(name.partition(".")[0] for name in sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not HEAVY & set(json.loads(done.stdout.splitlines()[-1]))


def test_the_sides_bring_their_commands(sottovoce):
    text = sottovoce("--help").stdout
    assert all(name in text for name in ("catalogue", "simulate", "synthesise", "classify", "evaluate", "release"))


def test_help_groups_the_commands_by_who_uses_them(sottovoce):
    text = sottovoce("--help").stdout
    found = [text.index(word) for word in (" Label ", " catalogue ", " Coordinator ", " registry ", " Researcher ")]
    assert found == sorted(found)
    assert all(name in text for panel in program.PANELS.values() for name in panel)
    assert " serve " not in text  # the old name of `registry serve`


def test_version(sottovoce):
    assert sottovoce("--version").stdout == f"sottovoce {__version__}\n"


def test_no_command_shows_help(sottovoce):
    result = sottovoce()
    assert result.exit_code == 2
    assert "Usage: sottovoce" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["clasify"], "Did you mean 'classify'?"),
        (["classify", "x.wav"], "Missing option '--release'"),
        (["classify", "--release", "r"], "Missing argument 'FILE…'"),
        (["classify", "x.wav", "--release", "r", "--top", "0"], "'--top'"),
        (["release", "verify"], "Missing argument 'DIR'"),
        (["--loud"], "No such option: --loud"),
    ],
)
def test_wrong_use(sottovoce, arguments, message):
    result = sottovoce(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigurationError, 2),
        (errors.ReleaseError, 2),
        (errors.PrivacyError, 3),
        (errors.ProtocolError, 4),
        (errors.RoundAborted, 5),
        (errors.RegistryError, 6),
        (errors.SottovoceError, 1),
    ],
)
def test_an_error_is_said_with_its_hint_and_exit_code(command_that, error, code):
    result = command_that(raising(error("It is [bold]so[/bold].", hint="Do that.")))
    assert result.exit_code == code
    assert result.stderr == "Error: It is [bold]so[/bold].\nHint: Do that.\n"
    assert result.stdout == ""


def test_a_bug_is_called_one(command_that):
    result = command_that(raising(KeyError("x")))
    assert result.exit_code == 70
    assert result.stderr.startswith("Error: This is a bug in Sottovoce (KeyError: 'x').\nHint: Set SOTTOVOCE_DEBUG=1")
    assert "Traceback" not in result.stderr


def test_the_traceback_is_there_for_the_asking(command_that, monkeypatch):
    monkeypatch.setenv("SOTTOVOCE_DEBUG", "1")
    assert "Traceback" in command_that(raising(KeyError("x"))).stderr


def test_a_full_disk(command_that):
    result = command_that(raising(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    assert result.exit_code == 1
    assert "The disk is full" in result.stderr


def test_what_the_system_does_not_allow(command_that):
    result = command_that(raising(PermissionError(errno.EACCES, "Permission denied", "/x\x1b[2J")))
    assert result.exit_code == 1
    assert result.stderr == "Error: System error: Permission denied (/x\\x1b[2J).\n"


def test_too_little_memory(command_that):
    assert "not enough memory" in command_that(raising(MemoryError())).stderr


def test_an_interruption(command_that):
    result = command_that(raising(KeyboardInterrupt()))
    assert result.exit_code == 130
    assert result.stderr == "Interrupted.\n"


def test_a_reader_who_has_seen_enough(command_that):
    result = command_that(raising(BrokenPipeError(errno.EPIPE, "Broken pipe")))
    assert result.exit_code == 1
    assert result.output == ""


def test_a_side_may_bring_a_group(command_that):
    group = typer.Typer(help="Many things.")
    group.callback()(lambda: None)
    group.command("one")(lambda: typer.echo("done"))
    assert command_that(group, "probe", "one").stdout == "done\n"
    assert "completion" not in command_that(group, "probe", "--help").stdout


def test_a_side_may_bring_a_single_command_with_examples(command_that):
    single = typer.Typer()
    single.command(epilog="Examples:\n\n\b\n  sottovoce probe\n  sottovoce probe --more")(lambda: None)
    text = command_that(single, "probe", "--help").stdout
    assert " $ sottovoce probe\n" in "\n".join(line.rstrip() for line in text.splitlines())
    assert "completion" not in text


def test_an_outdated_installation_breaks_one_command_only(command_that):
    broken = ImportError("No module named 'sottovoce_client.gone'")
    result = command_that(broken)
    assert result.exit_code == 2
    assert "The command 'probe' cannot be loaded" in result.stderr
    assert "pip install" in result.stderr
    assert command_that(broken, "--version").exit_code == 0
    assert command_that(broken, "--help").exit_code == 0


def test_paragraphs_wrap_and_examples_do_not(command_that):
    def command():
        """One.

        Two words
        of one paragraph.
        """

    assert "Two words of one paragraph." in command_that(command, "probe", "--help").stdout


def test_examples_at_the_end_of_a_docstring_come_last(command_that):
    def command():
        """One.

        Examples:

            sottovoce probe

            sottovoce probe -h
        """

    _, options, examples = command_that(command, "probe", "--help").stdout.partition("Options")
    assert options
    lines = [line.strip() for line in examples.splitlines()]
    start = lines.index("Examples:")
    assert lines[start + 1 : start + 3] == ["$ sottovoce probe", "$ sottovoce probe -h"]


def test_click_leaves_control_flow_alone(command_that):
    assert command_that(raising(click.exceptions.Exit(7))).exit_code == 7


def test_colours_only_where_a_person_looks(program, release, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = program("release", "verify", release)
    assert coloured.wait() == 0
    assert "\x1b[" in coloured.stdout
    monkeypatch.setenv("NO_COLOR", "1")
    plain = program("release", "verify", release)
    assert plain.wait() == 0
    assert "\x1b[3" not in plain.stdout


@pytest.mark.slow
def test_a_closed_pipe_ends_quietly(release):
    script = f"{sys.executable} -m sottovoce release show {release} --json | head -c 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_control_c_ends_it_with_a_word(program, release, music, eventually):
    """A command that is busy is interrupted as a person would do it."""
    running = program("classify", *[music / "fugue/a.wav"] * 5_000, "--release", release)
    eventually(lambda: running.stdout, "it says something", alive=running.alive)
    running.signal(signal.SIGINT)
    assert running.wait() == 130
    assert running.stderr.splitlines()[-1] == "Interrupted."
