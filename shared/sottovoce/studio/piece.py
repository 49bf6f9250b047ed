"""A generated piece: samples, parameters, and its file with credentials, tags and watermark."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sottovoce.studio.generation import generate
from sottovoce.studio.provenance.origin import GENERATE, Origin, Value
from sottovoce.studio.provenance.writer import Written, write_audio

if TYPE_CHECKING:
    from sottovoce.release.load import Release
    from sottovoce.studio.best_of import BestOf
    from sottovoce.studio.generation import Progress

_LONGEST_NAME = 64


@dataclass(frozen=True)
class Asked:
    """Parameters of a piece.

    Args:
        style: one of the release's styles.
        seconds: length.
        seed: equal seeds give equal music, on the same machine and versions.
        index: number of the piece among those of one seed.
        temperature: 1 samples as trained; lower values favour likelier music.
        best_of: chooses among several candidates, or None.
    """

    style: str
    seconds: float
    seed: int
    index: int = 0
    temperature: float = 1.0
    best_of: "BestOf | None" = None

    def parameters(self) -> dict[str, Value]:
        """The parameters as stated in the file's credentials."""
        judged: dict[str, Value] = {}
        if self.best_of is not None:
            judged = {"judge": self.best_of.judge.digest, "candidates": self.best_of.candidates}
        return {
            "style": self.style.replace("/", "-").replace("\\", "-")[:_LONGEST_NAME],
            "seconds": float(self.seconds),
            "seed": self.seed,
            "index": self.index,
            "temperature": float(self.temperature),
            **judged,
        }


@dataclass(frozen=True)
class Piece:
    """Generated music.

    Args:
        samples: mono, `[samples]`, float32, full scale 1.
        sample_rate: Hz.
        asked: parameters of the piece.
        origin: the release that generated it, and how.
    """

    samples: NDArray[np.float32]
    sample_rate: int
    asked: Asked
    origin: Origin

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples.size / self.sample_rate

    def save(self, path: Path | str) -> Written:
        """Write it with tags, signed content credentials and a watermark; the file is written whole or not at all.

        Args:
            path: a .wav, .flac or .ogg file, which is replaced if it exists.

        Raises:
            ConfigurationError: the file cannot be written in this format.
        """
        title = f"{self.asked.style} {self.asked.seed}-{self.asked.index}"
        return write_audio(Path(path), self.samples[None], self.sample_rate, self.origin, title=title)


def compose(release: "Release", asked: Asked, *, progress: "Progress" = lambda _, __: None) -> Piece:
    """Generate a piece; errors are those of `sottovoce.studio.generation.generate`."""
    samples = generate(
        release,
        asked.style,
        asked.seconds,
        seed=asked.seed,
        index=asked.index,
        temperature=asked.temperature,
        best_of=asked.best_of,
        progress=progress,
    )
    origin = Origin(GENERATE, release.manifest.name[:_LONGEST_NAME], release.digest, asked.parameters())
    return Piece(samples, release.manifest.features.sample_rate, asked, origin)
