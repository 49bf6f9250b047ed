"""Coordinator and labels come to the same model, to the bit, whatever their processors, libraries and threads."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

from sottovoce.errors import LocalProtocolError
from sottovoce.protocol.violations import ImplausibleSum, UnfollowedParameters, WrongParameters
from sottovoce.run import global_model
from sottovoce.run.global_model import GlobalModel
from sottovoce.run.records import parameters_digest
from sottovoce.run.round_sum import RoundSum

sys.path.insert(0, str(Path(__file__).parent))
import followed_paths
from followed_paths import KINDS, LABELS, RUN, SIZE, config_of, first_parameters, sum_of

PINNED = {
    "fedavg": "64f618e6b7d595e1c11ca62ea5da3f4e26d28e90aaaea9a1051120d49d1c51c7",
    "fedavgm": "a24b48313845ac455b26b6aedce5d2f98e9fe2b317fee64b6a455ae8d8409afa",
    "fedadam": "47049a0e6887b66ac81d472c0d9059f7eb4f94549f741f0964d4304ccae8e476",
    "fedyogi": "9a44ebc11d7c897776f59f22cfd37e5a95308e40803d6eb371efd4f8bc1aaf3d",
    "distributed": "e9b99f215970f5b8dafea5b58004758b60f98838d293f7a3c92ee409acb25500",
    "clip that follows": "02c6f51ea6956baa277406718cd6260c2f8b1c875f2e4a69abc3cb9d38b09bf2",
    "whole labels": "658a49d179c6d7b1dfba0d4869abe8ce99016ccc203d0f875ef9d28a6d7eed86",
    "banded": "e6c5e1605e1d8c1533cc281236a0dbe747aa643f957fb71ee690b94a58cc18e2",
}
OPTIONAL = " ".join(name for name in __cpu_dispatch__ if __cpu_features__.get(name))
"""Instructions that numpy uses on this processor and could do without."""


def started(kind: str, **changes: object) -> GlobalModel:
    config = config_of(**KINDS[kind] | changes)
    return GlobalModel.start(config, run=RUN, labels=LABELS, trainable=np.ones(SIZE, bool), first=first_parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_the_path_of_a_run_is_pinned(kind):
    assert followed_paths.path(kind) == PINNED[kind]


@pytest.mark.parametrize(
    "environment",
    [
        {"ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
        {"OPENBLAS_CORETYPE": "Nehalem", "MKL_CBWR": "COMPATIBLE", "NPY_DISABLE_CPU_FEATURES": OPTIONAL},
    ],
    ids=["threads and torch", "BLAS and numpy"],
)
def test_no_instruction_set_and_no_number_of_threads_changes_a_bit(environment):
    told = subprocess.run(
        [sys.executable, followed_paths.__file__],
        env=os.environ | environment,
        capture_output=True,
        check=True,
    )
    assert json.loads(told.stdout) == PINNED


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_goes_on_as_if_it_had_not_been(kind):
    straight, broken = started(kind), started(kind)
    for number in (1, 2, 3, 4):
        total = sum_of(straight._config, straight.coordinates, number)
        if number == 3:
            total = RoundSum.aborted(3, straight.ring)
        straight.follow(total)
        known = {"run": RUN, "labels": LABELS, "trainable": np.ones(SIZE, bool)}
        broken = GlobalModel.from_bytes(broken.to_bytes(), straight._config, **known)
        broken.follow(total)
        assert broken.to_bytes() == straight.to_bytes()
    assert broken.clip == straight.clip


def test_a_sum_comes_back_from_its_bytes():
    for bits in (16, 24, 32):
        model = started("fedavg", ring_bits=bits)
        for total in (sum_of(model._config, SIZE, 1), RoundSum.aborted(1, model.ring)):
            data = total.to_bytes(model.ring)
            again = RoundSum.from_bytes(1, data, model.ring, SIZE)
            assert again.to_bytes(model.ring) == data
            assert again.digest(model.ring) == total.digest(model.ring) == hashlib.sha256(data).digest()


@pytest.mark.parametrize("kind", ["fedadam", "distributed"])
def test_what_the_run_does_not_train_stays(kind):
    trainable = np.arange(SIZE) % 2 == 0
    config = config_of(**KINDS[kind])
    model = GlobalModel.start(config, run=RUN, labels=LABELS, trainable=trainable, first=first_parameters())
    model.follow(sum_of(config, model.coordinates, 1))
    moved = model.parameters != first_parameters()
    assert moved[trainable].mean() > 0.9
    assert not moved[~trainable].any()


def test_an_aborted_round_leaves_the_model_and_counts():
    model = started("fedadam")
    before = model.digest
    model.follow(RoundSum.aborted(1, model.ring))
    assert (model.digest, model.rounds) == (before, 1)


def test_another_start_is_refused():
    values = {"run": RUN, "labels": LABELS, "trainable": np.ones(SIZE, bool)}
    with pytest.raises(UnfollowedParameters):
        GlobalModel.start(config_of(), **values, first=np.nextafter(first_parameters(), np.float32(1)))
    with pytest.raises(WrongParameters):
        GlobalModel.start(config_of(), **values, first=first_parameters()[1:])
    with pytest.raises(WrongParameters):
        GlobalModel.start(config_of(), **values, first=first_parameters().astype(np.float64))


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_start_that_is_not_finite_is_refused_whatever_was_signed(number):
    first = first_parameters()
    first[7] = number
    config = config_of(first_parameters=parameters_digest(first).hex())
    with pytest.raises(WrongParameters, match="not finite"):
        GlobalModel.start(config, run=RUN, labels=LABELS, trainable=np.ones(SIZE, bool), first=first)


def test_a_sum_of_another_length_is_refused_and_changes_nothing():
    model = started("fedadam")
    before, total = model.to_bytes(), sum_of(model._config, SIZE, 1)
    with pytest.raises(WrongParameters, match="coordinates instead of"):
        model.follow(replace(total, vector=total.vector[1:]))
    assert model.to_bytes() == before


def test_rounds_may_be_aborted_one_after_another():
    model = started("distributed")
    for number in (1, 2):
        model.follow(RoundSum.aborted(number, model.ring))
    assert model.rounds == 2


def test_a_model_knows_which_sums_it_has_followed():
    model = started("fedavg")
    first, second = sum_of(model._config, SIZE, 1), RoundSum.aborted(2, model.ring)
    for total in (first, second):
        assert not model.has_followed(total)
        model.follow(total)
    assert model.has_followed(first)
    assert model.has_followed(second)
    assert not model.has_followed(replace(first, survivors=5))
    assert not model.has_followed(RoundSum.aborted(1, model.ring))
    assert not model.has_followed(RoundSum.aborted(3, model.ring))


@pytest.mark.parametrize("number", [2, 3])
def test_sums_are_followed_in_order(number):
    model = started("fedavg")
    with pytest.raises(WrongParameters, match="does not follow"):
        model.follow(sum_of(model._config, SIZE, number))


def test_a_noised_sum_comes_once_and_without_noise_it_may_come_again():
    for private in (True, False):
        model = started("fedavg", private=private)
        total = sum_of(model._config, SIZE, 1)
        model.follow(total)
        again = RoundSum(2, total.participants, total.survivors, total.vector)
        if private:
            with pytest.raises(ImplausibleSum):
                model.follow(again)
        else:
            model.follow(again)
        assert model.rounds == 1 + (not private)


@pytest.mark.parametrize(
    ("participants", "survivors", "possible"), [(5, 5, True), (4, 5, False), (1 << 25, 1 << 24, True)]
)
def test_a_sum_is_of_no_more_labels_than_were_asked(participants, survivors, possible):
    model = started("fedavg")
    data = participants.to_bytes(4) + survivors.to_bytes(4) + bytes(4 * SIZE)
    if possible:
        assert RoundSum.from_bytes(1, data, model.ring, SIZE).survivors == survivors
    else:
        with pytest.raises(WrongParameters):
            RoundSum.from_bytes(1, data, model.ring, SIZE)


@pytest.mark.parametrize("data", [b"", bytes(8 + 4), bytes(4) + b"\0\0\0\1", b"\0\0\0\1" + bytes(4), bytes(7)])
def test_what_is_no_sum_is_refused(data):
    model = started("fedavg")
    with pytest.raises(WrongParameters):
        RoundSum.from_bytes(1, data, model.ring, SIZE)


@pytest.mark.parametrize("place", [0, 9, 200, -1])
def test_a_damaged_model_is_refused(place):
    model = started("fedavgm")
    data = bytearray(model.to_bytes())
    data[place] ^= 1
    known = {"run": RUN, "labels": LABELS, "trainable": np.ones(SIZE, bool)}
    with pytest.raises(LocalProtocolError, match="damaged"):
        GlobalModel.from_bytes(bytes(data), model._config, **known)


def test_a_saved_model_of_another_version_or_size_is_refused(monkeypatch):
    model = started("fedavgm")
    known = {"run": RUN, "labels": LABELS}
    with pytest.raises(LocalProtocolError, match="another version"):
        GlobalModel.from_bytes(model.to_bytes(), model._config, **known, trainable=np.ones(SIZE + 1, bool))
    with monkeypatch.context() as patch:
        patch.setattr(global_model, "VERSION", global_model.VERSION + 1)
        newer = model.to_bytes()
    with pytest.raises(LocalProtocolError, match="another version"):
        GlobalModel.from_bytes(newer, model._config, **known, trainable=np.ones(SIZE, bool))
