import json
import shutil
import threading
from dataclasses import replace

import pytest

from sottovoce.federation.identity import Identity
from sottovoce.release.check import FILES, LARGEST_MANIFEST
from sottovoce.release.signatures import Role, Signature, encode

NAME = "isles-style-svm"
VERSION = "20260101T000000Z"
PATH = f"/v1/models/{NAME}/{VERSION}"


def remains(service):
    """Files of uploads in progress."""
    return [path for folder in ("uploads", "incoming", "checking") for path in (service.data / folder).iterdir()]


@pytest.fixture
def copy(release, tmp_path):
    return shutil.copytree(release, tmp_path / "copy")


def test_what_is_published_comes_back_byte_for_byte(service, publisher, release):
    answer = service.publish(publisher, release)
    assert answer.status_code == 201
    assert answer.json()["version"] == VERSION
    for file in FILES:
        got = service("GET", f"{PATH}/files/{file}", publisher)
        assert (got.status_code, got.content) == (200, (release / file).read_bytes())
    assert service("GET", PATH, publisher).content == (release / "manifest.json").read_bytes()
    assert remains(service) == []


def test_a_new_model_is_private(service, publisher, release):
    service.publish(publisher, release)
    assert service("GET", PATH).status_code == 404
    assert service("GET", PATH, service.token("read")).status_code == 404
    assert service("GET", "/v1/models").json() == {"models": [], "next": None}


def test_nothing_is_visible_before_it_is_published(service, publisher, release):
    upload = service.begin(publisher)
    service.send(publisher, upload, release)
    assert service("GET", PATH, publisher).status_code == 404
    assert service("GET", "/v1/models", publisher).json()["models"] == []


def test_a_published_version_never_changes(published, publisher, make_release):
    answer = published("POST", "/v1/uploads", publisher, json={"name": NAME, "version": VERSION})
    assert answer.status_code == 409
    assert "already published" in answer.json()["detail"]


def test_of_two_uploads_at_once_one_wins(service, publisher, release, make_release):
    other = make_release(seed=1)
    uploads = [service.begin(publisher) for _ in range(2)]
    for upload, folder in zip(uploads, (release, other), strict=True):
        service.send(publisher, upload, folder)
    answers = {}

    def publish(upload):
        answers[upload] = service("POST", f"/v1/uploads/{upload}/publish", publisher)

    threads = [threading.Thread(target=publish, args=(upload,)) for upload in uploads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers.values()) == [201, 409]
    winner = (release, other)[[answers[upload].status_code for upload in uploads].index(201)]
    for file in FILES:
        assert service("GET", f"{PATH}/files/{file}", publisher).content == (winner / file).read_bytes()
    assert remains(service) == []


def test_one_upload_is_published_once(service, publisher, release):
    upload = service.begin(publisher)
    service.send(publisher, upload, release)
    statuses = [service("POST", f"/v1/uploads/{upload}/publish", publisher).status_code for _ in range(2)]
    assert statuses == [201, 404]
    late = service("PUT", f"/v1/uploads/{upload}/files/model.safetensors", publisher, content=b"late")
    assert late.status_code == 404


