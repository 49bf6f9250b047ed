"""`rnn`: draws music as a sequence of a codec's numbers, each from a distribution given all before it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import cast

import torch
from opacus.layers import DPGRU
from torch import Tensor, nn
from torch.nn import functional

from sottovoce.errors import ConfigurationError
from sottovoce.features.spec import FeatureSpec, View
from sottovoce.models.base import Generator, Recipe
from sottovoce.models.generator import _codec, _outline
from sottovoce.models.generator._codec import CONTEXT, GROUP, NUMBERS, Codec
from sottovoce.models.recipes import local_noise, shared_noise

CODE, HIDDEN, DEPTH, SKETCH = 128, 320, 160, 64
DRAWN = (1,) * 16 + (4,) * ((NUMBERS - 16) // 4)
"""Numbers of a group that are drawn at a time: the first ones, which tell most, one by one."""
CODED = f"codec{_codec.VERSION}"
"""In the parameters' names: those trained on another codec's numbers, which mean something else, do not fit."""
UNSTYLED = 0.1
"""In training, the share of segments of whose style the network is not told."""
WRONG, LOST = 0.3, 0.1
"""In training, the most that past numbers are wrong or past groups are not told, so that the network goes on well from
mistakes of its own."""
OUTLINE_WEIGHT = 0.1
"""Of the mean loss of an outline's numbers over that of all groups' numbers."""
GUIDANCE = 1.5
"""How far a style's distributions are pushed away from those of no style (Ho & Salimans, "Classifier-free diffusion
guidance", 2022, equation 6): 1 is not at all."""
DRAWN_TOGETHER = 8
"""Groups of a piece: 0.74 s."""


class Sequential(nn.Module):
    """Distributions of numbers that are drawn one after the other, each given what stands for those before it.

    Args:
        known: size of what else is known.
        hidden: size of the layer.
        drawn: how many numbers are drawn at a time, independently of each other.
        levels: of each number.
    """

    def __init__(self, known: int, hidden: int, drawn: Sequence[int], levels: int) -> None:
        super().__init__()
        self.drawn, self.levels = tuple(drawn), levels
        self.known = nn.Linear(known, hidden)
        self.before = nn.ModuleList(nn.Linear(count, hidden) for count in list(accumulate(drawn))[:-1])
        self.words = nn.ModuleDict({CODED: nn.ModuleList(nn.Linear(hidden, count * levels) for count in drawn)})

    def logits(self, turn: int, hidden: Tensor, before: Tensor) -> Tensor:
        """Of the numbers of one turn, `[…, numbers, levels]`.

        Args:
            turn: which.
            hidden: what `self.known` makes of all that is known, `[…, hidden]`.
            before: what stands for the numbers of earlier turns, `[…, numbers]`; more is not looked at.
        """
        if turn:
            layer = cast(nn.Linear, self.before[turn - 1])
            hidden = hidden + layer(before[..., : layer.in_features])
        found: Tensor = cast(nn.ModuleList, self.words[CODED])[turn](functional.gelu(hidden))
        return found.view(*found.shape[:-1], -1, self.levels)

    def forward(self, known: Tensor, values: Tensor, numbers: Tensor) -> Tensor:
        """Nats for each of the true `numbers`, `[…, count]`, which `values` stand for."""
        hidden = self.known(known)
        logits = torch.cat([self.logits(turn, hidden, values) for turn in range(len(self.drawn))], dim=-2)
        return functional.cross_entropy(logits.movedim(-1, 1), numbers, reduction="none")


