"""Using a release needs neither a GPU nor training code: no Flower, no client, no coordinator, no CUDA."""

import os
import subprocess
import sys

from sottovoce.models import discovery

ABSENT = (
    *("flwr", "ray", "triton", "nvidia", "cuda", "cupy", "dp_accounting"),
    *("sottovoce_client", "sottovoce_server", "sottovoce_simulations"),
)
SCRIPT = f"""
import sys
from pathlib import Path

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())

import numpy as np
import torch
from sottovoce.studio.editing.edit_plan import LearnedEffects
from sottovoce.studio.generation import generate
from sottovoce.release.load import load

assert not torch.cuda.is_available()
for folder in sys.argv[1:]:
    release = load(Path(folder))
    rate, task = release.manifest.features.sample_rate, release.manifest.task
    music = 0.1 * np.sin(np.arange(4 * rate) / 10)
    if task == "style":
        found = release.probabilities_of(torch.from_numpy(music).float(), rate)
    elif task == "generator":
        found = generate(release, "reel", 1.0, seed=1)
    else:
        (effect,) = LearnedEffects(1.0, None, None, None).effects(release)
        found = np.concatenate(list(effect.process(iter([music[:, None]]), rate)))
    assert np.isfinite(found).all() and found.any(), folder
    print(Path(folder).name)
"""


def test_releases_are_used_where_nothing_trains(publish):
    models = [(task, family) for task in ("style", "generator", "editor") for family in discovery.families(task)]
    names = [f"{task}-{family}" for task, family in models]
    folders = [
        publish(name, task=task, family=family, feature_spec=discovery.spec_of(task, family).digest)
        for name, (task, family) in zip(names, models, strict=True)
    ]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, folders)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == names
