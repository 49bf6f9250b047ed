"""Everything that can be asked of the studio, declared once.

The command line's options, the HTTP interface with its description, and the page's forms are made from these
declarations.
"""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

from sottovoce.run.knobs import Knob, check
from sottovoce.studio.best_of import CANDIDATES, MOST_CANDIDATES

if TYPE_CHECKING:
    from sottovoce.studio.editing.request import Request

LARGEST_SEED = 2**53 - 1
"""Largest seed. Content credentials are read as JSON, which rounds larger whole numbers."""
REPAIR, LEARNED, CHANGE = "Repair", "Change with a release", "Change, in this order"


@dataclass(frozen=True, kw_only=True)
class ClassificationRequest:
    """Recognise the style of a track."""

    over_time: Annotated[bool, Knob("Also show the probabilities of each segment.", names=("--over-time",))] = False


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """Generate music of a style.

    Raises:
        ConfigurationError: a number is out of range.
    """

    style: Annotated[str, Knob("One of the release's styles.")]
    seconds: Annotated[float, Knob("Length in seconds.", unit="seconds", range="[0.1, 3600]", slider=(1, 60, 1))] = 10.0
    count: Annotated[int, Knob("Number of pieces.", range="[1, ∞)")] = 1
    seed: Annotated[
        int | None,
        Knob("Random seed; equal seeds give equal music.", range=f"[0, {LARGEST_SEED}]", unset="random"),
    ] = None
    temperature: Annotated[
        float,
        Knob("Sampling temperature: 1 as trained; lower favours likelier music.", range="[0, 2]", slider=(0, 2, 0.05)),
    ] = 1.0
    candidates: Annotated[
        int | None,
        Knob(
            "With a judge: number of candidates of which it picks the best.",
            range=f"[2, {MOST_CANDIDATES}]",
            unset=str(CANDIDATES),
        ),
    ] = None

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class EditRequest:
    """Repair or change a file. Times are texts in seconds, as on the command line."""

    repair: Annotated[
        list[str] | None, Knob("Fill a gap, in seconds. Repeat for more.", form="START:END", group=REPAIR)
    ] = None
    find_gaps: Annotated[
        bool, Knob("Find drop-outs and fill them; without an output, list them.", names=("--find-gaps",), group=REPAIR)
    ] = False
    method: Annotated[str, Knob("auto, lpc, exemplar, interpolate or model.", form="METHOD", group=REPAIR)] = "auto"
    denoise: Annotated[
        float | None, Knob("Reduce noise, from 0 to 1.", form="AMOUNT", group=LEARNED, slider=(0, 1, 0.05))
    ] = None
    extend: Annotated[
        float | None, Knob("Seconds of music to append.", form="SECONDS", group=LEARNED, slider=(0, 30, 0.5))
    ] = None
    restyle: Annotated[str | None, Knob("Style to move the music towards.", form="STYLE", group=LEARNED)] = None
    amount: Annotated[float, Knob("Strength of restyling, 0 to 1.", form="A", group=LEARNED, slider=(0, 1, 0.05))] = 1.0
    trim: Annotated[str | None, Knob("Keep only this part, in seconds.", form="START:END", group=CHANGE)] = None
    stretch: Annotated[
        float | None, Knob("Tempo factor; 2 doubles the length.", form="FACTOR", group=CHANGE, slider=(0.5, 2, 0.01))
    ] = None
    pitch: Annotated[
        float | None, Knob("Semitones to shift the pitch up.", form="SEMITONES", group=CHANGE, slider=(-12, 12, 0.5))
    ] = None
    eq: Annotated[
        list[str] | None, Knob("Peak or dip, in Hz and dB. Repeat for more.", form="FREQ:GAIN[:Q]", group=CHANGE)
    ] = None
    compress: Annotated[str | None, Knob("Compress above a threshold in dB.", form="THRESHOLD:RATIO", group=CHANGE)] = (
        None
    )
    gain: Annotated[float | None, Knob("Change of level in dB.", form="DB", group=CHANGE, slider=(-24, 24, 0.5))] = None
    fade_in: Annotated[
        float | None, Knob("Fade in at the start.", form="SECONDS", group=CHANGE, slider=(0, 10, 0.1))
    ] = None
    fade_out: Annotated[
        float | None, Knob("Fade out at the end.", form="SECONDS", group=CHANGE, slider=(0, 10, 0.1))
    ] = None

    def parsed(self) -> "Request":
        """The request with its texts as numbers.

        Raises:
            ConfigurationError: a text cannot be parsed, there is nothing to do, or the method is unknown.
        """
        from sottovoce.studio.editing import effect_parsing, gaps
        from sottovoce.studio.editing.edit_plan import LearnedEffects, PlainEffects
        from sottovoce.studio.editing.request import Request

        return Request(
            [gaps.parse(text) for text in self.repair or []],
            self.find_gaps,
            self.method,
            LearnedEffects(self.denoise, self.extend, self.restyle, self.amount),
            PlainEffects(
                None if self.trim is None else effect_parsing.stretch_of_time(self.trim),
                self.stretch,
                self.pitch,
                tuple(effect_parsing.band(text) for text in self.eq or []),
                None if self.compress is None else effect_parsing.compression(self.compress),
                self.gain,
                self.fade_in,
                self.fade_out,
            ),
        )


def asked(request: Any) -> dict[str, Any]:
    """The fields of a request that differ from their defaults, by name."""
    return {field.name: value for field in fields(request) if (value := getattr(request, field.name)) != field.default}
