"""Declarations of settings, of a run or of the studio: once, as `Annotated[type, Knob(…)]`, with unit and range.

Checks (`check`), command-line options (`sottovoce.commands.declared_options`) and the documentation's table (`table`)
are generated from these declarations.
"""

import math
import re
from dataclasses import MISSING, Field, dataclass, fields, replace
from typing import Any, get_args

from sottovoce.errors import ConfigurationError

_INTERVAL = re.compile(r"([\[(])([^,]+), ([^,]+)([\])])")


@dataclass(frozen=True)
class Knob:
    """Declaration of one setting.

    Args:
        help: one sentence, without the unit and the range.
        unit: unit of the number; empty for names and switches.
        range: interval of allowed numbers, such as `(0, 1]` or `[1, ∞)`; empty for other types.
        unset: description of the default if the value is omitted.
        names: option names, if they differ from the field's; in typer's form.
        form: form of a text that is parsed, such as `START:END`.
        group: heading under which help and forms show it.
        slider: lowest and highest value and step of a slider, for forms; empty: none.
    """

    help: str
    unit: str = ""
    range: str = ""
    unset: str = ""
    names: tuple[str, ...] = ()
    form: str = ""
    group: str = ""
    slider: tuple[float, ...] = ()

    @property
    def bounds(self) -> tuple[float, float, bool, bool]:
        """Lower and upper end of the range, and whether each is included; all numbers for an empty range."""
        found = _INTERVAL.fullmatch(self.range)
        if found is None:
            return -math.inf, math.inf, False, False
        left, low, high, right = found.groups()
        return float(low.replace("∞", "inf")), float(high.replace("∞", "inf")), left == "[", right == "]"

    def allows(self, value: float) -> bool:
        """Whether a number is in the range; NaN never is."""
        low, high, from_low, to_high = self.bounds
        return low < value < high or (from_low and value == low) or (to_high and value == high)


def like(owner: type, name: str, unset: str, *, names: tuple[str, ...] = ()) -> Knob:
    """The declaration of another dataclass's field, for an optional setting.

    Args:
        owner: the dataclass.
        name: name of its field.
        unset: description of the default if the value is omitted.
        names: option names, if they differ from the field's.
    """
    return replace(knobs(owner)[name], unset=unset, names=names)


def knobs(owner: Any) -> dict[str, Knob]:
    """The settings that a dataclass, or one of its instances, declares, by field name."""
    return {
        field.name: found
        for field in fields(owner)
        for found in getattr(field.type, "__metadata__", ())
        if isinstance(found, Knob)
    }


def type_of(field: Field[Any]) -> Any:
    """The type of a field, without its declaration."""
    return get_args(field.type)[0] if hasattr(field.type, "__metadata__") else field.type


def check(value: Any) -> None:
    """Convert whole numbers in a frozen dataclass's float fields to float, and check each setting's range.

    Equal values must have equal digests, so 1 and 1.0 must not differ.

    Raises:
        ConfigurationError: a number is out of range.
    """
    for field in fields(value):
        kind = type_of(field)
        if float in (kind, *get_args(kind)) and getattr(value, field.name) is not None:
            object.__setattr__(value, field.name, float(getattr(value, field.name)))
    for name, declared in knobs(value).items():
        number = getattr(value, name)
        if declared.range and number is not None and not declared.allows(number):
            raise ConfigurationError(f"Expected {name}={number} in {declared.range}.")


def table(owner: type) -> str:
    """The settings of a dataclass as a Markdown table for the documentation."""
    rows = ["| knob | meaning | unit | range | default |", "| --- | --- | --- | --- | --- |"]
    defaults = {field.name: field.default for field in fields(owner)}
    for name, declared in knobs(owner).items():
        default = declared.unset or ("" if defaults[name] is MISSING else f"`{defaults[name]}`")
        rows.append(f"| `{name}` | {declared.help} | {declared.unit} | {declared.range} | {default} |")
    return "\n".join(rows) + "\n"
