"""Trains the shipped gating network, which weights the candidates for a gap, on public audio only.

`python -m sottovoce_simulations.shipped_weights.train_gating FOLDER SCORES --gaps FILE`: FOLDER and SCORES as for
`shipped_weights.pretrain`; FILE caches the gaps between runs.
"""

import argparse
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import zip_longest
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor

from sottovoce.errors import CatalogueError
from sottovoce.files import write_bytes
from sottovoce.studio.editing import candidates, gating
from sottovoce.studio.editing.exemplar import ExemplarRepairer
from sottovoce.studio.editing.gating import GatingNetwork
from sottovoce.studio.editing.phase_reconstruction import missing_frames
from sottovoce.studio.editing.repairer import LpcRepairer
from sottovoce_simulations.scores.repertoire import learnable
from sottovoce_simulations.shipped_weights.pretrain import public_audio, scheduled

SECONDS = (0.05, 0.7)
"""Range of gap lengths, seconds; drawn log-uniformly."""
CONTEXT_SECONDS = 1.0
"""Smallest distance from a gap to both ends of a track, seconds."""
QUIET = 1e-3
"""RMS level below which a gap is skipped."""
PLACES = 512
"""Number of positions (band and frame) sampled from each gap; loud ones more often, since energy is measured."""
EVEN = 0.05
"""Fraction of these that are sampled uniformly."""
TRACKS = 1200
"""Number of tracks, each of which provides one gap."""
STEPS, BATCH, PLACES_A_STEP = 2000, 16, 192
LEARNING_RATE, WARM_UP, DECAY = 0.003, 100, 0.05
BEST = 1e-3
"""Error relative to energy below which a gap counts as perfect."""
HELD_OUT = 10
"""Every nth gap is held out."""
LOG_EVERY = 200

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gaps:
    """Positions sampled from each gap; magnitudes divided by the gap's scale, in half precision.

    Args:
        candidates: with their neighbourhoods, `[gaps, places, CANDIDATES, 3, 3]`.
        features: `[gaps, places, FEATURES]`.
        wanted: the true magnitudes, `[gaps, places]`.
        weights: importance weights for estimating sums over all positions, `[gaps, places]`, in single precision.
    """

    candidates: Tensor
    features: Tensor
    wanted: Tensor
    weights: Tensor

    def at(self, chosen: Tensor, places: Tensor | None = None) -> "Gaps":
        """Some gaps, or some positions of them, in single precision."""
        which = (chosen,) if places is None else (chosen[:, None], places)
        return Gaps(*(getattr(self, field.name)[which].float() for field in fields(self)))


def tracks(folders: Sequence[Path], count: int, seed: int = 0) -> list[Path]:
    """Files to train on, taken in turn from each folder, in random order."""
    rng = np.random.default_rng(seed)
    found = []
    for folder in folders:
        paths = learnable(folder)
        found.append([paths[number] for number in rng.permutation(len(paths))])
    return [path for some in zip_longest(*found) for path in some if path is not None][:count]


def gather(paths: Sequence[Path], seed: int = 0) -> Gaps:
    """One gap per track.

    Raises:
        CatalogueError: there are no gaps.
    """
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    found: list[Gaps] = []
    for number, path in enumerate(paths):
        found += list(_gap_of(path, rng, generator))
        if number % LOG_EVERY == 0:
            _log.info("%d of %d tracks", number, len(paths))
    if not found:
        raise CatalogueError("There is no audio to train on.")
    return Gaps(*(torch.stack([getattr(one, field.name) for one in found]) for field in fields(Gaps)))


def _gap_of(path: Path, rng: np.random.Generator, generator: torch.Generator) -> Iterator[Gaps]:
    """A gap in a track's first channel; none if it is too short or too quiet."""
    audio, rate = soundfile.read(path, always_2d=True)
    repairer = ExemplarRepairer()
    frames = round(float(np.exp(rng.uniform(*np.log(SECONDS)))) * rate)
    beside = round(CONTEXT_SECONDS * rate)
    if len(audio) <= 2 * beside + frames:
        return
    start = int(rng.integers(beside, len(audio) - beside - frames))
    gap, around = slice(start, start + frames), round(repairer.context_seconds * rate)
    first = max(0, start - around)
    true = audio[first : gap.stop + around, :1]
    gap = slice(start - first, start - first + frames)
    if np.sqrt(np.mean(np.square(true[gap]))) < QUIET:
        return
    predicted = true.copy()
    predicted[gap] = LpcRepairer().fill(true[: gap.start], true[gap.stop :], frames, rate)
    analysis = repairer.analysis(rate)
    factor = analysis.loudness(float(np.mean(np.square(np.delete(true, np.r_[gap], axis=0)))))
    whole, wanted = (_tensor(some * factor) for some in (predicted, true))
    with torch.inference_mode():
        magnitudes = analysis.spectrum(whole).abs()
        missing = missing_frames(gap, magnitudes.shape[2], analysis)
        matches = candidates.find_matches(candidates.subframe_levels(whole, magnitudes, analysis), missing, analysis)
        known = candidates.candidates_for(magnitudes, missing, matches, analysis)
        if known is None:
            return
        there = torch.pow(10.0, analysis.bands(analysis.spectrum(wanted).abs()[:, :, missing]) / 20) / known.scale
        yield _drawn(known, there[0], generator)


