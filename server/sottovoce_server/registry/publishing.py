"""Publication of releases: uploaded, verified as by a consumer, then visible and immutable.

Also adds labels' signatures to published releases.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from sottovoce.errors import ReleaseError, SplitView
from sottovoce.federation.log import LogMemory
from sottovoce.files import sha256_file
from sottovoce.release.check import ALLOWED, LARGEST_SIGNATURES, Checked, check
from sottovoce.release.cosignatures import expect_members, extended
from sottovoce.release.logged import MEMORY_FILE, check_logged, evidence_of
from sottovoce.release.manifest import MANIFEST_FILE, SIGNATURE_FILE
from sottovoce.release.signatures import Role, decode, encode
from sottovoce.release.versions import expect_identity, publishable_name
from sottovoce_server.database import Database
from sottovoce_server.registry import audit_log
from sottovoce_server.registry.audit_log import Action
from sottovoce_server.registry.file_store import Gone, Store
from sottovoce_server.registry.listing import Visibility
from sottovoce_server.registry.schema import File, Model, Release, Upload
from sottovoce_server.registry.settings import CLOCK_SKEW_SECONDS, OPEN_UPLOADS, UPLOAD_SECONDS, Settings
from sottovoce_server.registry.tokens import Caller

ATTEMPTS = 20


class Taken(Exception):
    """This version is already published, and a published version never changes."""


class TooMany(Exception):
    """The token has too many uploads in progress."""


@dataclass(frozen=True)
class Publishing:
    """Accepts releases."""

    database: Database
    store: Store
    settings: Settings
    one_at_a_time: Lock  # verification loads a release into memory

    @property
    def logs(self) -> LogMemory:
        """The coordinators' logs as this registry has seen them; it refuses a release with a different history."""
        return LogMemory(self.store.root / MEMORY_FILE)

    def begin(self, caller: Caller, model: str, version: str) -> str:
        """Begin an upload and return its id.

        Raises:
            Taken: the version is already published.
            TooMany: the token has too many uploads in progress.
        """
        with self.database.session() as session:
            self._forget_old(session)
            if session.scalar(select(Release.id).where(Release.model == model, Release.version == version)):
                raise Taken
            under_way = select(func.count()).select_from(Upload).where(Upload.token == caller.token)
            if (session.scalar(under_way) or 0) >= OPEN_UPLOADS:
                raise TooMany
            upload = self.store.begin()
            session.add(Upload(id=upload, token=caller.token, model=model, version=version, started=int(time.time())))
        return upload

    def expect(self, caller: Caller, upload: str) -> Upload:
        """An upload that belongs to the caller.

        Raises:
            Gone: it does not exist, is too old, or belongs to somebody else.
        """
        with self.database.session() as session:
            found = session.get(Upload, upload)
        if found is None or found.token != caller.token or found.started < time.time() - UPLOAD_SECONDS:
            raise Gone
        return found

    def give_up(self, caller: Caller, upload: str) -> None:
        """Delete an upload.

        Raises:
            Gone: it does not exist.
        """
        self.expect(caller, upload)
        self._forget(upload)

    def publish(self, caller: Caller, upload: str) -> Release:
        """Verify an upload and publish it. The upload ends in any case.

        Raises:
            Gone: the upload does not exist.
            ReleaseError: a check fails, the coordinator is unknown, or the release is not the announced one.
            Taken: another upload of this version was faster.
        """
        announced = self.expect(caller, upload)
        folder = self.store.claim(upload)
        try:
            with self.one_at_a_time:
                checked = self._checked(folder, announced)
                there = sorted(name for name in ALLOWED if (folder / name).exists())
                files = {name: _size_and_digest(folder / name) for name in there}
                for name, (_, sha256) in files.items():
                    self.store.keep(folder / name, sha256)
                return self._make_visible(caller, announced, checked, files)
        except ReleaseError as error:
            with self.database.session() as session:
                audit_log.record(
                    session, Action.REJECT, caller, f"{announced.model}@{announced.version} {error.message}"
                )
            raise
        finally:
            self._forget(upload)

    def _checked(self, folder: Path, announced: Upload) -> Checked:
        try:
            with (folder / SIGNATURE_FILE).open("rb") as file:
                key = decode(file.read(LARGEST_SIGNATURES))[0].public_key
        except OSError:
            raise ReleaseError(f"The release's {SIGNATURE_FILE} is missing.") from None
        if key not in self.settings.keys:
            raise ReleaseError("The release is not signed by a coordinator that this registry knows.")
        checked = check(folder, key)
        publishable_name(checked.manifest)
        expect_identity(checked.manifest, announced.model, announced.version)
        latest = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + CLOCK_SKEW_SECONDS))
        if announced.version > latest:
            raise ReleaseError("The release's creation time is in the future.", hint="Check the clock.")
        agreement = self.settings.agreement_of(checked.manifest.agreement)
        if agreement is not None:
            expect_members(checked.signatures, agreement)
        try:
            check_logged(checked.raw, key, evidence_of(folder), self.logs)
        except SplitView as error:
            raise ReleaseError(error.message, hint=error.hint) from None
        return checked

    def _make_visible(
        self, caller: Caller, announced: Upload, checked: Checked, files: dict[str, tuple[int, str]]
    ) -> Release:
        key, name = checked.signatures[0].public_key, f"{announced.model}@{announced.version}"
        for _ in range(2):  # another first release of this name may be published in between
            release = Release(
                model=announced.model,
                version=announced.version,
                agreement=checked.manifest.agreement,
                published=int(time.time()),
                files=[File(name=file, size=size, sha256=sha256) for file, (size, sha256) in files.items()],
            )
            try:
                with self.database.session() as session:
                    _expect_owner(session, announced.model, key)
                    session.add(release)
                    session.flush()
                    audit_log.record(session, Action.PUBLISH, caller, name)
            except IntegrityError:
                continue
            return release
        raise Taken

    def cosign(self, caller: Caller, release: Release, data: bytes) -> int:
        """Add labels' signatures to a published release; return the number of new ones.

        Args:
            caller: the sender.
            release: the release.
            data: a `manifest.sig`; the coordinator's and existing signatures are ignored.

        Raises:
            ReleaseError: a signature is invalid, or the signer is not a member of a federation known here.
        """
        agreement = self.settings.agreement_of(release.agreement)
        if agreement is None:
            raise ReleaseError(
                "This registry does not know the members of the release's federation, so nobody can co-sign.",
                hint="Its operator can pass the agreement: sottovoce registry serve --key federation.toml.",
            )
        more = [each for each in decode(data) if each.role is Role.LABEL]
        entries = {each.name: each.sha256 for each in release.files}
        manifest = self.store.blob(entries[MANIFEST_FILE]).read_bytes()
        for _ in range(ATTEMPTS):
            with self.database.session() as session:
                current = session.get_one(File, (release.id, SIGNATURE_FILE))
                kept = decode(self.store.blob(current.sha256).read_bytes())
                new = extended(kept, more, manifest, agreement)
                if len(new) == len(kept):
                    return 0
                encoded = encode(new)
                changed = session.execute(
                    update(File)  # only if it has not changed meanwhile
                    .where(File.release_id == release.id, File.name == SIGNATURE_FILE, File.sha256 == current.sha256)
                    .values(size=len(encoded), sha256=self.store.keep_bytes(encoded))
                    .returning(File.size)
                ).all()
                if changed:
                    names = ",".join(each.name for each in new[len(kept) :])
                    audit_log.record(session, Action.COSIGN, caller, f"{release.model}@{release.version} {names}")
                    return len(new) - len(kept)
        raise TooMany

    def sweep(self) -> None:
        """Delete remains of interrupted uploads."""
        with self.database.session() as session:
            self._forget_old(session)
            used = list(session.scalars(select(File.sha256)))
        self.store.sweep(used)

    def _forget_old(self, session: Session) -> None:
        for upload in session.scalars(select(Upload).where(Upload.started < time.time() - UPLOAD_SECONDS)):
            self.store.drop(upload.id)
            session.delete(upload)

    def _forget(self, upload: str) -> None:
        self.store.drop(upload)
        with self.database.session() as session:
            session.execute(delete(Upload).where(Upload.id == upload))


def _expect_owner(session: Session, name: str, key: bytes) -> None:
    """A name belongs to the coordinator that first published under it; a new model is private."""
    model = session.get(Model, name)
    if model is None:
        session.add(Model(name=name, visibility=Visibility.PRIVATE, coordinator_key=key))
        session.flush()
    elif model.coordinator_key != key:
        raise ReleaseError("This name belongs to another coordinator.", hint="Choose another name.")


def _size_and_digest(path: Path) -> tuple[int, str]:
    return path.stat().st_size, sha256_file(path)
