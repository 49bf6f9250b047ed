"""The comparison of `quality` on real music: five repertoires of rendered scores, 250 pieces each, over five labels.

Instruments are random, so that timbre reveals nothing. Needs the extra `repertoire` (`make repertoire`).
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import platformdirs

from benchmarks.quality import LABELS, compare
from sottovoce_simulations.engine.experiment import Experiment
from sottovoce_simulations.engine.partition import Scheme
from sottovoce_simulations.scores.repertoire import PIECES, repertoire


def rendered(pieces: int = PIECES) -> Path:
    """The rendered scores, made once (minutes) and cached; `SOTTOVOCE_REPERTOIRE` names another folder for them (with
    the number of pieces per class appended)."""
    place = os.environ.get("SOTTOVOCE_REPERTOIRE")
    folder = Path(place) if place else platformdirs.user_cache_path("sottovoce") / "repertoire"
    folder = folder.with_name(f"{folder.name}-{pieces}")
    repertoire(folder, pieces)
    return folder


def run() -> dict[str, Any]:
    """Macro-F1 of every family with and without privacy, and of the baselines."""

    with tempfile.TemporaryDirectory() as folder:
        return compare(Experiment(rendered(), Scheme.parse("iid"), clients=LABELS), Path(folder))


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
