"""The releases that are served: verified first, and again whenever a file changes; withdrawn ones are gone at once."""

import shutil

import pytest

from sottovoce.federation.identity import Identity
from sottovoce_server.studio.schema import State
from sottovoce_server.studio.shelf import Shelf, Trust


@pytest.fixture
def folder(release, tmp_path):
    """A folder with a copy of the style release."""
    shutil.copytree(release, tmp_path / "releases" / "one")
    return tmp_path / "releases"


def flip(file, at):
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def test_a_release_is_served_under_a_trusted_key_only(folder, coordinator):
    assert [each.vouched for each in Shelf([folder], [Trust(coordinator.public_key)]).releases().values()] == [True]
    other = Shelf([folder], [Trust(Identity.generate().public_key)])
    assert other.releases() == {}
    assert list(other.refused()) == [folder / "one"]
    both = Shelf([folder], [Trust(Identity.generate().public_key), Trust(coordinator.public_key)])
    assert len(both.releases()) == 1


@pytest.mark.parametrize("file", ["model.safetensors", "manifest.json", "manifest.sig"])
def test_a_release_that_is_damaged_while_it_is_served_is_no_longer(folder, coordinator, file):
    shelf = Shelf([folder], [Trust(coordinator.public_key)])
    (name,) = shelf.releases()
    flip(folder / "one" / file, -20)
    assert shelf.find(name) is None
    assert shelf.refused()[folder / "one"].message
    flip(folder / "one" / file, -20)
    assert shelf.find(name) is not None


def test_a_release_that_is_withdrawn_or_replaced_is_no_longer_used(make_studio, folder, release, maker):
    studio = make_studio()
    studio.shelf._folders = [folder]
    try:
        name = f"isles-style@{studio('GET', '/v1/models/isles-style', code=200).json()['version']}"
        studio.engine.work = None
        fields = {"data": {"model": name}, "files": {"file": ("a.wav", b"RIFF")}}
        job = studio("POST", "/v1/classifications", code=202, **fields).json()
        assert job["model"] == name
        shutil.rmtree(folder / "one")
        studio("GET", f"/v1/models/{name}", code=404)
        assert "no release" in studio("POST", "/v1/classifications", code=422, **fields).json()["detail"]
        assert studio("GET", f"/v1/jobs/{job['id']}", code=200).json()["state"] == State.QUEUED
        shutil.copytree(maker, folder / "one")
        assert [each["name"] for each in studio("GET", "/v1/models").json()["models"]] == ["isles-maker"]
    finally:
        studio.shelf._folders = [release, maker]


@pytest.mark.parametrize("place", ["one/release", "two"])
def test_releases_are_found_in_runs_and_other_folders_are_passed_over(release, tmp_path, place):
    (tmp_path / "in" / "notes").mkdir(parents=True)
    (tmp_path / "in" / "a file").write_text("nothing")
    shutil.copytree(release, tmp_path / "in" / place, dirs_exist_ok=True)
    assert len(Shelf([tmp_path / "in", tmp_path / "missing"]).releases()) == 1
    assert len(Shelf([release]).releases()) == 1
