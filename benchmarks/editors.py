"""Quality and speed of gap repair, denoising and extension on unseen tracks.

Editors: trained by `sottovoce simulate` over five labels of synthetic tracks (without privacy, and at ε = 8), from the
public start if one is shipped. Tracks: synthetic ones with another seed, and rendered scores if `SOTTOVOCE_REPERTOIRE`
names their folder. `SOTTOVOCE_EDITORS` names a folder for releases, to resume from.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from benchmarks.repair import (
    CLASSICAL,
    CONSTANTS,
    QUIET,
    SPEC,
    Samples,
    Track,
    means,
    mel,
    repair_figures,
    snr,
    tracks_of,
    unseen,
)
from sottovoce.features.spectrogram import FLOOR
from sottovoce.models import discovery, parameters
from sottovoce.models.editor._conditioning import observe
from sottovoce.models.initialisation import default_init, initial_parameters
from sottovoce.models.interfaces import Batch
from sottovoce.release.load import Release, load
from sottovoce.studio.editing.analysis import Analysis
from sottovoce.studio.editing.extend import Extend, held
from sottovoce.studio.editing.learned_repair import LearnedRepairer
from sottovoce.studio.editing.repairer import Repairer
from sottovoce.studio.editing.spectral_effects import Denoise
from sottovoce_client.training.unit_gradients import UnitGradients
from sottovoce_simulations.engine.experiment import Experiment
from sottovoce_simulations.engine.partition import Scheme
from sottovoce_simulations.engine.simulation import simulate
from sottovoce_simulations.report.write_report import RUN_FILE
from sottovoce_simulations.synthesis import synthesise

LABELS, TRACKS, ROUNDS = 5, 60, 5
UNSEEN = 12
"""Number of test tracks of each kind."""
TRAINING_SEED = 2026
FAMILIES = ("rnn", "cnn")
NOISES = (0.0, 5.0, 10.0)
STEPS, BATCH = 3, 32
EXTENDED: Mapping[str, Any] = {"labels": 1, "tracks": 12, "seconds": (30.0, 30.0), "seed": 2027}
"""Synthetic tracks for extension, longer than those for repair, like real tracks."""
ENDING_SECONDS = 4.0
"""Length of the end of each track that is removed and regenerated, seconds."""


def run() -> dict[str, Any]:
    """Repair, denoising and speed of every editor, beside classical methods and the unprocessed input."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(os.environ.get("SOTTOVOCE_EDITORS", temporary))
        releases = trained(folder)
        figures: dict[str, Any] = {"training": {name: trained for name, (_, trained) in releases.items()}}
        for name, everything in unseen(folder).items():
            order = np.random.default_rng(TRAINING_SEED).permutation(len(everything))
            tracks = [everything[number] for number in order[:UNSEEN]]
            figures[name] = {
                "tracks": len(tracks),
                "repair": repair_figures(repairers(releases), tracks),
                "denoise": denoise_figures({key: Denoise(release) for key, (release, _) in releases.items()}, tracks),
            }
        figures["extension"] = extension_figures(public("rnn"), endings(folder))
        return figures | {"speed": {family: steps_a_second(family) for family in FAMILIES}}


def trained(folder: Path) -> dict[str, tuple[Release, Any]]:
    """Releases of both families, with and without privacy, with their training's figures; and the public starts."""
    found: dict[str, tuple[Release, Any]] = {}
    catalogues = folder / "catalogues"
    if not catalogues.is_dir():
        synthesise(catalogues, labels=LABELS, tracks=TRACKS, seed=TRAINING_SEED)
    for family in FAMILIES:
        if default_init("editor", family) == "public":
            found[f"{family}, public start"] = (public(family), None)
        for private in (False, True):
            out = folder / f"{family}-{'private' if private else 'plain'}"
            results = out / RUN_FILE
            if not results.is_file():
                experiment = Experiment(
                    catalogues,
                    Scheme.parse("as-is"),
                    task="editor",
                    family=family,
                    rounds=ROUNDS,
                    private=private,
                    seed=1,
                )
                simulate(experiment, out)
            figures = json.loads(results.read_text(encoding="utf-8"))["figures"]
            keys = ("loss", "repair_error", "interpolation_error", "denoise_error", "noise_error", "seconds", "epsilon")
            name = f"{family}, ε = 8" if private else f"{family}, no privacy"
            found[name] = (load(out / "release"), {key: figures[key] for key in keys})
    return found


