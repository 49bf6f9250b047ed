"""What families share that generate codec values moment by moment: a network, and endless sampling."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sottovoce.models.generator import _codec
from sottovoce.models.generator._codec import GROUP, NUMBERS, WIDEST, Codec, Residual

TOGETHER = 2
"""Length of a moment, groups of the codec (0.19 s)."""
SIZE = TOGETHER * NUMBERS
"""Number of values of a moment."""
FRAMES = TOGETHER * GROUP
DRAWN_TOGETHER = 24
"""Length of a generated piece, moments (4.5 s)."""
CONTEXT = -(-_codec.CONTEXT // TOGETHER)
"""Largest number of moments on either side that affect a decoded moment."""


class Stack(nn.Module):
    """Residual blocks over moments, conditioned on one vector per clip.

    Args:
        inputs: size of a moment.
        conditioning: size of the conditioning vector; 0 for none.
        outputs: size of an output.
        channels: channels of the blocks.
        dilations: dilation of each block's convolution, moments.
        causal: whether an output depends on no later moment.
    """

    def __init__(
        self,
        inputs: int,
        conditioning: int,
        outputs: int,
        *,
        channels: int,
        dilations: Sequence[int],
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.inputs = nn.Linear(inputs, channels)
        self.told = nn.Linear(conditioning, channels, bias=False) if conditioning else None
        self.blocks = nn.Sequential(*[Residual(channels, dilation, causal=causal) for dilation in dilations])
        self.outputs = nn.Linear(channels, outputs)

    def forward(self, moments: Tensor, conditioning: Tensor | None = None) -> Tensor:
        """Outputs `[batch, moments, outputs]` from `[batch, moments, inputs]` with a `conditioning` vector per clip."""
        hidden = self.inputs(moments)
        if self.told is not None:
            hidden = hidden + self.told(conditioning)[:, None]
        return self.outputs(functional.gelu(self.blocks(hidden.transpose(1, 2)).transpose(1, 2)))


def moments_of(codec: Codec, features: Tensor) -> Tensor:
    """Moments `[batch, moments, SIZE]` of spectrograms `[batch, bands, frames]`; a remainder is dropped."""
    values = codec.measure(features)
    whole = values.shape[1] // TOGETHER
    return values[:, : whole * TOGETHER].reshape(len(values), whole, SIZE)


def spectrograms_of(codec: Codec, moments: Tensor) -> Tensor:
    """Spectrograms `[batch, bands, FRAMES · moments]` from moments `[batch, moments, SIZE]`."""
    values = moments.clamp(-WIDEST, WIDEST).view(len(moments), -1, NUMBERS)
    return codec.decode(_codec.numbers(values))


def endless(more: Callable[[int], Tensor], decode: Callable[[Tensor], Tensor], context: int) -> Iterator[Tensor]:
    """An endless sequence of spectrogram pieces, each decoded with its context on either side.

    Args:
        more: returns the next latents, as many as asked for, `[count, moments, size]`.
        decode: maps latents to spectrograms `[count, bands, FRAMES · moments]`.
        context: largest number of moments on either side that affect a decoded one.
    """
    held, before = None, 0
    while True:
        with torch.inference_mode():
            end = before + DRAWN_TOGETHER
            held = more(end + context) if held is None else torch.cat([held, more(end + context - held.shape[1])], 1)
            piece = decode(held)[:, :, before * FRAMES : end * FRAMES]
            before = min(end, context)
            held = held[:, end - before :]
        yield piece
