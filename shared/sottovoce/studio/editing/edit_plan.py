"""The effects that a user asked for, in their fixed order, and the parameters recorded in the credentials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sottovoce.studio.editing.compressor import Compressor
from sottovoce.studio.editing.effect import Effect
from sottovoce.studio.editing.equaliser import Band, Equaliser
from sottovoce.studio.editing.levels import FadeIn, FadeOut, Gain, Trim
from sottovoce.studio.editing.time_pitch import TimePitch
from sottovoce.studio.provenance.origin import Value

if TYPE_CHECKING:
    from sottovoce.release.load import Release

_LONGEST = 64


@dataclass(frozen=True)
class PlainEffects:
    """Effects that need no release, in the order in which they are applied.

    Args:
        trim: start and end, seconds; the end may be infinite.
        stretch: tempo factor; 2 doubles the length.
        pitch: semitones up.
        eq: bands of the equaliser.
        compress: threshold (dB) and ratio.
        gain: dB.
        fade_in: seconds.
        fade_out: seconds.
    """

    trim: tuple[float, float] | None = None
    stretch: float | None = None
    pitch: float | None = None
    eq: Sequence[Band] = ()
    compress: tuple[float, float] | None = None
    gain: float | None = None
    fade_in: float | None = None
    fade_out: float | None = None

    def effects(self) -> list[Effect]:
        """The requested effects.

        Raises:
            ConfigurationError: a value is out of range.
        """
        found: list[Effect] = []
        if self.trim is not None:
            found.append(Trim(*self.trim))
        if self.stretch is not None or self.pitch is not None:
            found.append(TimePitch(1.0 if self.stretch is None else self.stretch, self.pitch or 0.0))
        if self.eq:
            found.append(Equaliser(self.eq))
        if self.compress is not None:
            found.append(Compressor(*self.compress))
        if self.gain is not None:
            found.append(Gain(self.gain))
        if self.fade_in is not None:
            found.append(FadeIn(self.fade_in))
        if self.fade_out is not None:
            found.append(FadeOut(self.fade_out))
        return found

    def parameters(self) -> dict[str, Value]:
        """Parameters for the file's credentials, by the options' names."""
        values: Mapping[str, Value | None] = {
            "trim": self.trim and f"{self.trim[0]:g}:{self.trim[1]:g}",
            "stretch": self.stretch,
            "pitch": self.pitch,
            "eq": " ".join(f"{band.frequency:g}:{band.gain:g}:{band.q:g}" for band in self.eq)[:_LONGEST] or None,
            "compress": self.compress and f"{self.compress[0]:g}:{self.compress[1]:g}",
            "gain": self.gain,
            "fade_in": self.fade_in,
            "fade_out": self.fade_out,
        }
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class LearnedEffects:
    """Effects of a release, in the order in which they are applied, before the plain ones.

    Args:
        denoise: strength of the noise reduction, 0 to 1.
        extend: seconds to append.
        restyle: a style of the release.
        amount: strength of the restyling, 0 to 1.
    """

    denoise: float | None = None
    extend: float | None = None
    restyle: str | None = None
    amount: float = 1.0

    @property
    def task(self) -> str:
        """Task of the release that they need."""
        return "editor" if self.restyle is None else "generator"

    def effects(self, release: "Release") -> list[Effect]:
        """The requested effects.

        Raises:
            ConfigurationError: a value is out of range.
            ReleaseError: the release is of another task or family.
        """
        from sottovoce.studio.editing.extend import Extend
        from sottovoce.studio.editing.restyle import Restyle
        from sottovoce.studio.editing.spectral_effects import Denoise

        found: list[Effect] = []
        if self.denoise is not None:
            found.append(Denoise(release, self.denoise))
        if self.restyle is not None:
            found.append(Restyle(release, self.restyle, self.amount))
        if self.extend is not None:
            found.append(Extend(release, self.extend))
        return found

    def parameters(self) -> dict[str, Value]:
        """Parameters for the file's credentials."""
        found: dict[str, Value] = {}
        if self.denoise is not None:
            found["denoise"] = self.denoise
        if self.restyle is not None:
            found["restyle"] = self.restyle.replace("/", "-").replace("\\", "-")[:_LONGEST]
            found["amount"] = self.amount
        if self.extend is not None:
            found["extend"] = self.extend
        return found

    def model_made(self, frames: int, rate: int) -> list[tuple[int, int]] | None:
        """Stretches of the output that a model made, where the input has `frames` frames; None if all of it."""
        if self.denoise is not None or self.restyle is not None:
            return None
        return [] if self.extend is None else [(frames, frames + round(self.extend * rate))]


def operation(names: Sequence[str]) -> str:
    """The operation's name: that of the only effect, or `edit`."""
    return names[0].replace("_", "-") if len(names) == 1 else "edit"
