"""Quality and speed of generated music: recognition, distance to real music, diversity; without privacy and at ε = 8.

Five labels with synthetic tracks and with rendered scores (extra `repertoire`); the labels' tracks, the style judge's
training tracks, and the reference tracks for distances share no artist (synthetic: no seed; scores: no work).
*Embeddings* are the project's own summary features, averaged over a clip: named, versioned and public, since their
constants were fitted on synthetic music; distances are computed in their 16 principal directions over real tracks.
*Chosen* clips are best of n, judged by a style release that the same labels trained on the same tracks, with privacy if
the generator has it.

`python -m benchmarks generators`, or parts: `python -m benchmarks.generators --data synthetic --family rnn`.
`SOTTOVOCE_GENERATORS` names a folder for results, one file per cell, to resume from.
"""

import argparse
import csv
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from benchmarks.cached_figures import cached
from benchmarks.generators_speed import speed
from benchmarks.quality import LABELS
from benchmarks.repertoire import rendered
from sottovoce.audio.decoding import read
from sottovoce.features.extract import default_spec, extract
from sottovoce.features.normalisation import SpectrogramNormalisation, shipped
from sottovoce.features.spec import View
from sottovoce.models import discovery
from sottovoce.models.generator import _codec
from sottovoce.models.initialisation import default_init
from sottovoce.release.load import Release, load
from sottovoce.run.configuration import Trust
from sottovoce.studio.best_of import BestOf
from sottovoce.studio.generation import generate
from sottovoce.studio.vocoder import vocoder_of
from sottovoce.studio.vocoder.interface import long_audio
from sottovoce_simulations.engine.experiment import Experiment
from sottovoce_simulations.engine.partition import Scheme
from sottovoce_simulations.engine.simulation import simulate
from sottovoce_simulations.report.generation_metrics import COLLAPSED, Judge, Space
from sottovoce_simulations.scores.repertoire import of_public
from sottovoce_simulations.synthesis import synthesise

DATA = ("synthetic", "rendered")
FAMILIES = ("rnn", "vae", "gan")
SECONDS = 10.0
CLIPS = 45  # per cell, over all styles; half as many for each imitation
TRACKS, JUDGED, HELD_OUT = 300, 180, 90
PIECES = 600  # per class, of which a part is used
ROUNDS = {False: 6, True: 12}
CONSENT = "style; generator"
SEED = 11  # the shipped start was trained on music with seed 21

Clip = tuple[NDArray[np.float32], str]


@dataclass(frozen=True)
class Material:
    """The labels' catalogues, and other real clips: `[tracks, D]` embeddings with their classes."""

    experiment: Experiment
    styles: tuple[str, ...]
    judge: Judge
    real: NDArray[np.float32]
    classes: NDArray[np.int64]
    some: list[Clip]


