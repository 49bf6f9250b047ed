"""What is wrong in a registry's folder, what is safe to do, and repairs that need no decision."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial

from sqlalchemy import select

from sottovoce.errors import ConfigurationError
from sottovoce.files import sha256_file
from sottovoce.findings import REPAIR, Finding, open_to_others
from sottovoce_server.database import Database, DataLocation
from sottovoce_server.registry.file_store import Store
from sottovoce_server.registry.schema import File, Release
from sottovoce_server.registry.settings import LARGEST_FILE

AGAIN = "Restore the file from a backup, or withdraw the version and publish the release under a new one."


def examine(place: DataLocation) -> Iterator[Finding]:
    """Everything that is wrong in a registry; nothing is changed until a finding's `repair` is called.

    Every published file is read and compared with its digest.

    Args:
        place: location of its data, which must exist.

    Raises:
        ConfigurationError: there is no such folder.
    """
    if not place.data.is_dir():
        raise ConfigurationError("There is no registry's folder.", hint="Set it with --data or SOTTOVOCE_REGISTRY.")
    yield from open_to_others(place.data, (place.data / name for name in ("blobs", "uploads", "incoming", "checking")))
    try:
        with closing(Database(place)) as database, database.session() as session:
            rows = session.execute(select(Release.model, Release.version, File).join(File)).all()
            files = [(f"{model}@{version}, {file.name}", file.sha256, file.size) for model, version, file in rows]
    except ConfigurationError as error:
        yield Finding("database", error.message, error.hint or "Restore it from a backup.")
        return
    store = Store(place.data, LARGEST_FILE)
    for where, sha256, size in files:
        blob = store.blob(sha256)
        if not blob.is_file():
            yield Finding(where, "The published file is missing.", AGAIN)
        elif blob.stat().st_size != size or sha256_file(blob) != sha256:
            yield Finding(where, "The published file is damaged: nobody can pull this version.", AGAIN)
    used = [sha256 for _, sha256, _ in files]
    if remains := store.remains(used):
        what = f"{len(remains)} remains of interrupted uploads take up space."
        yield Finding("uploads", what, REPAIR, partial(store.sweep, used))
