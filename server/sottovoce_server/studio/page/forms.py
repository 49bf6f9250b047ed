"""Forms, made from the declarations of requests."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, get_args, get_origin

from sottovoce.run.knobs import Knob, knobs, type_of
from sottovoce_server.studio.kinds import MOST_PIECES

LABELS = {
    "repair": "Gap",
    "seconds": "Length",
    "count": "Takes",
    "eq": "Equaliser",
    "pitch": "Pitch",
    "gain": "Level",
    "amount": "Restyle amount",
    "over_time": "Over time",
    "find_gaps": "Find drop-outs",
    "stretch": "Tempo",
}
"""Names of fields for people, where the field's own name would be unclear."""
HELP = {
    "style": "",
    "seconds": "",
    "gain": "Quieter or louder, in dB.",
    "pitch": "Semitones up or down.",
    "restyle": "Style to move the music towards.",
    "eq": "A peak or dip: where (Hz), how much (dB), how narrow (Q).",
    "compress": "Above a threshold, in dB, by a ratio such as 4.",
    "fade_in": "In seconds, at the start.",
    "fade_out": "In seconds, at the end.",
    "method": "How gaps are filled.",
    "find_gaps": "Find drop-outs and fill them.",
    "count": f"How many to compare, at most {MOST_PIECES}.",
    "candidates": "How many the judge chooses each take from.",
    "repair": "Where to fill. Drag over the picture above, or type its start and end in seconds.",
    "trim": "Keep only this part, in seconds. Drag over the picture above, or type.",
}
"""Help, where a declaration's speaks of the command line."""


@dataclass(frozen=True)
class Control:
    """A field of a form.

    Args:
        name: name of the request's field.
        label: its name for people.
        help: one sentence.
        kind: `number`, `text`, `texts`, `switch` or `choice`.
        value: what it shows; None: nothing.
        unset: placeholder that describes the default.
        unit: unit of a number.
        low: lowest number, or None.
        high: likewise.
        step: step of a number.
        slider: lowest and highest value, and step, of a slider; or nothing.
        rest: value at which the slider stands if the field is empty.
        form: form of a text, such as `START:END`.
        group: heading.
        choices: values of a choice, with their names for people.
        required: whether it must have a value.
    """

    name: str
    label: str
    help: str
    kind: str
    value: Any = None
    unset: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    step: str = "any"
    slider: Sequence[float] = ()
    rest: float = 0.0
    form: str = ""
    group: str = ""
    choices: Sequence[tuple[str, str]] = ()
    required: bool = False


def controls(
    declaration: type, values: Mapping[str, Any], choices: Mapping[str, Sequence[str]]
) -> dict[str, list[Control]]:
    """The fields of a request, by heading.

    Args:
        declaration: the declared request.
        values: values to show; the others show their defaults.
        choices: the values that a field can have.
    """
    declared = knobs(declaration)
    found: dict[str, list[Control]] = {}
    for field in fields(declaration):
        knob = declared[field.name]
        default = None if field.default is MISSING else field.default
        known = choices.get(field.name)
        low, high, *_ = knob.bounds
        control = Control(
            field.name,
            label(field.name),
            HELP.get(field.name, knob.help),
            _kind(type_of(field)) if known is None else "choice",
            values.get(field.name, default),
            knob.unset,
            knob.unit,
            low if math.isfinite(low) else None,
            MOST_PIECES if field.name == "count" else high if math.isfinite(high) else None,
            "1" if int in (type_of(field), *get_args(type_of(field))) else "any",
            knob.slider,
            _rest(knob, default),
            knob.form,
            knob.group,
            [(each, each) for each in known or ()],
            field.default is MISSING,
        )
        found.setdefault(knob.group, []).append(control)
    return found


def label(name: str) -> str:
    """A field's name for people."""
    return LABELS.get(name, name.replace("_", " ").capitalize())


def _kind(kind: Any) -> str:
    parts = (kind, *get_args(kind))
    if bool in parts:
        return "switch"
    if int in parts or float in parts:
        return "number"
    return "texts" if any(get_origin(each) is list for each in parts) else "text"


def _rest(knob: Knob, default: Any) -> float:
    """Where a slider stands that changes nothing: at 0, or at 1 for a factor."""
    if isinstance(default, int | float):
        return float(default)
    return 0.0 if not knob.slider or knob.slider[0] <= 0 else 1.0
