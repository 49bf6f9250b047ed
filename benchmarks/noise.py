"""Speed of drawing discrete Gaussian integers, compared with continuous Gaussian floats."""

import json
import statistics
import time
from collections.abc import Callable

from sottovoce.privacy.discrete_gaussian import sample, table_for
from sottovoce.randomness import Randomness

SIZE = 1_000_000
VARIANCES = (0.01, 10.0, 1e4, 1e7, 1e10, 1e12)
REPETITIONS = 15


def seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def run() -> dict[str, object]:
    """Seconds for a million draws of each variance, alternating with a million Gaussians; medians."""
    randomness = Randomness.system()
    tables = {variance: seconds(lambda variance=variance: table_for(variance)) for variance in VARIANCES}
    discrete: dict[float, list[float]] = {variance: [] for variance in VARIANCES}
    continuous, words = [], []
    for _ in range(REPETITIONS):
        words.append(seconds(lambda: randomness.words(SIZE)))
        continuous.append(seconds(lambda: randomness.gaussian((SIZE,), 1.0)))
        for variance, times in discrete.items():
            times.append(seconds(lambda variance=variance: sample(randomness, variance, SIZE)))
    gaussian = statistics.median(continuous)
    return {
        "integers": SIZE,
        "words_seconds": statistics.median(words),
        "gaussian_seconds": gaussian,
        "by_variance": {
            f"{variance:g}": {
                "seconds": statistics.median(times),
                "of_gaussian": statistics.median(times) / gaussian,
                "table_seconds": tables[variance],
            }
            for variance, times in discrete.items()
        },
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
