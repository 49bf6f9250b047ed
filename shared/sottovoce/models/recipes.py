"""Training recipes that families of spectrogram models share; each family overrides parts."""

from dataclasses import replace

from sottovoce.models.interfaces import TrainingRecipe

STYLES = "style."
"""Prefix of the names of style embeddings."""


def local_noise(
    *, private: bool, steps: int, learning_rate: float, private_learning_rate: float, momentum: float = 0.9
) -> TrainingRecipe:
    """Local optimiser steps: with privacy few and large batches without momentum, since noise is added once per step.

    Args:
        private: whether noise is added.
        steps: steps per round, without privacy.
        learning_rate: learning rate without privacy.
        private_learning_rate: learning rate with privacy.
        momentum: momentum without privacy.
    """
    return TrainingRecipe(
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


def distributed_noise() -> TrainingRecipe:
    """One step of all labels per round, scaled by Adam at the coordinator."""
    return TrainingRecipe(
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


def styles_alone(*, private: bool, distributed: bool) -> TrainingRecipe:
    """Only the style embeddings are trained: few enough parameters to be learned despite the noise."""
    if distributed:
        # Not Adam, which scales the noise of a known style as strongly as the gradient of an unknown one.
        recipe = replace(
            distributed_noise(), rounds=20, learning_rate=30.0, server_optimizer="fedavg", server_learning_rate=1.0
        )
    else:
        recipe = local_noise(private=private, steps=8, learning_rate=0.5, private_learning_rate=3.0)
    return replace(recipe, max_grad_norm=0.1, update_clip=1.0, trainable=(STYLES,))
