import pytest


@pytest.fixture
def config(run_configuration):
    return run_configuration(
        classes=("chorale", "reel", "rag"),
        rounds=20,
        local_steps=5,
        batch_size=128,
        learning_rate=0.5,
        max_grad_norm=1.5,
    )