@pytest.mark.parametrize("file", sorted(FILES))
@pytest.mark.parametrize("damage", ["flip", "cut", "missing", "longer"])
def test_a_damaged_upload_is_not_published(service, publisher, copy, file, damage):
    data = bytearray((copy / file).read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    elif damage == "cut":
        del data[-1]
        data = data.rstrip(b"\n}]") if file.startswith("manifest") else data
    elif damage == "longer":
        data += b"\x00"
    (copy / file).write_bytes(data)
    upload = service.begin(publisher)
    service.send(publisher, upload, copy, sorted(FILES - {file} if damage == "missing" else FILES))
    answer = service("POST", f"/v1/uploads/{upload}/publish", publisher)
    assert answer.status_code == 422
    assert answer.json()["detail"]
    assert service("GET", PATH, publisher).status_code == 404
    assert remains(service) == []


def test_only_pinned_coordinators_publish(service, publisher, make_release):
    answer = service.publish(publisher, make_release(signer=Identity.generate()))
    assert answer.status_code == 422
    assert "not signed by a coordinator" in answer.json()["detail"]


def test_what_is_published_is_what_was_announced(service, publisher, release):
    for name, of in ((NAME, "20260101T000001Z"), ("other", VERSION)):
        answer = service.publish(publisher, release, name=name, of=of)
        assert answer.status_code == 422
        assert "another release" in answer.json()["detail"]


def test_a_name_that_no_address_can_hold(service, publisher, make_release):
    assert service.publish(publisher, make_release(name="../Release No 1")).status_code == 422


def test_a_release_of_the_future_is_refused(service, publisher, make_release):
    hours = 24 * 365 * 100
    answer = service.publish(publisher, make_release(hours), of="21251208T000000Z")
    assert "in the future" in answer.json()["detail"]


def test_a_name_belongs_to_one_coordinator(make_registry, settings, release, make_release):
    other = Identity.generate()
    service = make_registry(replace(settings, keys=settings.keys | {other.public_key}))
    publisher = service.token("publish")
    assert service.publish(publisher, release).status_code == 201
    answer = service.publish(publisher, make_release(1, signer=other), of="20260101T010000Z")
    assert answer.status_code == 422
    assert "belongs to another coordinator" in answer.json()["detail"]


def test_too_large_a_file_is_refused_while_it_comes(service, publisher, settings):
    upload = service.begin(publisher)
    sent = []

    async def endless():
        while True:
            sent.append(1)
            yield bytes(1 << 20)

    path = f"/v1/uploads/{upload}/files/"
    answer = service("PUT", path + "model.safetensors", publisher, content=endless())
    assert answer.status_code == 413
    assert len(sent) == settings.largest_file // (1 << 20) + 1
    answer = service("PUT", path + "manifest.json", publisher, content=bytes(LARGEST_MANIFEST + 1))
    assert answer.status_code == 413
    assert list((service.data / "incoming").iterdir()) == []


def test_a_broken_upload_leaves_nothing(service, publisher):
    upload = service.begin(publisher)

    async def broken():
        yield bytes(1000)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        service("PUT", f"/v1/uploads/{upload}/files/model.safetensors", publisher, content=broken())
    assert list((service.data / "incoming").iterdir()) == []
    assert list((service.data / "uploads" / upload).iterdir()) == []


@pytest.mark.parametrize("file", ["..%2f..%2fx", "x", "manifest.json%00", ".", "model.safetensors.bak"])
def test_only_a_releases_files_are_taken(service, publisher, file):
    upload = service.begin(publisher)
    answer = service("PUT", f"/v1/uploads/{upload}/files/{file}", publisher, content=b"x")
    assert answer.status_code in (404, 405, 422)
    assert list((service.data / "uploads" / upload).iterdir()) == []


def test_an_upload_is_its_owners(service, publisher, release):
    upload = service.begin(publisher)
    other = service.token("publish")
    assert service("PUT", f"/v1/uploads/{upload}/files/manifest.json", other, content=b"x").status_code == 404
    assert service("POST", f"/v1/uploads/{upload}/publish", other).status_code == 404
    assert service("DELETE", f"/v1/uploads/{upload}", other).status_code == 404
    assert service("DELETE", f"/v1/uploads/{upload}", publisher).status_code == 204
    assert service("DELETE", f"/v1/uploads/{upload}", publisher).status_code == 404
    assert remains(service) == []


def test_uploads_under_way_are_few_and_forgotten_in_time(service, publisher, monkeypatch):
    from sottovoce_server.registry import publishing

    for _ in range(publishing.OPEN_UPLOADS):
        service.begin(publisher)
    body = {"name": NAME, "version": VERSION}
    answer = service("POST", "/v1/uploads", publisher, json=body)
    assert answer.status_code == 429
    assert "Retry-After" in answer.headers
    assert service("POST", "/v1/uploads", service.token("publish"), json=body).status_code == 201
    monkeypatch.setattr(publishing, "UPLOAD_SECONDS", -1)
    assert service("POST", "/v1/uploads", publisher, json=body).status_code == 201
    assert len(remains(service)) == 1


def test_a_restart_sweeps_what_was_left(service, publisher, release, make_registry, monkeypatch):
    from sottovoce_server.registry import file_store

    service.publish(publisher, release)
    orphan = service.store.keep_bytes(b"nobody names this")
    (service.data / "incoming" / "left").write_bytes(b"half")
    (service.data / "checking" / "left").mkdir()
    monkeypatch.setattr(file_store, "ORPHAN_SECONDS", -60)
    monkeypatch.setattr(file_store, "UPLOAD_SECONDS", -60)
    service.store.sweep(
        [each["sha256"] for each in service("GET", f"/v1/models/{NAME}", publisher).json()["releases"][0]["files"]]
    )
    assert not service.store.blob(orphan).exists()
    assert remains(service) == []
    assert service("GET", f"{PATH}/files/model.safetensors", publisher).status_code == 200


def signature_file(identity, name, raw):
    return encode(
        (
            Signature.make(Identity.generate(), Role.COORDINATOR, "isles", raw),
            Signature.make(identity, Role.LABEL, name, raw),
        )
    )


def test_labels_cosign_what_is_published(published, labels, release):
    token = published.token("cosign")
    raw = (release / "manifest.json").read_bytes()
    before = published("GET", f"{PATH}/files/manifest.sig")
    for name in ("north", "east", "north"):
        data = signature_file(labels[name], name, raw)
        assert published("POST", f"{PATH}/signatures", token, content=data).status_code == 200
    after = published("GET", f"{PATH}/files/manifest.sig")
    assert [each["name"] for each in after.json()] == ["isles", "north", "east"]
    assert after.json()[0] == before.json()[0]
    assert after.headers["etag"] != before.headers["etag"]
    assert published("GET", PATH).content == raw


def test_cosigning_at_once_loses_no_signature(published, labels, release):
    token = published.token("cosign")
    raw = (release / "manifest.json").read_bytes()
    # FastAPI makes its tables of routes now, and not in several threads.
    assert published("POST", f"{PATH}/signatures", content=b"").status_code == 401
    answers = []

    def cosign(name):
        data = signature_file(labels[name], name, raw)
        answers.append(published("POST", f"{PATH}/signatures", token, content=data).status_code)

    threads = [threading.Thread(target=cosign, args=(name,)) for name in labels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * len(labels)
    signed = published("GET", f"{PATH}/files/manifest.sig").json()
    assert {each["name"] for each in signed} == {"isles", *labels}


@pytest.mark.parametrize("who", ["stranger", "member with another key", "another manifest", "no signature file"])
def test_who_cannot_cosign(published, labels, release, who):
    raw = (release / "manifest.json").read_bytes()
    data = {
        "stranger": lambda: signature_file(Identity.generate(), "west", raw),
        "member with another key": lambda: signature_file(Identity.generate(), "north", raw),
        "another manifest": lambda: signature_file(labels["north"], "north", raw + b" "),
        "no signature file": lambda: b"[]",
    }[who]()
    before = published("GET", f"{PATH}/files/manifest.sig").content
    answer = published("POST", f"{PATH}/signatures", published.token("cosign"), content=data)
    assert answer.status_code == 422
    assert published("GET", f"{PATH}/files/manifest.sig").content == before


def test_without_the_agreement_nobody_cosigns(make_registry, settings, release, labels):
    service = make_registry(replace(settings, agreements=()))
    publisher = service.token("publish")
    service.publish(publisher, release)
    data = signature_file(labels["north"], "north", (release / "manifest.json").read_bytes())
    answer = service("POST", f"{PATH}/signatures", service.token("cosign", models=[NAME]), content=data)
    assert answer.status_code == 422
    assert "does not know the members" in answer.json()["detail"]


def test_who_published_is_on_record(published, publisher):
    from sottovoce_server.registry import audit_log

    published("GET", PATH)
    with published.database.session() as session:
        lines = [(each.action, each.token, each.subject) for each in audit_log.latest(session, 10)]
    holder = publisher.split("_")[1]
    assert lines == [
        ("publish", holder, f"{NAME}@{VERSION}"),
        ("visibility", holder, f"{NAME} public"),
        ("download", None, f"{NAME}@{VERSION} manifest.json"),
    ]


def test_no_secret_is_stored(published, publisher):
    secret = publisher.rpartition("_")[2].encode()
    for path in published.data.rglob("*"):
        if path.is_file():
            assert secret not in path.read_bytes()
    assert secret not in json.dumps([str(path) for path in published.data.rglob("*")]).encode()
