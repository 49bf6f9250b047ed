"""What the `rnn` hears of the past in training: not only the truth, so that it goes on well from its own mistakes."""

from collections.abc import Callable

import torch
from torch import Tensor

from sottovoce.models.generator import _codec

WRONG, LOST = 0.15, 0.05
"""In training, the most that past numbers are wrong or past groups are not told, so that the network goes on well from
mistakes of its own."""
OWN, OWN_GROUPS = 0.7, 4
"""In training, half of the segments have past groups that the network drew itself, given the true ones before: the most
of them, and how many together (Mihaylova & Martins, "Scheduled Sampling for Transformers", 2019)."""
_LEAST_DRAW = 1e-12


def later(values: Tensor) -> Tensor:
    """What is known before each group, `[batch, steps, NUMBERS]`: 0 before the first one."""
    return torch.cat([torch.zeros_like(values[:, :1]), values[:, :-1]], dim=1)


def chooser(generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Draws numbers by the logarithms of how likely they are, along the last axis.

    By Gumbel's trick, which draws something from what is not finite too: no segment may stop a training.
    """

    def choose(likelihoods: Tensor) -> Tensor:
        noise = torch.rand(likelihoods.shape, generator=generator).clamp(min=_LEAST_DRAW)
        return (likelihoods - (-noise.log()).log()).argmax(dim=-1)

    return choose


def own(numbers: Tensor, drawn: Tensor, generator: torch.Generator) -> Tensor:
    """The past with some groups as the network drew them; more in some segments than in others."""
    rate = OWN * torch.rand((len(numbers), 1, 1), generator=generator)
    runs = numbers.shape[1] // OWN_GROUPS + 1
    true = (torch.rand((len(numbers), runs, 1), generator=generator) >= rate).repeat_interleave(OWN_GROUPS, dim=1)
    return later(_codec.values(torch.where(true[:, : numbers.shape[1]], numbers, drawn)))


def spoilt(past: Tensor, generator: torch.Generator) -> Tensor:
    """The past with some numbers a level beside the true ones and some groups lost, more in some than in others."""
    rate = torch.rand((len(past), 1, 1), generator=generator)
    wrong = torch.rand(past.shape, generator=generator) < WRONG * rate
    beside = torch.randint(0, 2, past.shape, generator=generator) * 2 - 1
    past = past + wrong * beside * _codec.STEP
    return past * (torch.rand((*past.shape[:2], 1), generator=generator) >= LOST * rate)
