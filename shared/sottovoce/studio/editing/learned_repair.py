"""Fills gaps with the levels of bands that a release's editor estimates."""

from typing import cast

import torch
from torch import Tensor

from sottovoce.errors import no_sound
from sottovoce.features.normalisation import SpectrogramNormalisation
from sottovoce.models.interfaces import Editor
from sottovoce.release.load import Release
from sottovoce.studio.editing.analysis import Analysis
from sottovoce.studio.editing.phase_reconstruction import (
    TINY,
    SpectralRepairer,
    first_and_last,
    missing_frames,
    partly_missing,
    reconstructed,
    with_band_levels,
)
from sottovoce.studio.editing.repairer import LEARNED

BESIDE = 2
"""Frames on each side of a gap whose magnitudes are interpolated bin by bin for its fine structure."""


class LearnedRepairer(SpectralRepairer):
    """Takes the levels of bands from an editor and interpolates bins outside its bands.

    Args:
        release: a release of the task `editor`.

    Raises:
        ReleaseError: the release is of another task.
    """

    name = LEARNED
    context_seconds = 2.0

    def __init__(self, release: Release) -> None:
        release.expect_task("editor")
        self._release = release
        self._constants = cast(SpectrogramNormalisation, release.constants)  # every release of this task has these

    def analysis(self, sample_rate: int) -> Analysis:
        """See `SpectralRepairer.analysis`."""
        return Analysis(self._release.manifest.features, self._constants, sample_rate)

    def levels(self, values: Tensor, missing: Tensor) -> Tensor:
        """The editor's estimate of `[channels, bands, frames]`, normalised; `missing` is `[frames]`."""
        family, count = cast(Editor, self._release.family), len(values)
        return family.restore(
            self._release.model, values, missing.expand(count, -1), torch.zeros(count, dtype=torch.bool)
        )

    def filled(self, audio: Tensor, gap: slice, analysis: Analysis) -> Tensor:
        """See `SpectralRepairer.filled`.

        Raises:
            ReleaseError: the release's output is not finite.
        """
        spectrum = analysis.spectrum(audio)
        missing = missing_frames(gap, spectrum.shape[2], analysis)
        if not partly_missing(missing):
            return audio[:, gap]
        magnitudes = spectrum.abs()
        wanted = analysis.decibels(self.levels(analysis.normalised(analysis.bands(magnitudes)), missing))
        targets = with_band_levels(_interpolated(magnitudes, missing), wanted[:, :, missing], analysis)
        found = reconstructed(audio, gap, targets, missing, analysis)
        if not bool(found.isfinite().all()):
            raise no_sound()
        return found


def _interpolated(magnitudes: Tensor, missing: Tensor) -> Tensor:
    """Magnitudes of the missing frames, linearly interpolated in dB, `[channels, bins, missing]`."""
    first, last = first_and_last(missing)
    count = last - first + 1
    sides = [magnitudes[:, :, max(0, first - BESIDE) : first], magnitudes[:, :, last + 1 : last + 1 + BESIDE]]
    left, right = ((side + TINY).log().mean(dim=2, keepdim=True) for side in sides)
    if first == 0:
        left = right
    if last == len(missing) - 1:
        right = left
    weight = (torch.arange(count) + 1) / (count + 1)
    return torch.lerp(left, right, weight).exp()
