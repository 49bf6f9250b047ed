"""Scheduled sampling: the `rnn` trains on corrupted and self-sampled histories, so it recovers from its own errors."""

from collections.abc import Callable

import torch
from torch import Tensor

from sottovoce.models.generator import _codec

WRONG, DROPPED = 0.15, 0.05
"""Largest fractions, in training, of past numbers that are off by one level and of past groups that are dropped."""
OWN_DRAWS, OWN_RUN = 0.7, 4
"""Largest fraction of groups in a history that the network sampled itself, given the true ones before, and length of a
run of them in groups; half of the segments get such a history (Mihaylova & Martins, "Scheduled Sampling for
Transformers", 2019)."""
_LEAST_DRAW = 1e-12


def shifted(values: Tensor) -> Tensor:
    """The group before each group, `[batch, steps, NUMBERS]`; 0 before the first one."""
    return torch.cat([torch.zeros_like(values[:, :1]), values[:, :-1]], dim=1)


def sampler(generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Samples numbers by log-likelihoods along the last axis.

    The Gumbel trick returns a number even where log-likelihoods are not finite, so no segment stops a training.
    """

    def choose(likelihoods: Tensor) -> Tensor:
        noise = torch.rand(likelihoods.shape, generator=generator).clamp(min=_LEAST_DRAW)
        return (likelihoods - (-noise.log()).log()).argmax(dim=-1)

    return choose


def with_own_draws(numbers: Tensor, drawn: Tensor, generator: torch.Generator) -> Tensor:
    """A history in which some groups are the network's own samples; the fraction varies between segments."""
    rate = OWN_DRAWS * torch.rand((len(numbers), 1, 1), generator=generator)
    runs = numbers.shape[1] // OWN_RUN + 1
    true = (torch.rand((len(numbers), runs, 1), generator=generator) >= rate).repeat_interleave(OWN_RUN, dim=1)
    return shifted(_codec.values(torch.where(true[:, : numbers.shape[1]], numbers, drawn)))


def corrupted(past: Tensor, generator: torch.Generator) -> Tensor:
    """A history with some numbers off by one level and some groups dropped; fractions vary between segments."""
    rate = torch.rand((len(past), 1, 1), generator=generator)
    wrong = torch.rand(past.shape, generator=generator) < WRONG * rate
    beside = torch.randint(0, 2, past.shape, generator=generator) * 2 - 1
    past = past + wrong * beside * _codec.STEP
    return past * (torch.rand((*past.shape[:2], 1), generator=generator) >= DROPPED * rate)
