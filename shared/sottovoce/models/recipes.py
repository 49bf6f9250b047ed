"""Recipes that families of spectrogram models have in common; each says what is its own."""

from sottovoce.models.base import Recipe


def local_noise(
    *, private: bool, steps: int, learning_rate: float, private_learning_rate: float, momentum: float = 0.9
) -> Recipe:
    """A label's own steps: with privacy few and large batches without momentum, since noise is added once a step.

    Args:
        private: whether there is noise.
        steps: in a round, without privacy.
        learning_rate: without privacy.
        private_learning_rate: with it.
        momentum: without privacy.
    """
    return Recipe(
        rounds=20,
        local_steps=2 if private else steps,
        batch_size=96 if private else 16,
        learning_rate=private_learning_rate if private else learning_rate,
        momentum=0.0 if private else momentum,
        max_grad_norm=1.0,
        segments_per_track=1,
        update_clip=20.0,
        ring_bits=24,
        server_optimizer="fedavg",
        server_learning_rate=1.0,
    )


def shared_noise() -> Recipe:
    """One step of all labels a round, which Adam at the coordinator scales."""
    return Recipe(
        rounds=40,
        local_steps=1,
        batch_size=500,
        learning_rate=20.0,
        momentum=0.0,
        max_grad_norm=1.0,
        segments_per_track=1,
        update_clip=100.0,
        ring_bits=32,
        server_optimizer="fedadam",
        server_learning_rate=0.01,
    )
