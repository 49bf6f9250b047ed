"""A real SuperLink serves bundles to a real label: only configuration gets in. Breaks if Flower works otherwise."""

import pytest

pytestmark = pytest.mark.slow

EVIL = """
from pathlib import Path
Path({marker!r}).write_text("foreign code ran")
"""


def test_only_configuration_gets_in(served, joined, tmp_path, a_bundle, a_pyproject):
    marker = tmp_path / "marker"
    code = EVIL.format(marker=str(marker)).encode()
    mine = a_pyproject()
    mine["tool"]["flwr"]["app"]["components"]["clientapp"] = "evil:app"
    asking = a_pyproject(project={"name": "sottovoce", "version": "0.1.0", "dependencies": ["evil-package==1.0"]})

    assert served(a_bundle()) == {"nodes": 1, "replies": [{"error": "Malformed", "code": 400}]}
    answers = served(
        a_bundle({"evil.py": code}, mine),
        a_bundle({"sottovoce_client/__init__.py": code, "sottovoce_client/flower/deployed_label.py": code}),
        a_bundle({"sitecustomize.py": code}),
        a_bundle(pyproject=asking),
        a_bundle(pyproject=mine),
    )
    assert answers == 5 * [{"nodes": 1, "replies": [{"error": "The FAB could not be verified.", "code": 7}]}]
    # And the label is still there for those who ask for nothing.
    assert served(a_bundle())["replies"] == [{"error": "Malformed", "code": 400}]
    assert not marker.exists()
    assert not (joined.home.flower / "apps").exists()
    assert joined.said("Refused a bundle")
