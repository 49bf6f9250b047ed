"""`rnn`: an autoregressive model of a codec's numbers."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import cast

import torch
from opacus.layers import DPGRU
from torch import Tensor, nn
from torch.nn import functional

from sottovoce.errors import no_sound
from sottovoce.features.spec import FeatureSpec, View
from sottovoce.models.generator import _codec, _outline, _scheduled_sampling
from sottovoce.models.generator._codec import CODED, CONTEXT, GROUP, NUMBERS, Codec, codec_for
from sottovoce.models.generator._style_embedding import STYLE, UNSTYLED, one_hot
from sottovoce.models.interfaces import Generator, TrainingRecipe
from sottovoce.models.recipes import distributed_noise, local_noise, styles_alone

CODE, HIDDEN, DEPTH, SKETCH = 128, 320, 160, 64
HEADS, KEY = 2, 48
REMEMBERED = 256
"""Length of the memory, groups (24 s)."""
DRAWN = (1,) * 16 + (4,) * ((NUMBERS - 16) // 4)
"""Block sizes in which a group's numbers are drawn: the first, most informative ones individually."""
OUTLINE_WEIGHT = 0.1
"""Weight of the outline's mean loss relative to the mean loss over all groups' numbers."""
GUIDANCE = 2.5
"""Classifier-free guidance scale (Ho & Salimans, "Classifier-free diffusion guidance", 2022, equation 6); 1 is no
guidance."""
COOLER = 0.4
"""Temperature factor for numbers drawn in one block: their missing dependence is audible as noise."""
DRAWN_TOGETHER = 8
"""Length of a generated piece, groups (0.74 s)."""
NARROW, AT_PLACE, WIDE = (0.3, 0.8), 0.2, 1.5
"""Initial widths, in levels, of mixture components centred on a prediction, on a given centre, and on the mean."""
WIDER = 4.0
"""Largest change of the logarithm of a width."""
LEAST = 1e-7
"""Smallest likelihood of a level under one component, to keep its logarithm finite."""
NO_END = 1e4
"""Outer edge of the outermost levels; finite, so that gradients are finite."""
KEPT = 0.8
"""Initial weight of the previous value in the linear prediction."""


