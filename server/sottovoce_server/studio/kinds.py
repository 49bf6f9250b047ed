"""The kinds of work that the studio does, and the bodies of requests for them, made from their declarations."""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, create_model

from sottovoce.run.knobs import Knob, knobs, type_of
from sottovoce.studio.requests import ClassificationRequest, EditRequest, GenerationRequest
from sottovoce_server.studio.schema import Kind

MODEL = "Name of a release, with or without its version, such as isles-style-svm@20250131T120000Z."
LONGEST_TEXT = 100
MOST_PIECES = 16
"""Most pieces of one job."""
SOURCE = re.compile(r"([0-9a-f]{32})/([0-9]{1,2})")
"""A result of an earlier job: its id, and the number of the piece."""


@dataclass(frozen=True)
class InspectionRequest:
    """Show where an audio file comes from."""


@dataclass(frozen=True)
class Work:
    """One kind of work.

    Args:
        kind: the kind.
        path: its path below `/v1/`.
        declaration: the declared request.
        uploads: whether it needs a file.
        tasks: tasks of the releases that it can use.
        needs_model: whether it needs a release.
        judged: whether a second release may choose among candidates.
    """

    kind: Kind
    path: str
    declaration: type
    uploads: bool
    tasks: tuple[str, ...]
    needs_model: bool
    judged: bool = False

    @cached_property
    def body(self) -> type[BaseModel]:
        """The fields of a request."""
        extra: dict[str, Any] = {
            "model": (str, Field(description=MODEL, max_length=80))
            if self.needs_model
            else (str | None, Field(None, description=MODEL, max_length=80))
        }
        if self.judged:
            extra["judge"] = (str | None, Field(None, description="A style release that picks the best of several."))
        if self.uploads:
            extra["source"] = (
                str | None,
                Field(
                    None,
                    pattern=f"^{SOURCE.pattern}$",
                    description="Instead of a file: a piece of an earlier job, as ID/NUMBER.",
                ),
            )
        extra["webhook"] = (
            str | None,
            Field(
                None, max_length=2000, description="URL that is called when the job ends, if the operator allows it."
            ),
        )
        name = self.declaration.__name__
        return create_model(
            name, __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **_declared(self.declaration), **extra
        )


KINDS: Mapping[Kind, Work] = {
    each.kind: each
    for each in (
        Work(Kind.CLASSIFICATION, "classifications", ClassificationRequest, True, ("style",), True),
        Work(Kind.GENERATION, "generations", GenerationRequest, False, ("generator",), True, judged=True),
        Work(Kind.EDIT, "edits", EditRequest, True, ("editor", "generator"), False),
        Work(Kind.INSPECTION, "inspections", InspectionRequest, True, ("style", "generator", "editor"), False),
    )
}


def _declared(declaration: type) -> dict[str, Any]:
    """The declared fields in pydantic's form."""
    declared = knobs(declaration)
    return {field.name: (type_of(field), _field(field, declared[field.name])) for field in fields(declaration)}


def _field(field: dataclasses.Field[Any], declared: Knob) -> Any:
    kind = type_of(field)
    settings: dict[str, Any] = _bounds(declared.bounds)
    if str in (kind, *get_args(kind)):
        settings["max_length"] = LONGEST_TEXT
    default = ... if field.default is MISSING else field.default
    return Field(default, description=declared.help + _form(declared.form), **settings)


def _form(form: str) -> str:
    return f" ({form})" if ":" in form else ""


def _bounds(bounds: tuple[float, float, bool, bool]) -> dict[str, float]:
    low, high, from_low, to_high = bounds
    found = {"ge" if from_low else "gt": low, "le" if to_high else "lt": high}
    return {name: int(value) if value == int(value) else value for name, value in found.items() if math.isfinite(value)}
