"""Pretrains the shipped initial parameters of generators and editors, on public audio only.

`python -m sottovoce_simulations.shipped_weights.pretrain FOLDER SCORES --family rnn`:
FOLDER contains catalogues from `sottovoce synthesise`, SCORES rendered scores from
`sottovoce_simulations.scores.repertoire`. Missing ones are created.
"""

import argparse
import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.layers import DPGRU
from torch import Tensor

from sottovoce.errors import AudioError, CatalogueError
from sottovoce.features.extract import extract_file
from sottovoce.features.spec import FeatureSpec
from sottovoce.models import discovery, interfaces, parameters
from sottovoce.models.initialisation import InitialParameters, read_public, shipped, write_public
from sottovoce.models.interfaces import Family
from sottovoce_simulations.scores.repertoire import LEARNED, learnable, repertoire
from sottovoce_simulations.synthesis import synthesise

STEPS, BATCH, LEARNING_RATE = 6000, 16, 0.003
WARM_UP = 100
"""Steps of linear warm-up of the learning rate, which then decays to 0 along a cosine."""
SCORES: dict[str, Any] = {"pieces": 1080, "seconds": 12.0, "seed": 21}
"""Parameters of scores that are rendered if SCORES is missing."""
PUBLIC: dict[str, Any] = {"labels": 4, "tracks": 1080, "seconds": (12.0, 12.0), "seed": 21, "skew": 100.0}
"""Parameters of catalogues that are created if FOLDER is missing: all styles alike, and no benchmark's music."""
SECONDS = 12.0
"""Length of training segments, seconds; longer than in runs, so that long-range structure is learned."""
EXCERPT = 400
"""Length of the random excerpt that a step sees of each segment, frames (9.3 s)."""
HELD_OUT = 16
"""Every nth track is held out."""
LOG_EVERY = 200

_log = logging.getLogger(__name__)


def lengthened(spec: FeatureSpec) -> FeatureSpec:
    """The same features with segments of `SECONDS`."""
    return replace(spec, segment_seconds=SECONDS, hop_seconds=SECONDS)


def public_audio(folder: Path, rendered: Path | None = None) -> list[Path]:
    """Folders of public audio, created if missing.

    Args:
        folder: folder of synthetic catalogues.
        rendered: folder of rendered scores, if they are used.
    """
    if not folder.exists():
        synthesise(folder, **PUBLIC)
    if rendered is None:
        return [folder]
    if not rendered.exists():
        repertoire(rendered, styles=LEARNED, public=True, **SCORES)
    return [folder, rendered]


def segments(folders: Sequence[Path], spec: FeatureSpec) -> tuple[Tensor, Tensor, Tensor, tuple[str, ...]]:
    """All segments of all tracks, `[n, n_mels, frames]` in half precision, their classes, their tracks, all classes.

    Raises:
        CatalogueError: there is no audio.
    """
    paths = {path: _style(path.relative_to(folder)) for folder in folders for path in learnable(folder)}
    styles = tuple(sorted(set(paths.values())))
    found: list[NDArray[np.floating]] = []
    owners: list[tuple[int, int]] = []
    for number, (path, style) in enumerate(paths.items()):
        try:
            values = extract_file(path, spec).spectrogram
        except AudioError:
            continue
        found.append(values)
        owners += [(styles.index(style), number)] * len(values)
    if not found:
        raise CatalogueError("There is no audio to train on.")
    classes, tracks = torch.tensor(owners).T
    return torch.from_numpy(np.concatenate(found)), classes, tracks, styles


def _style(path: Path) -> str:
    """The folder of a rendered score; for a synthetic track, the one below its label's."""
    return path.parts[1] if path.parts[0].startswith("label-") else path.parts[0]


