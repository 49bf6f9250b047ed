"""The studio on a disk that is full at any of its writes: a refusal in words, nothing half-written, and it goes on."""

import errno
from collections import Counter
from contextlib import closing
from tempfile import SpooledTemporaryFile

from tests.faults.disk import Disk, Fault
from tests.server.studio.conftest import Queue, Studio

from sottovoce_server import database as database_module
from sottovoce_server.database import STUDIO, Database, DataLocation


def test_an_upload_is_accepted_whole_or_refused_whole(shelf, tmp_path, monkeypatch):
    Database(DataLocation(tmp_path, None, STUDIO)).close()
    monkeypatch.setattr(database_module, "migrate", lambda *_: None)
    seen, calls = Counter(), 1
    for fault in (Fault.FULL, Fault.SHORT):
        at = 0
        while at < calls:
            with (
                Disk(tmp_path, fault, at).mounted(monkeypatch) as disk,
                closing(Database(DataLocation(tmp_path, None, STUDIO))) as database,
            ):
                studio = Studio(Queue(database, tmp_path / "jobs"), shelf)
                studio.engine.work = None
                answer = studio.inspect(data=bytes(3 << 20), code=None)
                calls = disk.calls
                again = studio.inspect(data=bytes(9), code=202)
            assert answer.status_code in (202, 503, 507), answer.text
            seen[answer.status_code] += 1
            if answer.status_code == 507:
                assert answer.json()["detail"] == "The studio's disk is full."
            with closing(Database(DataLocation(tmp_path, None, STUDIO))) as database:
                queue = Queue(database, tmp_path / "jobs")
                known = {job.id for job in queue.latest("", 1000)}
                assert (answer.json().get("id") in known) == (answer.status_code == 202)
                assert again.json()["id"] in known
                assert {folder.name for folder in queue.folder("").iterdir()} == known
                sizes = {file.stat().st_size for file in queue.folder("").glob("*/*")}
                assert sizes <= {3 << 20, 9}
                queue.clear()
                for folder in queue.folder("").iterdir():
                    for file in folder.iterdir():
                        file.unlink()
                    folder.rmdir()
            at += 2
    assert seen[507]
    assert seen[202]


def test_a_full_disk_for_temporary_files_is_said_too(studio, monkeypatch):
    class Full(SpooledTemporaryFile):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("starlette.formparsers.SpooledTemporaryFile", Full)
    assert studio.inspect(code=507).json()["detail"] == "The studio's disk is full."
    assert studio.queue.latest("", 10) == []
