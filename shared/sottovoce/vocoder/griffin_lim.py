"""Phases by the fast Griffin-Lim algorithm (Perraudin et al., WASPAA 2013), after the mel bands are undone."""

import torch
from torch import Tensor

from sottovoce.features import spectrogram
from sottovoce.features.spec import FeatureSpec

ITERATIONS, MOMENTUM = 32, 0.99
INVERSIONS = 60
_TINY = 1e-10


class GriffinLim:
    """Needs no training: magnitudes by non-negative least squares, phases by iteration.

    Args:
        spec: what the spectrograms were computed by.
        iterations: between spectrogram and audio, and back.
    """

    def __init__(self, spec: FeatureSpec, iterations: int = ITERATIONS) -> None:
        self.hop_length = spec.hop_length
        self._spec, self._iterations = spec, iterations
        bank = spectrogram.mel_bank(spec)
        # A bin lies in two bands at most, so that most of the bank is 0.
        self._bank, self._transposed = bank.to_sparse(), bank.T.contiguous().to_sparse()

    def audio(self, levels: Tensor, generator: torch.Generator) -> Tensor:
        """See `Vocoder`."""
        from torchaudio.functional import griffinlim

        samples = (levels.shape[1] - 1) * self.hop_length
        # Less than half a window cannot be reflected at its ends, as centred windows need.
        missing = max(0, self._spec.n_fft // (2 * self.hop_length) + 2 - levels.shape[1])
        levels = torch.cat([levels, levels[:, -1:].expand(-1, missing)], dim=1)
        magnitudes = self.magnitudes(spectrogram.magnitudes(levels))
        with torch.random.fork_rng(devices=[]):  # torchaudio draws its first phases from torch's global generator
            torch.manual_seed(int(torch.randint(1 << 62, (1,), generator=generator)))
            found: Tensor = griffinlim(
                magnitudes,
                window=spectrogram.window(self._spec.n_fft),
                n_fft=self._spec.n_fft,
                hop_length=self._spec.hop_length,
                win_length=self._spec.n_fft,
                power=1.0,
                n_iter=self._iterations,
                momentum=MOMENTUM,
                length=(levels.shape[1] - 1) * self.hop_length,
                rand_init=True,
            )
        return found[:samples]

    def magnitudes(self, mel: Tensor) -> Tensor:
        """Linear magnitudes `[bins, frames]` whose mel bands are closest to `mel`, `[n_mels, frames]`.

        Non-negative least squares by multiplicative updates (Lee & Seung, NIPS 2000); bins outside all bands stay 0.
        """
        wanted = self._transposed @ mel
        widths = self._bank @ torch.ones(self._bank.shape[1], 1)
        found = wanted / (self._transposed @ widths).clamp(min=_TINY)
        for _ in range(INVERSIONS):
            found = found * wanted / (self._transposed @ (self._bank @ found)).clamp(min=_TINY)
        return found
