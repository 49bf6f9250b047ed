"""Promise: nothing that a coordinator announces steers the terminal, or the spreadsheet, of a label's people.

The attack: a run whose task is an escape sequence. The label declined it, and its own `label status` then cleared the
screen, and hid what was declined; `label ledger --csv` gave a formula to whoever opened it.
"""

import csv
import io
import json

import pytest
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce.errors import ConfigurationError
from sottovoce.run.configuration import RunConfiguration
from sottovoce.run.configure import configure_run
from sottovoce.run.request import RunRequest
from sottovoce_client.home.diary import What
from sottovoce_client.home.label_home import LabelHome
from sottovoce_server.home.coordinator_home import ServerHome

WORDS = ("\x1b[2Jgone", "\x1b]0;title\x07", "=HYPERLINK(1)", "a\nb", "[red]", "x" * 5_000, "")


@pytest.fixture
def config():
    return configure_run(RunRequest(family="svm", rounds=2), classes=("blues", "waltz"), labels=3)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("field", ["task", "family"])
def test_what_is_no_word_is_no_task_and_no_family(config, field, word):
    with pytest.raises(ConfigurationError):
        config.changed(**{field: word})
    announced = config.to_bytes().replace(getattr(config, field).encode(), word.encode("unicode_escape"))
    with pytest.raises(ConfigurationError):
        RunConfiguration.from_bytes(announced)


@pytest.mark.parametrize("style", ["\x1b[31m", "a\u202eb", "a\nb", "x" * 201, ""])
def test_what_cannot_be_printed_is_no_style(config, style):
    with pytest.raises(ConfigurationError):
        config.changed(classes=("blues", style))


def test_a_diary_that_was_written_before_is_shown_without_what_steers(tmp_path, config):
    home = LabelHome.create(tmp_path / "home", name="north")
    details = {"task": "\x1b[2Jgone", "family": "\x1b]0;x\x07", "rounds": 2, "reason": "task"}
    home.diary._add(What.REFUSED, bytes(16), details)
    for command in (["status"], ["ledger"], ["ledger", "--csv"], ["status", "--json"]):
        done = CliRunner().invoke(app, ["label", *command, "--home", str(home.root)])
        assert done.exit_code == 0
        assert not {character for character in done.stdout if not character.isprintable() and character != "\n"}
    rows = list(
        csv.DictReader(
            io.StringIO(CliRunner().invoke(app, ["label", "ledger", "--csv", "--home", str(home.root)]).stdout)
        )
    )
    assert rows[0]["task"] == "?[2Jgone"


@pytest.mark.parametrize("file", ["enrolment.json", "confirmations.json", "manifest.sig"])
def test_an_error_quotes_a_strangers_file_without_what_steers(tmp_path, file):
    """The attack: a field whose name is an escape sequence, in a release, say, that somebody verifies."""
    field = "\x1b[2Jgone\x1b]0;title\x07"
    signature = {"role": "coordinator", "name": "x", "public_key": "", "signature": ""}
    sent = [{**signature, field: 1}] if file == "manifest.sig" else {"version": 2, field: 1}
    folder = tmp_path / "of-a-stranger"
    folder.mkdir()
    (folder / file).write_text(json.dumps(sent))
    for name in ("manifest.json", "model.safetensors", "normalisation.safetensors"):
        (folder / name).write_bytes(b"{}")
    home = LabelHome.create(tmp_path / "home", name="north")
    command = {
        "enrolment.json": ["server", "enrol", "--home", str(tmp_path / "server")],
        "confirmations.json": ["label", "confirmations", "--home", str(home.root)],
        "manifest.sig": ["release", "verify"],
    }[file]
    ServerHome.create(tmp_path / "server", federation="isles", address="isles.example:9092")
    done = CliRunner().invoke(app, [*command, str(folder if file == "manifest.sig" else folder / file)])
    assert done.exit_code != 0
    assert "\\x1b[2Jgone" in done.output
    assert not {character for character in done.output if not character.isprintable() and character != "\n"}
