"""Shared by families that generate moment by moment in the codec's values: a network and endless sampling."""

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
    """Residual blocks over moments, conditioned on a vector for the whole clip.

    Args:
        inputs: size of a moment.
        conditioning: size of the conditioning vector; 0 for none.
        outputs: size of an output.
        channels: of the blocks.
        dilations: of each block's convolution, in moments.
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
        """`[batch, moments, outputs]` of `[batch, moments, inputs]`, given `conditioning`, a vector for each clip."""
        hidden = self.inputs(moments)
        if self.told is not None:
            hidden = hidden + self.told(conditioning)[:, None]
        return self.outputs(functional.gelu(self.blocks(hidden.transpose(1, 2)).transpose(1, 2)))


def moments_of(codec: Codec, features: Tensor) -> Tensor:
    """Moments `[batch, moments, SIZE]` of spectrograms `[batch, bands, frames]`; a rest does not count."""
    values = codec.measure(features)
    whole = values.shape[1] // TOGETHER
    return values[:, : whole * TOGETHER].reshape(len(values), whole, SIZE)


def spectrograms_of(codec: Codec, moments: Tensor) -> Tensor:
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
