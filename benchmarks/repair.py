"""Quality and speed of gap repair on unseen tracks, without a release.

Synthetic tracks with a seed that nothing was trained on and, if `SOTTOVOCE_REPERTOIRE` names their folder, rendered
scores. `python -m benchmarks repair`; benchmarks/editors.py adds releases to the comparison.
"""

import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.features.extract import default_spec
from sottovoce.features.normalisation import SpectrogramNormalisation, shipped
from sottovoce.features.spec import View
from sottovoce.features.spectrogram import FLOOR, magnitudes
from sottovoce.studio.editing.analysis import Analysis
from sottovoce.studio.editing.exemplar import ExemplarRepairer
from sottovoce.studio.editing.interpolate import InterpolatingRepairer
from sottovoce.studio.editing.repairer import LpcRepairer, Repairer
from sottovoce_simulations.scores.repertoire import held_out
from sottovoce_simulations.synthesis import synthesise

UNSEEN_LABELS, UNSEEN_TRACKS, UNSEEN_SEED = 2, 20, 2027
GAPS = (0.02, 0.05, 0.2, 0.5)
CONTEXT = 2.0  # seconds; smallest distance from a gap to both ends of a track
QUIET = 1e-3  # RMS level below which a gap is skipped
CLASSICAL: Mapping[str, Repairer] = {
    "interpolate": InterpolatingRepairer(),
    "lpc": LpcRepairer(),
    "exemplar": ExemplarRepairer(),
}

Samples = NDArray[np.float64]
SPEC, CONSTANTS = default_spec(View.SPECTROGRAM), cast(SpectrogramNormalisation, shipped(View.SPECTROGRAM))


@dataclass(frozen=True)
class Track:
    """Audio `[frames, channels]` and its sample rate."""

    audio: Samples
    rate: int


def run() -> dict[str, Any]:
    """Means over gaps of each length, by source of the tracks."""
    with tempfile.TemporaryDirectory() as temporary:
        return {name: repair_figures(CLASSICAL, tracks) for name, tracks in unseen(Path(temporary)).items()}


def unseen(folder: Path) -> dict[str, list[Track]]:
    """Tracks that no editor was trained on, by source."""
    catalogues = folder / "unseen"
    if not catalogues.is_dir():
        synthesise(catalogues, labels=UNSEEN_LABELS, tracks=UNSEEN_TRACKS, seed=UNSEEN_SEED)
    found = {"synthetic": tracks_of(sorted(catalogues.rglob("*.flac")))}
    if place := os.environ.get("SOTTOVOCE_REPERTOIRE"):
        found["rendered scores"] = tracks_of(held_out(Path(place)))
    return found


def tracks_of(paths: Sequence[Path]) -> list[Track]:
    return [Track(*soundfile.read(path, always_2d=True)) for path in paths]


def repair_figures(methods: dict[str, Repairer], tracks: Sequence[Track], seed: int = 0) -> dict[str, Any]:
    """Means over the tracks' gaps (one of each length per track): mel-SNR, log-spectral distance, SNR, and speed."""
    rng, found = np.random.default_rng(seed), dict[str, dict[str, list[list[float]]]]()
    for track in tracks:
        for seconds in GAPS:
            frames, context = round(seconds * track.rate), round(CONTEXT * track.rate)
            if len(track.audio) <= 2 * context + frames:
                continue
            start = int(rng.integers(context, len(track.audio) - context - frames))
            gap = slice(start, start + frames)
            if np.sqrt(np.mean(np.square(track.audio[gap]))) < QUIET:
                continue
            for name, method in methods.items():
                wide = round(method.context_seconds * track.rate)
                before, after = track.audio[max(0, start - wide) : start], track.audio[gap.stop : gap.stop + wide]
                begun = time.process_time()
                repaired = track.audio.copy()
                repaired[gap] = method.fill(before, after, frames, track.rate)
                spent = time.process_time() - begun
                measured = [*_compared(track.audio, repaired, gap, track.rate), spent]
                found.setdefault(f"{1000 * seconds:.0f} ms", {}).setdefault(name, []).append(measured)
    names = ("mel_snr_db", "log_spectral_distance_db", "snr_db", "seconds_a_gap")
    return means(found, names, digits=2, counted="gaps")


def means(
    found: Mapping[str, Mapping[str, Sequence[Sequence[float]]]],
    names: Sequence[str],
    *,
    digits: int = 3,
    counted: str | None = None,
) -> dict[str, Any]:
    """Means of the named figures, by case and method; with their number, if `counted` names it."""
    return {
        case: {
            way: dict(zip(names, np.mean(values, axis=0).round(digits).tolist(), strict=True))
            | ({counted: len(values)} if counted else {})
            for way, values in ways.items()
        }
        for case, ways in found.items()
    }


def _compared(original: Samples, repaired: Samples, gap: slice, rate: int) -> tuple[float, float, float]:
    """Mel-SNR and log-spectral distance of the frames centred in the gap, and the SNR of its samples; dB."""
    analysis = Analysis(SPEC, CONSTANTS, rate)
    one, other = (mel(audio, analysis) for audio in (original, repaired))
    places = torch.arange(one.shape[2]) * analysis.hop
    inside = (places >= gap.start - analysis.hop / 2) & (places < gap.stop + analysis.hop / 2)
    one, other = one[:, :, inside], other[:, :, inside]
    distance = (20 * torch.log10((one + FLOOR) / (other + FLOOR))).square().mean(dim=1).sqrt().mean()
    return snr(one.numpy(), other.numpy()), float(distance), snr(original[gap], repaired[gap])


def mel(audio: Samples, analysis: Analysis) -> Tensor:
    found = analysis.spectrum(torch.from_numpy(np.ascontiguousarray(audio.T)).to(torch.float32))
    return magnitudes(analysis.bands(found.abs()))


def snr(wanted: NDArray[np.floating], found: NDArray[np.floating]) -> float:
    error = float(np.square(wanted - found).sum())
    return float(10 * np.log10(np.square(wanted).sum() / max(error, 1e-12)))


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