def public(family: str) -> Release:
    """The shipped public start as a release."""
    from sottovoce.run.configure import configure_run
    from sottovoce.run.request import RunRequest

    config = configure_run(RunRequest(task="editor", family=family, seed=1), classes=("music", "speech"), labels=LABELS)
    kind = discovery.family("editor", family)
    model = parameters.model_of(kind, SPEC, len(config.classes), initial_parameters(config))
    manifest = SimpleNamespace(task="editor", family=family, features=SPEC, classes=config.classes)
    return Release(cast(Any, manifest), "", True, kind, model, CONSTANTS)


class Interpolated(LearnedRepairer):
    """Like the learned repairer, with linear interpolation in place of the model."""

    name = "interpolation"

    def levels(self, values: Tensor, missing: Tensor) -> Tensor:
        """See `LearnedRepairer.levels`."""
        none = torch.zeros(len(values), dtype=torch.bool)
        return observe(values, missing.expand(len(values), -1), none).interpolated


def repairers(releases: dict[str, tuple[Release, Any]]) -> dict[str, Repairer]:
    """All methods by name."""
    learned: dict[str, Repairer] = {name: LearnedRepairer(release) for name, (release, _) in releases.items()}
    one = next(iter(releases.values()))[0]
    return {"straight line": Interpolated(one), **CLASSICAL, **learned}


class Ideal(Denoise):
    """Ideal band gains, computed from the clean audio: an upper bound for denoising by gains."""

    def __init__(self, release: Release, clean: Samples) -> None:
        super().__init__(release)
        self._clean = clean

    def process(self, blocks: Iterator[Samples], sample_rate: int) -> Iterator[Samples]:
        analysis = Analysis(SPEC, CONSTANTS, sample_rate)
        for block in blocks:
            audio, clean = (torch.from_numpy(each.T.copy()).to(torch.float32) for each in (block, self._clean))
            spectrum = analysis.spectrum(audio)
            gains = analysis.bands(analysis.spectrum(clean).abs()) - analysis.bands(spectrum.abs())
            factors = 10 ** (analysis.bins(gains.clamp(max=0)) / 20)
            yield analysis.audio(spectrum * factors, len(block)).numpy().T.astype(np.float64)


def denoise_figures(effects: dict[str, Denoise], tracks: Sequence[Track], seed: int = 0) -> dict[str, Any]:
    """Means over the tracks under white noise: SI-SDR before and after, log-spectral distance, and speed."""
    found: dict[str, dict[str, list[list[float]]]] = {}
    for number, track in enumerate(tracks):
        clean = track.audio[: round(8 * track.rate)]
        if np.sqrt(np.mean(np.square(clean))) < QUIET:
            continue
        noise = np.random.default_rng([seed, number]).standard_normal(clean.shape)
        for decibels in NOISES:
            noisy = clean + noise * np.sqrt(np.mean(np.square(clean))) * 10 ** (-decibels / 20)
            for name, effect in {"nothing": None, "ideal gains": Ideal(_any(effects), clean), **effects}.items():
                begun = time.process_time()
                processed = noisy if effect is None else np.concatenate(list(effect.process(iter([noisy]), track.rate)))
                spent = time.process_time() - begun
                measured = [
                    _si_sdr(clean, processed),
                    _distance(clean, processed, track.rate),
                    spent * track.rate / len(clean),
                ]
                found.setdefault(f"{decibels:.0f} dB", {}).setdefault(name, []).append(measured)
    names = ("si_sdr_db", "log_spectral_distance_db", "seconds_a_second")
    return means(found, names)


def endings(folder: Path) -> dict[str, list[Track]]:
    """Tracks for extension, by source."""
    place = folder / "endings"
    if not place.is_dir():
        synthesise(place, **EXTENDED)
    found = {"synthetic": tracks_of(sorted(place.rglob("*.flac")))}
    if scores := unseen(folder).get("rendered scores"):
        found["rendered scores"] = [scores[each] for each in np.random.default_rng(0).permutation(len(scores))[:UNSEEN]]
    return found


