"""Cost of generators: training steps per second with and without privacy, memory, and real-time factor."""

import multiprocessing
import resource
import time
from collections.abc import Sequence
from typing import Any, cast

import torch

from sottovoce.features.normalisation import SpectrogramNormalisation, shipped
from sottovoce.features.spec import View
from sottovoce.models import discovery, parameters
from sottovoce.models.interfaces import Batch, Generator
from sottovoce.studio.vocoder import vocoder_of
from sottovoce.studio.vocoder.interface import long_audio
from sottovoce_client.training.unit_gradients import UnitGradients

BATCH, STEPS, CLASSES = 16, 5, 9
SECONDS = 10.0


def speed(families: Sequence[str]) -> dict[str, Any]:
    """Each family's figures; every step runs in its own process, so that memory is measured separately."""
    return {
        family: {
            **_in_a_process(_drawing, family),
            "step": _in_a_process(_step, family, None),
            "private step": _in_a_process(_step, family, 1.0),
        }
        for family in families
    } | {"vocoder": _in_a_process(_vocoding)}


def _in_a_process(job: Any, *arguments: Any) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(job, arguments)


def _step(name: str, clip: float | None) -> dict[str, float]:
    torch.set_num_threads(1)
    family, spec = discovery.family("generator", name), discovery.spec_of("generator", name)
    vector = parameters.initial(family, spec, CLASSES, 0)
    gradients = UnitGradients(family, parameters.model_of(family, spec, CLASSES, vector), clip)
    batch = Batch(
        torch.randn(BATCH, 1, spec.n_mels, spec.frames),
        torch.arange(BATCH) % CLASSES,
        torch.ones(BATCH, 1, dtype=torch.bool),
    )
    before, begun = _peak(), 0.0
    for number in range(STEPS + 1):
        begun = time.process_time() if number == 1 else begun  # the first one warms up
        gradients.sum(batch, torch.ones(BATCH), torch.Generator())
    return {
        "steps_a_second": STEPS / (time.process_time() - begun),
        "batch": BATCH,
        "megabytes": (_peak() - before) / 1024,
        "parameters": vector.size,
    }


def _drawing(name: str) -> dict[str, float]:
    torch.set_num_threads(1)
    family, spec = cast(Generator, discovery.family("generator", name)), discovery.spec_of("generator", name)
    model = parameters.model_of(family, spec, CLASSES, parameters.initial(family, spec, CLASSES, 0))
    frames, begun = 0, time.process_time()
    for piece in family.sample(model, torch.zeros(1, dtype=torch.long), torch.Generator()):
        frames += piece.shape[2]
        if frames * spec.hop_length >= SECONDS * spec.sample_rate:
            break
    return {"drawing_times_real_time": frames * spec.hop_length / spec.sample_rate / (time.process_time() - begun)}


def _vocoding() -> dict[str, float]:
    torch.set_num_threads(1)
    spec, constants = discovery.spec_of("generator", "rnn"), cast(SpectrogramNormalisation, shipped(View.SPECTROGRAM))
    levels = constants.decibels(torch.randn(spec.n_mels, round(SECONDS * spec.sample_rate / spec.hop_length)))
    begun = time.process_time()
    audio = long_audio(vocoder_of(spec), levels, torch.Generator())
    return {"times_real_time": len(audio) / spec.sample_rate / (time.process_time() - begun)}


def _peak() -> int:
    """Peak memory of the process, kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
