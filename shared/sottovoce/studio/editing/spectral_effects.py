"""Effects by a release that change the level of each band over time and keep phases, such as denoising."""

from abc import ABC, abstractmethod
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.audio.overlap_add import linear, overlap_add
from sottovoce.errors import ConfigurationError
from sottovoce.features.normalisation import SpectrogramNormalisation
from sottovoce.models.interfaces import Editor
from sottovoce.release.load import Release
from sottovoce.studio.editing.analysis import Analysis
from sottovoce.studio.editing.effect import Blocks

FRAMES, OVERLAP = 160, 24
"""Frames of each piece that a model sees (3.7 s), and of the cross-fade between two pieces."""
LARGEST_CUT = 40.0
"""Largest attenuation of a band, dB."""


class SpectralEffect(ABC):
    """Applies band gains to audio in overlapping pieces; memory holds two pieces, for any length.

    Each channel is processed separately, at the file's own rate. Phases are kept, so that pieces cross-fade without a
    dip, and gains of 0 dB change nothing.

    Args:
        release: the release, whose feature spec defines the bands.
        amount: share of the change, 0 (none) to 1 (all of it).

    Raises:
        ConfigurationError: the amount is out of range.
    """

    name = "spectral"

    def __init__(self, release: Release, amount: float) -> None:
        if not 0 <= amount <= 1:
            raise ConfigurationError(f"The amount must be between 0 and 1, not {amount:g}.")
        self._release, self._amount = release, amount
        self._constants = cast(SpectrogramNormalisation, release.constants)  # every such release has these

    def process(self, blocks: Blocks, sample_rate: int) -> Blocks:
        """See `Effect.process`."""
        analysis = Analysis(self._release.manifest.features, self._constants, sample_rate)
        size, fade = FRAMES * analysis.hop, OVERLAP * analysis.hop
        yield from overlap_add(self._pieces(blocks, analysis, size, fade), linear(fade))

    def _pieces(self, blocks: Blocks, analysis: Analysis, size: int, fade: int) -> Blocks:
        """Processed pieces of `size` frames; neighbours overlap by `fade` frames."""
        energy, count = 0.0, 0
        for number, piece in enumerate(_overlapping(blocks, size, size - fade)):
            new = piece[fade:] if number else piece
            energy, count = energy + float(np.square(new).sum()), count + new.size
            yield self._changed(piece, analysis, energy / max(count, 1))

    @abstractmethod
    def gains(self, values: Tensor) -> Tensor:
        """Change of the normalised band values, `[channels, bands, frames]`."""

    def _changed(self, piece: NDArray[np.float64], analysis: Analysis, mean_square: float) -> NDArray[np.float64]:
        if not piece.any() or self._amount == 0:
            return piece.copy()
        factor = analysis.loudness(mean_square)
        audio = torch.from_numpy(np.ascontiguousarray(piece.T) * factor).to(torch.float32)
        with torch.inference_mode():
            spectrum = analysis.spectrum(audio)
            values = analysis.normalised(analysis.bands(spectrum.abs()))
            decibels = self._amount * self._constants.std[:, None] * self.gains(values)
            factors = 10 ** (analysis.bins(decibels.clamp(-LARGEST_CUT, LARGEST_CUT)) / 20)
            found = analysis.audio(spectrum * factors, len(piece))
        return found.numpy().T.astype(np.float64) / factor


class Denoise(SpectralEffect):
    """Removes steady noise; frequencies above the model's bands get the gain of its highest.

    Args:
        release: a release of the task `editor`.
        amount: 1 removes everything that the model considers noise, 0 nothing.

    Raises:
        ReleaseError: the release belongs to another task.
        ConfigurationError: the amount is out of range.
    """

    name = "denoise"

    def __init__(self, release: Release, amount: float = 1.0) -> None:
        release.expect_task("editor")
        super().__init__(release, amount)

    def gains(self, values: Tensor) -> Tensor:
        """Never above 0: no band is amplified."""
        channels, _, frames = values.shape
        missing = torch.zeros(channels, frames, dtype=torch.bool)
        family = cast(Editor, self._release.family)
        clean = family.restore(self._release.model, values, missing, torch.ones(channels, dtype=torch.bool))
        return (clean - values).clamp(max=0)


def _overlapping(blocks: Blocks, size: int, advance: int) -> Blocks:
    """Pieces of `size` frames, each starting `advance` frames after the previous one; the last may be shorter."""
    held: NDArray[np.float64] | None = None
    for block in blocks:
        held = block if held is None else np.concatenate([held, block])
        while len(held) > size:
            yield held[:size]
            held = held[advance:]
    if held is not None and len(held):
        yield held
