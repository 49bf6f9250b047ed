"""What families share that make whole segments: a decoder from latent numbers to a spectrogram, and endless music."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from sottovoce.features.normalisation import CLIP

SHRINK = 16
"""Bands and frames that become one column of the coarsest map."""
COLUMNS = 10
FRAMES = SHRINK * COLUMNS
"""Frames of a segment: 3.7 s."""
FADE = 16
"""Frames that two segments share: 0.4 s."""
KINSHIP = 0.8
"""Correlation of one segment's latent numbers with the next one's, so that music goes on rather than begins anew."""
GROUPS = 4


def strided(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    """A convolution that shrinks both axes, GroupNorm, and tanh; as the recognising families have it, and why."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2),
        nn.GroupNorm(GROUPS, outputs),
        nn.Tanh(),
    )


class Body(nn.Module):
    """Segments `[batch, bands, FRAMES]` to features `[batch, size]`: three convolutions, the first of stride 4."""

    def __init__(self, bands: int, channels: tuple[int, int, int]) -> None:
        super().__init__()
        first, second, third = channels
        self.layers = nn.Sequential(
            strided(1, first, 5, 4), strided(first, second, 3, 2), strided(second, third, 3, 2), nn.Flatten()
        )
        self.size = third * (bands // SHRINK) * COLUMNS

    def forward(self, segments: Tensor) -> Tensor:
        """Features `[batch, size]`."""
        found: Tensor = self.layers(segments[:, None])
        return found


class Upsampled(nn.Module):
    """Larger by a whole factor, then convolved: Opacus has no rule for transposed convolutions."""

    def __init__(self, inputs: int, outputs: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """`[batch, outputs, factor · rows, factor · columns]`."""
        larger = functional.interpolate(maps, scale_factor=float(self.factor), mode="nearest")
        found: Tensor = self.convolution(larger)
        return found


class Decoder(nn.Module):
    """Latent numbers and a style to a segment `[batch, bands, FRAMES]`.

    Few channels where the maps are large: that is where per-example gradients cost.
    """

    def __init__(self, bands: int, classes: int, latent: int, channels: tuple[int, int, int]) -> None:
        super().__init__()
        first, second, third = channels
        self.form = (first, bands // SHRINK, COLUMNS)
        self.start = nn.Linear(latent + classes, first * (bands // SHRINK) * COLUMNS)
        self.layers = nn.Sequential(
            nn.GroupNorm(GROUPS, first),
            nn.Tanh(),
            Upsampled(first, second, 2),
            nn.GroupNorm(GROUPS, second),
            nn.Tanh(),
            Upsampled(second, third, 4),
            nn.Tanh(),
            Upsampled(third, 1, 2),
        )

    def forward(self, latents: Tensor, styles: Tensor) -> Tensor:
        """Segments of latents `[batch, latent]` and one-hot styles `[batch, classes]`."""
        maps = self.start(torch.cat([latents, styles], dim=1)).view(-1, *self.form)
        found: Tensor = self.layers(maps)[:, 0]
        return found


def one_hot(targets: Tensor, classes: int) -> Tensor:
    """Class numbers `[batch]` as `[batch, classes]`, float32."""
    return functional.one_hot(targets, classes).to(torch.float32)


def first_frames(features: Tensor) -> Tensor:
    """The first `FRAMES` of segments `[batch, bands, frames]`; what is shorter goes on with its last frame."""
    missing = FRAMES - features.shape[2]
    if missing > 0:
        features = torch.cat([features, features[:, :, -1:].expand(-1, -1, missing)], dim=2)
    return features[:, :, :FRAMES]


def endless(
    decode: Callable[[Tensor], Tensor], count: int, latent: int, generator: torch.Generator, temperature: float
) -> Iterator[Tensor]:
    """Segments of related latents, faded into one another: `[count, bands, FRAMES - FADE]` each, for ever.

    Args:
        decode: latents `[count, latent]` to segments `[count, bands, FRAMES]`.
        count: how many at a time.
        latent: how many latent numbers a segment has.
        generator: of the latents.
        temperature: their deviation.
    """
    rise = torch.linspace(0, 1, FADE)
    latents, tail = torch.randn(count, latent, generator=generator), None
    while True:
        with torch.inference_mode():
            segment = decode(temperature * latents).clamp(-CLIP, CLIP)
            if tail is not None:
                segment = torch.cat([segment[:, :, :FADE] * rise + tail * (1 - rise), segment[:, :, FADE:]], dim=2)
            tail = segment[:, :, -FADE:]
            fresh = torch.randn(count, latent, generator=generator)
            latents = KINSHIP * latents + (1 - KINSHIP**2) ** 0.5 * fresh
        yield segment[:, :, :-FADE]
