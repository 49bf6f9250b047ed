"""Phases from magnitudes alone: the gradients of log magnitudes over bins and frames determine those of phases.

Phase gradient heap integration (Průša, Balazs & Søndergaard, "A noniterative method for reconstruction of phase from
STFT magnitude", IEEE/ACM TASLP 2017), with a maximum spanning tree in place of the heap: both ends of its edges are as
loud as possible.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from torch import Tensor

from sottovoce.features.spec import FeatureSpec

HANN = 0.25645
"""Width of the Gaussian closest to a Hann window, divided by the square of the window's length (their section V)."""
QUIET = 6e-3
"""Share of the maximum below which phases are random: inaudible, and a tree over all bins would be slow."""
_TINY = 1e-8
_LOUDER = 1e-3
"""Weight of the louder end of an edge."""

Reals = NDArray[np.float64]
Numbers = NDArray[np.int64]


def integrated(magnitudes: Tensor, spec: FeatureSpec, generator: torch.Generator) -> Tensor:
    """Phases `[bins, frames]`, complex numbers of length 1.

    Args:
        magnitudes: linear, `[bins, frames]`.
        spec: defines the window (Hann) and hop.
        generator: source of the random phases of quiet bins.
    """
    angles = 2 * torch.pi * torch.rand(magnitudes.shape, generator=generator)
    logs = np.log(magnitudes.numpy().astype(np.float64) + _TINY)
    loud = magnitudes.numpy() > QUIET * float(magnitudes.max())
    if loud.any():
        found = torch.from_numpy(_along(*_differences(logs, loud, spec), logs[loud]))
        angles[torch.from_numpy(loud)] = found.float()
    return torch.polar(torch.ones(1), angles)


def _differences(logs: Reals, loud: NDArray[np.bool_], spec: FeatureSpec) -> tuple[Numbers, Numbers, Reals]:
    """Edges between loud bins, as start and stop indices, and their phase differences."""
    bins = np.arange(len(logs))[:, None]
    ratio = HANN * spec.n_fft / spec.hop_length
    onward = np.gradient(logs, axis=0) / ratio + 2 * np.pi * spec.hop_length / spec.n_fft * bins
    upward = np.pi - ratio * np.gradient(logs, axis=1)  # a window's centre is half a window after its first sample
    numbers = np.cumsum(loud).reshape(loud.shape) - 1
    starts, stops, differences = [], [], []
    for one, other, change in (
        (np.s_[:, :-1], np.s_[:, 1:], onward),
        (np.s_[:-1], np.s_[1:], upward),
    ):
        both = loud[one] & loud[other]
        starts.append(numbers[one][both])
        stops.append(numbers[other][both])
        differences.append((change[one][both] + change[other][both]) / 2)
    return np.concatenate(starts), np.concatenate(stops), np.concatenate(differences)


def _along(starts: Numbers, stops: Numbers, differences: Reals, levels: Reals) -> Reals:
    """Phases of all nodes, each the sum of differences along its path from the root."""
    count = len(levels)
    one, other = levels[starts], levels[stops]
    costs = 1 + levels.max() - np.minimum(one, other) + _LOUDER * (levels.max() - np.maximum(one, other))
    tree = minimum_spanning_tree(csr_array(coo_array((costs, (starts, stops)), shape=(count + 1, count + 1))))
    # Each connected component starts at its loudest node, which is connected to a common root.
    _, parts = connected_components(tree[:count, :count], directed=False)
    firsts = _loudest(levels, parts)
    roots = coo_array((np.ones(len(firsts)), (np.full(len(firsts), count), firsts)), shape=tree.shape)
    _, before = breadth_first_order(csr_array(tree + roots), count, directed=False)
    before[count] = count
    known = csr_array(coo_array((differences, (starts, stops)), shape=tree.shape))
    found = np.zeros(count + 1)
    places = np.arange(count)
    found[:count] = np.asarray(known[before[:count], places]) - np.asarray(known[places, before[:count]])
    while (before != count).any():  # pointer doubling: all paths at once, each twice as long as before
        found, before = (found + found[before]) % (2 * np.pi), before[before]
    return found[:count]


def _loudest(levels: Reals, parts: Numbers) -> Numbers:
    """The loudest node of each component."""
    most = np.full(parts.max() + 1, -np.inf)
    np.maximum.at(most, parts, levels)
    places = np.flatnonzero(levels == most[parts])
    found = np.empty(len(most), dtype=np.int64)
    found[parts[places]] = places
    return found
