import shutil

import httpx
import pytest
from filelock import FileLock

from sottovoce.errors import ConfigurationError, RegistryError, ReleaseError
from sottovoce.federation.identity import Identity
from sottovoce.release.check import FILES, check
from sottovoce.release.pull import listed, pull
from sottovoce.release.registry_client import ATTEMPTS, Refused, RegistryClient, read_token
from sottovoce.release.signatures import Role, Signature, decode, encode
from sottovoce.release.versions import Reference
from sottovoce.release.write import cosign

NAME = "isles-style-svm"
VERSION = "20260101T000000Z"
LATER = "20260101T010000Z"


class Cut(httpx.SyncByteStream):
    """A body that breaks off after this many bytes."""

    def __init__(self, data):
        self.data = data

    def __iter__(self):
        yield self.data
        raise httpx.ReadError("broken")


@pytest.fixture
def client(wire):
    with RegistryClient("http://registry.example", transport=wire) as made:
        yield made


@pytest.fixture
def fetch(client, coordinator, seen, memory, tmp_path):
    def run(wanted=NAME, out=tmp_path / "model", *, key=coordinator.public_key, through=client):
        return pull(through, Reference.parse(wanted), key, out, seen=seen, memory=memory)

    return run


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def of_model(request):
    return request.url.path.endswith("model.safetensors")


def left(tmp_path):
    """What a pull left beside its output, except the state."""
    return sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("."))


def test_a_pulled_release_is_the_published_one(fetch, release, coordinator, tmp_path):
    pulled = fetch()
    assert (str(pulled.reference), pulled.already) == (f"{NAME}@{VERSION}", False)
    assert content(tmp_path / "model") == content(release)
    assert check(tmp_path / "model", coordinator.public_key).vouched
    assert left(tmp_path) == []


def test_a_second_pull_fetches_no_content(fetch, wire):
    fetch()
    wire.requests.clear()
    assert fetch().already
    assert not any(map(of_model, wire.requests))


def test_the_newest_replaces_an_older_one(fetch, published, publisher, make_release, tmp_path):
    fetch()
    newer = make_release(1)
    published.publish(publisher, newer, of=LATER)
    assert fetch().reference.version == LATER
    assert content(tmp_path / "model") == content(newer)
    assert left(tmp_path) == []


def test_listing(client, published, publisher, make_release):
    published.publish(publisher, make_release(1), of=LATER)
    [model] = listed(client)
    assert (model.name, model.newest, model.versions) == (NAME, LATER, (LATER, VERSION))


def test_listing_many_pages(client, monkeypatch, published, coordinator):
    from sottovoce_server.registry import schema

    with published.database.session() as session:
        for number in range(250):
            session.add(schema.Model(name=f"m{number:03}", visibility="public", coordinator_key=coordinator.public_key))
    assert len(listed(client)) == 251


@pytest.mark.parametrize("at", [0, 1, 100])
def test_a_broken_download_resumes(fetch, wire, release, at, tmp_path):
    broken = []

    def spoil(request, answer):
        if of_model(request) and len(broken) < 3:
            broken.append(request.headers.get("range"))
            return httpx.Response(answer.status_code, headers=answer.headers, stream=Cut(answer.content[:at]))
        return answer

    wire.spoil = spoil
    fetch()
    assert content(tmp_path / "model") == content(release)
    last = [request.headers.get("range") for request in wire.requests if of_model(request)][-1]
    assert last == (f"bytes={3 * at}-" if at else None)


def test_an_abandoned_download_resumes_the_next_time(fetch, wire, release, tmp_path):
    def spoil(request, answer):
        if of_model(request):
            if request.headers.get("range"):
                raise httpx.ConnectError("gone")
            return httpx.Response(answer.status_code, headers=answer.headers, stream=Cut(answer.content[:50]))
        return answer

    wire.spoil = spoil
    with pytest.raises(RegistryError, match="cannot be reached"):
        fetch()
    assert not (tmp_path / "model").exists()
    assert ".model.download" in left(tmp_path)
    wire.spoil = lambda request, answer: answer
    wire.requests.clear()
    fetch()
    assert [request.headers.get("range") for request in wire.requests if of_model(request)] == ["bytes=50-"]
    assert content(tmp_path / "model") == content(release)


