import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sottovoce.errors import ConfigurationError
from sottovoce.models import parameters


def test_what_is_loaded_is_what_flattens(family, spec):
    first = parameters.initial(family, spec, 3, seed=5)
    wanted = np.random.default_rng(0).standard_normal(first.size).astype(np.float32)
    assert np.array_equal(parameters.flatten(parameters.model_of(family, spec, 3, wanted)), wanted)


def test_the_order_is_that_of_the_names():
    model = nn.ModuleDict({"b": nn.Linear(1, 1, bias=False), "a": nn.Linear(1, 2, bias=False)})
    with torch.no_grad():
        model["b"].weight.fill_(7.0)
        model["a"].weight.copy_(torch.tensor([[1.0], [2.0]]))
    assert parameters.shapes(model) == {"a.weight": (2, 1), "b.weight": (1, 1)}
    assert parameters.flatten(model).tolist() == [1.0, 2.0, 7.0]


def test_frozen_parameters_do_not_travel():
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    assert parameters.count(model) == parameters.flatten(model).size == 6


def test_the_first_parameters_follow_from_the_seed_alone(spec):
    from sottovoce.models.discovery import family

    cnn = family("style", "cnn")
    torch.manual_seed(1)
    one = parameters.initial(cnn, spec, 3, seed=5)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert np.array_equal(parameters.initial(cnn, spec, 3, seed=5), one)
    assert torch.equal(torch.get_rng_state(), before)
    assert not np.array_equal(parameters.initial(cnn, spec, 3, seed=6), one)


def test_a_vector_of_another_length_is_refused(family, spec):
    size = parameters.initial(family, spec, 3, seed=0).size
    with pytest.raises(ConfigurationError, match=f"{size} parameters, but {size + 1}"):
        parameters.model_of(family, spec, 3, np.zeros(size + 1, dtype=np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(family, spec, bad):
    vector = parameters.initial(family, spec, 3, seed=0)
    vector[-1] = bad
    with pytest.raises(ConfigurationError, match="not finite"):
        parameters.model_of(family, spec, 3, vector)


def test_a_loaded_model_does_not_share_memory_with_its_vector(spec):
    from sottovoce.models.discovery import family

    svm = family("style", "svm")
    vector = parameters.initial(svm, spec, 3, seed=0)
    vector.flags.writeable = False
    model = parameters.model_of(svm, spec, 3, vector)
    with torch.no_grad():
        model.linear.weight.fill_(1.0)
    assert not vector.any()


@given(st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=5))
def test_split_and_join_undo_each_other(wanted):
    shapes = {f"{index:02}": tuple(shape) for index, shape in enumerate(wanted)}
    vector = np.arange(sum(int(np.prod(shape)) for shape in shapes.values()), dtype=np.float32)
    arrays = parameters.split(vector, shapes)
    assert {name: array.shape for name, array in arrays.items()} == shapes
    assert np.array_equal(parameters.join(arrays), vector)
    with pytest.raises(ConfigurationError):
        parameters.split(np.append(vector, np.float32(0)), shapes)
