"""Command-line options made from declared settings (`sottovoce.run.knobs`)."""

import inspect
import math
from collections.abc import Callable, Collection
from dataclasses import MISSING, fields
from typing import Annotated, Any

import typer

from sottovoce.run.knobs import Knob, knobs, type_of

REQUEST = "request"
"""Name of the parameter that receives all declared options of a command."""


def takes(declaration: type, *, without: Collection[str] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each field of a dataclass, after its own; it receives them as `request`.

    Args:
        declaration: the dataclass, whose fields are declared as `Annotated[type, Knob(…)]`.
        without: fields for which the command has no option; they keep their defaults.
    """
    declared = {name: each for name, each in knobs(declaration).items() if name not in without}
    options = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=Annotated[type_of(field), _option(declared[field.name], field.default)],
        )
        for field in fields(declaration)
        if field.name in declared
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def run(**values: Any) -> None:
            command(request=declaration(**{name: values.pop(name) for name in declared}), **values)

        own = [each for each in inspect.signature(command).parameters.values() if each.name != REQUEST]
        parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own] + options
        run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def _option(declared: Knob, default: object) -> Any:
    low, high, from_low, to_high = declared.bounds
    meaning = declared.help
    if (math.isfinite(low) and not from_low) or (math.isfinite(high) and not to_high):  # else typer shows the range
        meaning = f"{meaning[:-1]}, in {declared.range}."
    return typer.Option(
        *declared.names,
        help=meaning,
        metavar=declared.form or None,
        min=low if from_low else None,
        max=high if to_high else None,
        show_default=declared.unset or not (isinstance(default, bool) or default is MISSING),
        rich_help_panel=declared.group or None,
    )
