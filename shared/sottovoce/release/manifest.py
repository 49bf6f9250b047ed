"""The manifest of a release: one frozen value, checked when constructed. `manifest_reading` parses untrusted bytes."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sottovoce.errors import ReleaseError
from sottovoce.features.spec import FeatureSpec
from sottovoce.run.configuration import NONE, PUBLIC, Trust, Unit

SCHEMA = 1
MANIFEST_FILE = "manifest.json"
SIGNATURE_FILE = "manifest.sig"
MODEL_FILE = "model.safetensors"
CONSTANTS_FILE = "normalisation.safetensors"
CONTENT_FILES = (MODEL_FILE, CONSTANTS_FILE)
"""Files of a release besides its manifest and signatures; exactly these."""
LOG_FILE = "log.json"
"""File in a release's folder that proves it to be in the coordinator's log; a simulation's release has none."""
DIGEST = re.compile(r"[0-9a-f]{64}")
UNSTATED = "unstated"
"""Start of a release from before manifests stated it."""
STARTS = (PUBLIC, NONE, UNSTATED)
RUN = re.compile(r"[0-9a-f]{32}")
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
LONGEST_TEXT = 200
MOST_CLASSES = 10_000
RANGES = {
    "sample_rate": (1_000, 192_000),
    "segment_seconds": (0.05, 600),
    "max_segments": (1, 100_000),
    "n_fft": (16, 65_536),
    "hop_length": (16, 65_536),
    "n_mels": (1, 4_096),
}
"""Allowed ranges of a feature spec's fields, which bound memory for untrusted specs."""
JSON_NAMES = {"min_honest": "honest"}
"""Fields with another name in JSON."""
WHERE = "the release's manifest"


class Noise(StrEnum):
    """Source of the noise of differential privacy."""

    SYSTEM = "operating-system"
    SEEDED = "seeded"  # a repeatable simulation: anyone who knows the seed can subtract it
    NONE = "none"


@dataclass(frozen=True)
class Promise:
    """The guarantee of a number of labels for each track (or artist) over the whole run: at most (ε, δ).

    Each label states its own: the coordinator copies it from the signed advert. None: no finite guarantee.
    """

    labels: int
    epsilon: float | None
    delta: float

    def __post_init__(self) -> None:
        _expect("promises", self.labels >= 1 and 0 <= self.delta < 1)
        _expect("promises", self.epsilon is None or 0 <= self.epsilon < math.inf)


@dataclass(frozen=True)
class Privacy:
    """The privacy statement of a release.

    Args:
        unit: what is protected: a track, an artist or a label.
        neighbours: the neighbouring relation.
        trust: whether noise is local or distributed.
        min_honest: number of honest labels assumed in every sum (`honest` in JSON); 1 with local noise.
        accountant: accountant with which the labels computed ε.
        noise: source of the noise; `none` means that the model was trained without privacy.
        promises: number of labels for each (ε, δ); empty without privacy.
    """

    unit: Unit
    neighbours: str
    trust: Trust
    min_honest: int
    accountant: str
    noise: Noise
    promises: tuple[Promise, ...]

    def __post_init__(self) -> None:
        _expect("neighbours", _is_text(self.neighbours))
        _expect("honest", self.min_honest >= 1 and (self.trust is Trust.DISTRIBUTED or self.min_honest == 1))
        _expect("accountant", _is_text(self.accountant))
        _expect("promises", (self.noise is Noise.NONE) == (not self.promises))


@dataclass(frozen=True)
class FileEntry:
    """Size in bytes and SHA-256 (hex) of one file."""

    size: int
    sha256: str

    def __post_init__(self) -> None:
        _expect("size", self.size >= 0)
        _expect("sha256", bool(DIGEST.fullmatch(self.sha256)))


