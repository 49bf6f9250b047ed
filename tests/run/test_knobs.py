"""Knobs are declared once: checks, options and the documentation's tables follow the declarations."""

import json
from dataclasses import fields
from pathlib import Path

import click
import pytest
import typer

from sottovoce.cli import app
from sottovoce.errors import ConfigurationError
from sottovoce.run.configuration import RunConfiguration
from sottovoce.run.configure import configure_run
from sottovoce.run.knobs import Knob, knobs, table
from sottovoce.run.request import RunRequest

PAGE = Path(__file__).parents[2] / "docs" / "run_options.md"


@pytest.fixture(scope="module")
def config():
    return configure_run(RunRequest(seed=1, min_honest=2), classes=("blues", "waltz"), labels=3)


@pytest.mark.parametrize(
    ("range_", "inside", "outside"),
    [
        ("(0, 1]", [1e-300, 0.5, 1], [0, 1.0000001, -1, float("nan")]),
        ("[1, ∞)", [1, 10**9], [0, float("inf"), float("nan")]),
        ("", [-1, 0, 1e300], [float("nan")]),
    ],
)
def test_a_range_has_the_ends_that_its_brackets_say(range_, inside, outside):
    declared = Knob("Something.", range=range_)
    assert all(map(declared.allows, inside))
    assert not any(map(declared.allows, outside))


@pytest.mark.parametrize("name", [name for name, each in knobs(RunConfiguration).items() if each.range])
def test_each_number_is_held_to_its_declared_range(config, name):
    with pytest.raises(ConfigurationError, match=f"Expected {name}=-1"):
        config.changed(**{name: -1})


@pytest.mark.parametrize("words", [("simulate",), ("server", "train")])
def test_a_commands_options_are_the_requests(words):
    command = typer.main.get_command(app)
    for word in words:
        command = command.get_command(click.Context(command), word)
    defaults = {field.name: field.default for field in fields(RunRequest)}
    options = {option.name: option for option in command.params if option.name in defaults}
    assert set(options) >= {"task", "family", "rounds", "epsilon", "delta", "unit", "balance", "private", "init"}
    for name, option in options.items():
        assert option.default == defaults[name]
        assert option.help.startswith(knobs(RunRequest)[name].help[:-1])


@pytest.mark.parametrize("owner", [RunRequest, RunConfiguration])
def test_the_page_has_the_declared_tables(owner):
    assert table(owner) in PAGE.read_text(encoding="utf-8")


def test_a_configuration_comes_back_from_its_bytes(config):
    assert RunConfiguration.from_bytes(config.to_bytes()) == config


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace('"rounds":', '"rounds":1,"rounds":'),
        lambda text: text.replace('"task":', '"more":1,"task":'),
        lambda text: text.replace('"trainable":[],', ""),
        lambda text: text.replace('"private":true', '"private":1'),
        lambda text: text.replace('"seed":1', '"seed":1.0'),
        lambda text: text.replace('"seed":1', '"seed":true'),
        lambda text: text.replace('"epsilon":8.0', '"epsilon":NaN'),
        lambda text: text.replace('"epsilon":8.0', '"epsilon":1e999'),
        lambda text: text.replace('"unit":"track"', '"unit":"bar"'),
        lambda text: text.replace('"min_honest":2', '"min_honest":0'),
        lambda text: text.replace('"min_honest":2', '"min_honest":2,"period":3'),
        lambda text: " " + text,
        lambda text: text[:-1],
        lambda text: "[" * 100_000,
        lambda text: json.dumps([text]),
    ],
)
def test_bytes_that_are_not_one_configuration_are_refused(config, spoil):
    spoilt = spoil(config.to_bytes().decode())
    assert spoilt.encode() != config.to_bytes()
    with pytest.raises(ConfigurationError):
        RunConfiguration.from_bytes(spoilt.encode())
