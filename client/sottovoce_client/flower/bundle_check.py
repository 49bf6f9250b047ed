"""Check of a Flower App Bundle: it may contain configuration and nothing executable. It is read, never unpacked.

A label runs only code that its own people installed. So a bundle is a zip archive of two files: `pyproject.toml`, which
names our app and no dependencies, and Flower's own list of hashes.
"""

import hashlib
import io
import re
import stat
import tomllib
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

from sottovoce.errors import SottovoceError

APP = "sottovoce_client.flower.deployed_label:app"
"""The only app that a bundle may name for labels."""
CONFIGURATION = "pyproject.toml"
HASHES = ".info/CONTENT"
LARGEST_BUNDLE = 1_000_000
LARGEST_FILE = 100_000
_WORD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,63}")
_ALLOWED = {
    "": {"project", "tool"},
    "project": {"name", "version", "description", "license", "requires-python", "dependencies"},
    "tool": {"flwr"},
    "tool.flwr": {"app"},
    "tool.flwr.app": {"publisher", "components", "config", "fab-format-version", "flwr-version-target"},
    "tool.flwr.app.components": {"serverapp", "clientapp"},
}
"""Tables of `pyproject.toml`, and their allowed contents. Anything that builds or installs is excluded."""


class BundleRefused(SottovoceError):
    """A bundle contains more than configuration, so nothing of it was unpacked."""


@dataclass(frozen=True)
class Bundle:
    """A bundle that contains only configuration.

    Args:
        app: `publisher/name`, as Flower names it.
        version: its version.
        digest: its SHA-256, hexadecimal.
    """

    app: str
    version: str
    digest: str


def check_bundle(content: bytes) -> Bundle:
    """Check a bundle without unpacking it.

    Raises:
        BundleRefused: it is not a bundle, contains anything but configuration, names another app than ours for labels,
            or demands an installation.
    """
    if len(content) > LARGEST_BUNDLE:
        raise BundleRefused("It is too large for configuration.")
    files = _files(content)
    if set(files) != {CONFIGURATION, HASHES}:
        raise BundleRefused(f"It contains files other than {CONFIGURATION} and {HASHES}.")
    line = f"{CONFIGURATION},{hashlib.sha256(files[CONFIGURATION]).hexdigest()},{8 * len(files[CONFIGURATION])}"
    if files[HASHES].decode("ascii", "replace").strip() != line:
        raise BundleRefused("Its list of hashes does not match its content.")
    values = _toml(files[CONFIGURATION])
    _check_tables(values)
    project, app = values["project"], values["tool"]["flwr"]["app"]
    if project.get("dependencies", []) != []:
        raise BundleRefused("It demands that dependencies are installed.")
    if (
        not isinstance(app["components"].get("serverapp"), str)
        or not _is_configuration(app.get("config", {}))
        or not isinstance(app.get("config", {}), dict)
    ):
        raise BundleRefused("Its configuration is not valid for Flower.")
    if app["components"].get("clientapp") != APP:
        raise BundleRefused(f"It names an app for labels other than {APP}.")
    names = (app.get("publisher"), project.get("name"), project.get("version"))
    if not all(isinstance(name, str) and _WORD.fullmatch(name) for name in names):
        raise BundleRefused("Its publisher, name or version is not a plain word.")
    return Bundle(f"{names[0]}/{names[1]}", str(names[2]), hashlib.sha256(content).hexdigest())


def _files(content: bytes) -> dict[str, bytes]:
    """The archive's files by name, each of limited size."""
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.infolist():
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if kind not in (0, stat.S_IFREG) or entry.filename in found or entry.orig_filename != entry.filename:
                    raise BundleRefused("It contains something other than plain files, or one file twice.")
                if entry.filename not in (CONFIGURATION, HASHES) or entry.flag_bits & 1:
                    raise BundleRefused(f"It contains files other than {CONFIGURATION} and {HASHES}.")
                with archive.open(entry) as file:
                    found[entry.filename] = file.read(LARGEST_FILE + 1)
                if len(found[entry.filename]) > LARGEST_FILE:
                    raise BundleRefused("One of its files is too large for configuration.")
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, NotImplementedError, RuntimeError):
        raise BundleRefused("It is not a readable bundle.") from None
    return found


def _toml(data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError):
        raise BundleRefused(f"Its {CONFIGURATION} is not TOML.") from None


def _check_tables(values: dict[str, Any]) -> None:
    for place, allowed in _ALLOWED.items():
        table: Any = values
        for name in filter(None, place.split(".")):
            table = table.get(name)
            if not isinstance(table, dict):
                raise BundleRefused(f"Its {CONFIGURATION} has no table '{place}'.")
        unknown = sorted(set(table) - allowed)
        if unknown:
            raise BundleRefused(f"Its {CONFIGURATION} contains more than configuration, in '{place or 'the top'}'.")


def _is_configuration(value: object) -> bool:
    """Whether these are tables of plain values; anything else stops Flower's SuperNode."""
    if isinstance(value, dict):
        return all(_is_configuration(item) for item in value.values())
    return isinstance(value, (bool, int, float, str))
