"""Resampling and framing of long audio in bounded memory, block by block, with the numbers of a single call."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor
    from torchaudio.transforms import Resample

BLOCK = 1 << 18
"""Number of samples that are resampled at a time, or a little more."""

_LARGEST_RATIO = 2000


def resampled(audio: "Tensor", rate: int, wanted: int) -> "Tensor":
    """Resample audio `[samples]` from one rate to another, in Hz."""
    import torch

    if rate == wanted or not len(audio):
        return audio
    return torch.cat(list(resampled_blocks([audio.numpy()], rate, wanted)))


def resampled_blocks(blocks: Iterable[NDArray[np.float32]], rate: int, wanted: int) -> Iterator["Tensor"]:
    """Resample audio that arrives in blocks `[samples]`; what comes out, joined, is the whole audio resampled.

    Each part is resampled with the samples around it that its filter reaches, so that there are no joints.
    """
    import torch

    if rate == wanted:
        yield from map(torch.from_numpy, blocks)
        return
    resample = _resampler(rate, wanted)
    before, after = _ratio(rate, wanted)
    reach = -(-resample.width // before) * before
    step = -(-BLOCK // before) * before
    waiting, reached = np.zeros(0, dtype=np.float32), 0  # the first `reached` are resampled, and surround the next
    for block in blocks:
        waiting = np.concatenate([waiting, block])
        while len(waiting) >= reached + step + reach:
            part = resample(torch.from_numpy(waiting[: reached + step + reach]))
            first = reached // before * after
            yield part[first : first + step // before * after]
            waiting, reached = waiting[reached + step - reach :], reach
    if len(waiting) > reached:
        yield resample(torch.from_numpy(waiting))[reached // before * after :]


def framed(parts: Iterable["Tensor"], window: int, hop: int, frames: int) -> Iterator["Tensor"]:
    """The complex spectrogram, by a centred Hann window, of audio that arrives in parts: `[bins, frames]` at a time.

    Args:
        parts: consecutive samples, each `[samples]`; silence is assumed around the whole.
        window: length of the window in samples, even.
        hop: samples between frames.
        frames: number of frames at a time; the last has up to one fewer than twice as many, so that it is not so narrow
            that it is multiplied in another order than a part of a whole spectrogram.
    """
    import torch

    hann, waiting = torch.hann_window(window), torch.zeros(window // 2)
    first, step = (frames - 1) * hop + window, frames * hop
    for part in chain(parts, [torch.zeros(window // 2)]):
        waiting = torch.cat([waiting, part])
        while len(waiting) >= first + step:
            yield torch.stft(waiting[:first], window, hop, window=hann, center=False, return_complex=True)
            waiting = waiting[step:]
    yield torch.stft(waiting, window, hop, window=hann, center=False, return_complex=True)


def resampled_length(samples: int, rate: int, wanted: int) -> int:
    """Length of audio after resampling it from one rate to another, in Hz."""
    before, after = _ratio(rate, wanted)
    return -(-after * samples // before)


def _ratio(rate: int, wanted: int) -> tuple[int, int]:
    """The ratio of two rates in small whole numbers.

    An odd rate (44,101 Hz) is approximated by the nearest such ratio, off by less than one part in a million: the exact
    ratio would need a filter of gigabytes.
    """
    ratio = Fraction(wanted, rate).limit_denominator(_LARGEST_RATIO)
    return ratio.denominator, ratio.numerator


@lru_cache(maxsize=16)
def _resampler(rate: int, wanted: int) -> "Resample":
    """Windowed-sinc interpolation."""
    from torchaudio.transforms import Resample

    return Resample(*_ratio(rate, wanted))
