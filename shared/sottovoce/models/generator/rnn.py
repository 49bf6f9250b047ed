"""`rnn`: draws a spectrogram a few frames at a time, each group from a distribution given all before it."""

import math
from collections.abc import Iterator
from typing import cast

import torch
from opacus.layers import DPGRU
from torch import Tensor, nn
from torch.nn import functional

from sottovoce.features.normalisation import CLIP
from sottovoce.features.spec import FeatureSpec, View
from sottovoce.models.base import Generator, Recipe

GROUP = 4
"""Frames that are drawn together: 93 ms."""
BAND_CODE, HIDDEN, BASIS, MIXTURE, SCALE_BASIS = 32, 96, 48, 4, 8
DROPPED, BLURRED = 0.2, 0.3
"""In training, the share of groups that the network is not shown, and the deviation of noise on the others. Without,
it learns to go on from the true past and not to begin from a style, and loses its way on what it has drawn itself."""
STEEPNESS = 3.0
LEAST_SCALE, LARGEST_SCALE = 0.05, 2.0
_FIRST_SCALE = 1.4
"""Before the sigmoid: a scale of 0.95."""


class Recurrent(nn.Module):
    """A GRU over groups of frames. A group given those before it is a mixture of Gaussians with one scale a number.

    The mean of a component is the last frame, as far as a gate lets it through (sounds last), plus a combination of
    learned spectra, of which there are few, so that the output costs few parameters.
    """

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        self.bands, self.classes = bands, classes
        size = GROUP * bands
        self.encode = nn.Linear(bands, BAND_CODE)
        self.gru = DPGRU(GROUP * BAND_CODE + classes, HIDDEN, batch_first=True)
        self.weights = nn.Linear(HIDDEN + classes, MIXTURE)
        self.coefficients = nn.Linear(HIDDEN + classes, MIXTURE * BASIS)
        self.spectra = nn.Linear(BASIS, size)
        self.narrow = nn.Linear(HIDDEN + classes, 2 * SCALE_BASIS)
        self.scales = nn.Linear(SCALE_BASIS, size)
        self.gates = nn.Linear(SCALE_BASIS, size)
        # It begins as noise of about the deviation that normalised features have, whatever came before.
        nn.init.normal_(self.spectra.weight, std=0.03)
        nn.init.zeros_(self.spectra.bias)
        nn.init.constant_(self.scales.bias, _FIRST_SCALE)

    def forward(self, groups: Tensor, styles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The distribution of each group after those before it.

        Args:
            groups: `[batch, steps, GROUP, bands]`; what precedes the first one is silence (0, the mean).
            styles: one-hot, `[batch, classes]`.

        Returns:
            Log-weights `[batch, steps, MIXTURE]`, means `[batch, steps, MIXTURE, GROUP · bands]`, and log-scales
            `[batch, steps, 1, GROUP · bands]`.
        """
        states, _ = self.gru(self._inputs(groups, styles))
        return self._distribution(states, groups[:, :, -1], styles)

    def step(self, group: Tensor, styles: Tensor, state: Tensor | None) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """The distribution after one more group `[batch, 1, GROUP, bands]`, and the GRU's state."""
        states, state = self.gru(self._inputs(group, styles), state)
        return self._distribution(states, group[:, :, -1], styles), state

    def _inputs(self, groups: Tensor, styles: Tensor) -> Tensor:
        codes = torch.tanh(self.encode(groups)).flatten(2)
        return torch.cat([codes, styles[:, None].expand(-1, codes.shape[1], -1)], dim=2)

    def _distribution(self, states: Tensor, last: Tensor, styles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        known = torch.cat([states, styles[:, None].expand(-1, states.shape[1], -1)], dim=2)
        batch, steps = known.shape[:2]
        log_weights = functional.log_softmax(self.weights(known), dim=2)
        coefficients = torch.tanh(self.coefficients(known)).view(batch, steps, MIXTURE, BASIS)
        for_scale, for_gate = torch.tanh(self.narrow(known)).chunk(2, dim=2)
        gates = torch.sigmoid(STEEPNESS * self.gates(for_gate)).view(batch, steps, GROUP, self.bands)
        lasting = (gates * last[:, :, None]).flatten(2)
        means = lasting[:, :, None] + STEEPNESS * self.spectra(coefficients)
        low, high = math.log(LEAST_SCALE), math.log(LARGEST_SCALE)
        log_scales = low + (high - low) * torch.sigmoid(self.scales(for_scale))
        return log_weights, means, log_scales[:, :, None]


def grouped(features: Tensor) -> Tensor:
    """Spectrograms `[batch, bands, frames]` as whole groups `[batch, steps, GROUP, bands]`."""
    frames = features.transpose(1, 2)
    steps = frames.shape[1] // GROUP
    return frames[:, : steps * GROUP].reshape(len(frames), steps, GROUP, -1)


class Rnn(Generator):
    """Autoregressive over groups of frames, trained on the true ones before each (teacher forcing)."""

    task = "generator"
    name = "rnn"
    view = View.SPECTROGRAM

    def recipe(self, *, private: bool, shared: bool = False) -> Recipe:
        """As for recognising: with privacy large batches, since noise is added once a step."""
        if shared:
            return Recipe(
                rounds=40,
                local_steps=1,
                batch_size=500,
                learning_rate=20.0,
                momentum=0.0,
                max_grad_norm=1.0,
                segments_per_track=1,
                update_clip=100.0,
                ring_bits=32,
                server_optimizer="fedadam",
                server_learning_rate=0.01,
            )
        return Recipe(
            rounds=20,
            local_steps=2 if private else 16,
            batch_size=96 if private else 16,
            learning_rate=1.0 if private else 0.5,
            momentum=0.0 if private else 0.9,
            max_grad_norm=1.0,
            segments_per_track=1,
            update_clip=20.0,
            ring_bits=24,
            server_optimizer="fedavg",
            server_learning_rate=1.0,
        )

    def build(self, spec: FeatureSpec, classes: int) -> nn.Module:
        """The network for spectrograms `[n_mels, frames]`; any number of frames from `GROUP` on will do."""
        return Recurrent(spec.n_mels, classes)

    def losses(self, model: nn.Module, features: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
        """Nats for each number of a spectrogram, `[batch]`; frames beyond the last whole group do not count."""
        groups = grouped(features)
        styles = functional.one_hot(targets, cast(Recurrent, model).classes).to(features.dtype)
        # The first group is drawn given silence.
        before = torch.cat([torch.zeros_like(groups[:, :1]), groups[:, :-1]], dim=1)
        if model.training:
            before = _blurred(before, generator)
        log_weights, means, log_scales = model(before, styles)
        found = groups.flatten(2)[:, :, None]
        deviations = (found - means) * torch.exp(-log_scales)
        each = -0.5 * deviations.square() - log_scales - 0.5 * math.log(2 * math.pi)
        densities = torch.logsumexp(log_weights + each.sum(dim=3), dim=2)
        return -densities.mean(dim=1) / found.shape[3]

    def sample(
        self, model: nn.Module, targets: Tensor, generator: torch.Generator, *, temperature: float = 1.0
    ) -> Iterator[Tensor]:
        """Group after group, for ever: `[count, n_mels, GROUP]` each.

        The temperature scales each Gaussian's deviation and sharpens the choice between them; at 0 nothing is random.
        """
        network = cast(Recurrent, model)
        styles = functional.one_hot(targets, network.classes).to(torch.float32)
        group = torch.zeros(len(targets), 1, GROUP, network.bands)
        state: Tensor | None = None
        while True:
            with torch.inference_mode():
                (log_weights, means, log_scales), state = network.step(group, styles, state)
                chosen = _chosen(log_weights[:, 0], generator, temperature)
                mean = means[:, 0].gather(1, chosen[:, None, None].expand(-1, 1, means.shape[3]))[:, 0]
                noise = torch.randn(mean.shape, generator=generator)
                group = (mean + temperature * torch.exp(log_scales[:, 0, 0]) * noise).clamp(-CLIP, CLIP)
                group = group.view(len(targets), 1, GROUP, network.bands)
            yield group[:, 0].transpose(1, 2)


def _blurred(groups: Tensor, generator: torch.Generator) -> Tensor:
    noisy = groups + BLURRED * torch.randn(groups.shape, generator=generator)
    return noisy * (torch.rand((*groups.shape[:2], 1, 1), generator=generator) >= DROPPED)


def _chosen(log_weights: Tensor, generator: torch.Generator, temperature: float) -> Tensor:
    """One component for each row, `[batch]`."""
    if temperature == 0:
        return log_weights.argmax(dim=1)
    return torch.multinomial(functional.softmax(log_weights / temperature, dim=1), 1, generator=generator)[:, 0]


FAMILY = Rnn()