@dataclass(frozen=True)
class Manifest:
    """A release's manifest.

    Args:
        name: name of the release, for people.
        task: such as `style`.
        family: kind of model in the task.
        classes: the styles, in the order of the model's outputs.
        features: how a consumer computes the model's input.
        parameters: number of trained parameters.
        shapes: shape of each named tensor; together they have `parameters` numbers.
        start: `none` (random parameters), `public` (learned from public audio), or the digest (SHA-256, hex) of the
            release whose parameters the run started from; the guarantees here do not cover that release's training
            data. `unstated` if the release is older than this field.
        rounds: number of aggregations.
        labels: number of labels that joined the run.
        privacy: their guarantees.
        agreement: digest (SHA-256, hex) of the federation's agreement.
        run: id (hex) of the training run.
        configuration: digest (SHA-256, hex) of the run's `RunConfiguration`.
        created: UTC, such as 2025-01-31T12:00:00Z.
        software: versions, by distribution name.
        files: size and digest of each other file.
    """

    name: str
    task: str
    family: str
    classes: tuple[str, ...]
    features: FeatureSpec
    parameters: int
    shapes: Mapping[str, tuple[int, ...]]
    start: str
    rounds: int
    labels: int
    privacy: Privacy
    agreement: str
    run: str
    configuration: str
    created: str
    software: Mapping[str, str]
    files: Mapping[str, FileEntry]

    def __post_init__(self) -> None:
        for name in ("name", "task", "family"):
            _expect(name, _is_text(getattr(self, name)))
        _expect("classes", 2 <= len(self.classes) <= MOST_CLASSES and all(map(_is_text, self.classes)))
        _expect("classes", len(set(self.classes)) == len(self.classes))
        _expect("shapes", all(_is_text(name) and min(shape, default=1) >= 1 for name, shape in self.shapes.items()))
        _expect("parameters", self.parameters == sum(math.prod(shape) for shape in self.shapes.values()) >= 1)
        _expect("start", self.start in STARTS or bool(DIGEST.fullmatch(self.start)))
        _expect("rounds", self.rounds >= 1)
        _expect("labels", self.labels >= 1)
        _expect("privacy", sum(promise.labels for promise in self.privacy.promises) in (0, self.labels))
        _expect("agreement", bool(DIGEST.fullmatch(self.agreement)))
        _expect("run", bool(RUN.fullmatch(self.run)))
        _expect("configuration", bool(DIGEST.fullmatch(self.configuration)))
        _expect("created", _is_time(self.created))
        _expect("software", all(_is_text(name) and _is_text(version) for name, version in self.software.items()))
        _expect("files", sorted(self.files) == sorted(CONTENT_FILES))
        _expect("features", all(low <= getattr(self.features, name) <= high for name, (low, high) in RANGES.items()))
        # Windows must overlap, otherwise a spectrogram cannot be inverted.
        _expect("features", 2 * self.features.hop_length <= self.features.n_fft)
        # The spec and the file list both name the constants: a consumer must normalise by no others.
        _expect("features", self.features.normalisation == self.files[CONSTANTS_FILE].sha256)

    def to_bytes(self) -> bytes:
        """JSON for people and programs; exactly these bytes are signed, and `read_manifest` reads them."""
        values = {"schema": SCHEMA, **_plain(self)}
        return (json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _plain(value: Any) -> Any:
    """A dataclass as dicts, in the order of its fields."""
    if hasattr(value, "__dataclass_fields__"):
        return {JSON_NAMES.get(field.name, field.name): _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _is_text(value: str) -> bool:
    """Short and printable: text shown in a terminal must not contain control sequences."""
    return 0 < len(value) <= LONGEST_TEXT and value.isprintable()


def _is_time(value: str) -> bool:
    try:
        return datetime.strptime(value, TIME_FORMAT).replace(tzinfo=UTC).strftime(TIME_FORMAT) == value
    except ValueError:
        return False


def _expect(name: str, holds: bool) -> None:
    if not holds:
        raise ReleaseError(f"The field '{name}' of {WHERE} has an invalid value.")