def extension_figures(release: Release, tracks: Mapping[str, Sequence[Track]]) -> dict[str, Any]:
    """Compare a track's removed end with its generated extension: means over the tracks.

    `level_db`: difference of levels. `colour_db`: root mean square difference of the bands' mean levels. `onsets`: mean
    increase of band levels between frames, relative to the real end's. *held*: sustaining the last sound (the previous
    method). *elsewhere*: another part of the same track, an upper bound for generated music.
    """
    found: dict[str, dict[str, list[list[float]]]] = {}
    for name, several in tracks.items():
        for track in several:
            count = round(ENDING_SECONDS * track.rate)
            beginning, end = track.audio[:-count], track.audio[-count:]
            if np.sqrt(np.mean(np.square(end))) < QUIET:
                continue
            begun = time.process_time()
            made = _first(Extend(release, ENDING_SECONDS).continued(beginning, track.rate), count)
            spent = (time.process_time() - begun) / ENDING_SECONDS
            ways = {
                "as shipped": made,
                "held": _first(held(beginning, track.rate, LearnedRepairer(release)), count),
                "elsewhere": beginning[:count],
            }
            for way, audio in ways.items():
                found.setdefault(name, {}).setdefault(way, []).append([*_beside(audio, end, track.rate), spent])
    names = ("level_db", "colour_db", "onsets", "seconds_a_second_as_shipped")
    return means(found, names, counted="tracks")


def _first(blocks: Iterator[Samples], count: int) -> Samples:
    found, length = [], 0
    while length < count:
        found.append(next(blocks))
        length += len(found[-1])
    return np.concatenate(found)[:count]


def _beside(made: Samples, real: Samples, rate: int) -> tuple[float, float, float]:
    analysis = Analysis(SPEC, CONSTANTS, rate)
    one, other = (20 * torch.log10(mel(audio, analysis) + FLOOR) for audio in (made, real))
    power = [float(np.mean(np.square(audio))) + 1e-12 for audio in (made, real)]
    colour = (one - other).mean(dim=-1).square().mean().sqrt()
    onsets = [values.diff(dim=-1).clamp(min=0).mean() for values in (one, other)]
    return abs(10 * float(np.log10(power[0] / power[1]))), float(colour), float(onsets[0] / onsets[1])


def _any(effects: dict[str, Denoise]) -> Release:
    return next(iter(effects.values()))._release


def _distance(one: Samples, other: Samples, rate: int) -> float:
    analysis = Analysis(SPEC, CONSTANTS, rate)
    ratio = 20 * torch.log10((mel(one, analysis) + FLOOR) / (mel(other, analysis) + FLOOR))
    return float(ratio.square().mean(dim=1).sqrt().mean())


def _si_sdr(wanted: Samples, found: Samples) -> float:
    """Scale-invariant signal-to-distortion ratio, dB (Le Roux et al., ICASSP 2019)."""
    scaled = wanted * float((wanted * found).sum() / max(np.square(wanted).sum(), 1e-12))
    return snr(scaled, found)


def steps_a_second(family: str) -> dict[str, float]:
    """Training steps per second on one core, on batches of `BATCH` segments, with and without per-track clipping."""
    torch.set_num_threads(1)
    kind = discovery.family("editor", family)
    vector = parameters.initial(kind, SPEC, 1, 0)
    features = torch.randn(BATCH, 1, SPEC.n_mels, SPEC.frames)
    batch = Batch(features, torch.zeros(BATCH, dtype=torch.long), torch.ones(BATCH, 1, dtype=torch.bool))

    def speed(clip: float | None) -> float:
        gradients = UnitGradients(kind, parameters.model_of(kind, SPEC, 1, vector), clip)
        return _rate(lambda: gradients.sum(batch, torch.ones(BATCH), torch.Generator().manual_seed(0)))

    return {
        "parameters": len(vector),
        "batch": BATCH,
        "private_steps_a_second": speed(1.0),
        "plain_steps_a_second": speed(None),
    }


def _rate(function: Callable[[], object]) -> float:
    function()
    begun = time.process_time()
    for _ in range(STEPS):
        function()
    return round(STEPS / (time.process_time() - begun), 3)


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