def _tensor(audio: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(audio.T)).float()


def _drawn(known: candidates.Candidates, wanted: Tensor, generator: torch.Generator) -> Gaps:
    """Sample positions from the candidates and the true magnitudes, `[bands, missing]`."""
    padded = gating.padded(known.magnitudes[0])
    around = padded.unfold(1, 3, 1).unfold(2, 3, 1)  # [candidates, bands, missing, 3, 3]
    energy = (wanted.square() + known.magnitudes[0, candidates.DEFAULT, :, 1:-1].square()).flatten()
    chances = energy + EVEN * energy.mean() + 1e-9
    chances = chances / chances.sum()
    chosen = torch.multinomial(chances, PLACES, replacement=True, generator=generator)
    return Gaps(
        around.flatten(1, 2)[:, chosen].transpose(0, 1).half(),
        known.features[0].flatten(1)[:, chosen].T.half(),
        wanted.flatten()[chosen].half(),
        1 / (PLACES * chances[chosen]),
    )


def fit(gaps: Gaps, *, steps: int = STEPS, seed: int = 0) -> GatingNetwork:
    """Train a network on all gaps except every `HELD_OUT`th."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GatingNetwork()
    numbers = torch.arange(len(gaps.wanted))
    learned, unseen = numbers[numbers % HELD_OUT != 0], numbers[numbers % HELD_OUT == 0]
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=DECAY)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * scheduled(step, steps, WARM_UP)
        if step % LOG_EVERY == 0:
            _log.info("step %d, held out: %.2f dB", step, -held_out(model, gaps, unseen))
        chosen = learned[torch.randint(len(learned), (BATCH,), generator=generator)]
        loss = losses(model, gaps.at(chosen, torch.randint(PLACES, (PLACES_A_STEP,), generator=generator))).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    _log.info("%d steps, held out: %.2f dB", steps, -held_out(model, gaps, unseen))
    return model.eval().requires_grad_(False)


def losses(model: GatingNetwork, gaps: Gaps) -> Tensor:
    """Error relative to energy, in dB, of each gap."""
    estimate = model(gaps.candidates.flatten(0, 1), gaps.features.flatten(0, 1)[:, :, None, None]).reshape(
        gaps.wanted.shape
    )
    error = (gaps.weights * (estimate - gaps.wanted).square()).sum(dim=1)
    energy = (gaps.weights * gaps.wanted.square()).sum(dim=1)
    return 10 * torch.log10(error / energy + BEST)


def held_out(model: GatingNetwork, gaps: Gaps, unseen: Tensor) -> float:
    """Mean of `losses` over some gaps."""
    with torch.no_grad():
        return float(torch.cat([losses(model, gaps.at(some)) for some in torch.split(unseen, BATCH)]).mean())


def main() -> None:
    """Train the network and write it into the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="synthetic catalogues")
    parser.add_argument("scores", type=Path, nargs="?", help="rendered scores, to train on as well")
    parser.add_argument("--gaps", type=Path, help="file that caches the gaps")
    parser.add_argument("--tracks", type=int, default=TRACKS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=Path(gating.__file__).with_name(gating.FILE))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    if options.gaps and options.gaps.exists():
        gaps = Gaps(**load(options.gaps.read_bytes()))
    else:
        gaps = gather(tracks(public_audio(options.folder, options.scores), options.tracks))
        if options.gaps:
            write_bytes(options.gaps, save({field.name: getattr(gaps, field.name) for field in fields(gaps)}))
    write_bytes(options.out, gating.to_bytes(fit(gaps, steps=options.steps)))


if __name__ == "__main__":
    main()
