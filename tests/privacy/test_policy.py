from dataclasses import replace

import pytest

from sottovoce.errors import ConfigurationError
from sottovoce.federation.agreement import Agreement, Member
from sottovoce.federation.refusals import RefusalReason
from sottovoce.run.configuration import DistributedNoise, Trust, Unit
from sottovoce_client.home.policy import Policy


@pytest.fixture
def agreement():
    members = tuple(Member(f"label-{number}", bytes([number]) * 32) for number in range(5))
    return Agreement("test", b"c" * 32, members)


def test_defaults_are_safe():
    policy = Policy()
    assert not policy.allow_non_private
    assert policy.ceilings.allow_non_private is False
    assert policy.least_participants >= 3
    assert policy.epsilon_per_run <= policy.epsilon_lifetime < float("inf")
    assert policy.delta_max <= 1e-5
    assert policy.trust == {Trust.LOCAL}


def test_a_missing_file_means_the_defaults(tmp_path):
    assert Policy.from_toml(tmp_path / "policy.toml") == Policy()


def test_a_file_sets_what_it_names(tmp_path):
    file = tmp_path / "policy.toml"
    file.write_text("""
        tasks = ["style", "editor"]
        families = ["svm"]
        purposes = ["style"]
        epsilon_per_run = 2
        epsilon_lifetime = 1e3
        delta_max = 1e-6
        least_unit = "artist"
        allow_non_private = true
        least_participants = 4
        most_rounds = 10
        largest_model = 1000
        trust = ["local"]
    """)
    assert Policy.from_toml(file) == Policy(
        tasks=frozenset({"style", "editor"}),
        families=frozenset({"svm"}),
        purposes=frozenset({"style"}),
        epsilon_per_run=2.0,
        epsilon_lifetime=1e3,
        delta_max=1e-6,
        least_unit=Unit.ARTIST,
        allow_non_private=True,
        least_participants=4,
        most_rounds=10,
        largest_model=1000,
        trust=frozenset({Trust.LOCAL}),
    )


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("epsilon_per_rum = 3.0", "unknown setting 'epsilon_per_rum'", "Did you mean 'epsilon_per_run'?"),
        ("alow_non_private = true", "unknown setting 'alow_non_private'", "Did you mean 'allow_non_private'?"),
        ("oldest_protocol = 1", "Expected oldest_protocol=1", None),
        ("oldest_protocol = 99", "Expected oldest_protocol=99", None),
        ("'' = 3", "unknown setting ''", None),
        ("= 3", "cannot be read", None),
        ("default_consent = 3", "'default_consent' has a value of the wrong type", None),
        ("hours = 3", "'hours' has a value of the wrong type", None),
        ("trust = 3", "'trust' has a value of the wrong type", None),
        ("most_rounds = ['a']", "'most_rounds' has a value of the wrong type", None),
        ("epsilon_per_run = '8'", "'epsilon_per_run' has a value of the wrong type", None),
        ("epsilon_per_run = nan", "'epsilon_per_run' has a value of the wrong type", None),
        ("epsilon_per_run = true", "'epsilon_per_run' has a value of the wrong type", None),
        ("epsilon_per_run = 0", "Expected epsilon_per_run=0.0 > 0", None),
        ("epsilon_lifetime = -1", "Expected epsilon_lifetime=-1.0 > 0 and finite", None),
        ("epsilon_lifetime = inf", "Expected epsilon_lifetime=inf > 0 and finite", None),
        ("least_participants = " + "9" * 5_000, "cannot be read", None),
        ("delta_max = 1.0", "Expected delta_max=1.0 in (0, 1)", None),
        ("least_participants = 2", "Expected least_participants=2 >= 3", None),
        ("least_participants = 3.5", "'least_participants' has a value of the wrong type", None),
        ("most_rounds = 0", "Expected most_rounds=0 >= 1", None),
        ("allow_non_private = 1", "'allow_non_private' has a value of the wrong type", None),
        ("least_unit = 'album'", "'least_unit' cannot be 'album'", None),
        ("trust = ['nobody']", "'trust' cannot be", None),
        ("tasks = 'style'", "'tasks' has a value of the wrong type", None),
        ("tasks = [1]", "'tasks' has a value of the wrong type", None),
    ],
)
def test_a_wrong_policy_is_named(tmp_path, text, message, hint):
    file = tmp_path / "policy.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        Policy.from_toml(file)
    assert message in caught.value.message
    assert str(tmp_path) not in caught.value.message
    assert caught.value.exit_code == 2
    if hint:
        assert caught.value.hint == hint


def test_declared_units_are_those_of_the_run_and_a_label_is_one():
    policy = Policy(declared_tracks=500, declared_artists=30)
    assert [policy.declared(unit) for unit in (Unit.TRACK, Unit.ARTIST, Unit.LABEL)] == [500, 30, 1]


