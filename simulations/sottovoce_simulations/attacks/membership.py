"""Membership inference on a released model, as a consumer could run it: which tracks was it trained on?"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from sottovoce.errors import ConfigurationError
from sottovoce.models import parameters as flat
from sottovoce.models.interfaces import Classifier
from sottovoce_client.data.dataset import TrackDataset

LEAST_TRACKS = 10
TRACKS_AT_ONCE = 32
CONFIDENCE = 0.95
LOW_FALSE_POSITIVES = 0.01
"""False positive rate at which an attack is evaluated; low rates matter most (Carlini et al., IEEE S&P 2022)."""


@dataclass(frozen=True)
class Membership:
    """How well a score separates members from non-members.

    Args:
        auc: probability that a random member scores above a random non-member; 0.5 for an attack without information.
        auc_low: lower end of its two-sided 95 % confidence interval.
        auc_high: upper end.
        true_positives: fraction of members found at a false positive rate of 1 %.
        members: number of scored tracks of the training set.
        others: number of scored tracks of the same kind outside it.
    """

    auc: float
    auc_low: float
    auc_high: float
    true_positives: float
    members: int
    others: int


def membership(member_losses: NDArray[np.float64], other_losses: NDArray[np.float64]) -> Membership:
    """The loss-threshold attack (Yeom et al., CSF 2018): tracks with a small loss were probably trained on.

    The interval is that of DeLong et al. (Biometrics 1988), computed by ranks (Sun & Xu 2014).

    Args:
        member_losses: the model's loss on each track of the training set, `[members]`.
        other_losses: its loss on tracks of the same kind outside it, `[others]`.

    Raises:
        ConfigurationError: there are too few tracks, or a loss is not a number.
    """
    if min(len(member_losses), len(other_losses)) < LEAST_TRACKS:
        raise ConfigurationError(f"A membership attack needs at least {LEAST_TRACKS} members and as many others.")
    scores = -np.concatenate([member_losses, other_losses])
    if np.isnan(scores).any():
        raise ConfigurationError("A loss is not a number.")
    members, others = scores[: len(member_losses)], scores[len(member_losses) :]
    ranks = rankdata(scores)
    # For each member, the share of others below it; for each other, the share of members above it.
    beaten = (ranks[: len(members)] - rankdata(members)) / len(others)
    beating = 1 - (ranks[len(members) :] - rankdata(others)) / len(members)
    auc = float(beaten.mean())
    error = math.sqrt(beaten.var(ddof=1) / len(members) + beating.var(ddof=1) / len(others))
    reach = float(norm.ppf((1 + CONFIDENCE) / 2)) * error
    threshold = np.quantile(others, 1 - LOW_FALSE_POSITIVES, method="higher")
    return Membership(
        auc=auc,
        auc_low=max(0.0, auc - reach),
        auc_high=min(1.0, auc + reach),
        true_positives=float((members > threshold).mean()),
        members=len(members),
        others=len(others),
    )


def track_losses(
    family: Classifier, parameters: NDArray[np.float32], dataset: TrackDataset, classes: int
) -> NDArray[np.float64]:
    """Negative log-probability of each track's style, mean over segments, `[tracks]`.

    The training loss itself may be flat where a model is confident (a hinge is); this one is not.
    """
    model = flat.model_of(family, dataset.spec, classes, parameters).double()
    losses = []
    with torch.no_grad():
        for batch in dataset.all_batches(TRACKS_AT_ONCE):
            segments = batch.mask.shape[1]
            probabilities = family.probabilities(model(batch.features.flatten(0, 1).double()))
            targets = batch.targets.repeat_interleave(segments)
            chosen = probabilities.gather(1, targets[:, None]).clamp(min=torch.finfo(torch.float64).tiny)
            each = -chosen.log().view(-1, segments)
            losses.append((each * batch.mask).sum(dim=1) / batch.mask.sum(dim=1))
    return np.asarray(torch.cat(losses))


def attack(
    family: Classifier, parameters: NDArray[np.float32], members: TrackDataset, others: TrackDataset, classes: int
) -> Membership:
    """Run the loss-threshold attack on a released model.

    Args:
        family: the model's family.
        parameters: the released parameters, `[P]`.
        members: tracks that it was trained on.
        others: tracks of the same kind that it was not trained on, held out or from elsewhere.
        classes: number of styles.
    """
    return membership(
        track_losses(family, parameters, members, classes), track_losses(family, parameters, others, classes)
    )
