"""A real SuperLink serves bundles to a real label: only configuration gets in. Breaks if Flower works otherwise."""

import pytest

pytestmark = pytest.mark.slow

FILES = (
    *("evil.py", "sitecustomize.py"),
    *("sottovoce_client/__init__.py", "sottovoce_client/flower/deployed_label.py"),
)
"""Code that would run if it were unpacked; `client/test_bundle_check.py` shows that each alone is refused."""
EVIL = """
from pathlib import Path
Path({marker!r}).write_text("foreign code ran")
"""


def test_only_configuration_gets_in(served, joined, tmp_path, a_bundle, a_pyproject):
    marker = tmp_path / "marker"
    code = EVIL.format(marker=str(marker)).encode()
    asking = a_pyproject(project={"name": "sottovoce", "version": "0.1.0", "dependencies": ["evil-package==1.0"]})
    asking["tool"]["flwr"]["app"]["components"]["clientapp"] = "evil:app"

    answers = served(
        a_bundle(dict.fromkeys(FILES, code)),
        a_bundle(pyproject=asking),
    )
    assert answers == 2 * [{"nodes": 1, "replies": [{"error": "The FAB could not be verified.", "code": 7}]}]
    # And the label still answers those who ask for nothing.
    assert served(a_bundle()) == {"nodes": 1, "replies": [{"error": "Malformed", "code": 400}]}
    assert not marker.exists()
    assert not (joined.home.flower / "apps").exists()
    assert joined.said("Refused a bundle")
