"""What a release makes, drawn afresh for each audit, so that no release can be prepared for what will be looked at."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from sottovoce.release.load import Release
from sottovoce.studio.generation import generate
from sottovoce_client.copy_audit.sketch import Sketch, heard, sketch
from sottovoce_client.data.feature_cache import Progress

SECONDS = 10.0
TEMPERATURES = (1.0, 0.7, 0.4)
"""Taken in turn: what a model has learnt by heart comes out the more clearly the less chance has a say."""
_SEEDS = 1 << 48


@dataclass(frozen=True)
class Sample:
    """How to make one again: `sottovoce generate --style STYLE --seed SEED --temperature T --seconds 10`."""

    style: str
    seed: int
    temperature: float


def samples(release: Release, each: int, progress: Progress) -> Iterator[tuple[Sample, Sketch]]:
    """New samples of a release, with their sketches.

    Args:
        release: of one of `sottovoce_client.copy_audit.TASKS`.
        each: how many of each style.
        progress: told how many samples of how many are done.

    Raises:
        ReleaseError: what it makes is no sound.
    """
    classes = release.manifest.classes
    total = each * len(classes)
    progress(0, total)
    for number in range(total):
        style, temperature = classes[number // each], TEMPERATURES[number % each % len(TEMPERATURES)]
        sample = Sample(style, secrets.randbelow(_SEEDS), temperature)
        audio = generate(release, style, SECONDS, seed=sample.seed, temperature=temperature)
        yield sample, sketch(heard(audio, release.manifest.features.sample_rate))
        progress(number + 1, total)
