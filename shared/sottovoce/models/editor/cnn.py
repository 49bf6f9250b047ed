"""`cnn`: a U-Net (Ronneberger et al., MICCAI 2015) on the spectrogram."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sottovoce.features.spec import FeatureSpec
from sottovoce.models.editor._conditioning import CONDITIONS, MAPS
from sottovoce.models.editor._family import SpectralEditor, faint
from sottovoce.models.editor._noise import Levels

CHANNELS = (12, 24, 32, 48)
FOLD = 2
"""Rows and columns of the spectrogram that are folded into channels, so that no map is as large as the spectrogram."""
SHRINK = 16
"""Bands and frames per cell of the coarsest map."""
GROUPS = 4


def convolved(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A convolution, GroupNorm (which normalises each example alone), and tanh, which is bounded."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), nn.GroupNorm(GROUPS, outputs), nn.Tanh()
    )


class UNet(nn.Module):
    """Three levels down and up, with few channels at high resolution, where per-example gradients are expensive."""

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.levels = Levels.of(spec)
        first, second, third, fourth = CHANNELS
        self.begin = convolved(2 * FOLD * FOLD + CONDITIONS * FOLD, first)
        self.down = nn.ModuleList(
            [convolved(first, second, 2), convolved(second, third, 2), convolved(third, fourth, 2)]
        )
        self.middle = convolved(fourth, fourth)
        self.up = nn.ModuleList(
            [convolved(fourth + third, third), convolved(third + second, second), convolved(second + first, first)]
        )
        self.spectra = nn.ModuleList(faint(nn.Conv2d(first, FOLD * FOLD, 3, padding=1)) for _ in range(MAPS))

    def forward(self, left: Tensor, right: Tensor, conditions: Tensor) -> Tensor:
        """Maps `[batch, MAPS, bands, frames]`."""
        bands, frames = left.shape[1:]
        missing = (0, -frames % SHRINK, 0, -bands % SHRINK)
        spectra = functional.pad(torch.stack([left, right], dim=1), missing, mode="replicate")
        conditioning = functional.pad(conditions[:, :, None], (*missing[:2], 0, 0), mode="replicate")
        folded = functional.pixel_unshuffle(spectra, FOLD)
        conditioning = conditioning.reshape(*conditioning.shape[:3], -1, FOLD).permute(0, 1, 4, 2, 3).flatten(1, 2)
        found = self.begin(torch.cat([folded, conditioning.expand(-1, -1, folded.shape[2], -1)], dim=1))
        beside = []
        for layer in self.down:
            beside.append(found)
            found = layer(found)
        found = self.middle(found)
        for layer in self.up:
            # Upsample, join with the skip connection, convolve: Opacus does not support transposed convolutions.
            found = layer(torch.cat([functional.interpolate(found, scale_factor=2.0), beside.pop()], dim=1))
        maps = torch.cat([layer(found) for layer in self.spectra], dim=1)
        return functional.pixel_shuffle(maps, FOLD)[:, :, :bands, :frames]


class Cnn(SpectralEditor):
    """Editor with a U-Net, for any number of frames and bands."""

    name = "cnn"
    learning_rate = 0.1

    def build(self, spec: FeatureSpec, classes: int) -> nn.Module:
        """The network for spectrograms of `n_mels` bands, independent of the number of styles."""
        del classes
        return UNet(spec)


FAMILY = Cnn()
