"""docs/label.md says what the program does: its commands, the policy's rules and their defaults, the home's files."""

import re
from dataclasses import fields
from pathlib import Path

import typer

from sottovoce_client.commands.label.app import label
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy

TEXT = (Path(__file__).parents[2] / "docs" / "label.md").read_text(encoding="utf-8")


def test_every_command_is_described_and_no_other():
    commands = set(typer.main.get_command(label).commands)
    assert set(re.findall(r"sottovoce label ([a-z]+)", TEXT)) == commands


def test_every_rule_of_the_policy_stands_in_the_table():
    table = TEXT.partition("## The policy")[2].partition("## Catalogues")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert named == {rule.name for rule in fields(Policy)}


def test_defaults_are_those_of_the_program():
    policy = Policy()
    defaults = [
        f"| `epsilon_per_run` | {policy.epsilon_per_run:g} |",
        f"| `epsilon_lifetime`, `delta_max` | {policy.epsilon_lifetime:g} at 10⁻⁵ |",
        f"| `least_unit` | `{policy.least_unit}` |",
        f"| `least_noise_multiplier` | {policy.least_noise_multiplier:g} |",
        f"| `allow_non_private` | {str(policy.allow_non_private).lower()} |",
        f"| `least_participants` | {policy.least_participants} |",
        f"| `most_rounds`, `largest_model` | {policy.most_rounds:,}; {policy.largest_model:,} |",
        f"| `trust` | `{', '.join(policy.trust)}` |",
        f"| `default_consent` | `{policy.default_consent}` |",
    ]
    assert policy.delta_max == 1e-5
    assert [row for row in defaults if row not in TEXT] == []


def test_the_files_of_a_home_are_those_in_the_table(tmp_path):
    home = LabelHome.create(tmp_path / "home", name="blue-note")
    table = TEXT.partition("## The home")[2].partition("## The policy")[0]
    named = set(re.findall(r"^\| `([\w.-]+)/?` \|", table, re.MULTILINE))
    made = {path.name for path in home.root.iterdir()} - {"home.json"}  # of no use to people
    assert made <= named
    assert named - made == {
        "confirmations.json",
        "diary.jsonl",
        "cache",
        "enrolment.json",
        "logs-seen.json",
    }  # come later
