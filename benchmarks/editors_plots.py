"""Spectrograms of editors' results beside the originals: `python -m benchmarks.editors_plots OUT TRACK [RELEASE]`.

TRACK is an audio file; RELEASE a release of the task `editor`, default: the public start of `rnn`. `--vae` names a
release for restyling, and `--style` the target style.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.editors import ENDING_SECONDS, Interpolated, public
from benchmarks.repair import CONSTANTS, SPEC, Samples, Track, tracks_of
from sottovoce.release.load import Release, load
from sottovoce.studio.editing.analysis import Analysis
from sottovoce.studio.editing.extend import Extend
from sottovoce.studio.editing.learned_repair import LearnedRepairer
from sottovoce.studio.editing.repairer import LpcRepairer
from sottovoce.studio.editing.spectral_effects import Denoise

GAP_AT, GAP_SECONDS, SNR = 4.0, 0.2, 5.0
SEEN_SECONDS = 10.0
LOWEST_DB, HIGHEST_DB = -80.0, 0.0


def draw(path: Path, rate: int, panels: dict[str, Samples], marks: tuple[float, ...] = (), begin: float = 0.0) -> None:
    """Mel spectrograms stacked vertically, with a line at each mark (s)."""
    import torch

    analysis = Analysis(SPEC, CONSTANTS, rate)
    figure = Figure(figsize=(9, 1.7 * len(panels) + 0.4), layout="constrained")
    rows = np.atleast_1d(figure.subplots(len(panels), 1, sharex=True))
    for axes, (name, audio) in zip(rows, panels.items(), strict=True):
        mono = torch.from_numpy(audio.mean(axis=1)[None].copy()).to(torch.float32)
        levels = analysis.bands(analysis.spectrum(mono).abs())[0].numpy()
        end = begin + len(audio) / rate
        extent = (begin, end, 0, len(levels))
        axes.imshow(levels, origin="lower", aspect="auto", extent=extent, vmin=LOWEST_DB, vmax=HIGHEST_DB, cmap="magma")
        axes.set_title(name, loc="left", fontsize=9)
        axes.set_ylabel("band")
        for mark in marks:
            axes.axvline(mark, color="cyan", linewidth=0.7, linestyle=":")
    axes.set_xlabel("seconds")
    figure.savefig(path, dpi=80)


def repaired(out: Path, track: Track, release: Release) -> None:
    """A gap of 200 ms, repaired with three methods."""
    start, frames = round(GAP_AT * track.rate), round(GAP_SECONDS * track.rate)
    context = 2 * track.rate
    before, after = track.audio[start - context : start], track.audio[start + frames : start + frames + context]
    whole = np.concatenate([before, track.audio[start : start + frames], after])
    panels = {"as it was": whole, "with a gap": np.concatenate([before, np.zeros_like(whole[:frames]), after])}
    for name, method in {
        "linear prediction": LpcRepairer(),
        "interpolated": Interpolated(release),
        "editor": LearnedRepairer(release),
    }.items():
        panels[name] = np.concatenate([before, method.fill(before, after, frames, track.rate), after])
    part = slice(track.rate, -track.rate)
    begin = GAP_AT - 1
    draw(
        out / "repair.png",
        track.rate,
        {name: audio[part] for name, audio in panels.items()},
        (GAP_AT, GAP_AT + GAP_SECONDS),
        begin,
    )


def denoised(out: Path, track: Track, release: Release) -> None:
    """White noise at 5 dB."""
    clean = track.audio[: 8 * track.rate]
    noise = np.random.default_rng(0).standard_normal(clean.shape) * np.sqrt(np.mean(np.square(clean)))
    noisy = clean + noise * 10 ** (-SNR / 20)
    found = np.concatenate(list(Denoise(release).process(iter([noisy]), track.rate)))
    draw(out / "denoise.png", track.rate, {"as it was": clean, "under noise, 5 dB": noisy, "denoised": found})


def extended(out: Path, track: Track, release: Release) -> None:
    """A track without its last seconds, extended by the same length."""
    beginning = track.audio[: -round(ENDING_SECONDS * track.rate)]
    found = np.concatenate(list(Extend(release, ENDING_SECONDS).process(iter([beginning]), track.rate)))
    end, seen = len(beginning) / track.rate, max(0, len(track.audio) - round(SEEN_SECONDS * track.rate))
    draw(
        out / "extend.png",
        track.rate,
        {"as it was": track.audio[seen:], f"extended after {end:.0f} s": found[seen:]},
        (end,),
        seen / track.rate,
    )


def restyled(out: Path, track: Track, vae: Release, style: str) -> None:
    """Full restyling to another style."""
    from sottovoce.studio.editing.restyle import Restyle

    original = track.audio[: 8 * track.rate]
    found = np.concatenate(list(Restyle(vae, style).process(iter([original]), track.rate)))
    draw(out / "restyle.png", track.rate, {"as it was": original, f"restyled: {style}": found})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("track", type=Path)
    parser.add_argument("release", type=Path, nargs="?")
    parser.add_argument("--vae", type=Path)
    parser.add_argument("--style", default="")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    track = tracks_of([options.track])[0]
    release = load(options.release) if options.release else public("rnn")
    for claim in (repaired, denoised, extended):
        claim(options.out, track, release)
    if options.vae:
        restyled(options.out, track, load(options.vae), options.style)


if __name__ == "__main__":
    main()