def run(data: Sequence[str] = DATA, families: Sequence[str] = FAMILIES) -> dict[str, Any]:
    """Figures by data set and cell."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(os.environ.get("SOTTOVOCE_GENERATORS", temporary))
        (folder / "cells").mkdir(parents=True, exist_ok=True)
        return {name: dict(_cells(name, families, folder)) for name in data} | {
            "speed": cached(folder / "cells" / "speed.json", lambda: speed(FAMILIES))
        }


def _cells(data: str, families: Sequence[str], folder: Path) -> Iterator[tuple[str, Any]]:
    material: list[Material] = []

    def needed() -> Material:
        if not material:
            material.append(_synthetic(folder) if data == "synthetic" else _rendered(folder))
        return material[0]

    cells = folder / "cells"
    yield "real", cached(cells / f"{data}-real.json", lambda: _bounds(needed()))
    for family in families:
        for private in (False, True):
            name = f"{family}{', ε = 8' if private else ''}"
            path = cells / f"{data}-{family}-{'private' if private else 'plain'}.json"
            out = folder / "runs" / path.stem
            yield name, cached(path, lambda: _cell(needed(), family, private, out))  # noqa: B023 - called at once


def _synthetic(folder: Path) -> Material:
    pool, real = folder / "synthetic", folder / "synthetic-real"
    synthesise(pool, labels=LABELS, tracks=TRACKS // LABELS, seed=SEED)
    synthesise(real, labels=3, tracks=(JUDGED + HELD_OUT) // 3, seed=SEED + 1)
    tracks = [(path, path.parts[-3], path.parts[-2]) for path in sorted(real.glob("label-*/*/*/*")) if path.is_file()]
    judged, held_out = _apart(tracks, (JUDGED, HELD_OUT))
    return _material(Experiment(pool, Scheme.parse("as-is"), task="generator", seed=1), judged, held_out, folder)


def _rendered(folder: Path) -> Material:
    source, pool = rendered(PIECES), folder / "rendered"
    with (source / "catalogue.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    tracks = [(source / row["path"], row["style"], row["album"]) for row in rows if not of_public(row["album"])]
    mine, judged, held_out = _apart(tracks, (TRACKS, JUDGED, HELD_OUT))
    if not pool.exists():
        chosen = {path for path, _ in mine}
        for path in chosen:
            (pool / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, pool / path.relative_to(source))  # a catalogue follows no links to elsewhere
        with (pool / "catalogue.csv").open("w", encoding="utf-8", newline="") as file:
            sheet = csv.DictWriter(file, [*rows[0], "consent"])
            sheet.writeheader()
            sheet.writerows({**row, "consent": CONSENT} for row in rows if source / row["path"] in chosen)
    experiment = Experiment(pool, Scheme.parse("iid"), clients=LABELS, task="generator", seed=1)
    return _material(experiment, judged, held_out, folder)


def _apart(tracks: Sequence[tuple[Path, str, str]], sizes: Sequence[int]) -> list[list[tuple[Path, str]]]:
    """Disjoint sets of these sizes, balanced over styles, that share no artist or work."""
    rng = np.random.default_rng(SEED)
    parts: list[list[tuple[Path, str]]] = [[] for _ in sizes]
    styles = sorted({style for _, style, _ in tracks})
    for style in styles:
        works = sorted({work for _, of, work in tracks if of == style})
        order = [works[index] for index in rng.permutation(len(works))]
        ends = np.round(np.cumsum(sizes) / sum(sizes) * len(order)).astype(int)
        for part, some, size in zip(parts, np.split(np.array(order), ends[:-1]), sizes, strict=True):
            mine = [(path, of) for path, of, work in tracks if of == style and work in set(some)]
            part += [mine[index] for index in rng.permutation(len(mine))[: size // len(styles)]]
    return parts


def _material(
    experiment: Experiment, judged: Sequence[tuple[Path, str]], held_out: Sequence[tuple[Path, str]], folder: Path
) -> Material:
    styles = tuple(sorted({style for _, style in judged}))
    embeddings = folder / "cells" / f"{experiment.catalogues.name}-embeddings.npz"
    if not embeddings.exists():
        rows = {"judged": judged, "held_out": held_out}
        vectors = {name: np.stack([_embedded(_opened(path)) for path, _ in some]) for name, some in rows.items()}
        np.savez(embeddings, **vectors)
    found = np.load(embeddings)
    classes = {"judged": _numbers(judged, styles), "held_out": _numbers(held_out, styles)}
    few = [pair for style in styles for pair in [p for p in held_out if p[1] == style][: CLIPS // 2 // len(styles)]]
    return Material(
        experiment,
        styles,
        Judge(found["judged"], classes["judged"]),
        found["held_out"],
        classes["held_out"],
        [(_opened(path), style) for path, style in few],
    )


def _numbers(pairs: Sequence[tuple[Any, str]], styles: tuple[str, ...]) -> NDArray[np.int64]:
    return np.array([styles.index(style) for _, style in pairs])


def _opened(path: Path) -> NDArray[np.float32]:
    spec = default_spec()
    samples = read(path, spec.sample_rate)[: round(SECONDS * spec.sample_rate)]
    return samples.numpy()


def _embedded(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    return extract(torch.from_numpy(audio), default_spec()).summary.mean(axis=0)


def _cell(material: Material, family: str, private: bool, out: Path) -> dict[str, Any]:
    """Figures of one family's clips: single samples, and best of n."""
    release = _trained(material.experiment, "generator", family, private, out)
    figures = json.loads((out / "run.json").read_text(encoding="utf-8"))["figures"]
    judge = _trained(material.experiment, "style", "svm", private, out.with_name(f"{out.name}-judge"))
    clips, speed_ = _clips(material, release, None)
    chosen, speed_chosen = _clips(material, release, BestOf(judge))
    for name, some in (("", clips), ("-chosen", chosen)):
        for audio, style in some[:: CLIPS // len(material.styles)]:
            soundfile.write(out / f"{style}{name}.flac", audio, default_spec().sample_rate)
    return {
        "start": default_init("generator", family),
        "noise": _noise("generator", family, private),
        "epsilon": max(figures["epsilon"].values()) if private else None,
        "loss": figures["loss"],
        "seconds_of_training": figures["seconds"]["training"],
        "times_real_time": speed_,
        **_judged(material, clips),
        "chosen": {"times_real_time": speed_chosen, **_judged(material, chosen)},
    }


def _noise(task: str, family: str, private: bool) -> str | None:
    """Distributed noise if the family supports it."""
    return None if not private else "distributed" if discovery.family(task, family).distributed_noise else "local"


def _trained(pool: Experiment, task: str, family: str, private: bool, out: Path) -> Release:
    """The release trained by the labels; a generator with fewer rounds than its recipe."""
    if not (out / "release").is_dir():
        changes: dict[str, Any] = {"task": task, "family": family, "private": private}
        if task == "generator":
            changes["rounds"] = ROUNDS[private]
        if _noise(task, family, private) == "distributed":
            changes["noise"] = Trust.DISTRIBUTED
        simulate(Experiment(**{**vars(pool), **changes}), out)
    return load(out / "release")


def _clips(material: Material, release: Release, best_of: BestOf | None) -> tuple[list[Clip], float]:
    """Equally many clips of each style, and the real-time factor of generating them."""
    begun = time.perf_counter()
    clips = [
        (generate(release, style, SECONDS, seed=1, index=index, best_of=best_of), style)
        for style in material.styles
        for index in range(CLIPS // len(material.styles))
    ]
    return clips, len(clips) * SECONDS / (time.perf_counter() - begun)


def _judged(material: Material, clips: Sequence[Clip]) -> dict[str, Any]:
    """All figures of some clips, with real held-out tracks as reference."""
    made, classes = np.stack([_embedded(audio) for audio, _ in clips]), _numbers(clips, material.styles)
    space = Space.of(material.real)
    diversity = space.diversity(made, classes, material.real, material.classes)
    return {
        "recognised": material.judge.recognised(made, classes),
        "recognised_of_style": dict(zip(material.styles, material.judge.of_each(made, classes), strict=True)),
        "kernel_distance": space.kernel_distance(made, material.real),
        "frechet_distance": space.frechet_distance(made, material.real),
        "diversity": diversity,
        "collapsed": diversity < COLLAPSED,
    }


def _bounds(material: Material) -> dict[str, Any]:
    """The same figures for real clips, for vocoded and codec-coded ones, and for degenerate imitations."""
    order = np.random.default_rng(0).permutation(len(material.real))
    space, halves = Space.of(material.real), np.split(material.real[order], [len(order) // 2])
    made = {name: _judged(material, clips) for name, clips in _imitations(material).items()}
    return {
        "held out": {"recognised": material.judge.recognised(material.real, material.classes)},
        "two halves": {
            "kernel_distance": space.kernel_distance(*halves),
            "frechet_distance": space.frechet_distance(*halves),
        },
        **made,
    }


def _imitations(material: Material) -> dict[str, list[Clip]]:
    spec = default_spec(View.SPECTROGRAM)
    constants, vocoder = cast(SpectrogramNormalisation, shipped(View.SPECTROGRAM)), vocoder_of(spec)
    rng = np.random.default_rng(1)
    clips = [
        (torch.from_numpy(np.concatenate(list(extract(torch.from_numpy(audio), spec).spectrogram), axis=1)).float(), s)
        for audio, s in material.some
    ]
    means = {
        style: torch.stack([values.mean(dim=1) for values, of in clips if of == style]).mean(dim=0)
        for style in material.styles
    }
    codec = _codec.shipped()

    def coded(values: torch.Tensor) -> torch.Tensor:
        return codec.decode(codec.encode(values[None]))[0]

    def audible(change: Callable[[torch.Tensor, str], torch.Tensor]) -> list[Clip]:
        found = []
        for number, (values, style) in enumerate(clips):
            generator = torch.Generator().manual_seed(number)
            audio = long_audio(vocoder, constants.decibels(change(values, style)), generator)
            found.append((torch.nn.functional.pad(audio, (0, spec.hop_length)).numpy(), style))
        return found

    return {
        "through the vocoder": audible(lambda values, _: values),
        "through codec and vocoder": audible(lambda values, _: coded(values)),
        "style-mean spectrogram": audible(lambda values, style: means[style][:, None].expand_as(values)),
        "shuffled real": audible(lambda values, _: values[:, torch.from_numpy(rng.permutation(values.shape[1]))]),
        "noise": [(0.1 * rng.standard_normal(len(a)).astype(np.float32), style) for a, style in material.some],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generators", description=__doc__)
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA)
    parser.add_argument("--family", nargs="+", choices=FAMILIES, default=FAMILIES)
    options = parser.parse_args()
    print(json.dumps(run(options.data, options.family), indent=2))


if __name__ == "__main__":
    main()
