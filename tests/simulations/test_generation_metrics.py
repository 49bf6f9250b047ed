import numpy as np
import pytest

from sottovoce.errors import ConfigurationError
from sottovoce_simulations.report.generation_metrics import COLLAPSED, Judge, Space

DIMENSIONS = 24


def music(number, seed, shift=0.0, spread=1.0):
    """Embeddings of three styles that lie apart, and their classes."""
    rng = np.random.default_rng(seed)
    centres = 3 * np.random.default_rng(7).standard_normal((3, DIMENSIONS))
    classes = np.arange(number) % 3
    return centres[classes] + shift + spread * rng.standard_normal((number, DIMENSIONS)), classes


@pytest.fixture(scope="module")
def space():
    return Space.of(music(150, 0)[0], directions=8)


def test_the_judge_knows_styles_and_says_how_often():
    judge = Judge(*music(90, 1))
    vectors, classes = music(90, 2)
    assert judge.recognised(vectors, classes)["share"] > 0.95
    assert judge.recognised(vectors, (classes + 1) % 3)["share"] < 0.05
    same = np.repeat(vectors[:1], 90, axis=0)
    one_style = judge.recognised(same, classes)
    assert one_style["share"] == pytest.approx(1 / 3)
    assert one_style["macro_f1"] < 0.2  # accuracy alone would forgive it more
    assert judge.of_each(same, classes) == [1.0, 0.0, 0.0]
    assert judge.of_each(same[classes > 0], classes[classes > 0]) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("distance", ["kernel_distance", "frechet_distance"])
def test_the_same_distribution_is_closest_and_farther_ones_are_farther(space, distance):
    real = music(150, 3)[0]
    found = [getattr(space, distance)(music(150, 4, shift)[0], real) for shift in (0.0, 0.5, 1.0, 2.0)]
    assert found == sorted(found)
    assert found[0] < 0.2 * found[1]


def test_the_kernel_distance_is_unbiased(space):
    """Over many halves of one distribution it is 0 on the mean, and sometimes below."""
    rng = np.random.default_rng(1)
    found = [space.kernel_distance(*np.split(rng.permutation(music(600, turn)[0])[:60], 2)) for turn in range(60)]
    assert min(found) < 0
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))


def test_the_frechet_distance_is_that_of_two_gaussians():
    rng = np.random.default_rng(0)
    real = rng.standard_normal((4000, 4))
    space = Space.of(real, directions=4)
    far = 2 * rng.standard_normal((4000, 4)) + [1, 0, 0, 0]
    # |1|² + 4 · (1 + 4 - 2 · 2)
    assert space.frechet_distance(far, real) == pytest.approx(5, rel=0.1)


def test_a_generator_that_always_makes_the_same_fails(space):
    real, real_classes = music(150, 5)
    made, classes = music(150, 6)
    assert space.diversity(made, classes, real, real_classes) == pytest.approx(1, abs=0.1)
    collapsed = made[classes]  # one piece of each style, again and again
    assert space.diversity(collapsed, classes, real, real_classes) < 0.01
    almost, _ = music(150, 6, spread=0.1)
    assert space.diversity(almost, classes, real, real_classes) < COLLAPSED


def test_too_few_tracks_are_refused():
    with pytest.raises(ConfigurationError, match="more than 16 tracks"):
        Space.of(music(12, 0)[0])
