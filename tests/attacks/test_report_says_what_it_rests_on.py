"""Promise: the report of a run states what its privacy depends on."""

import pytest

from sottovoce_simulations.report.write_report import guarantee

LOCAL = {"private": True, "unit": "track", "distributed": None}
SHARED = LOCAL | {"distributed": {"min_honest": 3}}


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        (LOCAL, "depends on nobody else"),
        (SHARED, "at least 3 honest labels"),
        (SHARED | {"unit": "label"}, "whether one label took part"),
        (LOCAL | {"private": False}, "no privacy"),
    ],
)
def test_the_report_says_what_the_guarantee_rests_on(configuration, said):
    text = guarantee(configuration)
    assert said in text
    assert ("nobody else" in text) == (configuration is LOCAL)
