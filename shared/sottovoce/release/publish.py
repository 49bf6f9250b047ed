"""Publish a release in a registry, or send it signatures that labels have added since."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sottovoce.errors import RegistryError, ReleaseError
from sottovoce.release.check import ALLOWED, LARGEST_MANIFEST, Checked, check
from sottovoce.release.manifest import SIGNATURE_FILE
from sottovoce.release.registry_client import Progress, Refused, RegistryClient
from sottovoce.release.versions import Reference, publishable_name, version_of

CONFLICT, NOT_FOUND = 409, 404


@dataclass(frozen=True)
class Published:
    """Result of a publication.

    Args:
        reference: name and version of the release.
        new: whether it was not published before.
        signatures: number of signatures added to an already published release.
    """

    reference: Reference
    new: bool
    signatures: int = 0


def publish(
    client: RegistryClient,
    directory: Path,
    key: bytes | None = None,
    *,
    visibility: str | None = None,
    progress: Progress = lambda *_: None,
) -> Published:
    """Publish a release. If it is already published, only further signatures of labels are sent.

    Args:
        client: client for the registry, with a token of scope `publish` (or `cosign`, for signatures only).
        directory: the release's folder.
        key: the coordinator's key, to verify the release first.
        visibility: who may see the model from now on: `public`, `token` or `private`. None leaves it unchanged.
        progress: called as bytes are sent.

    Raises:
        ReleaseError: a check fails, or another release is published under its name and version.
        RegistryError: the registry cannot be reached, or refuses the request.
    """
    checked = check(directory, key)
    reference = Reference(publishable_name(checked.manifest), version_of(checked.manifest))
    added = _add_signatures(client, reference, directory, checked) if _is_there(client, reference, checked) else None
    if added is None:
        try:
            _upload(client, reference, directory, progress)
        except Refused as refusal:
            # 409: somebody else was faster; 404: our own attempt may have succeeded although its answer was lost
            if refusal.status not in (CONFLICT, NOT_FOUND) or not _is_there(client, reference, checked):
                raise
    if visibility is not None:
        client.json(f"models/{reference.name}/visibility", "PUT", {"visibility": visibility})
    return Published(reference, added is None, added or 0)


def _is_there(client: RegistryClient, reference: Reference, checked: Checked) -> bool:
    """Whether exactly this release is published."""
    try:
        published = client.content(f"models/{reference.name}/{reference.version}", LARGEST_MANIFEST)
    except Refused as refusal:
        if refusal.status == NOT_FOUND:
            return False
        raise
    if published != checked.raw:
        raise ReleaseError(
            f"Another release is published as {reference}, and a published version never changes.",
            hint="Releases with the same name must be made at different times.",
        )
    return True


def _add_signatures(client: RegistryClient, reference: Reference, directory: Path, checked: Checked) -> int:
    if len(checked.signatures) == 1:
        return 0
    data = (directory / SIGNATURE_FILE).read_bytes()
    answer = client.json(f"models/{reference.name}/{reference.version}/signatures", "POST", content=data)
    added = answer.get("added") if isinstance(answer, dict) else None
    return added if isinstance(added, int) else 0


def _upload(client: RegistryClient, reference: Reference, directory: Path, progress: Progress) -> None:
    begun = client.json("uploads", "POST", {"name": reference.name, "version": reference.version})
    upload = begun.get("upload") if isinstance(begun, dict) else None
    if not isinstance(upload, str) or not upload.isalnum():
        raise ReleaseError("The registry's answer cannot be read.", hint="Is this the address of a registry?")
    try:
        for name in sorted(each for each in ALLOWED if (directory / each).exists()):
            client.send(f"uploads/{upload}/files/{name}", directory / name, progress)
        client.json(f"uploads/{upload}/publish", "POST")
    except RegistryError:
        with suppress(RegistryError):  # the registry deletes it later in any case
            client.json(f"uploads/{upload}", "DELETE")
        raise
