"""Spectra of segments, from which all descriptors are computed."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from sottovoce.features.spec import FeatureSpec

FLOOR = 1e-8
"""Power that counts as silence (-80 dB); it also keeps logarithms finite in digital silence."""

COARSE_BANDS = 18
PITCH_WINDOW_SECONDS = 0.19
LOWEST_PITCH, HIGHEST_PITCH = 36, 96
_FEW = 4  # segments whose complex spectra are in memory at a time


@dataclass(frozen=True)
class Spectra:
    """Spectra of some segments, from which descriptors are computed.

    Args:
        spec: the feature spec.
        audio: `[segments, samples]`.
        power: power spectrogram, `[segments, bins, frames]`.
        mel: mel power in dB, `[segments, n_mels, frames]`.
        coarse: the same in `COARSE_BANDS` bands.
        pitch: strength of each semitone from `LOWEST_PITCH` (MIDI) up, `[segments, semitones, frames]`.
        tuning: deviation from equal temperament at 440 Hz, in semitones (-0.5 to 0.5), `[segments]`.
    """

    spec: FeatureSpec
    audio: Tensor
    power: Tensor
    mel: Tensor
    coarse: Tensor
    pitch: Tensor
    tuning: Tensor

    @property
    def frame_rate(self) -> float:
        """Frames per second of all but `pitch`."""
        return self.spec.sample_rate / self.spec.hop_length

    @property
    def pitch_rate(self) -> float:
        """Frames per second of `pitch`."""
        return self.spec.sample_rate / pitch_hop(self.spec)


def spectra(segments: Tensor, spec: FeatureSpec) -> Spectra:
    """Spectra of segments `[segments, samples]`."""
    power = _power(segments, spec.n_fft, spec.hop_length)
    pitch, tuning = _pitches(segments, spec)
    return Spectra(
        spec=spec,
        audio=segments,
        power=power,
        mel=_decibels(_mel_bank(spec, spec.n_mels) @ power),
        coarse=_decibels(_mel_bank(spec, COARSE_BANDS) @ power),
        pitch=pitch,
        tuning=tuning,
    )


def log_mel(segments: Tensor, spec: FeatureSpec) -> Tensor:
    """Mel power in dB, `[segments, n_mels, frames]`."""
    return _decibels(_mel_bank(spec, spec.n_mels) @ _power(segments, spec.n_fft, spec.hop_length))


def _decibels(power: Tensor) -> Tensor:
    return 10 * torch.log10(power + FLOOR)


@lru_cache(maxsize=8)
def window(length: int) -> Tensor:
    """A Hann window scaled so that a full-scale sine has a power of about 1 in its bin, for any length."""
    hann = torch.hann_window(length)
    return hann * (2 / hann.sum())


def stft(segments: Tensor, length: int, hop: int) -> Tensor:
    """Complex spectrogram with centred windows, `[segments, bins, frames]`."""
    return torch.stft(
        segments, length, hop, window=window(length), center=True, pad_mode="reflect", return_complex=True
    )


def _power(segments: Tensor, length: int, hop: int, bins: slice = slice(None)) -> Tensor:
    """Power spectrogram with centred windows, `[segments, bins, frames]`, or a range of its bins."""
    # In the order that `stft` leaves in memory: sums over it must not depend on how many segments there were at a time.
    return torch.cat([_squared(stft(few, length, hop)[:, bins].mT) for few in torch.split(segments, _FEW)]).mT


def _squared(spectrum: Tensor) -> Tensor:
    parts = torch.view_as_real(spectrum)
    return parts[..., 0].square() + parts[..., 1].square()


@lru_cache(maxsize=8)
def _mel_bank(spec: FeatureSpec, bands: int) -> Tensor:
    """Triangular mel filters of unit peak, `[bands, bins]`; a band narrower than a bin takes its nearest bin."""
    from torchaudio.functional import melscale_fbanks

    bank: Tensor = melscale_fbanks(spec.n_fft // 2 + 1, spec.f_min, spec.f_max, bands, spec.sample_rate).T.contiguous()
    centres = torch.linspace(_to_mel(spec.f_min), _to_mel(spec.f_max), bands + 2)[1:-1]
    nearest = (_to_hertz(centres) * spec.n_fft / spec.sample_rate).round().long()
    empty = (bank.sum(dim=1) == 0).nonzero()[:, 0]
    bank[empty, nearest[empty]] = 1
    return bank


def _to_mel(hertz: float) -> float:
    return 2595 * math.log10(1 + hertz / 700)


def _to_hertz(mel: Tensor) -> Tensor:
    return 700 * (10 ** (mel / 2595) - 1)


def pitch_window(spec: FeatureSpec) -> int:
    """Window in samples for pitch: long enough to separate semitones in the middle register."""
    return int(2 ** round(math.log2(PITCH_WINDOW_SECONDS * spec.sample_rate)))


def pitch_hop(spec: FeatureSpec) -> int:
    """Samples between frames of pitch."""
    return pitch_window(spec) // 4


def _pitches(segments: Tensor, spec: FeatureSpec) -> tuple[Tensor, Tensor]:
    """Semitones and tuning from the peaks of a finer spectrum (see `Spectra`).

    A peak's frequency is that of the parabola through its three bins of log power; its strength is the square root of
    its amplitude, which emphasises harmony over loudness and timbre.
    """
    length = pitch_window(spec)
    low, high = (_bin_of(pitch, length, spec.sample_rate) for pitch in (LOWEST_PITCH - 0.5, HIGHEST_PITCH + 0.5))
    band = _power(segments, length, pitch_hop(spec), slice(low - 1, high + 2)).clamp(min=FLOOR)
    logs = torch.log(band)
    left, middle, right = logs[:, :-2], logs[:, 1:-1], logs[:, 2:]
    loudest = band.amax(dim=(1, 2), keepdim=True)
    peak = (middle > left) & (middle >= right) & (band[:, 1:-1] > loudest * 1e-5) & (band[:, 1:-1] > 10 * FLOOR)
    offset = 0.5 * (left - right) / (left - 2 * middle + right).clamp(max=-1e-6)
    bins = torch.arange(low, high + 1)[:, None] + offset.clamp(-0.5, 0.5)
    pitch = 69 + 12 * torch.log2(bins * (spec.sample_rate / length / 440))
    strength = torch.where(peak, band[:, 1:-1].sqrt().sqrt(), 0.0)
    semitone = pitch.round()
    angle = 2 * math.pi * (pitch - semitone)
    tuning = torch.atan2((strength * angle.sin()).sum(dim=(1, 2)), (strength * angle.cos()).sum(dim=(1, 2)))
    index = (semitone.long() - LOWEST_PITCH).clamp(0, HIGHEST_PITCH - LOWEST_PITCH)
    salience = torch.zeros(len(segments), HIGHEST_PITCH - LOWEST_PITCH + 1, band.shape[2])
    salience.scatter_reduce_(1, index, strength, reduce="amax")
    return salience, tuning / (2 * math.pi)


def _bin_of(pitch: float, length: int, sample_rate: int) -> int:
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    return min(max(1, round(hertz * length / sample_rate)), length // 2 - 1)
