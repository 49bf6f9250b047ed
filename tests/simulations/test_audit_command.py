"""`sottovoce simulate --audit`: findings in words or as JSON, and an exit code that a script can rely on."""

import json

import pytest

from sottovoce.errors import PrivacyError
from sottovoce.randomness import SystemRandomness
from sottovoce_simulations.attacks import audit as audits
from sottovoce_simulations.attacks.audit import audit
from sottovoce_simulations.commands import audit_display

AUDIT = ("simulate", "--audit", "--rounds", 1, "--epsilon", 2)


@pytest.fixture(autouse=True, scope="module")
def few_sources():
    """Of randomness: what they are opened for is seen in `attacks/test_audit_finds_faults.py`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audits, "SOURCES", 256)
        yield


def test_an_audit_of_the_labels_code_passes(here):
    ran = here(*AUDIT, "--noise", "distributed", "--json")
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert found["passed"]
    assert found["false_alarms"] <= 1e-4
    assert all(check["passed"] and check["p_value"] >= found["threshold"] for check in found["checks"])
    assert {bound: values["canaries"] for bound, values in found["bounds"].items()} == {"rounds": 408, "release": 408}
    assert found["configuration"]["distributed"]["noise_multiplier"] == found["noise_multiplier"]
    assert found["epsilon"] <= 2


@pytest.fixture(scope="module")
def refuted():
    """What an audit finds where labels add a tenth less noise, without bounds of ε; it is made once."""
    gaussian, found = SystemRandomness.gaussian, []

    def once(audited):
        if not found:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(SystemRandomness, "gaussian", lambda self, shape, std: gaussian(self, shape, 0.9 * std))
                found.append(audit(audited, bounds=False))
        return found[0]

    return once


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_fault_is_reported_and_fails(here, monkeypatch, form, refuted):
    monkeypatch.setattr(audit_display, "audit", refuted)
    ran = here(*AUDIT, *form)
    assert ran.exit_code == PrivacyError.exit_code
    if form:
        found = json.loads(ran.stdout)
        assert not found["passed"]
        assert "scale of the noise" in [check["name"] for check in found["checks"] if not check["passed"]]
    else:
        assert "ALARM" in ran.stdout
        assert "scale of the noise" in ran.stdout
        assert "contradict what the labels declare" in ran.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--family", "cnn"), "--family svm"),
        (("--no-dp",), "--family svm with privacy"),
        (("--sweep", "epsilon=1,2"), "Leave out --catalogues and --sweep"),
        (("--catalogues", "music"), "Leave out --catalogues and --sweep"),
    ],
)
def test_what_cannot_be_audited_is_refused_with_the_way_out(here, options, said):
    ran = here(*AUDIT, *options)
    assert ran.exit_code == 2
    assert said in " ".join(ran.output.split())