def test_a_round_needs_a_threshold_of_confirmed_labels_or_as_many_as_the_policy_says():
    assert [Policy().confirmed_of(labels) for labels in (3, 4, 5, 10)] == [2, 2, 3, 6]
    assert Policy(least_confirmed=4).confirmed_of(5) == 4


def test_text_that_is_no_utf8_is_named(tmp_path):
    (tmp_path / "policy.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Policy.from_toml(tmp_path / "policy.toml")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"epsilon": 100.0, "delta": 1e-3}, None),  # ceilings that a label may stay below
        ({"task": "generator"}, RefusalReason.TASK),
        ({"family": "transformer"}, RefusalReason.FAMILY),
        ({"private": False}, RefusalReason.PRIVACY),
        ({"rounds": 1001}, RefusalReason.ROUNDS),
    ],
)
def test_a_run_is_checked_against_the_policy(config, agreement, changes, reason):
    assert Policy().check(config.changed(**changes), agreement, parameters=1000) is reason


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"purposes": frozenset()}, RefusalReason.PURPOSE),
        ({"least_unit": Unit.ARTIST}, RefusalReason.PRIVACY),
        ({"trust": frozenset()}, RefusalReason.TRUST),
        ({"least_participants": 6}, RefusalReason.PARTICIPANTS),
        ({"largest_model": 999}, RefusalReason.MODEL_SIZE),
    ],
)
def test_a_stricter_policy_refuses(config, agreement, rules, reason):
    assert Policy(**rules).check(config, agreement, parameters=1000) is reason


def test_a_run_that_protects_artists_satisfies_a_label_that_asks_for_tracks(config, agreement):
    assert Policy().check(config.changed(unit=Unit.ARTIST), agreement, parameters=1) is None


def test_no_privacy_needs_permission(config, agreement):
    allowing = Policy(allow_non_private=True, least_unit=Unit.ARTIST, trust=frozenset())
    assert allowing.check(config.changed(private=False), agreement, parameters=1) is None


@pytest.mark.parametrize(
    "rules",
    [
        {"least_participants": 5},
        {"most_rounds": 20},
        {"largest_model": 1000},
        {"most_assumed_honest": 1},
        {"least_unit": Unit.TRACK},
    ],
    ids=str,
)
def test_what_a_policy_just_allows_is_accepted(config, agreement, rules):
    assert Policy(**rules).check(config, agreement, parameters=1000) is None


def test_a_run_that_assumes_more_honest_labels_than_its_people_do_is_refused(config, agreement):
    distributed = config.changed(distributed=DistributedNoise(2, 1.0, 0.1), local_steps=1)
    policy = Policy(trust=frozenset({Trust.DISTRIBUTED}))
    assert replace(policy, most_assumed_honest=2).check(distributed, agreement, parameters=1) is None
    few = replace(policy, most_assumed_honest=1)
    assert few.check(distributed, agreement, parameters=1) is RefusalReason.TRUST


WRONG = {
    "epsilon_per_run": (0, -1),
    "epsilon_lifetime": (0,),
    "delta_max": (0.0, 1.0),
    "least_participants": (2,),
    "least_confirmed": (1, -1),
    "most_assumed_honest": (0,),
    "most_rounds": (0,),
    "largest_model": (0,),
    "declared_tracks": (-10, 487),
    "declared_artists": (-10, 487),
    "least_noise_multiplier": (-0.1, float("inf")),
    "audit_samples": (1, 1001),
    "audit_false_alarms": (9e-7, 0.21),
}
RIGHT = {
    "epsilon_per_run": (0.1,),
    "epsilon_lifetime": (0.1, 1e6),
    "delta_max": (1e-12, 0.99),
    "least_participants": (3,),
    "least_confirmed": (0, 2),
    "most_assumed_honest": (1,),
    "most_rounds": (1,),
    "largest_model": (1,),
    "declared_tracks": (0, 7, 490),
    "declared_artists": (0, 7, 490),
    "least_noise_multiplier": (0.0, 0.1),
    "audit_samples": (2, 1000),
    "audit_false_alarms": (1e-6, 0.2),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_rule_out_of_its_range_is_refused(name, value):
    with pytest.raises(ConfigurationError, match=f"Expected {name}="):
        Policy(**{name: value})


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in RIGHT.items() for value in values])
def test_a_rule_at_the_end_of_its_range_is_accepted(name, value):
    assert getattr(Policy(**{name: value}), name) == value


def test_the_label_sets_what_a_silent_track_consents_to(tmp_path) -> None:
    (tmp_path / "policy.toml").write_text('default_consent = "generator until 2030-01-31"\n')
    assert str(Policy.from_toml(tmp_path / "policy.toml").default_consent) == "generator until 2030-01-31"
    (tmp_path / "policy.toml").write_text('default_consent = "everything"\n')
    with pytest.raises(ConfigurationError, match="everything"):
        Policy.from_toml(tmp_path / "policy.toml")
