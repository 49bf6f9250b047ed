"""`registry doctor` compares every published file with its digest, and removes remains of uploads."""

import json
import os
import time

import pytest
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce.release.manifest import MODEL_FILE
from sottovoce_server.registry.file_store import ORPHAN_SECONDS


def doctor(service, *options):
    done = CliRunner().invoke(app, ["registry", "doctor", "--json", *options, "--data", str(service.data)])
    return done.exit_code, json.loads(done.stdout)


def model_of(service, release):
    from sottovoce.files import sha256_file

    return service.store.blob(sha256_file(release / MODEL_FILE))


def test_nothing_is_wrong_in_a_registry_with_a_release(published):
    assert doctor(published, "--repair") == (0, {"repaired": [], "found": []})


@pytest.mark.parametrize("damage", ["missing", "shorter", "changed"])
def test_a_published_file_that_is_not_whole_is_found(published, release, damage):
    blob = model_of(published, release)
    data = blob.read_bytes()
    blob.unlink()
    if damage != "missing":
        blob.write_bytes(data[:-1] if damage == "shorter" else data[:-1] + b"?")
    code, said = doctor(published, "--repair")
    assert code == 7
    (found,) = said["found"]
    assert MODEL_FILE in found["where"]
    assert "new one" in found["remedy"]


def test_remains_of_uploads_and_open_folders_are_repaired(published):
    old = time.time() - 2 * ORPHAN_SECONDS
    for remains in (published.data / "incoming" / "x", published.data / "blobs" / "ab" / ("ab" * 32)):
        remains.parent.mkdir(exist_ok=True, mode=0o700)
        remains.write_bytes(b"x")
        os.utime(remains, (old, old))
    published.data.chmod(0o755)
    assert doctor(published)[0] == 1
    assert len(doctor(published, "--repair")[1]["repaired"]) == 2
    assert doctor(published)[0] == 0
    assert not remains.exists()


def test_a_damaged_database_is_found_and_a_missing_folder_refused(published, tmp_path):
    published.database.close()
    for file in published.data.glob("registry.sqlite*"):
        file.unlink()
    (published.data / "registry.sqlite").write_bytes(b"torn" * 1000)
    assert [found["where"] for found in doctor(published)[1]["found"]] == ["database"]
    done = CliRunner().invoke(app, ["registry", "doctor", "--data", str(tmp_path / "none")])
    assert done.exit_code == 2
    assert not (tmp_path / "none").exists()
