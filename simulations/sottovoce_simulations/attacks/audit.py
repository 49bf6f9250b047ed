"""The privacy audit: a run of the labels' own code with canaries, and everything tested that their plan declares.

Two executions are looked at: one with canaries that a coin puts in, as a coordinator sees it and as only an audit can,
and one at labels without a single track, whose reports are noise. Every check is a statistical test against what the
plan declares: code that does as declared raises an alarm in one of them with probability `Audit.false_alarms` at most.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import binom, norm

from sottovoce.randomness import Randomness
from sottovoce.run.configuration import Balance, Unit
from sottovoce_simulations.attacks import white_noise
from sottovoce_simulations.attacks.canaries import Audited
from sottovoce_simulations.attacks.lone_noise import evaluation_noise, histogram_noise, neighbours_differ
from sottovoce_simulations.attacks.one_run import LEAST_CANARIES, OneRun, one_run
from sottovoce_simulations.attacks.transcript import Transcript, execute, layout_of

THRESHOLD = 5e-6
"""P-value below which a check raises an alarm."""
FLOAT32 = 2.0**-22
"""Twice float32's relative spacing: of updates, which are rounded more than once."""
SOURCES = 1 << 12
"""Sources of randomness that are opened, to see whether two begin alike."""
COUNTS = 20_000
"""Least number of noised counts that are looked at."""
ROUNDING_VARIANCE = 0.25
"""Largest variance of a number that is rounded up or down at random."""
EQUAL_FLOATS = 1e-3
"""Chance, from above, that two coordinates' noise agrees within the tolerance of `white_noise.equal_coordinates`."""


@dataclass(frozen=True)
class Check:
    """One thing that was tested.

    Args:
        name: what is declared.
        measured: what was found, in words.
        p_value: probability, at most, of a finding this far from what is declared, if all is as declared.
    """

    name: str
    measured: str
    p_value: float

    @property
    def passed(self) -> bool:
        """Whether what was found is no alarm."""
        return self.p_value >= THRESHOLD


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Args:
        epsilon: what a label's run costs at most, by its plan.
        delta: δ.
        canaries: how many there were.
        checks: what was tested.
        bounds: lower bounds on ε, from all rounds' sums and from the release; none where there are too few canaries.
    """

    epsilon: float
    delta: float
    canaries: int
    checks: tuple[Check, ...]
    bounds: dict[str, OneRun] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether no check raised an alarm."""
        return all(check.passed for check in self.checks)

    @property
    def false_alarms(self) -> float:
        """Probability at most of an alarm if all is as declared."""
        return len(self.checks) * THRESHOLD


def audit(audited: Audited, *, bounds: bool = True) -> Audit:
    """Run the labels' code with canaries, and try to refute what their plan declares.

    Args:
        audited: what is audited.
        bounds: whether to compute lower bounds on ε, which takes most of the time and needs `jax-privacy`.

    Raises:
        ConfigurationError: `jax-privacy` is not installed.
        SottovoceError: whatever the labels' code raises.
    """
    plan = audited.plan
    included = Randomness.system().bernoulli(np.full(audited.canaries, 0.5))
    crowded, empty = execute(audited, included), execute(audited, np.zeros(audited.canaries, np.bool_))
    checks = [*_noise(crowded, empty), *_units(crowded), *_elsewhere(audited)]
    found = {}
    if bounds and min(included.sum(), (~included).sum()) >= LEAST_CANARIES // 2:
        for name, scores in (("rounds", _round_scores(crowded)), ("release", _release_scores(crowded))):
            found[name] = one_run(scores, included, plan.delta)
            sure = one_run(scores, included, plan.delta, confidence=1 - THRESHOLD).epsilon
            told = f"{plan.epsilon:.2f} declared; at least {found[name].epsilon:.2f} (95 %), {sure:.2f} (99.9995 %)"
            checks.append(Check(f"ε, by the {name}", told, float(sure <= plan.epsilon)))
    return Audit(plan.epsilon, plan.delta, audited.canaries, tuple(checks), found)


