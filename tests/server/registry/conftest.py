import shutil
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest

from sottovoce.features.extract import default_spec
from sottovoce.federation.agreement import Agreement, Member
from sottovoce.federation.identity import Identity
from sottovoce.federation.log import LogMemory
from sottovoce.models import discovery
from sottovoce.models.parameters import initial
from sottovoce.release import write as writing
from sottovoce.release.seen_versions import Seen
from sottovoce.release.write import Provenance, write
from sottovoce_server.database import Database, DataLocation
from sottovoce_server.registry import tokens
from sottovoce_server.registry.api import make_app
from sottovoce_server.registry.file_store import Store
from sottovoce_server.registry.settings import Settings
from sottovoce_server.registry.tokens import Scope

LABELS = ("east", "north", "south")
NAME = "isles-style-svm"
DAY = 24 * 3600


@pytest.fixture(scope="session")
def coordinator():
    return Identity.generate()


@pytest.fixture(scope="session")
def labels():
    return {name: Identity.generate() for name in LABELS}


@pytest.fixture(scope="session")
def agreement(coordinator, labels):
    members = tuple(Member(name, identity.public_key) for name, identity in sorted(labels.items()))
    return Agreement("isles", coordinator.public_key, members)


@pytest.fixture(scope="session")
def make_release(coordinator, agreement, tmp_path_factory, run_configuration):
    """Write a small release created this many hours after the start of 2026; return its folder."""
    spec = default_spec()
    config = run_configuration(feature_spec=spec.digest)
    first = initial(discovery.family("style", "svm"), spec, 2, 0)

    def make(hours=0, *, seed=0, name=NAME, signer=coordinator):
        class Clock(datetime):
            @classmethod
            def now(cls, zone=None):
                return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours)

        agreed = agreement if signer is coordinator else Agreement("isles", signer.public_key, agreement.members)
        parameters = first + np.random.default_rng(seed).normal(scale=0.1, size=first.size).astype(np.float32)
        folder = tmp_path_factory.mktemp("releases") / "release"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(writing, "datetime", Clock)
            write(
                folder,
                Provenance(config, spec, agreed, bytes(16), 3, [(8.0, 1e-5)] * 3, "none", False),
                parameters,
                signer,
                name=name,
            )
        return folder

    return make


@pytest.fixture(scope="session")
def release(make_release):
    return make_release()


def version(hours=0):
    return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours)).strftime("%Y%m%dT%H%M%SZ")


class Registry:
    """A registry in this process, and callers who talk to it over HTTP."""

    def __init__(self, data, settings, url=None):
        self.data = data
        self.database = Database(DataLocation(data, url))
        self.store = Store(data, settings.largest_file)
        self.app = make_app(self.database, self.store, settings)
        self.publisher = None

    def token(self, *scopes, models=None, lifetime=DAY):
        with self.database.session() as session:
            return tokens.create(session, "somebody", [Scope(each) for each in scopes], models, lifetime)[1]

    async def call(self, method, path, token=None, *, raising=False, **request):
        headers = dict(request.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=raising)
        async with httpx.AsyncClient(transport=transport, base_url="http://registry") as client:
            return await client.request(method, path, headers=headers, **request)

    def __call__(self, method, path, token=None, **request):
        import anyio

        async def once():
            return await self.call(method, path, token, raising=True, **request)

        return anyio.run(once)

    def begin(self, token, name=NAME, of=None):
        answer = self("POST", "/v1/uploads", token, json={"name": name, "version": of or version()})
        assert answer.status_code == 201, answer.text
        return answer.json()["upload"]

    def send(self, token, upload, folder, files=None):
        for file in sorted(files or {path.name for path in folder.iterdir()}):
            answer = self("PUT", f"/v1/uploads/{upload}/files/{file}", token, content=(folder / file).read_bytes())
            assert answer.status_code == 200, answer.text

    def publish(self, token, folder, *, name=NAME, of=None):
        upload = self.begin(token, name, of)
        self.send(token, upload, folder)
        return self("POST", f"/v1/uploads/{upload}/publish", token)

    def publish_openly(self, token, folder):
        assert self.publish(token, folder).status_code == 201
        self.show(token, "public")

    def show(self, token, level, name=NAME):
        assert self("PUT", f"/v1/models/{name}/visibility", token, json={"visibility": level}).status_code == 200


@pytest.fixture(scope="session")
def settings(coordinator, agreement):
    return Settings(frozenset({coordinator.public_key}), (agreement,), largest_file=1 << 22)


@pytest.fixture(scope="session")
def start_registry():
    return Registry


@pytest.fixture
def make_registry(tmp_path):
    made = []

    def make(settings, url=None):
        made.append(Registry(tmp_path / f"registry{len(made)}", settings, url))
        return made[-1]

    yield make
    for each in made:
        each.database.close()


@pytest.fixture(scope="session")
def filled(tmp_path_factory, start_registry, settings, release):
    """The folder of a registry with one public release, filled once, and the token that published it."""
    data = tmp_path_factory.mktemp("filled") / "registry"
    service = start_registry(data, settings)
    token = service.token("publish")
    service.publish_openly(token, release)
    service.database.close()
    return data, token


@pytest.fixture
def service(request, make_registry, settings, tmp_path):
    if "published" not in request.fixturenames:
        return make_registry(settings)
    data, publisher = request.getfixturevalue("filled")
    shutil.copytree(data, tmp_path / "registry0")
    service = make_registry(settings)
    service.publisher = publisher
    return service


@pytest.fixture
def publisher(service):
    return service.publisher or service.token("publish")


@pytest.fixture
def published(service, publisher, release):
    """A registry with one public release."""
    if not service.publisher:
        service.publish_openly(publisher, release)
    return service


class Whole(httpx.SyncByteStream):
    """A body that arrives."""

    def __init__(self, data):
        self.data = data

    def __iter__(self):
        yield self.data


class Wire(httpx.BaseTransport):
    """Carries a client's requests to a registry in this process, and can go wrong on the way.

    `spoil` is called with the request and its answer, and returns what arrives (or raises).
    """

    def __init__(self, service):
        self.service = service
        self.requests = []
        self.spoil = lambda request, answer: answer

    def handle_request(self, request):
        import anyio

        request.read()
        self.requests.append(request)

        async def carry():
            transport = httpx.ASGITransport(self.service.app)
            answer = await transport.handle_async_request(
                httpx.Request(request.method, request.url, headers=request.headers, content=request.content)
            )
            return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())

        answer = self.spoil(request, anyio.run(carry))
        if answer.is_closed:  # it was made from bytes, and httpx would not stream them
            return httpx.Response(answer.status_code, headers=answer.headers, stream=Whole(answer.content))
        return answer


@pytest.fixture
def wire(published):
    return Wire(published)


@pytest.fixture
def seen(tmp_path):
    return Seen(tmp_path / "state" / "seen.json")


@pytest.fixture
def memory(tmp_path):
    return LogMemory(tmp_path / "state" / "logs-seen.json")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Retries wait in no test."""
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
