import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sottovoce.errors import AudioError
from sottovoce.models.discovery import family, task
from sottovoce.models.interfaces import Batch
from sottovoce.models.style import _prediction as prediction
from sottovoce.models.style.task import CORRECT, LOSS, PAIR, TRACKS
from sottovoce.run.metrics import shown

CNN, STYLE = family("style", "cnn"), task("style")


class Given(nn.Module):
    """Takes the features for its outputs."""

    def forward(self, features):
        return features


def batch_of(outputs, targets):
    """Tracks of different lengths, each a list of one output a segment."""
    width = max(len(track) for track in outputs)
    features = torch.full((len(outputs), width, 2), torch.nan)  # padding must not be looked at
    mask = torch.zeros(len(outputs), width, dtype=torch.bool)
    for row, track in enumerate(outputs):
        features[row, : len(track)] = torch.tensor(track)
        mask[row, : len(track)] = True
    return Batch(features, torch.tensor(targets), mask)


def test_a_whole_track_counts_once_by_its_mean_probability():
    # Two segments slightly for class 1, one strongly for class 0: the mean of probabilities is for class 0.
    track = [[0.0, 0.1], [0.0, 0.1], [9.0, 0.0]]
    counted = STYLE.measure(CNN, Given(), batch_of([track, [[0.0, 3.0]]], [0, 0]), 2)
    assert counted[:2].tolist() == [0, 2 * TRACKS]  # one is recognised, one is not
    assert counted[2:-1].reshape(2, 2).tolist() == [[PAIR, PAIR], [0, 0]]


def test_the_loss_is_the_mean_over_segments_in_steps():
    track = [[0.0, 0.0], [0.0, 2.0]]
    counted = STYLE.measure(CNN, Given(), batch_of([track], [1]), 2)
    expected = (np.log(2) + np.log(1 + np.exp(-2))) / 2
    assert counted[-1] == pytest.approx((expected - LOSS.middle) / LOSS.step, abs=1)


@pytest.mark.parametrize("bad", [float("nan"), 1e30])
def test_a_broken_model_has_the_largest_loss(bad):
    counted = STYLE.measure(CNN, Given(), batch_of([[[bad, 0.0]], [[0.0, 0.0]]], [1, 1]), 2)
    assert counted[-1] == pytest.approx((LOSS.most + np.log(2) - 2 * LOSS.middle) / LOSS.step, abs=1)
    assert counted[1] == 2 * TRACKS


def test_counters_are_named_in_their_order():
    assert STYLE.counters(2) == ("correct", "tracks", *(f"confusion/{t}/{p}" for t in (0, 1) for p in (0, 1)), "loss")


def test_sums_of_labels_make_the_metrics():
    one = STYLE.measure(CNN, Given(), batch_of([[[0.0, 3.0]], [[3.0, 0.0]]], [1, 0]), 2)
    two = STYLE.measure(CNN, Given(), batch_of([[[0.0, 3.0]]], [0]), 2)
    metrics = STYLE.metrics(one + two, ("fugue", "reel"))
    assert metrics["tracks"] == 3
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["loss"] == pytest.approx((one[-1] + two[-1]) * LOSS.step / 3 + LOSS.middle)
    assert metrics["confusion_matrix"] == [[1, 1], [0, 1]]
    assert "noise" not in metrics


@given(
    outputs=st.lists(st.lists(st.floats(-30, 30), min_size=2, max_size=2), min_size=1, max_size=3),
    target=st.integers(0, 1),
)
def test_one_track_adds_no_more_than_the_norm_that_noise_is_measured_by(outputs, target):
    counted = STYLE.measure(CNN, Given(), batch_of([outputs], [target]), 2)
    assert (counted**2).sum() <= STYLE.norm_squared(2)


@pytest.mark.parametrize("seed", range(5))
def test_figures_of_noisy_counts_stay_within_their_range(seed):
    sums = np.random.default_rng(seed).normal(0, 3000, size=len(STYLE.counters(3))).astype(np.int64)
    metrics = STYLE.metrics(sums, ("a", "b", "c"), noise_std=3000.0)
    assert 0 <= metrics["accuracy"] <= 1
    assert 0 <= metrics["macro_f1"] <= 1
    assert LOSS.least <= metrics["loss"] <= LOSS.most
    assert metrics["tracks"] >= 0
    assert np.min(metrics["confusion_matrix"]) >= 0


def test_the_reported_deviation_is_that_of_the_noise():
    classes, random, std = tuple("abcdefgh"), np.random.default_rng(0), 3000.0
    exact = np.zeros(len(STYLE.counters(8)), np.int64)
    exact[0], exact[1] = CORRECT * (84 - 36), TRACKS * 120
    noisy = [exact + random.normal(0, std, len(exact)).round().astype(np.int64) for _ in range(600)]
    accuracies = [STYLE.metrics(sums, classes)["accuracy"] for sums in noisy]
    told = STYLE.metrics(exact, classes, std)["noise"]["accuracy"]
    assert np.std(accuracies) == pytest.approx(told, rel=0.1)


def test_a_long_track_is_judged_in_parts(monkeypatch):
    features = np.random.default_rng(0).standard_normal((7, 2)).astype(np.float32)
    whole = prediction.probabilities(CNN, Given(), features)
    monkeypatch.setattr(prediction, "CHUNK", 3)
    assert np.allclose(prediction.probabilities(CNN, Given(), features), whole)
    assert np.allclose(whole, torch.softmax(torch.from_numpy(features), dim=1).mean(dim=0))


def test_no_segment_is_no_track():
    with pytest.raises(AudioError, match="shorter than one segment"):
        prediction.probabilities(CNN, Given(), np.zeros((0, 2), dtype=np.float32))


@pytest.mark.parametrize(("tracks", "std"), [(120, 350.0), (120, 1000.0), (2000, 2000.0)])
def test_macro_f1_of_noisy_counts_is_right_on_average_and_off_by_what_is_told(tracks, std):
    """Cut at 0, as it was, a matrix of few tracks had most of its F1 from noise, and nothing said so."""
    classes, random = tuple("abcdefgh"), np.random.default_rng(0)
    confusion = np.full((8, 8), 0.3 / 7 * tracks / 8)
    np.fill_diagonal(confusion, 0.7 * tracks / 8)
    exact = np.zeros(len(STYLE.counters(8)), np.int64)
    exact[1], exact[2:-1] = TRACKS * tracks, PAIR * confusion.ravel()
    found = [
        STYLE.metrics(exact + random.normal(0, std, len(exact)).round().astype(np.int64), classes, std)
        for _ in range(100)
    ]
    figures = np.array([each["macro_f1"] for each in found])
    told = float(np.mean([each["noise"]["macro_f1"] for each in found]))
    assert np.std(figures) == pytest.approx(told, rel=0.3)
    assert abs(figures.mean() - 0.7) < 4 * told / np.sqrt(len(figures)) + 0.2 * told
    assert shown(found[0])["macro-F1"].split(" ± ")[1] == f"{found[0]['noise']['macro_f1']:.3f}"
