"""Parsing of a manifest: strict JSON of a known schema, each field exactly once and of its type."""

from typing import Any

from sottovoce.errors import ConfigurationError, ReleaseError
from sottovoce.release.manifest import JSON_NAMES, MANIFEST_FILE, SCHEMA, UNSTATED, WHERE, Manifest
from sottovoce.release.strict_json import convert, parse

_FIELDS = JSON_NAMES | {name: field for field, name in JSON_NAMES.items()}
"""Mapping of JSON names to fields, and back, so that the fields' own names are unknown in JSON."""


def read_manifest(data: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        ReleaseError: it is not JSON, of another schema, or a field is missing, unknown, mistyped or out of range.
    """
    values = parse(data, MANIFEST_FILE)
    if type(values) is not dict:
        raise ReleaseError(f"Expected an object in {WHERE}.")
    if "schema" not in values:
        raise ReleaseError(f"The field 'schema' is missing in {WHERE}.")
    _expect_schema(values.pop("schema"))
    values.setdefault("start", UNSTATED)  # the only field added later
    if type(values.get("privacy")) is dict:
        values["privacy"] = {_FIELDS.get(name, name): value for name, value in values["privacy"].items()}
    try:
        return convert(values, Manifest, WHERE)
    except ConfigurationError as error:
        raise ReleaseError(f"The release's feature spec cannot be used: {error.message}") from None


def _expect_schema(schema: Any) -> None:
    if type(schema) is not int or schema < SCHEMA:
        raise ReleaseError(f"The field 'schema' of {WHERE} is not {SCHEMA}.")
    if schema != SCHEMA:
        raise ReleaseError(
            f"The release has schema {schema}; this version of Sottovoce reads schema {SCHEMA}.",
            hint="Install a newer Sottovoce.",
        )