def test_what_was_resumed_and_does_not_fit_is_fetched_anew(fetch, wire, release, tmp_path):
    sha256 = check(release).manifest.files["model.safetensors"].sha256
    work = tmp_path / ".model.download"
    work.mkdir()
    (work / f"{sha256}.part").write_bytes(b"rotten" * 10)
    fetch()
    assert content(tmp_path / "model") == content(release)
    assert [request.headers.get("range") for request in wire.requests if of_model(request)] == ["bytes=60-", None]


def test_patience_ends(fetch, wire):
    def spoil(request, answer):
        raise httpx.ConnectError("gone")

    wire.spoil = spoil
    with pytest.raises(RegistryError, match="cannot be reached"):
        fetch()
    assert len(wire.requests) == ATTEMPTS


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_registry_is_asked_again(fetch, wire, status):
    refused = []

    def spoil(request, answer):
        if len(refused) < 2:
            refused.append(request)
            return httpx.Response(status, headers={"Retry-After": "1"}, json={"detail": "later"})
        return answer

    wire.spoil = spoil
    fetch()


@pytest.mark.parametrize("file", sorted(FILES))
@pytest.mark.parametrize("damage", ["flip", "cut", "longer", "empty"])
def test_what_was_changed_on_the_way_is_refused(fetch, wire, file, damage, tmp_path):
    def spoil(request, answer):
        if not request.url.path.endswith(file):
            return answer
        data = bytearray(answer.content)
        if damage == "flip":
            data[len(data) // 2] ^= 1
        elif damage == "cut":
            data = data[:-3]
        elif damage == "longer":
            data += b"x"
        else:
            data.clear()
        return httpx.Response(answer.status_code, content=bytes(data))

    wire.spoil = spoil
    with pytest.raises((ReleaseError, RegistryError)):
        fetch()
    assert not (tmp_path / "model").exists()
    wire.spoil = lambda request, answer: answer
    fetch()


def test_another_coordinators_release_is_refused(fetch, wire, tmp_path):
    with pytest.raises(ReleaseError, match="another key than the one you trust"):
        fetch(key=Identity.generate().public_key)
    assert not any(map(of_model, wire.requests))  # its content is not even asked for
    assert list(tmp_path.glob("*model*")) == []


def test_another_release_under_its_name_is_refused(fetch, wire, published, publisher, make_release, tmp_path):
    published.publish(publisher, make_release(1), of=LATER)

    def spoil(request, answer):  # a registry that hands out the older release as the newer one
        if LATER in request.url.path:
            path = request.url.path.replace(LATER, VERSION)
            return httpx.Response(200, content=published("GET", path).content)
        return answer

    wire.spoil = spoil
    with pytest.raises(ReleaseError, match="another release than"):
        fetch()
    assert not (tmp_path / "model").exists()


def test_a_registry_that_keeps_back_the_newer_one_is_found_out(fetch, published, publisher, make_release, tmp_path):
    published.publish(publisher, make_release(1), of=LATER)
    fetch()
    from sottovoce_server.registry import listing

    with published.database.session() as session:
        listing.withdraw(session, NAME, LATER)
    with pytest.raises(ReleaseError, match=r"you have seen .*, which is newer"):
        fetch(out=tmp_path / "elsewhere")
    assert fetch(f"{NAME}@{VERSION}", tmp_path / "elsewhere").reference.version == VERSION  # asked for by name
    with pytest.raises(ReleaseError, match="already contains a newer release"):
        fetch(f"{NAME}@{VERSION}")


def test_a_version_that_became_another_is_refused(fetch, published, wire, make_release, tmp_path):
    fetch()
    other = make_release(seed=1)

    def spoil(request, answer):
        return httpx.Response(200, content=(other / request.url.path.rpartition("/")[2]).read_bytes())

    wire.spoil = spoil
    with pytest.raises(ReleaseError, match="has changed since you pulled it"):
        fetch(f"{NAME}@{VERSION}", tmp_path / "elsewhere")


def test_withdrawn_releases(fetch, published):
    from sottovoce_server.registry import listing

    with published.database.session() as session:
        listing.withdraw(session, NAME, VERSION)
    with pytest.raises(ReleaseError, match="have been withdrawn"):
        fetch()
    with pytest.raises(Refused, match="withdrawn"):
        fetch(f"{NAME}@{VERSION}")


@pytest.mark.parametrize("there", ["file", "folder", "link", "other name", "damaged"])
def test_what_is_at_its_place_stays(fetch, make_release, coordinator, tmp_path, there):
    place = tmp_path / "model"
    if there == "file":
        place.write_text("mine")
    elif there == "folder":
        place.mkdir()
        (place / "mine").write_text("mine")
    elif there == "link":
        (tmp_path / "real").mkdir()
        place.symlink_to(tmp_path / "real")
    elif there == "other name":
        shutil.copytree(make_release(name="another"), place)
    else:
        shutil.copytree(make_release(), place)
        (place / "model.safetensors").write_bytes(b"x")
    before = place.read_bytes() if there == "file" else content(place)
    with pytest.raises(ReleaseError):
        fetch()
    assert (place.read_bytes() if there == "file" else content(place)) == before


def test_signatures_that_came_later_are_added_and_none_is_lost(
    fetch, published, labels, release, coordinator, tmp_path
):
    fetch()
    raw = (release / "manifest.json").read_bytes()
    north = Signature.make(labels["north"], Role.LABEL, "north", raw)
    data = encode((decode((release / "manifest.sig").read_bytes())[0], north))
    path = f"/v1/models/{NAME}/{VERSION}/signatures"
    assert published("POST", path, published.token("cosign"), content=data).json() == {"added": 1}
    cosign(tmp_path / "model", labels["east"], label="east", trusted_key=coordinator.public_key)
    pulled = fetch()
    assert [each.name for each in pulled.checked.signatures] == ["isles", "east", "north"]


def test_a_memory_that_is_damaged_is_no_memory(fetch, seen):
    fetch()
    for text in ("{", "[]", '{"a": 1}', '{"a": {"20260101T000000Z": "x"}}'):
        seen.path.write_text(text)
        with pytest.raises(ReleaseError, match="record of pulled releases"):
            fetch()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"{}",
        b'{"name": "isles-style-svm", "newest": "../x", "releases": [], "visibility": "public"}',
        b'{"name": "other", "newest": null, "releases": [], "visibility": "public"}',
        b'{"name": "isles-style-svm", "newest": "20260101T000000Z", "releases": [], "visibility": "public"}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_a_registry_that_talks_nonsense(fetch, wire, answer):
    wire.spoil = lambda *_: httpx.Response(200, content=answer)
    with pytest.raises(RegistryError, match=r"cannot be read|not JSON"):
        fetch()


def test_a_listing_that_never_ends(client, wire):
    wire.spoil = lambda *_: httpx.Response(200, json={"models": [], "next": "a"})
    with pytest.raises(RegistryError, match="cannot be read"):
        listed(client)


def test_what_a_registry_says_cannot_steer_a_terminal(fetch, wire):
    wire.spoil = lambda *_: httpx.Response(404, json={"detail": "\x1b[2Jgone\n\u202e" + "x" * 10_000})
    with pytest.raises(Refused) as refused:
        fetch()
    assert refused.value.message.isprintable()
    assert len(refused.value.message) < 600


def test_a_redirect_is_not_followed(fetch, wire):
    wire.spoil = lambda *_: httpx.Response(302, headers={"Location": "http://elsewhere.example/"})
    with pytest.raises(Refused):
        fetch()
    assert {request.url.host for request in wire.requests} == {"registry.example"}


def test_compression_that_nobody_asked_for_is_refused(fetch, wire):
    wire.spoil = lambda *_: httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=Cut(b"x"))
    with pytest.raises(RegistryError, match="compressed"):
        fetch()


