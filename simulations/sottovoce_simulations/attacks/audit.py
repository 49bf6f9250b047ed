"""The privacy audit: run the labels' own code with canaries, and test everything that their plan declares.

It executes the run twice: once with canaries included by coin flips, seen as a coordinator and as only an audit can see
it, and once at labels without tracks, whose reports are pure noise. Every check is a statistical test against the plan:
for code that follows it, the probability of any alarm is at most `Audit.false_alarms`.
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
"""Twice float32's relative spacing: for updates, which are rounded several times."""
SOURCES = 1 << 12
"""Number of sources of randomness that are opened to check that no two begin alike."""
COUNTS = 20_000
"""Smallest number of noised counts in a test."""
ROUNDING_VARIANCE = 0.25
"""Largest variance from rounding a number up or down at random."""
EQUAL_FLOATS = 1e-3
"""Upper bound on the chance that two coordinates' noise agrees within `white_noise.equal_coordinates`' tolerance."""


@dataclass(frozen=True)
class Check:
    """Result of one test.

    Args:
        name: the property that is declared.
        measured: the finding, in words.
        p_value: upper bound on the probability of such a finding if the declaration holds.
    """

    name: str
    measured: str
    p_value: float

    @property
    def passed(self) -> bool:
        """Whether the check raised no alarm."""
        return self.p_value >= THRESHOLD


@dataclass(frozen=True)
class Audit:
    """Result of an audit.

    Args:
        epsilon: largest ε of a label's run, by its plan.
        delta: δ.
        canaries: number of canaries.
        checks: the tests.
        bounds: lower bounds on ε, from all rounds' sums and from the release; empty with too few canaries.
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
        """Upper bound on the probability of an alarm if all declarations hold."""
        return len(self.checks) * THRESHOLD


def audit(audited: Audited, *, bounds: bool = True) -> Audit:
    """Run the labels' code with canaries, and try to refute what their plan declares.

    Args:
        audited: the run to audit.
        bounds: whether to compute lower bounds on ε, which takes most of the time and needs `jax-privacy`.

    Raises:
        ConfigurationError: `jax-privacy` is not installed.
        SottovoceError: any error of the labels' code.
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
            finding = f"{plan.epsilon:.2f} declared; at least {found[name].epsilon:.2f} (95 %), {sure:.2f} (99.9995 %)"
            checks.append(Check(f"ε, by the {name}", finding, float(sure <= plan.epsilon)))
    return Audit(plan.epsilon, plan.delta, audited.canaries, tuple(checks), found)


