"""The figures of docs/privacy.md are those of the code."""

import math
import re
from pathlib import Path

from scipy.optimize import brentq

from sottovoce.privacy.accountant import GRID, GRID_STEPS, epsilon, epsilon_rdp
from sottovoce.privacy.calibration import CLASS_RATE_CAP, HISTOGRAM_SHARE, gaussian_delta, plan_for, with_least_noise
from sottovoce.privacy.class_balance import LARGEST_WEIGHT
from sottovoce.protocol.topology import most_corrupt, threshold
from sottovoce.run.configuration import Balance, DistributedNoise, Unit

PAGE = Path(__file__).parents[2] / "docs" / "privacy.md"


def test_the_example_is_what_comes_out(config):
    rows = dict(re.findall(r"^\| ([^|]+?) \| ([\d.]+) \|$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    config = config.changed(balance=Balance.LOSS)
    assert (config.rounds, config.local_steps, config.batch_size, config.max_grad_norm) == (20, 5, 128, 1.5)
    assert (config.epsilon, config.delta) == (8.0, 1e-5)
    plan = plan_for(config, 480)
    alone = brentq(lambda noise: gaussian_delta(8.0, noise) - 1e-5, 0.1, 10)
    computed = {
        "q = 128/480": plan.sample_rate,
        "σ₁ for (8, 10⁻⁵)": alone,
        "σ_h = σ₁/√0.04": plan.histogram_noise,
        "z without a histogram": plan_for(config.changed(balance=Balance.NONE), 480).noise_multiplier,
        "z": plan.noise_multiplier,
        "noise on each coordinate of a step's sum, z · C": plan.noise_std,
        "ε of the histogram alone": epsilon(plan.events()[:1], 1e-5),
        "ε after round 1": epsilon(plan.events(5), 1e-5),
        "ε after round 10": epsilon(plan.events(50), 1e-5),
        "ε of the run (round 20)": plan.epsilon,
        "the same by RDP": epsilon_rdp(plan.events(), 1e-5),
        "ε of two such runs": epsilon([*plan.events(), *plan.events()], 1e-5),
        "z for 100 tracks, which are all drawn in each step": plan_for(config, 100).noise_multiplier,
        "z for 2,000 tracks": plan_for(config, 2000).noise_multiplier,
    }
    shown = {name: f"{value:.{len(rows[name].partition('.')[2])}f}" for name, value in computed.items()}
    assert shown == rows


def test_what_whole_labels_pay_is_what_comes_out(config):
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \|$", text, flags=re.MULTILINE)
    assert [int(labels) for labels, *_ in rows] == [5, 20, 100]
    for labels, min_honest, multiplier, norm in rows:
        n, h = int(labels), int(min_honest)
        assert h == threshold(n) - most_corrupt(n)
        distributed = DistributedNoise(min_honest=h, noise_multiplier=1.0, sample_rate=1.0)
        run = config.changed(distributed=distributed, unit=Unit.LABEL, rounds=10)
        z = with_least_noise(run, 2000, n).distributed.noise_multiplier
        of_mean = z * math.sqrt(n / h) / n
        assert (f"{of_mean:.2g}", f"{of_mean * math.sqrt(2000):.2g}") == (
            f"{float(multiplier):.2g}",
            f"{float(norm):.2g}",
        )


def test_constants_are_as_written():
    assert (CLASS_RATE_CAP, LARGEST_WEIGHT, HISTOGRAM_SHARE, GRID, GRID_STEPS) == (2, 10, 0.04, 3e-4, 30_000)
    text = PAGE.read_text(encoding="utf-8")
    for words in ("min(1, 2B/n)", "at most 10 times", "4 % of the budget", "3·10⁻⁴ of ε", "above 30,000"):
        assert words in " ".join(text.split())
