"""How a training knob is declared: once, as `Annotated[type, Knob(…)]`, with its meaning, unit and range.

Checks at birth (`check`), command-line options (`sottovoce.commands.run_options`) and the table in the documentation
(`table`) are made from these declarations.
"""

import math
import re
from dataclasses import MISSING, Field, dataclass, fields, replace
from typing import Any, get_args

from sottovoce.errors import ConfigurationError

_INTERVAL = re.compile(r"([\[(])([^,]+), ([^,]+)([\])])")


@dataclass(frozen=True)
class Knob:
    """What one field of a run's configuration means.

    Args:
        help: one sentence, without the unit and the range.
        unit: what the number counts; empty for names and switches.
        range: interval of allowed numbers, such as `(0, 1]` or `[1, ∞)`; empty for no numbers.
        unset: what stands in for a value that nobody named.
        names: of the option, where they are not the field's; in typer's form.
    """

    help: str
    unit: str = ""
    range: str = ""
    unset: str = ""
    names: tuple[str, ...] = ()

    @property
    def bounds(self) -> tuple[float, float, bool, bool]:
        """Lower and upper end of the range, and whether each belongs to it; all numbers for an empty range."""
        found = _INTERVAL.fullmatch(self.range)
        if found is None:
            return -math.inf, math.inf, False, False
        left, low, high, right = found.groups()
        return float(low.replace("∞", "inf")), float(high.replace("∞", "inf")), left == "[", right == "]"

    def allows(self, value: float) -> bool:
        """Whether a number lies in the range; NaN never does."""
        low, high, from_low, to_high = self.bounds
        return low < value < high or (from_low and value == low) or (to_high and value == high)


def like(owner: type, name: str, unset: str, *, names: tuple[str, ...] = ()) -> Knob:
    """The knob of another dataclass's field, for one that a person may leave out.

    Args:
        owner: the dataclass.
        name: of its field.
        unset: what stands in for a value that nobody named.
        names: of the option, where they are not the field's.
    """
    return replace(knobs(owner)[name], unset=unset, names=names)


def knobs(owner: Any) -> dict[str, Knob]:
    """The knobs that a dataclass, or one of its values, declares, by the names of its fields."""
    return {
        field.name: found
        for field in fields(owner)
        for found in getattr(field.type, "__metadata__", ())
        if isinstance(found, Knob)
    }


def type_of(field: Field[Any]) -> Any:
    """The type of a field, without its knob."""
    return get_args(field.type)[0] if hasattr(field.type, "__metadata__") else field.type


def check(value: Any) -> None:
    """Bring whole numbers in a frozen dataclass's float fields to float, and hold each knob to its range.

    One value must have one digest, so that 1 and 1.0 may not differ.

    Raises:
        ConfigurationError: a number is outside its knob's range.
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
    """The knobs of a dataclass as a Markdown table for the documentation."""
    rows = ["| knob | meaning | unit | range | default |", "| --- | --- | --- | --- | --- |"]
    defaults = {field.name: field.default for field in fields(owner)}
    for name, declared in knobs(owner).items():
        default = declared.unset or ("" if defaults[name] is MISSING else f"`{defaults[name]}`")
        rows.append(f"| `{name}` | {declared.help} | {declared.unit} | {declared.range} | {default} |")
    return "\n".join(rows) + "\n"
