"""The rules that came with real labels: hours, folders, least noise, and that the file says what the code does."""

from contextlib import suppress
from dataclasses import fields, replace
from datetime import datetime, time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.errors import ConfigurationError
from sottovoce.federation.refusals import RefusalReason
from sottovoce.privacy.calibration import plan_for, with_more_noise
from sottovoce.run.configuration import DistributedNoise, Trust, Unit
from sottovoce_client.home.hours import Hours
from sottovoce_client.home.policy import Policy
from sottovoce_client.home.policy_template import policy_text


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("09:00-17:00", ["09:00", "16:59"], ["08:59", "17:00", "00:00"]),
        ("22:00-06:00", ["22:00", "23:59", "00:00", "05:59"], ["06:00", "21:59", "12:00"]),
        ("22:00-06:00, 12:00-13:30", ["12:00", "13:29", "02:00"], ["13:30", "07:00"]),
        ("00:00-00:00", ["00:00", "12:00"], []),
        ("", ["00:00", "12:00"], []),
    ],
)
def test_hours_go_on_over_midnight(text, inside, outside):
    hours = Hours.parse(text)
    assert all(hours.allows(time.fromisoformat(at)) for at in inside)
    assert not any(hours.allows(time.fromisoformat(at)) for at in outside)
    assert Hours.parse(str(hours)) == hours


@pytest.mark.parametrize("text", ["9-17", "09:00", "25:00-06:00", "22:60-06:00", "always", "22:00-06:00-07:00"])
def test_hours_written_otherwise_are_refused(text):
    with pytest.raises(ConfigurationError, match="not a time window"):
        Hours.parse(text)


@given(st.text())
def test_any_text_is_hours_or_is_refused(text):
    with suppress(ConfigurationError):
        assert Hours.parse(str(Hours.parse(text))) == Hours.parse(text)


def test_hours_are_local():
    policy = Policy(hours=Hours.parse("22:00-06:00"))
    assert policy.awake(datetime(2026, 1, 1, 23).astimezone())
    assert not policy.awake(datetime(2026, 1, 1, 12).astimezone())


def test_outside_its_hours_a_label_declines(config, agreement, monkeypatch):
    policy = Policy()
    monkeypatch.setattr(Policy, "awake", lambda self, now=None: False)
    assert policy.check(config, agreement, parameters=10) is RefusalReason.HOURS


def test_the_file_says_what_the_code_does(tmp_path):
    file = tmp_path / "policy.toml"
    file.write_text(policy_text())
    assert Policy.from_toml(file) == Policy()
    changed = Policy(
        tasks=frozenset({"editor"}),
        epsilon_lifetime=1e3,
        delta_max=3.7e-7,
        least_unit=Unit.LABEL,
        trust=frozenset({Trust.LOCAL, Trust.DISTRIBUTED}),
        least_noise_multiplier=1.5,
        hours=Hours.parse("22:00-06:00"),
        folders=frozenset({'/srv/ä "b"', "/x"}),
        cosign=False,
    )
    file.write_text(policy_text(changed))
    assert Policy.from_toml(file) == changed


def test_every_rule_is_explained():
    text = policy_text()
    assert all(f"\n{rule.name} = " in text for rule in fields(Policy))


def test_folders_bound_where_catalogues_may_lie():
    policy = Policy(folders=frozenset({"/srv/music"}))
    assert policy.holds(Path("/srv/music"))
    assert policy.holds(Path("/srv/music/jazz"))
    assert not policy.holds(Path("/srv/musicals"))
    assert not policy.holds(Path("/home/me"))
    assert Policy().holds(Path("/home/me"))
    with pytest.raises(ConfigurationError, match="absolute"):
        Policy(folders=frozenset({"music"}))


def test_own_noise_is_raised_to_the_least_and_costs_less(config):
    plan = plan_for(config, 200)
    assert with_more_noise(plan, plan.noise_multiplier / 2) == plan
    noisier = with_more_noise(plan, 2 * plan.noise_multiplier)
    assert noisier.noise_multiplier == 2 * plan.noise_multiplier
    assert noisier.epsilon < plan.epsilon / 1.5
    assert noisier.epsilon_ceiling == plan.epsilon_ceiling


def test_distributed_noise_below_the_least_is_refused(config, agreement):
    distributed = config.changed(distributed=DistributedNoise(min_honest=2, noise_multiplier=1.0, sample_rate=0.1))
    policy = Policy(trust=frozenset({Trust.DISTRIBUTED}))
    assert policy.check(distributed, agreement, parameters=10) is None
    assert replace(policy, least_noise_multiplier=1.0).check(distributed, agreement, parameters=10) is None
    least = replace(policy, least_noise_multiplier=1.1)
    assert least.check(distributed, agreement, parameters=10) is RefusalReason.PRIVACY


def test_a_refusal_by_noise_does_not_depend_on_the_catalogue(config, agreement):
    policy = Policy(least_noise_multiplier=1e5)
    assert policy.check(config, agreement, parameters=10) is None


def test_the_unit_label_covers_all(config, agreement):
    distributed = DistributedNoise(min_honest=2, noise_multiplier=1.0, sample_rate=1.0)
    whole = config.changed(distributed=distributed, unit=Unit.LABEL)
    policy = Policy(trust=frozenset({Trust.DISTRIBUTED}), least_unit=Unit.ARTIST)
    assert policy.check(whole, agreement, parameters=10) is None


def test_the_former_name_of_distributed_noise_is_still_understood(tmp_path):
    file = tmp_path / "policy.toml"
    file.write_text('trust = ["local", "shared"]\n')
    assert Policy.from_toml(file).trust == {Trust.LOCAL, Trust.DISTRIBUTED}