def _noise(crowded: Transcript, empty: Transcript) -> Iterator[Check]:
    """Checks that noise is white, normal, fresh and of the declared scale."""
    mechanism = crowded.audited.plan.mechanism
    noise, others = (each.reports.reshape(-1, each.reports.shape[-1]) for each in (empty, crowded))
    silent, slack = crowded.sums[:, :, crowded.silent], _slack(crowded)
    squares, silent_squares = np.square(noise), np.square(silent)
    yield Check(
        "scale of the noise",
        f"{_root(squares):.4f} times the declared one without tracks, {_root(silent_squares):.4f} with canaries",
        white_noise.smallest(
            [
                white_noise.energy(squares.sum(), noise.size),
                white_noise.energy(silent_squares.sum(), silent.size, slack),
                white_noise.energy(squares.sum() + silent_squares.sum(), noise.size + silent.size, slack),
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
                white_noise.energy(silent_squares.sum(axis=(1, 2)), silent[0].size, slack),
            ]
        ),
    )
    without = int((squares.sum(axis=0) == 0).sum())
    yield Check(
        "noise in each coordinate",
        f"{without} of {noise.shape[1]} coordinates have no noise",
        white_noise.energy(squares.sum(axis=0), len(noise)),
    )
    added_up = noise.sum(axis=0) / np.sqrt(len(noise))
    yield Check(
        "independence of the rounds",
        f"the noise of all rounds sums to {_root(np.square(added_up)):.3f} times that of independent noise",
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
        # Adding uniform numbers to integers makes their distribution continuous.
        smooth = noise + (Randomness.system().uniform(noise.size).reshape(noise.shape) - 0.5) / std
        smooth /= np.sqrt(1 + 1 / (12 * mechanism.variance))
        chance = max(chance, 1 / std)
    yield Check("normal distribution", "Kolmogorov-Smirnov test", white_noise.shape(smooth))
    finding = f"{values.size - len(np.unique(values))} of {values.size} numbers are repeated"
    yield Check("fineness of the noise", finding, equal)
    repeated = white_noise.repeats(noise, others)
    yield Check(
        "repeated noise", f"{len(noise) + len(others)} reports of two executions compared, at every shift", repeated
    )
    yield Check("correlated coordinates", "compared at every distance", white_noise.correlated_coordinates(noise))
    yield Check("copied coordinates", "compared over all reports", white_noise.equal_coordinates(noise, chance))


def _units(crowded: Transcript) -> Iterator[Check]:
    """Checks that units are sampled as declared, and that each counts for at most one clip."""
    audited, drawn = crowded.audited, crowded.drawn[:, crowded.included]
    config, plan, steps = audited.config, audited.plan, audited.config.local_steps
    rate, trials = plan.base_rate, drawn.size * steps
    finding = f"{drawn.sum() / trials:.4f} instead of {rate:.4f}"
    if config.distributed and config.distributed.banded:
        expected = _schedule(audited)[:, crowded.included]
        wrong = int((drawn != expected).sum())
        yield Check("turns of the units", f"{wrong} wrong", float(not wrong))
    elif config.balance is Balance.SAMPLING:
        most = plan.sample_rate
        finding = f"{drawn.sum() / trials:.4f}, at most {most:.4f}"
        yield Check("sampling rate", finding, float(binom.sf(drawn.sum() - 1, trials, most)))
    else:
        yield Check("sampling rate", finding, white_noise.binomial(drawn.sum(), trials, rate))
        uniform = Randomness.system().uniform(drawn.shape[0] + drawn.shape[1])
        by_round, by_unit = uniform[: len(drawn)], uniform[len(drawn) :]
        yield Check(
            "independence of sampling",
            f"{drawn.sum(axis=1).min()} to {drawn.sum(axis=1).max()} of {drawn.shape[1]} units per round",
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
        f"{', '.join(f'{size:.3f}' for size in sizes)} times the declared one{'' if exact else ', or less'}",
        white_noise.two_sided(np.array(scores)) if exact else white_noise.smallest(norm.sf(scores)),
    )


def _exact(audited: Audited) -> bool:
    """Whether a sampled unit's contribution to a sum is known exactly, not only bounded."""
    config = audited.config
    return config.local_steps == 1 and config.balance is not Balance.LOSS and config.unit is not Unit.LABEL


def _influence(crowded: Transcript, lag: int) -> tuple[float, float]:
    """Influence of sampled units on the sum `lag` rounds later: normal score, and ratio to the declared influence."""
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
    """Checks apart from the two executions."""
    differ = neighbours_differ(audited)
    finding = f"one unit less changes {'it' if differ else 'nothing'}"
    yield Check("noise of neighbouring catalogues", finding, float(not differ))
    for what, noise in (
        ("held-out counts", evaluation_noise(audited, COUNTS)),
        ("class counts", histogram_noise(audited, COUNTS)),
    ):
        if noise.size:
            squares = np.square(noise)
            finding = f"{_root(squares):.3f} times the declared one"
            yield Check(f"noise of {what}", finding, white_noise.energy(squares.sum(), squares.size))
    begun = np.concatenate([Randomness.system().words(1) for _ in range(SOURCES)])
    twice = SOURCES - len(np.unique(begun))
    yield Check("sources of randomness", f"{twice} of {SOURCES} begin like another", float(not twice))


def _round_scores(crowded: Transcript) -> NDArray[np.float64]:
    """Log-likelihood ratio of inclusion, from all rounds' sums and the measured noise: `[m]`.

    With known gradients, no test of a Poisson-subsampled Gaussian sum is stronger (Neyman and Pearson).
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
    """The release's component along each canary's first gradient, minus half of its expectation: `[m]`."""
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
    """How often each canary takes part in each round, by banded matrix factorisation: `[rounds, m]`."""
    banded = audited.config.distributed.banded if audited.config.distributed else None
    separation = banded.min_separation if banded else 1
    numbers = np.arange(1, audited.config.rounds + 1)[:, None] % separation
    return np.asarray(numbers == np.arange(audited.canaries) % separation, np.int64)


def _slack(crowded: Transcript) -> float:
    """Largest variance that rounding an update, or units' vectors, adds to a sum, relative to the noise's."""
    audited, mechanism = crowded.audited, crowded.audited.plan.mechanism
    if mechanism is None:
        return ROUNDING_VARIANCE * (layout_of(audited).quantiser.step / audited.step) ** 2
    drawn = float(crowded.drawn.sum(axis=1).max()) * float(np.square(audited.row).sum())
    return ROUNDING_VARIANCE * drawn / (audited.labels * mechanism.variance)


def _root(squares: NDArray[np.float64]) -> float:
    return float(np.sqrt(squares.mean()))
