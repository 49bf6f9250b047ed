"""From a manifest's bytes to its value: strict JSON of a known schema, each field once and of its type."""

from enum import StrEnum
from typing import Any, TypeVar

from sottovoce.errors import ConfigurationError, ReleaseError
from sottovoce.features.spec import FeatureSpec
from sottovoce.release.manifest import (
    MANIFEST_FILE,
    SCHEMA,
    WHERE,
    FileEntry,
    Manifest,
    Noise,
    Privacy,
    Promise,
)
from sottovoce.release.strict_json import Fields, parse
from sottovoce.run.configuration import Trust, Unit

Chosen = TypeVar("Chosen", bound=StrEnum)


def read_manifest(data: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        ReleaseError: it is not JSON, of another schema, or a field is missing, unknown, of the wrong type or range.
    """
    top = Fields(parse(data, MANIFEST_FILE), WHERE)
    _expect_schema(top.take("schema", int))
    manifest = Manifest(
        name=top.take("name", str),
        task=top.take("task", str),
        family=top.take("family", str),
        classes=top.take_list("classes", str),
        features=_features(top.take("features", dict)),
        parameters=top.take("parameters", int),
        shapes={name: _shape(shape) for name, shape in top.take("shapes", dict).items()},
        start=top.take("start", str),
        rounds=top.take("rounds", int),
        labels=top.take("labels", int),
        privacy=_privacy(top.take("privacy", dict)),
        agreement=top.take("agreement", str),
        run=top.take("run", str),
        configuration=top.take("configuration", str),
        created=top.take("created", str),
        software=_software(top.take("software", dict)),
        files={name: _file(entry) for name, entry in top.take("files", dict).items()},
    )
    top.done()
    return manifest


def _expect_schema(schema: int) -> None:
    if schema > SCHEMA:
        raise ReleaseError(
            f"The release is of schema {schema}, and this version of Sottovoce reads schema {SCHEMA}.",
            hint="Install a newer Sottovoce.",
        )
    if schema != SCHEMA:
        raise _wrong("schema")


def _features(value: Any) -> FeatureSpec:
    try:
        return FeatureSpec.from_dict(value)
    except ConfigurationError as error:
        raise ReleaseError(f"The release's feature spec cannot be used: {error.message}") from None


def _privacy(value: Any) -> Privacy:
    part = Fields(value, f"the privacy statement of {WHERE}")
    privacy = Privacy(
        unit=_choice(Unit, part.take("unit", str), "unit"),
        neighbours=part.take("neighbours", str),
        trust=_choice(Trust, part.take("trust", str), "trust"),
        min_honest=part.take("honest", int),
        accountant=part.take("accountant", str),
        noise=_choice(Noise, part.take("noise", str), "noise"),
        promises=tuple(_promise(item) for item in part.take("promises", list)),
    )
    part.done()
    return privacy


def _promise(value: Any) -> Promise:
    part = Fields(value, f"a promise of {WHERE}")
    promise = Promise(part.take("labels", int), part.take_number_or_null("epsilon"), part.take("delta", float))
    part.done()
    return promise


def _file(value: Any) -> FileEntry:
    part = Fields(value, f"a file entry of {WHERE}")
    entry = FileEntry(part.take("size", int), part.take("sha256", str))
    part.done()
    return entry


def _shape(value: Any) -> tuple[int, ...]:
    if type(value) is not list or any(type(item) is not int for item in value):
        raise _wrong("shapes")
    return tuple(value)


def _software(value: Any) -> dict[str, str]:
    if any(type(version) is not str for version in value.values()):
        raise _wrong("software")
    return dict(value)


def _choice(kind: type[Chosen], value: str, name: str) -> Chosen:
    try:
        return kind(value)
    except ValueError:
        raise _wrong(name) from None


def _wrong(name: str) -> ReleaseError:
    return ReleaseError(f"The field '{name}' of {WHERE} holds what it must not.")
