"""Fits the public normalisation constants, on public audio only.

`python -m sottovoce_simulations.shipped_weights.fit_normalisation FOLDER` fits those of the summary and log-mel views,
with `--spectrogram` those of the spectrogram view.

The shipped ones are fitted on the synthetic catalogue (`sottovoce synthesise`), which is narrower than real music. So
each deviation is at least a quarter of the median among its descriptor's dimensions: dimensions that hardly vary in
synthetic music are not amplified in real music.
"""

import argparse
import logging
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.audio.decoding import AUDIO
from sottovoce.errors import AudioError, CatalogueError
from sottovoce.features import normalisation
from sottovoce.features.extract import Features, default_spec, extract_file, summary_names
from sottovoce.features.normalisation import (
    CONSTANTS,
    SPECTROGRAM_CONSTANTS,
    Constants,
    Normalisation,
    SpectrogramNormalisation,
)
from sottovoce.features.spec import FeatureSpec, View
from sottovoce.files import write_bytes

LEAST_SHARE = 0.25
"""Least deviation, as a share of the median one in the same descriptor."""

_SEED = 2

_log = logging.getLogger(__name__)


def fit(tracks: Sequence[Features], names: Sequence[str]) -> Normalisation:
    """Constants from unnormalised features; every track has the same weight.

    Args:
        tracks: features under a spec without constants.
        names: names of the summary's dimensions.
    """
    summary = _moments([track.summary for track in tracks])
    bands = _moments([_frames(track.log_mel) for track in tracks])
    groups = [name.rstrip("0123456789") for name in names]
    std = summary[1].clone()
    start = 0
    for _, members in groupby(groups):
        size = len(list(members))
        part = std[start : start + size]
        part.clamp_(min=max(LEAST_SHARE * float(part.median()), 1e-3))
        start += size
    return Normalisation(summary[0], std, bands[0], bands[1].clamp(min=LEAST_SHARE * float(bands[1].median())))


def fit_spectrogram(tracks: Sequence[Features]) -> SpectrogramNormalisation:
    """Constants of the spectrogram from unnormalised features; every track has the same weight."""
    mean, std = _moments([_frames(track.spectrogram) for track in tracks])
    return SpectrogramNormalisation(mean, std.clamp(min=LEAST_SHARE * float(std.median())))


def _frames(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """All frames of `[segments, bands, frames]`, concatenated."""
    return values.transpose(0, 2, 1).reshape(-1, values.shape[1])


def _moments(tracks: Sequence[NDArray[np.floating]]) -> tuple[Tensor, Tensor]:
    means = np.stack([track.mean(axis=0, dtype=np.float64) for track in tracks])
    squares = np.stack([np.square(track, dtype=np.float64).mean(axis=0) for track in tracks])
    mean = means.mean(axis=0)
    std = np.sqrt(np.maximum(squares.mean(axis=0) - mean**2, 0))
    return torch.from_numpy(mean).float(), torch.from_numpy(std).float()


def _features(path: Path, spec: FeatureSpec) -> Features | None:
    try:
        return extract_file(path, spec)
    except AudioError:
        return None


def main() -> None:
    """Fit and write the shipped constants."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="public audio, at any depth")
    parser.add_argument("--spectrogram", action="store_true", help="fit the constants of the spectrogram view")
    parser.add_argument("--out", type=Path, help="output file; default: the shipped file")
    parser.add_argument("--most", type=int, default=3000, help="largest number of files to use, evenly sampled")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    view = View.SPECTROGRAM if options.spectrogram else View.SUMMARY
    spec = replace(default_spec(view), normalisation="")
    paths = sorted(path for path in options.folder.rglob("*") if path.suffix.lower() in AUDIO)
    chosen = np.random.default_rng(_SEED).permutation(len(paths))[: options.most]
    with ProcessPoolExecutor(initializer=torch.set_num_threads, initargs=(1,), mp_context=get_context("spawn")) as pool:
        found = pool.map(partial(_features, spec=spec), [paths[index] for index in sorted(chosen)], chunksize=8)
        tracks = [features for features in found if features is not None]
    if not tracks:
        raise CatalogueError("There is no audio to fit normalisation constants on.")
    constants: Constants = fit_spectrogram(tracks) if options.spectrogram else fit(tracks, summary_names(spec))
    name = SPECTROGRAM_CONSTANTS if options.spectrogram else CONSTANTS
    shipped = Path(normalisation.__file__).with_name(name)
    write_bytes(options.out or shipped, constants.to_bytes())
    _log.info("%d tracks, digest %s", len(tracks), constants.digest)


if __name__ == "__main__":
    main()
