"""Computation with private audio, with subnormal numbers as zeros.

A processor takes up to a hundred times as long over numbers below 10^-38 as over others. A model can be made to have
them for one track only, so that the time of a round would tell whether the track is in it.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def without_subnormals(compute: Callable[[], T]) -> T:
    """The result of `compute`, which runs in a thread of its own, and so do the threads that torch starts for it.

    How a processor treats subnormal numbers is a setting of each thread, inherited by those that it starts. All others
    keep theirs: a label must compute the global model to the bit.

    Raises:
        BaseException: whatever `compute` raises.
    """
    with ThreadPoolExecutor(1, initializer=torch.set_flush_denormal, initargs=(True,)) as thread:
        return thread.submit(compute).result()