class Recurrent(nn.Module):
    """A GRU over groups. First comes a clip's outline, then each group given it and the groups before.

    What it is told of numbers that are known is what they stand for, so that near ones are alike to it.
    """

    def __init__(self, codec: Codec, classes: int) -> None:
        super().__init__()
        self.codec, self.classes = codec, classes
        self.sketch = Sequential(classes, SKETCH, [1] * _outline.NUMBERS, _outline.LEVELS)
        self.encode = nn.Linear(NUMBERS, CODE)
        told = _outline.NUMBERS + classes
        self.gru = DPGRU(CODE + told, HIDDEN, batch_first=True)
        self.group = Sequential(HIDDEN + CODE + told, DEPTH, DRAWN, _codec.LEVELS)

    def states(
        self, past: Tensor, outline: Tensor, styles: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What is known before each group, `[batch, steps, known]`, and the GRU's state.

        Args:
            past: values of the group before each, `[batch, steps, NUMBERS]`; 0 before the first one.
            outline: what the outline's numbers stand for, `[batch, numbers]`.
            styles: one-hot or 0 where no style is told, `[batch, classes]`.
            state: of the GRU after an earlier call.
        """
        told = torch.cat([outline, styles], dim=1)[:, None].expand(-1, past.shape[1], -1)
        code = functional.gelu(self.encode(past))
        found, state = self.gru(torch.cat([code, told], dim=2), state)
        return torch.cat([found, code, told], dim=2), state

    def forward(self, past: Tensor, styles: Tensor, numbers: Tensor, outline: Tensor) -> tuple[Tensor, Tensor]:
        """Nats for each group's `numbers` and for those of the `outline`, as they are shaped."""
        sketched = _outline.values(outline)
        known, _ = self.states(past, sketched, styles)
        return self.group(known, _codec.values(numbers), numbers), self.sketch(styles, sketched, outline)


class Rnn(Generator):
    """Autoregressive over a codec's numbers, trained on the true ones before each (teacher forcing)."""

    task = "generator"
    name = "rnn"
    view = View.SPECTROGRAM

    def recipe(self, *, private: bool, shared: bool = False) -> Recipe:
        """Small steps, and with privacy few large batches: the start is good, and noise moves every number away."""
        if shared:
            return replace(
                shared_noise(),
                rounds=20,
                learning_rate=0.03,
                update_clip=20.0,
                server_optimizer="fedavg",
                server_learning_rate=1.0,
            )
        return local_noise(private=private, steps=8, learning_rate=0.05, private_learning_rate=0.03)

    def build(self, spec: FeatureSpec, classes: int) -> nn.Module:
        """The network for spectrograms of the codec's bands; any number of frames from one group on will do.

        Raises:
            ConfigurationError: the codec is for another number of bands.
        """
        if spec.n_mels != _codec.BANDS:
            raise ConfigurationError(f"'rnn' makes spectrograms of {_codec.BANDS} bands, not of {spec.n_mels}.")
        return Recurrent(_codec.shipped(), classes)

    def losses(self, model: nn.Module, features: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
        """Nats for each number of the codec, `[batch]`; frames beyond the last whole group do not count."""
        network = cast(Recurrent, model)
        numbers = network.codec.encode(features)
        with torch.no_grad():
            outline = network.codec.outline.encode(features)
        past = _codec.values(numbers)
        past = torch.cat([torch.zeros_like(past[:, :1]), past[:, :-1]], dim=1)
        styles = functional.one_hot(targets, network.classes).to(features.dtype)
        if model.training:
            past = _spoilt(past, generator)
            styles = styles * (torch.rand((len(styles), 1), generator=generator) >= UNSTYLED)
        groups, sketches = model(past, styles, numbers, outline)
        found: Tensor = groups.mean(dim=(1, 2)) + OUTLINE_WEIGHT * sketches.mean(dim=1)
        return found

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
        chosen = _Chosen(generator, temperature)
        with torch.inference_mode():
            outline = _outline.values(chosen(network.sketch, told, _outline.values))
        past, state = torch.zeros(len(told), 1, NUMBERS), None
        # The decoder hears a few groups on either side of those that it makes.
        drawn = torch.zeros(len(styles), 0, NUMBERS, dtype=torch.long)
        before = 0
        while True:
            with torch.inference_mode():
                while drawn.shape[1] < before + DRAWN_TOGETHER + CONTEXT:
                    known, state = network.states(past, outline.repeat(2, 1), told, state)
                    numbers = chosen(network.group, known[:, 0], _codec.values)[:, None]
                    past = _codec.values(numbers).repeat(2, 1, 1)
                    drawn = torch.cat([drawn, numbers], dim=1)
                frames = network.codec.decode(drawn)
                piece = frames[:, :, before * GROUP : (before + DRAWN_TOGETHER) * GROUP]
                kept = min(before + DRAWN_TOGETHER, CONTEXT)
                drawn, before = drawn[:, before + DRAWN_TOGETHER - kept :], kept
            yield piece


class _Chosen:
    """Draws numbers one after the other, by distributions pushed towards the style that is told."""

    def __init__(self, generator: torch.Generator, temperature: float) -> None:
        self._generator, self._temperature = generator, temperature

    def __call__(self, numbers: Sequential, known: Tensor, values: Callable[[Tensor], Tensor]) -> Tensor:
        """Numbers `[count, numbers]` by what is known told the style and then not, `[2 · count, known]`."""
        hidden, found = numbers.known(known), torch.zeros(len(known) // 2, 0, dtype=torch.long)
        for turn in range(len(numbers.drawn)):
            logits = numbers.logits(turn, hidden, values(found).repeat(2, 1))
            told, untold = logits.log_softmax(dim=-1).chunk(2)
            found = torch.cat([found, self._one(untold + GUIDANCE * (told - untold))], dim=1)
        return found

    def _one(self, logits: Tensor) -> Tensor:
        if self._temperature == 0:
            return logits.argmax(dim=-1)
        likelihoods = functional.softmax(logits / self._temperature, dim=-1)
        chosen = torch.multinomial(likelihoods.flatten(0, 1), 1, generator=self._generator)
        return chosen.view(likelihoods.shape[:2])


def _spoilt(past: Tensor, generator: torch.Generator) -> Tensor:
    """The past with some numbers a level beside the true ones and some groups lost, more in some than in others."""
    rate = torch.rand((len(past), 1, 1), generator=generator)
    wrong = torch.rand(past.shape, generator=generator) < WRONG * rate
    beside = torch.randint(0, 2, past.shape, generator=generator) * 2 - 1
    past = past + wrong * beside * (_codec.WIDEST / _codec.HALF)
    return past * (torch.rand((*past.shape[:2], 1), generator=generator) >= LOST * rate)


FAMILY = Rnn()
