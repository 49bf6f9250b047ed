"""A neural vocoder: a small network estimates magnitudes within mel bands; phases are computed from them and refined by
a few iterations of fast Griffin-Lim.

The network was trained on public audio only (`sottovoce_simulations.shipped_weights.train_vocoder`).
"""

from functools import lru_cache
from importlib.resources import files

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional

from sottovoce.features import spectrogram
from sottovoce.features.extract import default_spec
from sottovoce.features.spec import FeatureSpec, View
from sottovoce.features.spectrogram import FLOOR
from sottovoce.studio.vocoder.griffin_lim import Inversion, audible, lengthened
from sottovoce.studio.vocoder.phase_gradients import integrated

FILE = "neural.safetensors"
ITERATIONS = 8
CHANNELS = 32
APART = (1, 2, 4, 1, 2, 4)
"""Dilations of the layers in frequency, patches."""
PATCH = 4
"""Neighbouring bins that form one patch."""
RATIOS = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 3 / 2, 2.0)
"""Multiples of a bin's frequency at which related partials lie; low ones lie in bands as narrow as bins."""
AT_ONCE, REACH = 192, 8
"""Frames processed together, and context frames on each side that affect a frame."""
UPDATES = 3
"""Number of updates that fit the network's magnitudes to the given bands."""
_KNOWN = ("sample_rate", "n_fft", "hop_length", "n_mels", "f_min", "f_max", "version")


class Network(nn.Module):
    """Residual convolutions over patches of bins and over frames (He et al., CVPR 2016).

    Args:
        bins: number of bins of the linear spectrum.
    """

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins, self.patches = bins, -(-bins // PATCH)
        self.first = nn.Conv2d(PATCH * (2 + len(RATIOS)), CHANNELS, 3, padding=1)
        self.place = nn.Parameter(torch.zeros(CHANNELS, self.patches, 1))
        self.blocks = nn.ModuleList(map(_Block, APART))
        self.said = nn.Conv2d(CHANNELS, PATCH, 3, padding=1)
        nn.init.zeros_(self.said.weight)
        self.said.bias = nn.Parameter(torch.zeros(PATCH))

    def forward(self, inverted: Tensor, spread: Tensor) -> Tensor:
        """Natural logarithms of linear magnitudes plus `FLOOR`, `[batch, bins, frames]`.

        Args:
            inverted: linear magnitudes from `Inversion.magnitudes`, `[batch, bins, frames]`.
            spread: linear magnitudes from `Inversion.spread`, likewise.
        """
        base, hidden = self.seen(inverted, spread)
        return base + unpatched(self.said(hidden), self.bins)[:, 0]

    def seen(self, inverted: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms before correction, `[batch, bins, frames]`, and the hidden state that corrects them.

        The second is `[batch, CHANNELS, patches, frames]`.
        """
        base = torch.log(inverted + FLOOR)
        every = torch.stack([base, torch.log(spread + FLOOR), *_elsewhere(base)], dim=1)
        hidden: Tensor = self.first(_patched(0.3 * every + 1.5, self.patches)) + self.place
        for block in self.blocks:
            hidden = block(hidden)
        return base, functional.relu(hidden)


class _Block(nn.Module):
    def __init__(self, apart: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=(apart, 1), dilation=(apart, 1))

    def forward(self, values: Tensor) -> Tensor:
        return self.around(functional.relu(values)).add_(values)


def _patched(values: Tensor, patches: int) -> Tensor:
    """`[batch, numbers · PATCH, patches, frames]` from `[batch, numbers, bins, frames]`."""
    values = functional.pad(values, (0, 0, 0, patches * PATCH - values.shape[2]))
    batch, numbers, _, frames = values.shape
    found = values.reshape(batch, numbers, patches, PATCH, frames).movedim(3, 2).flatten(1, 2)
    return found.contiguous(memory_format=torch.channels_last)  # the fastest layout for convolutions


def unpatched(values: Tensor, bins: int) -> Tensor:
    """`[batch, numbers, bins, frames]` from `[batch, numbers · PATCH, patches, frames]`."""
    batch, channels, patches, frames = values.shape
    found = values.reshape(batch, channels // PATCH, PATCH, patches, frames).movedim(2, 3)
    return found.flatten(2, 3)[:, :, :bins]


def _elsewhere(base: Tensor) -> list[Tensor]:
    """Values at other multiples of each bin's frequency, linearly interpolated between bins."""
    bins = torch.arange(base.shape[1])
    found = []
    for ratio in RATIOS:
        places = (ratio * bins).clamp(max=base.shape[1] - 1)
        below = places.floor().long()
        above = (below + 1).clamp(max=base.shape[1] - 1)
        found.append(torch.lerp(base[:, below], base[:, above], (places - below)[:, None]))
    return found


class NeuralVocoder:
    """Magnitudes from the network, phases from the magnitudes, then a few Griffin-Lim iterations.

    Args:
        spec: the spectrograms' feature spec.
        iterations: iterations between spectrogram and audio.
        network: None for the shipped one.
    """

    def __init__(self, spec: FeatureSpec, iterations: int = ITERATIONS, network: Network | None = None) -> None:
        self.hop_length = spec.hop_length
        self._spec, self._iterations = spec, iterations
        self._network = network or shipped()
        self._inversion = Inversion(spec)

    def audio(self, levels: Tensor, generator: torch.Generator) -> Tensor:
        """See `Vocoder`."""
        samples = (levels.shape[1] - 1) * self.hop_length
        magnitudes = self.magnitudes(lengthened(levels, self._spec))
        phases = integrated(magnitudes, self._spec, generator)
        return audible(magnitudes, phases, self._iterations, self._spec)[:samples]

    def magnitudes(self, levels: Tensor) -> Tensor:
        """Linear magnitudes `[bins, frames]` from levels in dB, `[n_mels, frames]`."""
        mel = spectrogram.magnitudes(levels)
        inverted, spread = self._inversion.magnitudes(mel)[None], self._inversion.spread(mel)[None]
        parts: list[Tensor] = []
        with torch.inference_mode():
            for start in range(0, mel.shape[1], AT_ONCE):  # chunks that fit the processor's cache are faster
                first = max(0, start - REACH)
                some = slice(first, start + AT_ONCE + REACH)
                said = self._network(inverted[:, :, some], spread[:, :, some])
                parts.append(said[0, :, start - first :][:, :AT_ONCE])
        found = (torch.cat(parts, dim=1).exp() - FLOOR).clamp(min=0)
        return self._inversion.fitted(found, mel, UPDATES)


def to_bytes(network: Network) -> bytes:
    """The weights as shipped, in half precision."""
    return save({name: value.detach().half().contiguous() for name, value in network.state_dict().items()})


def from_bytes(data: bytes) -> Network:
    """Read weights written by `to_bytes`."""
    network = Network(spectrogram.WINDOW // 2 + 1)
    network.load_state_dict({name: value.float() for name, value in load(data).items()})
    network.eval().requires_grad_(False)
    return network


@lru_cache(maxsize=1)
def shipped() -> Network:
    """The network shipped with the package."""
    return from_bytes(files("sottovoce.studio.vocoder").joinpath(FILE).read_bytes())


def suits(spec: FeatureSpec) -> bool:
    """Whether the shipped network was trained on spectrograms of this spec."""
    known = default_spec(View.SPECTROGRAM)
    return all(getattr(spec, name) == getattr(known, name) for name in _KNOWN)
