"""Best-of-n sampling: a style classifier judges the beginnings of several candidates, and one of them is continued.

Reranking samples with a model of another kind follows Ramesh et al. ("Zero-Shot Text-to-Image Generation", 2021). The
judge classifies audio, so it notices faults that the generator cannot. It is a release too: labels can train it
together, and its privacy is accounted for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sottovoce.errors import ConfigurationError, ReleaseError

if TYPE_CHECKING:
    from torch import Tensor

    from sottovoce.features.spec import FeatureSpec
    from sottovoce.release.load import Release

JUDGED_SECONDS = 10.0
"""Shortest judged beginning, seconds; a judge trained on longer segments gets those."""
CANDIDATES, MOST_CANDIDATES = 8, 64
"""Default and largest number of candidates."""
ACCEPTED_SHARE = 0.9
"""Fraction of the best candidate's probability; the first candidate that reaches it is chosen. Always taking the best
one makes pieces more alike and is recognised about as often."""
ITERATIONS = 8
"""Griffin-Lim iterations before judging, a quarter of the default: the choice was the same in seven of nine styles, and
as good in the others."""


@dataclass(frozen=True)
class BestOf:
    """A judge and the number of candidates.

    Args:
        judge: a release of the task `style`.
        candidates: how many are sampled.

    Raises:
        ReleaseError: the judge is a release of another task.
    """

    judge: "Release"
    candidates: int = CANDIDATES

    def __post_init__(self) -> None:
        self.judge.expect_task("style")

    @property
    def seconds(self) -> float:
        """Seconds of each candidate that are judged."""
        spec = self.judge.manifest.features
        return max(JUDGED_SECONDS, spec.segment_samples / spec.sample_rate)

    def expect_style(self, style: str) -> None:
        """Refuse a style that the judge does not know.

        Raises:
            ConfigurationError: the judge was not trained on it.
        """
        classes = self.judge.manifest.classes
        if style not in classes:
            raise ConfigurationError(
                f"The judge does not know the style '{style}'.", hint=f"Its release knows {', '.join(classes)}."
            )

    def choose(self, levels: "Sequence[Tensor]", spec: "FeatureSpec", style: str) -> int:
        """Index of the first candidate whose probability of the style is close to the highest.

        Args:
            levels: levels of each candidate in dB, `[n_mels, frames]`, at least `seconds` long.
            spec: feature spec of the levels.
            style: the requested style.

        Raises:
            ReleaseError: the judge's probabilities are not finite.
        """
        import numpy as np
        import torch

        from sottovoce.studio.vocoder import GriffinLim

        vocoder = GriffinLim(spec, ITERATIONS)
        number = self.judge.manifest.classes.index(style)
        phases = torch.Generator().manual_seed(0)
        probabilities = [
            self.judge.probabilities_of(vocoder.audio(each, phases), spec.sample_rate)[number] for each in levels
        ]
        if not np.isfinite(probabilities).all():
            raise ReleaseError(
                "The judge's probabilities are not finite.", hint="Its training diverged: use another judge."
            )
        return next(
            place
            for place, probability in enumerate(probabilities)
            if probability >= ACCEPTED_SHARE * max(probabilities)
        )
