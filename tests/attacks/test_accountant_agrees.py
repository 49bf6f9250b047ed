"""Promise: an accountant that cannot disagree with itself. Announced runs must not lock a label's ledger."""

from sottovoce.privacy.plan import PrivacyPlan
from sottovoce.run.configuration import Trust, Unit
from sottovoce_client.budget.ledger import Ceilings, Ledger

CEILINGS = Ceilings(epsilon_per_run=8.0, epsilon_lifetime=12.0, delta=1e-5)


def tiny_steps(noise_multiplier: float) -> PrivacyPlan:
    return PrivacyPlan(
        unit=Unit.TRACK,
        trust=Trust.LOCAL,
        base_rate=0.01,
        sample_rate=0.01,
        noise_multiplier=noise_multiplier,
        max_grad_norm=1.0,
        steps=300_000,
        histogram_noise=None,
        epsilon=2.0,
        delta=1e-5,
        epsilon_ceiling=2.0,
    )


def test_three_announced_runs_of_many_tiny_steps_do_not_lock_the_ledger(tmp_path):
    with Ledger.create(tmp_path / "ledger.sqlite") as ledger:
        for run, noise in enumerate((11.7, 11.8, 11.9)):
            ledger.open_run(bytes([run]) * 16, tiny_steps(noise), CEILINGS)
        assert 3.3 < ledger.committed(1e-5) < 3.6
