"""Samples of a release, drawn with fresh randomness for each audit, so that no release can be tuned to pass."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from sottovoce.release.load import Release
from sottovoce.studio.generation import generate
from sottovoce_client.copy_audit.sketch import Sketch, as_mono, sketch
from sottovoce_client.data.feature_cache import Progress

SECONDS = 10.0
TEMPERATURES = (1.0, 0.7, 0.4)
"""Sampling temperatures, used in turn: at low temperatures a model reproduces more of what it has memorised."""
_SEEDS = 1 << 48


@dataclass(frozen=True)
class Sample:
    """Settings that repeat a sample: `sottovoce generate --style STYLE --seed SEED --temperature T --seconds 10`."""

    style: str
    seed: int
    temperature: float


def samples(release: Release, each: int, progress: Progress) -> Iterator[tuple[Sample, Sketch]]:
    """Generate new samples of a release, with their sketches.

    Args:
        release: a release for one of `sottovoce_client.copy_audit.TASKS`.
        each: number of samples of each style.
        progress: called with the number of samples done and the total.

    Raises:
        ReleaseError: the release does not generate sound.
    """
    classes = release.manifest.classes
    total = each * len(classes)
    progress(0, total)
    for number in range(total):
        style, temperature = classes[number // each], TEMPERATURES[number % each % len(TEMPERATURES)]
        sample = Sample(style, secrets.randbelow(_SEEDS), temperature)
        audio = generate(release, style, SECONDS, seed=sample.seed, temperature=temperature)
        yield sample, sketch(as_mono(audio, release.manifest.features.sample_rate))
        progress(number + 1, total)
