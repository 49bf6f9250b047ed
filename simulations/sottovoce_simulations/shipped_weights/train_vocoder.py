"""Trains the shipped vocoder network, on public audio only.

`python -m sottovoce_simulations.shipped_weights.train_vocoder FOLDER SCORES`, both as for `shipped_weights.pretrain`.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from sottovoce.audio.decoding import read
from sottovoce.errors import AudioError, CatalogueError
from sottovoce.features import spectrogram
from sottovoce.features.extract import default_spec
from sottovoce.features.segments import level
from sottovoce.features.spec import FeatureSpec, View
from sottovoce.features.spectrogram import FLOOR
from sottovoce.files import write_bytes
from sottovoce.studio.vocoder import neural
from sottovoce.studio.vocoder.griffin_lim import Inversion
from sottovoce.studio.vocoder.neural import Network
from sottovoce_simulations.shipped_weights.pretrain import HELD_OUT, SECONDS, public_audio, scheduled
from sottovoce_simulations.shipped_weights.train_gating import tracks

TRACKS = 300
FRAMES, BATCH = 32, 4
PHASES = 0.3
"""Weight of errors of phase differences relative to those of magnitudes."""
STEPS = 1400
LEARNING_RATE, WARM_UP, DECAY = 0.003, 50, 0.01
LOG_EVERY = 50

_log = logging.getLogger(__name__)


class Pupil(nn.Module):
    """The network with auxiliary outputs for training, which improve its magnitudes.

    Args:
        network: the network to train.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.phases = nn.Conv2d(neural.CHANNELS, 4 * neural.PATCH, 3, padding=1)
        nn.init.zeros_(self.phases.weight)
        self.phases.bias = nn.Parameter(torch.zeros(4 * neural.PATCH))

    def forward(self, inverted: Tensor, spread: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The network's output, and expected phase differences to the previous frame and to the next lower bin.

        The differences are complex numbers whose magnitude expresses certainty: in time, beyond the advance of a bin's
        own frequency in one hop; in frequency, for windows centred on their middle.
        """
        base, hidden = self.network.seen(inverted, spread)
        logs = base + neural.unpatched(self.network.said(hidden), self.network.bins)[:, 0]
        said = neural.unpatched(self.phases(hidden), self.network.bins)
        return logs, torch.complex(said[:, 0], said[:, 1]), torch.complex(said[:, 2], said[:, 3])


def gather(paths: Sequence[Path], spec: FeatureSpec) -> list[Tensor]:
    """Audio of each track, `[samples]`, in half precision, at the features' loudness.

    Raises:
        CatalogueError: no track is long enough.
    """
    found = []
    for path in paths:
        try:
            audio = level(read(path, spec.sample_rate), spec)[: round(SECONDS * spec.sample_rate)]
        except AudioError:
            continue
        if len(audio) > FRAMES * spec.hop_length:
            found.append(audio.half())
    if not found:
        raise CatalogueError("There is no audio to train on.")
    return found


def fit(
    audio: Sequence[Tensor], spec: FeatureSpec, *, steps: int = STEPS, seed: int = 0, keep: Path | None = None
) -> Network:
    """Train a network on all tracks except every `HELD_OUT`th.

    Args:
        audio: from `gather`.
        spec: the feature spec.
        steps: number of steps.
        seed: seed of all randomness.
        keep: file for intermediate weights, written every `LOG_EVERY` steps.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(spec.n_fft // 2 + 1)
        pupil = Pupil(network)
    generator = torch.Generator().manual_seed(seed)
    learned = [one for number, one in enumerate(audio) if number % HELD_OUT or len(audio) < HELD_OUT]
    unseen = excerpts(audio[::HELD_OUT], FRAMES, spec, torch.Generator().manual_seed(seed))
    inversion = Inversion(spec)
    optimizer = torch.optim.AdamW(pupil.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=DECAY)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * scheduled(step, steps, WARM_UP)
        if step % LOG_EVERY == 0:
            _log.info("step %d, held out: %s", step, _measured(pupil, unseen, inversion, spec))
            if keep and step:
                write_bytes(keep, neural.to_bytes(network))
        chosen = torch.randint(len(learned), (BATCH,), generator=generator).tolist()
        batch = excerpts([learned[number] for number in chosen], FRAMES, spec, generator)
        loss = sum(losses(pupil, batch, inversion, spec), torch.zeros(()))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(pupil.parameters(), 1.0)
        optimizer.step()
    _log.info("%d steps, held out: %s", steps, _measured(pupil, unseen, inversion, spec))
    network.eval().requires_grad_(False)
    return network


def excerpts(audio: Sequence[Tensor], frames: int, spec: FeatureSpec, generator: torch.Generator) -> Tensor:
    """Audio of `frames` frames from a random position of each track, `[tracks, samples]`, in single precision."""
    samples = (frames - 1) * spec.hop_length
    starts = [int(torch.randint(len(one) - samples + 1, (1,), generator=generator)) for one in audio]
    return torch.stack([one[start : start + samples] for one, start in zip(audio, starts, strict=True)]).float()


def losses(pupil: Pupil, audio: Tensor, inversion: Inversion, spec: FeatureSpec) -> tuple[Tensor, ...]:
    """Log-spectral distance in nepers, spectral convergence, and errors of phase differences in time and frequency.

    Args:
        pupil: the network to measure.
        audio: audio, `[batch, samples]`.
        inversion: inversion of the bands.
        spec: the feature spec.
    """
    wanted = spectrogram.stft(audio, spec.n_fft, spec.hop_length)
    mel = spectrogram.magnitudes(spectrogram.decibels(audio, spec)).movedim(0, 1)
    inverted, spread = (
        way(mel.flatten(1)).reshape(-1, *mel.shape[1:]).movedim(0, 1)
        for way in (inversion.magnitudes, inversion.spread)
    )
    logs, onward, upward = pupil(inverted, spread)
    return *of_magnitudes(logs, wanted.abs()), *of_phases(onward, upward, wanted, spec)


def of_magnitudes(logs: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Log-spectral distance and convergence of the network's output, given linear ones, `[batch, bins, frames]`."""
    distance = (logs - torch.log(wanted + FLOOR)).square().mean(dim=1).sqrt().mean()
    energy = wanted.square().sum(dim=(1, 2)).sqrt() + FLOOR
    convergence = ((logs.exp() - FLOOR - wanted).square().sum(dim=(1, 2)) + 1e-12).sqrt() / energy
    return distance, convergence.mean()


def of_phases(onward: Tensor, upward: Tensor, wanted: Tensor, spec: FeatureSpec) -> tuple[Tensor, Tensor]:
    """Errors of expected phase differences in time and frequency by complex spectra, all `[batch, bins, frames]`."""
    magnitudes, units = wanted.abs(), torch.sgn(wanted)
    bins = torch.arange(wanted.shape[1])[:, None]
    turn = torch.polar(torch.ones(1), -2 * torch.pi * (bins * spec.hop_length % spec.n_fft) / spec.n_fft)
    later, higher = units[:, :, 1:] * units[:, :, :-1].conj() * turn, -units[:, 1:] * units[:, :-1].conj()
    in_time = _off(onward[:, :, 1:], later, (magnitudes[:, :, 1:] * magnitudes[:, :, :-1]).sqrt())
    return PHASES * in_time, PHASES * _off(upward[:, 1:], higher, (magnitudes[:, 1:] * magnitudes[:, :-1]).sqrt())


def _off(found: Tensor, wanted: Tensor, loud: Tensor) -> Tensor:
    """Mean square difference of complex numbers; loud bins have more weight, less than proportionally."""
    weights = (loud + FLOOR).sqrt() - FLOOR**0.5
    squares = torch.view_as_real(found - wanted).square().sum(dim=-1)
    mean: Tensor = (weights * squares).sum() / (weights.sum() + FLOOR)
    return mean


def _measured(pupil: Pupil, unseen: Tensor, inversion: Inversion, spec: FeatureSpec) -> str:
    with torch.no_grad():
        found = [torch.stack(losses(pupil, some, inversion, spec)) for some in torch.split(unseen, BATCH)]
    return " ".join(f"{value:.4f}" for value in torch.stack(found).mean(dim=0).tolist())


def main() -> None:
    """Train the network and write it into the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="synthetic catalogues")
    parser.add_argument("scores", type=Path, nargs="?", help="rendered scores, to train on as well")
    parser.add_argument("--tracks", type=int, default=TRACKS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=Path(neural.__file__).with_name(neural.FILE))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    spec = default_spec(View.SPECTROGRAM)
    audio = gather(tracks(public_audio(options.folder, options.scores), options.tracks), spec)
    write_bytes(options.out, neural.to_bytes(fit(audio, spec, steps=options.steps, keep=options.out)))


if __name__ == "__main__":
    main()