class LogisticMixture(nn.Module):
    """Autoregressive distributions of numbers, each conditioned on the numbers before it.

    Each is a mixture of logistic distributions, discretised at the edges between levels (Salimans et al., "PixelCNN++",
    2017): two components centred on a linear prediction, one on each given centre (`places`), and one on the overall
    mean. A network, which sees the errors of earlier predictions, gives their weights, widths and offsets.

    Args:
        known: size of the conditioning vector.
        hidden: size of the network's hidden layer.
        drawn: block sizes; numbers of one block are drawn independently.
        levels: number of levels of each number.
        step: distance between levels in values.
        places: number of given centres.
        first: index in the conditioning vector at which the first centre's values begin.
    """

    def __init__(
        self, known: int, hidden: int, drawn: Sequence[int], levels: int, step: float, *, places: int, first: int = 0
    ) -> None:
        super().__init__()
        self.drawn, self.levels, self.step = tuple(drawn), levels, step
        self.widths = (*NARROW, *[AT_PLACE] * places, WIDE)
        earlier = [0, *accumulate(drawn)][:-1]
        self.known = nn.Linear(known, hidden)
        self.linear = nn.ModuleList(nn.Linear(n + known, m) for n, m in zip(earlier, drawn, strict=True))
        self.before = nn.ModuleList(nn.Linear(2 * n, hidden) for n in earlier[1:])
        self.words = nn.ModuleDict({CODED: nn.ModuleList(nn.Linear(hidden, 3 * len(self.widths) * m) for m in drawn)})
        with torch.no_grad():
            for n, layer in zip(earlier, cast("Sequence[nn.Linear]", self.linear), strict=True):
                layer.weight.zero_()
                layer.bias.zero_()
                if places:
                    rows = torch.arange(layer.out_features)
                    layer.weight[rows, n + first + n + rows] = KEPT

    def forward(self, known: Tensor, places: Tensor, values: Tensor) -> Tensor:
        """Negative log-likelihood, in nats, of each number with these `values`, `[…, count]`.

        Args:
            known: `[…, known]`.
            places: `[…, count, places]`.
            values: `[…, count]`.
        """
        means = torch.cat([self._mean(turn, known, values) for turn in range(len(self.drawn))], dim=-1)
        hidden, missed = self.known(known), values - means
        parts = torch.cat([self._parts(turn, hidden, missed) for turn in range(len(self.drawn))], dim=-2)
        return -self._likelihood(parts, self._centres(means, places), values)

    def draw(self, known: Tensor, places: Tensor, choose: Callable[[Tensor], Tensor]) -> Tensor:
        """Sample numbers, `[batch, count]`.

        Args:
            known: `[batch, known]`.
            places: `[batch, count, places]`.
            choose: samples numbers `[batch, n]` from log-likelihoods of the levels, `[batch, n, levels]`.
        """
        hidden, half = self.known(known), self.levels // 2
        scale = (torch.arange(self.levels) - half) * self.step
        numbers, values, missed = [], known[:, :0], known[:, :0]
        for turn, count in enumerate(self.drawn):
            mean = self._mean(turn, known, values)
            centres = self._centres(mean, places[:, values.shape[1] :][:, :count])
            parts = self._parts(turn, hidden, missed)
            chosen = choose(self._likelihood(parts[:, :, None], centres[:, :, None], scale))
            numbers.append(chosen)
            found = (chosen - half) * self.step
            values, missed = torch.cat([values, found], dim=1), torch.cat([missed, found - mean], dim=1)
        return torch.cat(numbers, dim=1)

    def _mean(self, turn: int, known: Tensor, values: Tensor) -> Tensor:
        """Linear prediction of one block's numbers, `[…, numbers]`."""
        return self.linear[turn](torch.cat([values[..., : sum(self.drawn[:turn])], known], dim=-1))

    def _parts(self, turn: int, hidden: Tensor, missed: Tensor) -> Tensor:
        """The network's output for one block, `[…, numbers, 3 · components]`."""
        if turn:
            earlier = missed[..., : sum(self.drawn[:turn])]
            hidden = hidden + self.before[turn - 1](torch.cat([earlier, earlier.abs()], dim=-1))
        found = cast(nn.ModuleList, self.words[CODED])[turn](functional.gelu(hidden))
        return found.view(*found.shape[:-1], self.drawn[turn], -1)

    @staticmethod
    def _centres(means: Tensor, places: Tensor) -> Tensor:
        """Centres of the components before the network's offsets, `[…, numbers, components]`."""
        mean = means[..., None]
        return torch.cat([*[mean] * len(NARROW), places, torch.zeros_like(mean)], dim=-1)

    def _likelihood(self, parts: Tensor, centres: Tensor, values: Tensor) -> Tensor:
        """Log-likelihood of the levels with these `values`, in the common broadcast shape."""
        weights, beside, widths = parts.view(*parts.shape[:-1], 3, -1).unbind(-2)
        centres = centres + self.step * beside
        scales = self.step * widths.new_tensor(self.widths) * widths.clamp(-WIDER, WIDER).exp()
        outermost = (self.levels // 2 - 0.5) * self.step
        low = torch.where(values < -outermost, -NO_END, values - self.step / 2)
        high = torch.where(values > outermost, NO_END, values + self.step / 2)
        above, below = (torch.sigmoid((edge[..., None] - centres) / scales) for edge in (high, low))
        return torch.logsumexp(weights.log_softmax(dim=-1) + (above - below).clamp(min=LEAST).log(), dim=-1)


@dataclass(frozen=True)
class Memory:
    """State carried over from earlier groups.

    Args:
        state: state of the GRU.
        keys: attention keys of each group's context, `[batch, HEADS, groups, KEY]`.
        values: values of the groups, `[batch, groups, NUMBERS]`.
    """

    state: Tensor
    keys: Tensor
    values: Tensor

    def shortened(self) -> "Memory":
        """The memory limited to its newest `REMEMBERED` groups."""
        return Memory(self.state, self.keys[:, :, -REMEMBERED:], self.values[:, -REMEMBERED:])


class Recurrent(nn.Module):
    """A GRU over groups. A clip's outline comes first, then each group conditioned on it and on earlier groups.

    Its inputs are values of numbers, so that nearby numbers are similar inputs. Attention over earlier states recalls
    what followed similar moments, so that motifs return.
    """

    def __init__(self, codec: Codec, classes: int) -> None:
        super().__init__()
        self.codec, self.classes = codec, classes
        self.style = nn.Linear(classes, STYLE, bias=False)
        self.sketch = LogisticMixture(STYLE, SKETCH, [1] * _outline.NUMBERS, _outline.LEVELS, _outline.STEP, places=0)
        self.encode = nn.Linear(NUMBERS, CODE)
        conditioning = _outline.NUMBERS + STYLE
        self.gru = DPGRU(CODE + conditioning, HIDDEN, batch_first=True)
        self.key, self.query = (nn.Linear(HIDDEN + CODE, HEADS * KEY) for _ in range(2))
        first = HIDDEN + CODE
        self.group = LogisticMixture(
            first + (HEADS + 1) * NUMBERS + conditioning,
            DEPTH,
            DRAWN,
            _codec.LEVELS,
            _codec.STEP,
            places=HEADS + 1,
            first=first,
        )

    def states(
        self, past: Tensor, outline: Tensor, styles: Tensor, memory: Memory | None = None
    ) -> tuple[Tensor, Tensor, Memory]:
        """Conditioning vectors before each group, `[batch, steps, known]`, mixture centres of its numbers, `[batch,
        steps, NUMBERS, HEADS + 1]`, and the updated memory.

        Args:
            past: values of the previous group, `[batch, steps, NUMBERS]`; 0 before the first one.
            outline: values of the outline's numbers, `[batch, numbers]`.
            styles: style embeddings; 0 where the style is dropped, `[batch, STYLE]`.
            memory: from an earlier call.
        """
        conditioning = torch.cat([outline, styles], dim=1)[:, None].expand(-1, past.shape[1], -1)
        code = functional.gelu(self.encode(past))
        found, state = self.gru(torch.cat([code, conditioning], dim=2), memory.state if memory else None)
        context = torch.cat([found, code], dim=2)
        queries, keys = (layer(context).unflatten(2, (HEADS, KEY)).transpose(1, 2) for layer in (self.query, self.key))
        # A group's key is its context, and its values arrive one step later.
        values = past
        if memory:
            keys, values = torch.cat([memory.keys, keys], dim=2), torch.cat([memory.values, past], dim=1)
        recalled = _recalled(queries, keys[:, :, :-1], values[:, 1:])
        places = [past, *recalled.unbind(1)]
        known = torch.cat([found, code, *places, conditioning], dim=2)
        return known, torch.stack(places, dim=3), Memory(state, keys, values)

    def redrawn(self, numbers: Tensor, outline: Tensor, styles: Tensor, choose: Callable[[Tensor], Tensor]) -> Tensor:
        """Each group's numbers sampled given the true earlier groups; arguments as for `forward` and `draw`."""
        past = _scheduled_sampling.shifted(_codec.values(numbers))
        with torch.no_grad():
            known, places, _ = self.states(past, _outline.values(outline), styles)
            return self.group.draw(known.flatten(0, 1), places.flatten(0, 1), choose).view_as(numbers)

    def forward(self, past: Tensor, styles: Tensor, numbers: Tensor, outline: Tensor) -> tuple[Tensor, Tensor]:
        """Negative log-likelihoods, in nats, of each group's `numbers` and of the `outline`, in their shapes."""
        sketched = _outline.values(outline)
        known, places, _ = self.states(past, sketched, styles)
        groups = self.group(known, places, _codec.values(numbers))
        return groups, self.sketch(styles, sketched[..., None][..., :0], sketched)


def _recalled(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention over earlier groups' values, `[batch, HEADS, steps, NUMBERS]`; near 0 if no key matches.

    Args:
        queries: queries of the latest steps, `[batch, HEADS, steps, KEY]`.
        keys: keys of all steps but the last one, `[batch, HEADS, groups, KEY]`; a step attends to earlier ones.
        values: `[batch, groups, NUMBERS]`.
    """
    steps, groups = queries.shape[2], keys.shape[2]
    scores = queries @ keys.transpose(2, 3) / math.sqrt(KEY)
    later = torch.ones(steps, groups, dtype=torch.bool).triu(groups - steps + 1)
    scores = scores.masked_fill(later, -torch.inf)
    weights = functional.pad(scores, (1, 0)).softmax(dim=3)[..., 1:]
    return weights @ values[:, None]


class Rnn(Generator):
    """Autoregressive model of the codec's numbers, trained with teacher forcing."""

    task = "generator"
    name = "rnn"
    view = View.SPECTROGRAM

    def recipe(self, *, private: bool, distributed: bool = False) -> TrainingRecipe:
        """Small steps; with privacy, few large batches: the start is good, and noise perturbs every parameter."""
        if distributed:
            return replace(
                distributed_noise(),
                rounds=20,
                learning_rate=0.03,
                update_clip=20.0,
                server_optimizer="fedavg",
                server_learning_rate=1.0,
            )
        return local_noise(private=private, steps=8, learning_rate=0.05, private_learning_rate=0.03)

    def fine_tuning_recipe(self, *, private: bool, distributed: bool = False) -> TrainingRecipe:
        """Only the style embeddings are trained: few enough parameters to be learned despite the noise."""
        return styles_alone(private=private, distributed=distributed)

    def build(self, spec: FeatureSpec, classes: int) -> nn.Module:
        """The network for spectrograms of the codec's bands, at least one group long.

        Raises:
            ConfigurationError: the spec has another number of bands than the codec.
        """
        return Recurrent(codec_for(spec, self.name), classes)

    def losses(self, model: nn.Module, features: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
        """Negative log-likelihood per number of the codec, in nats, `[batch]`; an incomplete last group is ignored."""
        network = cast(Recurrent, model)
        numbers = network.codec.encode(features)
        with torch.no_grad():
            outline = network.codec.outline.encode(features)
        past = _scheduled_sampling.shifted(_codec.values(numbers))
        styles: Tensor = network.style(one_hot(targets, network.classes))
        if model.training:
            styles = styles * (torch.rand((len(styles), 1), generator=generator) >= UNSTYLED)
            own = torch.rand(len(past), generator=generator) < 0.5
            past = _scheduled_sampling.corrupted(past, generator)
            if own.any():
                drawn = network.redrawn(numbers[own], outline[own], styles[own], _scheduled_sampling.sampler(generator))
                past[own] = _scheduled_sampling.with_own_draws(numbers[own], drawn, generator)
        groups, sketches = model(past, styles, numbers, outline)
        return groups.mean(dim=(1, 2)) + OUTLINE_WEIGHT * sketches.mean(dim=1)

    def sample(
        self, model: nn.Module, targets: Tensor, generator: torch.Generator, *, temperature: float = 1.0
    ) -> Iterator[Tensor]:
        """An endless sequence of pieces, `[count, n_mels, frames]` each.

        The temperature sharpens the distribution of each number; at 0 sampling is greedy.
        """
        network = cast(Recurrent, model)
        with torch.inference_mode():
            styles = network.style(one_hot(targets, network.classes))
        # Each piece is computed with and without its style, for guidance.
        conditioning = torch.cat([styles, torch.zeros_like(styles)])
        chosen = _Chosen(generator, temperature)
        with torch.inference_mode():
            outline = _outline.values(
                network.sketch.draw(conditioning, torch.zeros(len(conditioning), _outline.NUMBERS, 0), chosen)
            )
        past, memory = torch.zeros(len(conditioning), 1, NUMBERS), None
        # The decoder needs a few groups of context on either side of a piece.
        drawn = torch.zeros(len(styles), 0, NUMBERS, dtype=torch.long)
        before = 0
        while True:
            with torch.inference_mode():
                while drawn.shape[1] < before + DRAWN_TOGETHER + CONTEXT:
                    known, places, memory = network.states(past, outline, conditioning, memory)
                    numbers = network.group.draw(known[:, 0], places[:, 0], chosen)[:, None]
                    memory = memory.shortened()
                    past = _codec.values(numbers)
                    drawn = torch.cat([drawn, numbers[: len(styles)]], dim=1)
                frames = network.codec.decode(drawn)
                piece = frames[:, :, before * GROUP : (before + DRAWN_TOGETHER) * GROUP]
                kept = min(before + DRAWN_TOGETHER, CONTEXT)
                drawn, before = drawn[:, before + DRAWN_TOGETHER - kept :], kept
            yield piece


class _Chosen:
    """Samples numbers with classifier-free guidance towards the style."""

    def __init__(self, generator: torch.Generator, temperature: float) -> None:
        self._generator, self._temperature = generator, temperature

    def __call__(self, likelihoods: Tensor) -> Tensor:
        """Numbers `[2 · count, n]`, equal in both halves, from log-likelihoods `[2 · count, n, levels]`, conditional in
        the first half and unconditional in the second."""
        conditional, unconditional = likelihoods.chunk(2)
        return self._one(unconditional + GUIDANCE * (conditional - unconditional)).repeat(2, 1)

    def _one(self, logits: Tensor) -> Tensor:
        if not logits.isfinite().all():
            raise no_sound()
        if self._temperature == 0:
            return logits.argmax(dim=-1)
        temperature = self._temperature * (COOLER if logits.shape[1] > 1 else 1)
        likelihoods = functional.softmax(logits / temperature, dim=-1)
        chosen = torch.multinomial(likelihoods.flatten(0, 1), 1, generator=self._generator)
        return chosen.view(likelihoods.shape[:2])


FAMILY = Rnn()
