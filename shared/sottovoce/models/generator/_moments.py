"""What families share that make music moment by moment, as values of the codec: networks, and endless music."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sottovoce.models.generator import _codec
from sottovoce.models.generator._codec import GROUP, NUMBERS, WIDEST, Codec, Residual

TOGETHER = 2
"""Groups of the codec in a moment: 0.19 s."""
SIZE = TOGETHER * NUMBERS
"""Values of a moment."""
FRAMES = TOGETHER * GROUP
DRAWN_TOGETHER = 24
"""Moments of a piece: 4.5 s."""
CONTEXT = -(-_codec.CONTEXT // TOGETHER)
"""Moments on either side that a moment depends on when the codec decodes it, at most."""


class Stack(nn.Module):
    """Residual blocks over moments, told something of the whole clip.

    Args:
        inputs: size of a moment.
        told: size of what is told; 0 for nothing.
        outputs: size of what comes of a moment.
        channels: of the blocks.
        dilations: of each block's convolution, in moments.
        causal: whether what comes of a moment depends on none after it.
    """

    def __init__(
        self, inputs: int, told: int, outputs: int, *, channels: int, dilations: Sequence[int], causal: bool = False
    ) -> None:
        super().__init__()
        self.inputs = nn.Linear(inputs, channels)
        self.told = nn.Linear(told, channels, bias=False) if told else None
        self.blocks = nn.Sequential(*[Residual(channels, dilation, causal=causal) for dilation in dilations])
        self.outputs = nn.Linear(channels, outputs)

    def forward(self, moments: Tensor, told: Tensor | None = None) -> Tensor:
        """`[batch, moments, outputs]` of moments `[batch, moments, inputs]`, and of what is told, `[batch, told]`."""
        hidden = self.inputs(moments)
        if self.told is not None:
            hidden = hidden + self.told(told)[:, None]
        return self.outputs(functional.gelu(self.blocks(hidden.transpose(1, 2)).transpose(1, 2)))


def heard(codec: Codec, features: Tensor) -> Tensor:
    """Moments `[batch, moments, SIZE]` of spectrograms `[batch, bands, frames]`; a rest does not count."""
    values = codec.measure(features)
    whole = values.shape[1] // TOGETHER
    return values[:, : whole * TOGETHER].reshape(len(values), whole, SIZE)


def sounded(codec: Codec, moments: Tensor) -> Tensor:
    """Spectrograms `[batch, bands, FRAMES · moments]` of moments `[batch, moments, SIZE]`."""
    values = moments.clamp(-WIDEST, WIDEST).view(len(moments), -1, NUMBERS)
    return codec.decode(_codec.numbers(values))


def endless(more: Callable[[int], Tensor], decode: Callable[[Tensor], Tensor], context: int) -> Iterator[Tensor]:
    """Piece after piece of spectrograms, for ever: each is decoded with what lies on either side.

    Args:
        more: so many latents that follow those before, `[count, moments, size]`.
        decode: latents to spectrograms `[count, bands, FRAMES · moments]`.
        context: moments on either side that a decoded one depends on, at most.
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
