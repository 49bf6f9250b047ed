"""A generator that was overfitted on four tracks is caught; trained as long with privacy, it knows none of them."""

import csv
import sys
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.nn import functional

from sottovoce.features.extract import extract_file
from sottovoce.features.normalisation import CLIP
from sottovoce.features.spec import View
from sottovoce.models import discovery
from sottovoce.models.interfaces import Generator
from sottovoce.models.parameters import initial
from sottovoce.privacy.calibration import plan_for
from sottovoce.randomness import Randomness
from sottovoce.release.load import load
from sottovoce_client.copy_audit.release_audit import audit, tracks_of
from sottovoce_client.data.dataset import Sample, TrackDataset
from sottovoce_client.training.dp_sgd import train
from sottovoce_client.training.round_inputs import RoundInputs
from sottovoce_simulations.synthesis import synthesise
from sottovoce_simulations.synthesis.styles import STYLES

pytestmark = pytest.mark.slow

FOUR = tuple(sorted(STYLES))[:4]
STEPS = 40


class Memory(nn.Module):
    """As many parameters per style as a segment has values: enough to memorise one."""

    def __init__(self, size, classes):
        super().__init__()
        self.classes = classes
        self.segments = nn.Linear(classes, size, bias=False)

    def forward(self, styles):
        return self.segments(styles)


class Rote(Generator):
    """Wider than any shipped family: within a minute, those memorise a few tracks only roughly."""

    task, name, view = "generator", "rote", View.SPECTROGRAM

    def recipe(self, *, private, distributed=False):
        raise NotImplementedError

    def build(self, spec, classes):
        self.shape = (spec.n_mels, spec.frames)
        return Memory(spec.n_mels * spec.frames, classes)

    def losses(self, model, features, targets, generator):
        styles = functional.one_hot(targets, model.classes).float()
        return 0.5 * (model(styles) - features.flatten(1)).square().sum(dim=1)

    def sample(self, model, targets, generator, *, temperature=1.0):
        with torch.inference_mode():
            while True:
                yield model(functional.one_hot(targets, model.classes).float()).view(-1, *self.shape).clamp(-CLIP, CLIP)


@pytest.fixture
def family(monkeypatch):
    module = ModuleType("sottovoce.models.generator.rote")
    module.FAMILY = Rote()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(discovery, "families", lambda task: ("rote",))
    return module.FAMILY


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Tracks so short that each is one segment."""
    music = tmp_path_factory.mktemp("short") / "music"
    made = synthesise(music, labels=1, tracks=40, seconds=(5, 6), seed=9, styles=FOUR, skew=1000.0, workers=1)
    sheet = music / made.labels[0] / "catalogue.csv"
    rows = list(csv.DictReader(sheet.open(newline="", encoding="utf-8")))
    with sheet.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        # Artists are unknown, so tracks are held out individually, and some of each style are trained on.
        writer.writerows({**row, "consent": "generator", "artist": "", "album": ""} for row in rows)
    return sheet.parent


@pytest.mark.parametrize("private", [False, True], ids=["without privacy", "at epsilon 8"])
def test_memorised_music_is_caught_and_private_music_is_not(family, small, home_of, publish, config, policy, private):
    home = home_of(small)
    config = config.changed(
        family="rote",
        classes=FOUR,
        private=private,
        rounds=1,
        local_steps=STEPS,
        learning_rate=80.0 if private else 4.0,  # clipped gradients are small: so large, they could get there
        max_grad_norm=1.0,
        trainable=(),
    )
    tracks = tracks_of(home, load(publish(config=config, name="untrained"))).train
    of_style = {track.style: track for track in tracks}
    assert len(of_style) == 4
    spec = discovery.spec_of("generator", "rote")
    found = [(extract_file(track.path, spec).spectrogram, FOUR.index(style)) for style, track in of_style.items()]
    dataset = TrackDataset.build((Sample(segments, target) for segments, target in found), spec)
    start = initial(family, spec, 4, 0)
    plan = plan_for(config, 4) if private else None
    update = train(RoundInputs(family, start, dataset, config, plan, Randomness.for_simulation(3)))
    findings = audit(home, load(publish(config=config, vector=start + update, name="trained")), policy)
    assert findings.passed is private
    if not private:
        assert findings.copied >= 6  # of 8
        assert {match.track for match in findings.matches} <= {track.path for track in of_style.values()}
        assert len({match.track for match in findings.matches}) >= 3
