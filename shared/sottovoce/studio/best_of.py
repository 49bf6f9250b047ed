"""Of several beginnings of a piece, one goes on that a model of styles takes most clearly for the style asked for.

Choosing among what a generator draws by a model of another kind, as Ramesh et al. do ("Zero-Shot Text-to-Image
Generation", 2021): the judge hears audio, and so what the generator cannot know of its own faults. It is a release as
well, so that labels may train it together and its privacy is accounted for like any other's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sottovoce.errors import ConfigurationError, ReleaseError

if TYPE_CHECKING:
    from torch import Tensor

    from sottovoce.features.spec import FeatureSpec
    from sottovoce.release.load import Release

SECONDS = 10.0
"""Of each beginning that is heard, at least: what a judge learned from may be longer."""
CANDIDATES = 8
MOST_CANDIDATES = 64
AS_CLEAR = 0.9
"""Of the clearest one's probability: beginnings that reach it are of the style as well, and the first of them is taken.
The clearest are the most alike: of generated clips about as many are recognised so, and they differ more."""
ITERATIONS = 8
"""Of Griffin-Lim for what only the judge hears, a quarter of the usual ones: it chose the same in seven of nine styles,
and as well in the others."""


@dataclass(frozen=True)
class Audition:
    """Who judges, and among how many.

    Args:
        judge: a release of the task `style`.
        candidates: beginnings that are drawn.

    Raises:
        ReleaseError: the judge's task is another one.
    """

    judge: "Release"
    candidates: int = CANDIDATES

    def __post_init__(self) -> None:
        self.judge.expect_task("style")

    @property
    def seconds(self) -> float:
        """How much of each is heard."""
        spec = self.judge.manifest.features
        return max(SECONDS, spec.segment_samples / spec.sample_rate)

    def expect_style(self, style: str) -> None:
        """Refuse a style that the judge cannot tell from others.

        Raises:
            ConfigurationError: it does not know it.
        """
        classes = self.judge.manifest.classes
        if style not in classes:
            raise ConfigurationError(
                f"The judge knows no style '{style}'.", hint=f"Its release knows {', '.join(classes)}."
            )

    def best(self, levels: "Sequence[Tensor]", spec: "FeatureSpec", style: str) -> int:
        """The number of the first beginning that is about as clearly of a style as the clearest one.

        Args:
            levels: of each in dB, `[n_mels, frames]`, at least `seconds` long.
            spec: what the levels are computed by.
            style: asked for.

        Raises:
            ReleaseError: the judge gives no probabilities.
        """
        import numpy as np
        import torch

        from sottovoce.studio.vocoder import GriffinLim

        vocoder = GriffinLim(spec, ITERATIONS)
        number = self.judge.manifest.classes.index(style)
        phases = torch.Generator().manual_seed(0)
        heard = [self.judge.probabilities_of(vocoder.audio(each, phases), spec.sample_rate)[number] for each in levels]
        if not np.isfinite(heard).all():
            raise ReleaseError(
                "The judge says nothing of what it hears.", hint="Its training diverged: use another one."
            )
        return next(place for place, probability in enumerate(heard) if probability >= AS_CLEAR * max(heard))
