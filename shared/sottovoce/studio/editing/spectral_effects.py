"""Effects by a release that change how loud each band is at each time and keep the phases, such as taking noise off."""

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
"""Of each piece that a model sees (3.7 s), and of what two of them share, where one is faded into the other."""
LARGEST_CUT = 40.0
"""dB by which a band is made quieter at most."""


class SpectralEffect(ABC):
    """Streams audio in overlapping pieces through gains of bands; memory holds two pieces, whatever the length.

    Each channel is changed by itself, at the file's own rate. Phases stay, so that pieces fade into one another
    without a dip, and what the model leaves alone is left alone.

    Args:
        release: whose feature spec says what a band is.
        amount: of the change, 0 (none) to 1 (all of it).

    Raises:
        ConfigurationError: the amount is out of range.
    """

    name = "spectral"

    def __init__(self, release: Release, amount: float) -> None:
        if not 0 <= amount <= 1:
            raise ConfigurationError(f"The amount {amount:g} is not between 0 and 1.")
        self._release, self._amount = release, amount
        self._constants = cast(SpectrogramNormalisation, release.constants)  # as every such release has

    def process(self, blocks: Blocks, sample_rate: int) -> Blocks:
        """See `Effect.process`."""
        analysis = Analysis(self._release.manifest.features, self._constants, sample_rate)
        size, fade = FRAMES * analysis.hop, OVERLAP * analysis.hop
        yield from overlap_add(self._pieces(blocks, analysis, size, fade), linear(fade))

    def _pieces(self, blocks: Blocks, analysis: Analysis, size: int, fade: int) -> Blocks:
        """Pieces of `size` frames, changed, of which neighbours share `fade` frames."""
        energy, count = 0.0, 0
        for number, piece in enumerate(_overlapping(blocks, size, size - fade)):
            new = piece[fade:] if number else piece
            energy, count = energy + float(np.square(new).sum()), count + new.size
            yield self._changed(piece, analysis, energy / max(count, 1))

    @abstractmethod
    def gains(self, values: Tensor) -> Tensor:
        """What is to be added to the values of bands, `[channels, bands, frames]`, normalised."""

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
    """Takes steady noise off; bands beyond the model's get the gain of its highest.

    Args:
        release: of the task `editor`.
        amount: 1 takes off all that the model holds for noise, 0 none.

    Raises:
        ReleaseError: the release is of another task.
        ConfigurationError: the amount is out of range.
    """

    name = "denoise"

    def __init__(self, release: Release, amount: float = 1.0) -> None:
        release.expect_task("editor")
        super().__init__(release, amount)

    def gains(self, values: Tensor) -> Tensor:
        """Never above 0: nothing is made louder."""
        channels, _, frames = values.shape
        missing = torch.zeros(channels, frames, dtype=torch.bool)
        family = cast(Editor, self._release.family)
        clean = family.restore(self._release.model, values, missing, torch.ones(channels, dtype=torch.bool))
        return (clean - values).clamp(max=0)


def _overlapping(blocks: Blocks, size: int, advance: int) -> Blocks:
    """Pieces of `size` frames, each `advance` frames after the one before; the last may be shorter."""
    held: NDArray[np.float64] | None = None
    for block in blocks:
        held = block if held is None else np.concatenate([held, block])
        while len(held) > size:
            yield held[:size]
            held = held[advance:]
    if held is not None and len(held):
        yield held
