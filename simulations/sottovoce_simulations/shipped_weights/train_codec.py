"""Trains the shipped codec, on public audio only.

`python -m sottovoce_simulations.shipped_weights.train_codec FOLDER`
"""

import argparse
import logging
import math
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from sottovoce.features.normalisation import SpectrogramNormalisation, shipped
from sottovoce.features.spec import View
from sottovoce.files import write_bytes
from sottovoce.models import discovery
from sottovoce.models.generator import _codec, _outline
from sottovoce.models.generator._codec import GROUP, HALF, NUMBERS, WIDEST, Codec, Components, Corrector, grouped
from sottovoce.models.generator._outline import Outline
from sottovoce_simulations.shipped_weights.pretrain import (
    excerpts,
    lengthened,
    public_audio,
    scheduled,
    segments,
)

FINEST = 0.06
"""Smallest distance between levels, relative to the deviation of a whole group; applies to small components."""
STEPS, BATCH, WINDOW = 4000, 16, 40 * GROUP
LEARNING_RATE, WARM_UP = 0.001, 50
CHANGE_WEIGHT = 0.25
"""Weight of the squared error of changes between frames and between bands, relative to that of levels: it preserves
onsets, steadiness and sharp partials."""
LOUDNESS_WEIGHT, LOUDNESS_UNIT = 0.1, 3.0
"""Weight of the squared error of a frame's loudness, and its unit in dB."""
LEAST_WEIGHT, LOUD_POWER = 0.1, 0.35
"""Smallest weight of a band, and exponent of its magnitude over the window's largest: noise has little weight."""
WRONG, FAR = 0.4, 0.15
"""Largest fraction of a window's numbers that are corrupted by one level, and the fraction of those corrupted by two:
sampling errors of a generator should not be audible."""
HELD_OUT = 40
"""Every nth segment is held out."""
LOG_EVERY = 200

_log = logging.getLogger(__name__)


def fit_components(features: Tensor) -> Components:
    """Principal components of groups, `NUMBERS` of them.

    Args:
        features: spectrograms `[n, BANDS, frames]`.
    """
    groups = [grouped(some.float()).flatten(0, 1) for some in torch.split(features, 64)]
    count = sum(len(some) for some in groups)
    mean = torch.stack([some.sum(dim=0) for some in groups]).sum(dim=0) / count
    covariance = sum(((some - mean).T @ (some - mean) for some in groups), torch.zeros(len(mean), len(mean))) / count
    variances, basis = torch.linalg.eigh(covariance)
    variances, basis = variances.flip(0).clamp(min=0), basis.flip(1)[:, :NUMBERS].contiguous()
    finest = FINEST * variances.sum().sqrt()
    return Components(mean, basis, (variances[:NUMBERS].sqrt() * WIDEST / HALF).clamp(min=float(finest)))


def fit_outline(features: Tensor) -> Outline:
    """Principal components of clips' statistics, all with the same weight.

    Args:
        features: spectrograms `[n, bands, frames]`.
    """
    found = torch.cat([_outline.statistics(some.float()) for some in torch.split(features, 64)])
    mean, std = found.mean(dim=0), found.std(dim=0) + 1e-3
    _, lengths, directions = torch.linalg.svd((found - mean) / std, full_matrices=False)
    kept = slice(_outline.NUMBERS)
    deviations = lengths[kept] / (len(found) - 1) ** 0.5
    return Outline(mean, directions[kept].T / std[:, None] / deviations)


def fit(features: Tensor, *, steps: int = STEPS, seed: int = 0) -> Codec:
    """Fit components and outline, then train the corrector on short windows.

    Args:
        features: features of public audio, `[n, BANDS, frames]`; half precision suffices.
        steps: number of Adam steps.
        seed: seed of initial parameters and windows.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        corrector = Corrector()
    codec = Codec(fit_components(features), corrector, fit_outline(features))
    corrector.requires_grad_(True)
    generator = torch.Generator().manual_seed(seed)
    learned = torch.tensor([number for number in range(len(features)) if number % HELD_OUT])
    optimizer = torch.optim.AdamW(corrector.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * scheduled(step, steps, WARM_UP)
        if step % LOG_EVERY == 0:
            _log.info("step %d, held out: loss %.3f", step, _held_out(codec, features))
        chosen = learned[torch.randint(len(learned), (BATCH,), generator=generator)]
        loss = _loss(codec, excerpts(features, chosen, WINDOW, generator), generator)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(corrector.parameters(), 1.0)
        optimizer.step()
    _log.info("%d steps, held out: loss %.3f", steps, _held_out(codec, features))
    corrector.requires_grad_(False)
    return codec


def corrupted(numbers: Tensor, generator: torch.Generator) -> Tensor:
    """Randomly corrupted numbers `[batch, steps, NUMBERS]`; the fraction varies between windows."""
    rate = WRONG * torch.rand((len(numbers), 1, 1), generator=generator)
    far = torch.rand(numbers.shape, generator=generator) < FAR
    beside = (2 * torch.randint(0, 2, numbers.shape, generator=generator) - 1) * (1 + far.long())
    wrong = torch.rand(numbers.shape, generator=generator) < rate
    return (numbers + wrong * beside).clamp(0, 2 * HALF)


def _loss(codec: Codec, features: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Distance between windows `[batch, BANDS, frames]` and their reconstructions; corrupted, with a generator."""
    numbers = codec.components.encode(features)
    if generator is not None:
        numbers = corrupted(numbers, generator)
    made = codec.components.decode(numbers) + codec.corrector(_codec.values(numbers))
    constants = cast(SpectrogramNormalisation, shipped(View.SPECTROGRAM))
    levels = constants.decibels(features)
    below = levels - levels.amax(dim=(1, 2), keepdim=True)
    weight = LEAST_WEIGHT + 10 ** (LOUD_POWER * below / 20)
    left = (features - made) * weight.sqrt()
    changes = left.diff(dim=2).square().mean() + left.diff(dim=1).square().mean()
    unlike = (_loudness(levels) - _loudness(constants.decibels(made))) / LOUDNESS_UNIT
    outline = (left.square().mean() + CHANGE_WEIGHT * changes) / weight.mean()
    return outline + LOUDNESS_WEIGHT * unlike.square().mean()


def _loudness(levels: Tensor) -> Tensor:
    """Loudness of frames in dB, `[batch, frames]`, from bands' levels in dB."""
    return 10 * torch.logsumexp(levels * (math.log(10) / 10), dim=1) / math.log(10)


def _held_out(codec: Codec, features: Tensor) -> float:
    some = features[::HELD_OUT][:32]
    with torch.no_grad():
        return float(_loss(codec, some[:, :, : some.shape[2] // GROUP * GROUP].float()))


def main() -> None:
    """Train the codec and write it into the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="public catalogues")
    parser.add_argument("--out", type=Path, default=Path(_codec.__file__).with_name(_codec.FILE))
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    features = segments(public_audio(options.folder), lengthened(discovery.spec_of("generator", "rnn")))[0]
    write_bytes(options.out, fit(features, steps=options.steps).to_bytes())


if __name__ == "__main__":
    main()
