"""`rnn`: draws music as a sequence of a codec's numbers, each from a distribution given all before it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import torch
from opacus.layers import DPGRU
from torch import Tensor, nn
from torch.nn import functional

from sottovoce.errors import ConfigurationError
from sottovoce.features.spec import FeatureSpec, View
from sottovoce.models.base import Generator, Recipe
from sottovoce.models.generator import _codec
from sottovoce.models.generator._codec import Codec, grouped
from sottovoce.models.recipes import local_noise, shared_noise

CODE, HIDDEN, DEPTH = 96, 192, 64
WORDS = f"codec{_codec.VERSION}"
"""In the parameters' names: those trained on another codec's numbers, which mean something else, do not fit."""
HIDDEN_PAST, UNSTYLED = 0.1, 0.1
"""In training, the shares of groups and of segments whose past and whose style the network is not told."""
GUIDANCE = 2.0
"""How far a style's distributions are pushed away from those of no style (Ho & Salimans, "Classifier-free diffusion
guidance", 2022, equation 6): 1 is not at all."""
DRAWN_TOGETHER = 8
"""Groups of a piece: 0.74 s."""


class Recurrent(nn.Module):
    """A GRU over groups; a group's numbers are drawn one level after the other, each given the levels before it.

    What it is told of numbers that are known is what they stand for, so that it need not learn the codewords.
    """

    def __init__(self, codec: Codec, classes: int) -> None:
        super().__init__()
        self.codec, self.classes = codec, classes
        size, words = codec.words.shape[2], codec.words.shape[1]
        self.encode = nn.Linear(size, CODE)
        self.gru = DPGRU(CODE + classes, HIDDEN, batch_first=True)
        self.known = nn.Linear(HIDDEN + classes, DEPTH)
        self.levels = nn.ModuleList(nn.Linear(size, DEPTH) for _ in range(codec.levels))
        self.words = nn.ModuleDict({WORDS: nn.ModuleList(nn.Linear(DEPTH, words) for _ in range(codec.levels))})

    def states(self, past: Tensor, styles: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What is known before each group, `[batch, steps, DEPTH]`, and the GRU's state.

        Args:
            past: components of the group before each, `[batch, steps, D]`; 0, the mean, before the first one.
            styles: one-hot or 0 where no style is told, `[batch, classes]`.
            state: of the GRU after an earlier call.
        """
        told = styles[:, None].expand(-1, past.shape[1], -1)
        found, state = self.gru(torch.cat([torch.tanh(self.encode(self.codec.scaled(past))), told], dim=2), state)
        known: Tensor = self.known(torch.cat([found, told], dim=2))
        return known, state

    def logits(self, level: int, known: Tensor, before: Tensor) -> Tensor:
        """Of a level's numbers, `[…, words]`.

        Args:
            level: which.
            known: as `states` gives it, `[…, DEPTH]`.
            before: components of the levels before it, `[…, D]`.
        """
        hidden = torch.tanh(known + self.levels[level](self.codec.scaled(before)))
        found: Tensor = cast(nn.ModuleList, self.words[WORDS])[level](hidden)
        return found

    def forward(self, past: Tensor, styles: Tensor, codes: Tensor) -> Tensor:
        """Nats for each group's numbers `codes`, `[batch, steps, levels]`, given the true ones before them."""
        known, _ = self.states(past, styles)
        before, found = torch.zeros_like(past), []
        for level, words in enumerate(self.codec.words):
            logits = self.logits(level, known, before)
            found.append(functional.cross_entropy(logits.flatten(0, 1), codes[..., level].flatten(), reduction="none"))
            before = before + words[codes[..., level]]
        return torch.stack(found, dim=1).view(codes.shape)


class Rnn(Generator):
    """Autoregressive over a codec's numbers, trained on the true ones before each (teacher forcing)."""

    task = "generator"
    name = "rnn"
    view = View.SPECTROGRAM

    def recipe(self, *, private: bool, shared: bool = False) -> Recipe:
        """With privacy few large batches and small steps: noise moves 350,000 numbers away from their start."""
        if shared:
            return replace(
                shared_noise(),
                rounds=20,
                learning_rate=0.1,
                update_clip=20.0,
                server_optimizer="fedavg",
                server_learning_rate=1.0,
            )
        return local_noise(private=private, steps=16, learning_rate=0.3, private_learning_rate=0.1)

    def build(self, spec: FeatureSpec, classes: int) -> nn.Module:
        """The network for spectrograms of the codec's bands; any number of frames from one group on will do.

        Raises:
            ConfigurationError: the codec is for another number of bands.
        """
        codec = _codec.shipped()
        if spec.n_mels != codec.bands:
            raise ConfigurationError(f"'rnn' makes spectrograms of {codec.bands} bands, not of {spec.n_mels}.")
        return Recurrent(codec, classes)

    def losses(self, model: nn.Module, features: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
        """Nats for each number of the codec, `[batch]`; frames beyond the last whole group do not count."""
        network = cast(Recurrent, model)
        with torch.no_grad():
            codes = network.codec.encode(network.codec.components(grouped(features)))
            past = network.codec.decode(codes)
            past = torch.cat([torch.zeros_like(past[:, :1]), past[:, :-1]], dim=1)
        styles = functional.one_hot(targets, network.classes).to(features.dtype)
        if model.training:
            past = past * (torch.rand((*past.shape[:2], 1), generator=generator) >= HIDDEN_PAST)
            styles = styles * (torch.rand((len(styles), 1), generator=generator) >= UNSTYLED)
        losses: Tensor = model(past, styles, codes)
        return losses.mean(dim=(1, 2))

    def sample(
        self, model: nn.Module, targets: Tensor, generator: torch.Generator, *, temperature: float = 1.0
    ) -> Iterator[Tensor]:
        """A few groups after the others, for ever: `[count, n_mels, frames]` each.

        The temperature sharpens the choice of each number; at 0 nothing is random.
        """
        network = cast(Recurrent, model)
        styles = functional.one_hot(targets, network.classes).to(torch.float32)
        # Each piece is followed twice, told its style and not.
        told = torch.cat([styles, torch.zeros_like(styles)])
        group = torch.zeros(len(told), 1, network.codec.words.shape[2])
        state: Tensor | None = None
        while True:
            found = []
            with torch.inference_mode():
                for _ in range(DRAWN_TOGETHER):
                    known, state = network.states(group, told, state)
                    drawn = _drawn(network, known[:, 0], generator, temperature)
                    group = drawn.repeat(2, 1)[:, None]
                    found.append(drawn)
                piece = network.codec.frames(torch.stack(found, dim=1))
            yield piece


def _drawn(network: Recurrent, known: Tensor, generator: torch.Generator, temperature: float) -> Tensor:
    """Components of a group each, `[count, D]`, by what is known told the style and then not, `[2 · count, DEPTH]`."""
    before = torch.zeros(len(known) // 2, network.codec.words.shape[2])
    for level, words in enumerate(network.codec.words):
        told, untold = network.logits(level, known, before.repeat(2, 1)).log_softmax(dim=1).chunk(2)
        chosen = _chosen(untold + GUIDANCE * (told - untold), generator, temperature)
        before = before + words[chosen]
    return before


def _chosen(logits: Tensor, generator: torch.Generator, temperature: float) -> Tensor:
    """One number for each row, `[batch]`."""
    if temperature == 0:
        return logits.argmax(dim=1)
    return torch.multinomial(functional.softmax(logits / temperature, dim=1), 1, generator=generator)[:, 0]


FAMILY = Rnn()
