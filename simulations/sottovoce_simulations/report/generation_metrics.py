"""Quality of generated music: distance to real music, diversity, and recognition of its style."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist, pdist
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import f1_score, recall_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sottovoce.errors import ConfigurationError

Vectors = NDArray[np.floating]
Classes = NDArray[np.int64]

SHRINKAGE = 0.8
"""Shrinkage of the judge's covariance; among several classifiers, this one recognised vocoded real tracks best."""
COLLAPSED = 0.5
"""Share of the real tracks' mean distance below which a style's generated pieces count as collapsed."""


@dataclass(frozen=True)
class Judge:
    """A style classifier on embeddings of real tracks, trained without privacy.

    Args:
        vectors: embeddings, `[tracks, D]`.
        classes: style of each track, `[tracks]`.
    """

    vectors: Vectors
    classes: Classes

    def recognised(self, vectors: Vectors, classes: Classes) -> dict[str, float]:
        """Fraction of tracks whose style is recognised, `share`, and `macro_f1` over styles."""
        found = self._predicted(vectors)
        return {
            "share": float(np.mean(found == classes)),
            "macro_f1": float(f1_score(classes, found, average="macro", zero_division=0)),
        }

    def of_each(self, vectors: Vectors, classes: Classes) -> list[float]:
        """This fraction for each style that the judge knows; 0 for a style without tracks."""
        counts = range(int(self.classes.max()) + 1)
        return list(
            recall_score(classes, self._predicted(vectors), labels=counts, average=None, zero_division=0).tolist()
        )

    def _predicted(self, vectors: Vectors) -> Classes:
        return np.asarray(self._model.predict(vectors))

    @cached_property
    def _model(self) -> Pipeline:
        model = make_pipeline(StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE))
        return model.fit(self.vectors, self.classes)


@dataclass(frozen=True)
class Space:
    """Real tracks' embeddings, scaled and reduced to their principal directions, for computing distances.

    Args:
        scale: scaling of embeddings, fitted on real tracks.
        bandwidth: bandwidth of the Gaussian kernel: the median distance between real tracks.
    """

    scale: PCA
    mean: Vectors
    std: Vectors
    bandwidth: float

    @classmethod
    def of(cls, real: Vectors, directions: int = 16) -> "Space":
        """The space of real tracks, `[tracks, D]`.

        Raises:
            ConfigurationError: there are not more tracks than directions.
        """
        if len(real) <= directions:
            raise ConfigurationError(f"Expected more than {directions} tracks, not {len(real)}.")
        mean, std = real.mean(axis=0), real.std(axis=0) + 1e-6
        scale = PCA(directions, random_state=0).fit((real - mean) / std)
        space = cls(scale, mean, std, 1.0)
        return cls(scale, mean, std, float(np.median(pdist(space.placed(real)))))

    def placed(self, vectors: Vectors) -> Vectors:
        """Project embeddings `[tracks, D]` into the space, `[tracks, directions]`."""
        return np.asarray(self.scale.transform((vectors - self.mean) / self.std))

    def kernel_distance(self, one: Vectors, other: Vectors) -> float:
        """Squared maximum mean discrepancy of two sets of embeddings with a Gaussian kernel.

        The unbiased estimate (Gretton et al., JMLR 2012, lemma 6), as in the Kernel Audio Distance (Chung et al.,
        2025); near 0, possibly negative, if both come from one distribution.
        """
        first, second = self.placed(one), self.placed(other)
        within = [self._kernel(each, each) for each in (first, second)]
        apart = [(kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1)) for kernel in within]
        return float(apart[0] + apart[1] - 2 * self._kernel(first, second).mean())

    def frechet_distance(self, one: Vectors, other: Vectors) -> float:
        """Distance of the Gaussians fitted to two sets of embeddings (Dowson & Landau, 1982; Heusel et al., 2017)."""
        first, second = self.placed(one), self.placed(other)
        covariances = [np.cov(each, rowvar=False) for each in (first, second)]
        root = np.real(sqrtm(covariances[0] @ covariances[1]))
        means = float(np.square(first.mean(axis=0) - second.mean(axis=0)).sum())
        return means + float(np.trace(covariances[0] + covariances[1] - 2 * root))

    def diversity(self, made: Vectors, classes: Classes, real: Vectors, real_classes: Classes) -> float:
        """Mean distance of generated pieces of one style over that of real ones; 1 is as diverse as real music."""
        return self._spread(made, classes) / self._spread(real, real_classes)

    def _spread(self, vectors: Vectors, classes: Classes) -> float:
        placed = self.placed(vectors)
        of_style = [pdist(placed[classes == style]) for style in np.unique(classes)]
        return float(np.mean([distances.mean() for distances in of_style if len(distances)]))

    def _kernel(self, one: Vectors, other: Vectors) -> Vectors:
        return np.asarray(np.exp(-cdist(one, other, "sqeuclidean") / (2 * self.bandwidth**2)))