def pretrain(
    family: Family,
    spec: FeatureSpec,
    data: tuple[Tensor, Tensor, Tensor, tuple[str, ...]],
    steps: int,
    *,
    start: InitialParameters | None = None,
    learning_rate: float = LEARNING_RATE,
    silent: Sequence[str] = (),
) -> InitialParameters:
    """Initial parameters after training with Adam on the family's own loss.

    Args:
        family: the model's family.
        spec: the feature spec.
        data: from `segments`.
        steps: number of steps.
        start: parameters to start from; None for random ones.
        learning_rate: peak learning rate.
        silent: prefixes of names of parameters that are fixed at 0.
    """
    features, targets, tracks, styles = data
    first = start.adapted(family, spec, styles) if start else parameters.initial(family, spec, len(styles), 0)
    model = parameters.model_of(family, spec, len(styles), first).train()
    _hasten(model)
    named = family.private_parameters(model)
    zero = parameters.beginning(named, silent)
    for name in zero:
        torch.nn.init.zeros_(named[name])
    private = [value for name, value in named.items() if name not in zero]
    optimizer = torch.optim.Adam(private, betas=(0.9, 0.98))
    others = [value for name, value in interfaces.trainable(model).items() if name not in named]
    follower = torch.optim.Adam(others, betas=(0.5, 0.98)) if others else None
    generator = torch.Generator().manual_seed(0)
    learned, unseen = (tracks % HELD_OUT != 0).nonzero()[:, 0], (tracks % HELD_OUT == 0).nonzero()[:, 0]
    for step in range(steps):
        for group in optimizer.param_groups + (follower.param_groups if follower else []):
            group["lr"] = learning_rate * scheduled(step, steps, WARM_UP)
        chosen = learned[torch.randint(len(learned), (BATCH,), generator=generator)]
        batch = excerpts(features, chosen, EXCERPT, generator)
        loss = family.losses(model, batch, targets[chosen], generator).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(private, 1.0)
        optimizer.step()
        if follower:
            loss = family.follow(model, batch, targets[chosen], generator)
            follower.zero_grad()
            torch.autograd.backward(loss, inputs=others)
            torch.nn.utils.clip_grad_norm_(others, 1.0)
            follower.step()
        if step % LOG_EVERY == 0:
            _log.info("step %d, held out %.3f", step, _held_out(family, model, features, targets, unseen))
    _log.info("%d steps, held out %.3f", steps, _held_out(family, model, features, targets, unseen))
    arrays = parameters.split(parameters.flatten(model), parameters.shapes(model))
    return InitialParameters(arrays, styles, spec.digest)


def _hasten(model: torch.nn.Module) -> None:
    """Run recurrent layers as one operation: the per-example gradients for which Opacus computes step by step are not
    needed here."""
    for module in model.modules():
        if isinstance(module, DPGRU):
            module.forward = partial(_at_once, module, dict(module.named_parameters()))


def _at_once(
    module: DPGRU, weights: dict[str, Tensor], values: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    sides = ("", "_reverse") if module.bidirectional else ("",)
    if state is None:
        state = values.new_zeros(len(sides) * module.num_layers, len(values), module.hidden_size)
    ordered = [
        weights[f"{kind}_l{layer}{side}"]
        for layer in range(module.num_layers)
        for side in sides
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    found, last = torch.gru(
        values,
        state,
        ordered,
        has_biases=True,
        num_layers=module.num_layers,
        dropout=0.0,
        train=False,
        bidirectional=module.bidirectional,
        batch_first=True,
    )
    return found, last


def scheduled(step: int, steps: int, warm_up: int) -> float:
    """The learning rate of a step, relative to the peak."""
    return min(1, (step + 1) / warm_up) * (1 + math.cos(math.pi * step / steps)) / 2


def excerpts(features: Tensor, chosen: Tensor, longest: int, generator: torch.Generator) -> Tensor:
    """Random excerpts of at most `longest` frames of the chosen segments, in single precision."""
    frames = min(longest, features.shape[2])
    starts = torch.randint(features.shape[2] - frames + 1, chosen.shape, generator=generator)
    pairs = zip(chosen.tolist(), starts.tolist(), strict=True)
    return torch.stack([features[one, :, start : start + frames] for one, start in pairs]).float()


def _held_out(family: Family, model: torch.nn.Module, features: Tensor, targets: Tensor, unseen: Tensor) -> float:
    some, model = unseen[:: max(1, len(unseen) // 64)], model.eval()
    with torch.no_grad():
        losses = family.losses(model, features[some].float(), targets[some], torch.Generator().manual_seed(0))
    model.train()
    return float(losses.mean())


def main() -> None:
    """Pretrain one family and write its parameters into the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="synthetic catalogues")
    parser.add_argument("scores", type=Path, nargs="?", help="rendered scores, to train on as well")
    parser.add_argument("--task", default="generator")
    parser.add_argument("--family", required=True)
    parser.add_argument("--steps", type=int, default=STEPS, help="number of training steps")
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--silent", nargs="*", default=(), help="parameters (prefixes of names) fixed at 0")
    parser.add_argument("--start", type=Path, help="parameters to start from, written by this command")
    parser.add_argument("--out", type=Path, help="output file; default: the shipped file")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    family, spec = discovery.family(options.task, options.family), discovery.spec_of(options.task, options.family)
    start = pretrain(
        family,
        spec,
        segments(public_audio(options.folder, options.scores), lengthened(spec)),
        options.steps,
        start=read_public(options.start) if options.start else None,
        learning_rate=options.learning_rate,
        silent=options.silent,
    )
    write_public(options.out or shipped(options.task, options.family), start)


if __name__ == "__main__":
    main()
