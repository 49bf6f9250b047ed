import pytest

from sottovoce.run.configuration import Balance, RunConfiguration, Unit


@pytest.fixture
def config() -> RunConfiguration:
    return RunConfiguration(
        task="style",
        family="svm",
        classes=("chorale", "reel", "rag"),
        feature_spec="0" * 64,
        rounds=20,
        local_steps=5,
        batch_size=128,
        learning_rate=0.5,
        momentum=0.0,
        max_grad_norm=1.5,
        private=True,
        epsilon=8.0,
        delta=1e-5,
        unit=Unit.TRACK,
        distributed=None,
        balance=Balance.NONE,
        segments_per_track=1,
        update_clip=1.0,
        ring_bits=32,
        server_optimizer="fedavg",
        server_learning_rate=1.0,
        holdout=0.2,
        seed=0,
    )
