"""Results in words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sottovoce.studio.provenance.origin import payload_of
from sottovoce_server.studio.schema import Kind
from sottovoce_server.studio.shelf import Shelved

CREDENTIALS = {
    "absent": "None.",
    "trusted": "Valid, and signed by this studio or by somebody it trusts.",
    "unknown signer": "Valid, but this studio does not know the signer.",
    "changed": "Broken: the file was changed after it was signed.",
    "invalid": "Broken: damaged, or no signature is valid.",
}
KINDS = {
    Kind.CLASSIFICATION: "Recognised",
    Kind.GENERATION: "Created",
    Kind.EDIT: "Edited",
    Kind.INSPECTION: "Inspected",
}
SOURCES = {
    "trainedAlgorithmicMedia": "made by a trained model",
    "compositeWithTrainedAlgorithmicMedia": "partly made by a trained model",
}
NO_SIGN = "No sign of its origin was found. That proves nothing: marks can be removed."


@dataclass(frozen=True)
class Finding:
    """Where a file comes from.

    Args:
        verdict: one or two sentences.
        tone: `good`, `bad` or `plain`.
        rows: the evidence: what, and what was found.
    """

    verdict: str
    tone: str
    rows: list[tuple[str, list[str]]]


def finding(result: Mapping[str, Any], releases: Iterable[Shelved]) -> Finding:
    """The result of an inspection in words.

    Args:
        result: the report as plain values (`examination.as_plain`).
        releases: releases whose watermarks are known.
    """
    known = {payload_of(each.digest).hex(): each.name for each in releases}
    said = result["credentials"]
    origin = said["origin"] or {}
    marks = [
        f"Of {known[each['payload']] if each['payload'] in known else 'a release that is not here, ' + each['payload']}"
        f": {each['score']:.1f} standard deviations, clearest from {each['start']:.0f} to {each['stop']:.0f} s."
        for each in result["watermarks"]
    ]
    rows = [
        ("Audio", [_audio(result["audio"])]),
        ("Content credentials", [CREDENTIALS[said["state"]], *_signature(said)]),
        ("What was done", _operation(origin)),
        ("Tags", [f"{name}: {text}" for name, text in result["tags"].items()] or ["None."]),
        ("Watermark", marks or ["None found."]),
    ]
    verdict, tone = _verdict(said, origin, bool(marks), bool(result["tags"].get("source_type")))
    if (result["audio"] or {}).get("damaged"):
        verdict, tone = f"{verdict} The audio is damaged or truncated.", "bad"
    return Finding(verdict, tone, [(name, texts) for name, texts in rows if texts])


def _verdict(said: Mapping[str, Any], origin: Mapping[str, Any], marked: bool, tagged: bool) -> tuple[str, str]:
    made = SOURCES.get(str(said["source_type"] or "").rpartition("/")[2], "edited without a model")
    by = f" ({origin['release']})" if origin.get("release") else ""
    match said["state"]:
        case "changed":
            return "The file was changed after it was signed.", "bad"
        case "invalid":
            return "The file's credentials are damaged or forged.", "bad"
        case _ if said["same_audio"] is False:
            return "The credentials belong to other audio.", "bad"
        case "trusted":
            return f"It was {made}{by}, says its signature, and has not been changed since.", "good"
        case "unknown signer":
            return f"It was {made}{by}, says a signature of somebody whom this studio does not know.", "plain"
    if marked:
        return "A watermark says that a model made at least a part of it. Its credentials were removed.", "plain"
    return ("Its tags say where it comes from; anybody can write tags.", "plain") if tagged else (NO_SIGN, "plain")


def _audio(facts: Mapping[str, Any] | None) -> str:
    if facts is None:
        return "A format in which watermarks cannot be looked for."
    channels = {1: "mono", 2: "stereo"}.get(facts["channels"], f"{facts['channels']} channels")
    seconds = facts["frames"] / facts["sample_rate"]
    return f"{facts['format']}, {channels}, {facts['sample_rate']:,} Hz, {duration(seconds)}"


def _signature(said: Mapping[str, Any]) -> list[str]:
    found = []
    if said["signer"] or said["issuer"]:
        found.append(f"Signed by {said['signer'] or 'somebody without a name'}, {said['issuer'] or 'no organisation'}.")
    if said["same_audio"] is not None:
        found.append("The audio is as signed." if said["same_audio"] else "The audio is not as signed.")
    return found


def _operation(origin: Mapping[str, Any]) -> list[str]:
    if not origin:
        return []
    by = f" with {origin['release']}" if origin["release"] else ""
    found = [f"{origin['operation'].replace('-', ' ').capitalize()}{by}."]
    if origin["parameters"]:
        found.append(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in origin["parameters"].items()))
    return found + ([f"SHA-256 of the release: {origin['digest']}"] if origin["digest"] else [])


def duration(seconds: float) -> str:
    """A length or a wait for people: `0.8 s`, `12 s`, `3:05`."""
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def parameter(name: str, value: Any) -> str:
    """A parameter for people."""
    match name:
        case "seconds":
            return duration(value)
        case "count":
            return f"{value} takes"
        case _ if value is True:
            return name.replace("_", " ")
    shown = (
        ", ".join(map(str, value)) if isinstance(value, list) else f"{value:g}" if isinstance(value, float) else value
    )
    return f"{name.replace('_', ' ')} {shown}"
