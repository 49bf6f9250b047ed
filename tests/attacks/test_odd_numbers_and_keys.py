"""Promise: neither a number that its type does not hold, nor a key in another spelling, passes a check."""

import warnings

import numpy as np
import pytest

from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.protocol.keys import RunKey
from sottovoce.protocol.violations import BadKey
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import DistributedNoise


@pytest.fixture
def grid(run_configuration):
    noise = DistributedNoise(min_honest=2, noise_multiplier=50.0, sample_rate=0.1)
    return DistributedDiscreteGaussian.of(run_configuration(distributed=noise, local_steps=1), 64, 5)


@pytest.mark.parametrize("value", [1e19, 1e30, 3e38, np.inf, -np.inf, np.nan])
def test_no_vector_is_longer_on_the_grid_than_its_noise_covers(grid, value):
    """What int64 does not hold became -2^63 in each coordinate, in a unit that should be cut to the bound."""
    rows, signs = np.full((1, grid.parameters), value, np.float32), grid.signs(bytes(16), 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflows on the way, as they were
        added = grid.integers(rows, signs, Randomness.for_simulation(1))
    assert (added.astype(float) ** 2).sum() <= grid.norm_squared


def test_a_key_in_another_spelling_is_no_key():
    """X25519 ignores bit 255, and takes numbers modulo 2^255 - 19: two labels' keys looked different and were not."""
    pair, other = RunKey.generate(), RunKey.generate()
    pair.agree(other.public)
    twin = other.public[:-1] + bytes([other.public[-1] ^ 0x80])
    for odd in (twin, (2**255 - 19 + 9).to_bytes(32, "little")):
        with pytest.raises(BadKey, match="canonical"):
            pair.agree(odd)