def _noise(crowded: Transcript, empty: Transcript) -> Iterator[Check]:
    """Noise is white, normal, fresh and of the declared scale."""
    mechanism = crowded.audited.plan.mechanism
    noise, others = (each.reports.reshape(-1, each.reports.shape[-1]) for each in (empty, crowded))
    silent, slack = crowded.sums[:, :, crowded.silent], _slack(crowded)
    squares, heard = np.square(noise), np.square(silent)
    yield Check(
        "scale of the noise",
        f"{_root(squares):.4f} times the declared one without tracks, {_root(heard):.4f} with canaries",
        white_noise.smallest(
            [
                white_noise.energy(squares.sum(), noise.size),
                white_noise.energy(heard.sum(), silent.size, slack),
                white_noise.energy(squares.sum() + heard.sum(), noise.size + silent.size, slack),
            ]
        ),
    )
    by_round = [_root(row) for row in squares]
    yield Check(
        "noise in each round",
        f"{min(by_round):.3f} to {max(by_round):.3f} times the declared one",
        white_noise.smallest(
            [
                white_noise.energy(squares.sum(axis=1), noise.shape[1]),
                white_noise.energy(heard.sum(axis=(1, 2)), silent[0].size, slack),
            ]
        ),
    )
    without = int((squares.sum(axis=0) == 0).sum())
    yield Check(
        "noise in each coordinate",
        f"{without} of {noise.shape[1]} coordinates have none",
        white_noise.energy(squares.sum(axis=0), len(noise)),
    )
    added_up = noise.sum(axis=0) / np.sqrt(len(noise))
    yield Check(
        "independence of the rounds",
        f"their noise adds up to {_root(np.square(added_up)):.3f} times what independent noise does",
        white_noise.smallest(
            [
                white_noise.energy(np.square(added_up).sum(), added_up.size),
                white_noise.two_sided(noise.sum() / np.sqrt(noise.size)),
            ]
        ),
    )
    yield Check(
        "noise in the release",
        f"{_root(np.square(crowded.release[:, crowded.silent])):.3f} times the declared one",
        white_noise.energy(
            np.square(crowded.release[:, crowded.silent]).sum(), crowded.release[:, crowded.silent].size, slack
        ),
    )
    smooth, chance = noise, EQUAL_FLOATS
    if mechanism is None:  # later rounds' updates are differences of larger numbers, and coarser
        values = empty.reports[0].ravel()
        equal = white_noise.coincidences(values, lambda value: norm.pdf(value) * FLOAT32 * (np.abs(value) + 4))
    else:
        std = np.sqrt(mechanism.variance)
        values = np.rint(noise.ravel() * std)
        equal = white_noise.coincidences(values, lambda value: norm.pdf(value / std) / std)
        # A uniform number is added to whole ones, so that they fill the line.
        smooth = noise + (Randomness.system().uniform(noise.size).reshape(noise.shape) - 0.5) / std
        smooth /= np.sqrt(1 + 1 / (12 * mechanism.variance))
        chance = max(chance, 1 / std)
    yield Check("normal distribution", "by Kolmogorov and Smirnov's test", white_noise.shape(smooth))
    told = f"{values.size - len(np.unique(values))} of {values.size} numbers are repeated"
    yield Check("fineness of the noise", told, equal)
    repeated = white_noise.repeats(noise, others)
    yield Check(
        "repeated noise", f"{len(noise) + len(others)} reports of two executions compared, at every shift", repeated
    )
    yield Check("correlated coordinates", "compared at every distance", white_noise.correlated_coordinates(noise))
    yield Check("copied coordinates", "compared over all reports", white_noise.equal_coordinates(noise, chance))


def _units(crowded: Transcript) -> Iterator[Check]:
    """Units are drawn as declared, and none counts for more than one clip."""
    audited, drawn = crowded.audited, crowded.drawn[:, crowded.included]
    config, plan, steps = audited.config, audited.plan, audited.config.local_steps
    rate, trials = plan.base_rate, drawn.size * steps
    told = f"{drawn.sum() / trials:.4f} instead of {rate:.4f}"
    if config.distributed and config.distributed.banded:
        expected = _schedule(audited)[:, crowded.included]
        wrong = int((drawn != expected).sum())
        yield Check("turns of the units", f"{wrong} wrong ones", float(not wrong))
    elif config.balance is Balance.SAMPLING:
        most = plan.sample_rate
        told = f"{drawn.sum() / trials:.4f}, of {most:.4f} at most"
        yield Check("sampling rate", told, float(binom.sf(drawn.sum() - 1, trials, most)))
    else:
        yield Check("sampling rate", told, white_noise.binomial(drawn.sum(), trials, rate))
        uniform = Randomness.system().uniform(drawn.shape[0] + drawn.shape[1])
        by_round, by_unit = uniform[: len(drawn)], uniform[len(drawn) :]
        yield Check(
            "independence of sampling",
            f"{drawn.sum(axis=1).min()} to {drawn.sum(axis=1).max()} of {drawn.shape[1]} units a round",
            white_noise.smallest(
                [
                    white_noise.spread(drawn.sum(axis=1), drawn.shape[1] * steps, rate, by_round),
                    white_noise.spread(drawn.sum(axis=0), len(drawn) * steps, rate, by_unit),
                ]
            ),
        )
    scores, sizes = zip(*(_influence(crowded, lag) for lag in range(len(audited.row))), strict=True)
    exact = _exact(audited)
    yield Check(
        "influence of a unit",
        f"{', '.join(f'{size:.3f}' for size in sizes)} times what it is{'' if exact else ' at most'}",
        white_noise.two_sided(np.array(scores)) if exact else white_noise.smallest(norm.sf(scores)),
    )


def _exact(audited: Audited) -> bool:
    """Whether a drawn unit's part in a sum is known, and not only the most that it may be."""
    config = audited.config
    return config.local_steps == 1 and config.balance is not Balance.LOSS and config.unit is not Unit.LABEL