@pytest.mark.parametrize(
    "url", ["", "x", "ftp://a", "https://", "http://a?b", "http://u:p@a", "http://[", "http://a:b"]
)
def test_what_is_no_address(url):
    with pytest.raises(ConfigurationError, match="not a registry's address"):
        RegistryClient(url)


def test_a_token_does_not_travel_readable():
    with pytest.raises(ConfigurationError, match="others could read the token"):
        RegistryClient("http://models.example", "secret")
    for url in ("https://models.example", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"):
        RegistryClient(url, "secret")


@pytest.mark.parametrize(
    ("data", "mode", "message"),
    [
        (b"t", 0o644, "read by others"),
        (b"", 0o600, "no token"),
        (b"a b", 0o600, "no token"),
        (b"\xff", 0o600, "no token"),
        (None, 0, "cannot be read"),
    ],
)
def test_what_is_no_token_file(tmp_path, data, mode, message):
    if data is not None:
        (tmp_path / "token").write_bytes(data)
        (tmp_path / "token").chmod(mode)
    with pytest.raises(ConfigurationError, match=message):
        read_token(tmp_path / "token")


def test_one_download_to_a_folder_at_a_time(fetch, tmp_path):
    with FileLock(tmp_path / ".model.lock"), pytest.raises(ConfigurationError, match="in progress"):
        fetch()
    assert not fetch().already
