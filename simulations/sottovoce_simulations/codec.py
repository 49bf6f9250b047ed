"""Learns the codec that is shipped: `python -m sottovoce_simulations.codec FOLDER`, from public audio only."""

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from torch import Tensor

from sottovoce.files import write_bytes
from sottovoce.models import registry
from sottovoce.models.generator import _codec
from sottovoce.models.generator._codec import Codec, grouped
from sottovoce_simulations.pretrain import segments

COMPONENTS, LEVELS, WORDS = 128, 6, 256
MOST_GROUPS = 60_000
ITERATIONS = 15


def fit(groups: Tensor, *, levels: int = LEVELS, words: int = WORDS, components: int = COMPONENTS) -> Codec:
    """Principal components, then k-means on what each level leaves.

    Args:
        groups: of public audio, `[n, GROUP · bands]`.
        levels: of the codec.
        words: codewords of each level.
        components: that are coded.
    """
    pca = PCA(components, svd_solver="covariance_eigh").fit(groups.numpy())
    mean, basis = (torch.from_numpy(each.astype(np.float32)) for each in (pca.mean_, pca.components_.T))
    left, found = (groups - mean) @ basis, []
    for level in range(levels):
        means = KMeans(words, n_init=1, max_iter=ITERATIONS, random_state=level).fit(left.numpy())
        found.append(torch.from_numpy(means.cluster_centers_.astype(np.float32)))
        left = left - found[-1][torch.from_numpy(means.labels_).long()]
    return Codec(mean, basis, torch.stack(found))


def main() -> None:
    """Learn the codec and put it into the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="public catalogues")
    parser.add_argument("--out", type=Path, default=Path(_codec.__file__).with_name(_codec.FILE))
    options = parser.parse_args()
    features = segments(options.folder, registry.spec_of("generator", "rnn"))[0]
    groups = grouped(features).flatten(0, 1)
    some = torch.randperm(len(groups), generator=torch.Generator().manual_seed(0))[:MOST_GROUPS]
    write_bytes(options.out, fit(groups[some].float()).to_bytes())


if __name__ == "__main__":
    main()