def _influence(crowded: Transcript, lag: int) -> tuple[float, float]:
    """What drawn units move the sum of `lag` rounds later by: its normal score, and as a share of what is declared."""
    audited, rounds = crowded.audited, len(crowded.sums) - lag
    gradients = crowded.gradients[:rounds]
    lengths = np.linalg.norm(gradients, axis=2)
    drawn = crowded.drawn[:rounds] if audited.config.unit is not Unit.LABEL else crowded.drawn[:rounds] > 0
    weights = drawn * lengths
    most = lengths if _exact(audited) else np.ones(1)
    largest = audited.step_weights.max() if audited.plan.mechanism is None else 1.0
    moved = float((weights * crowded.along(crowded.sums[lag:], gradients)).sum())
    declared = float((weights * drawn * most).sum()) * audited.signal * largest * audited.row[lag]
    std = float(np.sqrt(np.square(weights).sum() * (1 + _slack(crowded)))) or 1.0
    return (moved - declared) / std, moved / declared if declared else 1.0


def _elsewhere(audited: Audited) -> Iterator[Check]:
    """What is looked at apart from the two executions."""
    differ = neighbours_differ(audited)
    told = f"one unit less changes {'it' if differ else 'nothing'}"
    yield Check("noise of neighbouring catalogues", told, float(not differ))
    for what, noise in (
        ("held-out counts", evaluation_noise(audited, COUNTS)),
        ("class counts", histogram_noise(audited, COUNTS)),
    ):
        if noise.size:
            squares = np.square(noise)
            told = f"{_root(squares):.3f} times the declared one"
            yield Check(f"noise of {what}", told, white_noise.energy(squares.sum(), squares.size))
    begun = np.concatenate([Randomness.system().words(1) for _ in range(SOURCES)])
    twice = SOURCES - len(np.unique(begun))
    yield Check("sources of randomness", f"{twice} of {SOURCES} begin like another one", float(not twice))


def _round_scores(crowded: Transcript) -> NDArray[np.float64]:
    """Log-likelihood ratio of being in, by all rounds' sums and the noise that was measured in them: `[m]`.

    No test of a Poisson-subsampled Gaussian sum is stronger (Neyman and Pearson) where canaries' gradients are known.
    """
    audited = crowded.audited
    noise = max(_root(np.square(crowded.sums[:, :, crowded.silent])), 1e-3)
    lengths = np.linalg.norm(crowded.gradients, axis=2)
    values = crowded.along(crowded.sums, crowded.gradients) / noise
    shift = audited.signal * lengths / noise
    if audited.config.distributed and audited.config.distributed.banded:
        turns = _schedule(audited) * shift
        expected = sum(
            weight * np.concatenate([np.zeros((lag, turns.shape[1])), turns[: len(turns) - lag]])
            for lag, weight in enumerate(audited.row)
        )
        return np.asarray((expected * (values - expected / 2)).sum(axis=0))
    steps, shift = _steps(audited), shift * audited.step_weights.mean()
    times = np.arange(steps + 1)[:, None, None]
    chances = binom.logpmf(times, steps, audited.plan.sample_rate)
    return np.asarray(logsumexp(chances + times * shift * (values - times * shift / 2), axis=0).sum(axis=0))


def _release_scores(crowded: Transcript) -> NDArray[np.float64]:
    """How much more the release holds along each canary's first gradient than half of what is expected of it: `[m]`."""
    audited = crowded.audited
    banded = audited.config.distributed.banded if audited.config.distributed else None
    turns = audited.config.rounds * (1 / banded.min_separation if banded else audited.plan.base_rate)
    moved = turns * _steps(audited) * audited.step_weights.mean() * audited.signal / np.linalg.norm(audited.column)
    lengths = np.linalg.norm(crowded.gradients[0], axis=1)
    return crowded.along(crowded.release, crowded.gradients[0]) - moved * lengths / 2


def _steps(audited: Audited) -> int:
    """Accounted steps of a round."""
    return audited.config.steps_per_round


def _schedule(audited: Audited) -> NDArray[np.int64]:
    """In which rounds each canary has its turn, by banded matrix factorisation: `[rounds, m]`."""
    banded = audited.config.distributed.banded if audited.config.distributed else None
    separation = banded.min_separation if banded else 1
    numbers = np.arange(1, audited.config.rounds + 1)[:, None] % separation
    return np.asarray(numbers == np.arange(audited.canaries) % separation, np.int64)


def _slack(crowded: Transcript) -> float:
    """Variance that rounding an update, or units' vectors, to whole numbers may add to a sum, over the noise's."""
    audited, mechanism = crowded.audited, crowded.audited.plan.mechanism
    if mechanism is None:
        return ROUNDING_VARIANCE * (layout_of(audited).quantiser.step / audited.step) ** 2
    drawn = float(crowded.drawn.sum(axis=1).max()) * float(np.square(audited.row).sum())
    return ROUNDING_VARIANCE * drawn / (audited.labels * mechanism.variance)


def _root(squares: NDArray[np.float64]) -> float:
    return float(np.sqrt(squares.mean()))
