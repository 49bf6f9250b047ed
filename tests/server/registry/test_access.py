"""Who may do what: every kind of caller against every kind of model."""

import itertools
import time
from dataclasses import replace

import pytest

from sottovoce.release.check import FILES
from sottovoce_server.registry import audit_log, tokens

NAME = "isles-style-svm"
VERSION = "20260101T000000Z"
PATH = f"/v1/models/{NAME}/{VERSION}"
LEVELS = ("public", "token", "private")

# Who sees the model at which level; "limited" tokens name it, "elsewhere" ones name another.
SEES = {
    ("nobody", None): {"public"},
    ("read", "all"): {"public", "token"},
    ("read", "limited"): {"public", "token", "private"},
    ("read", "elsewhere"): {"public"},
    ("cosign", "all"): {"public", "token"},
    ("cosign", "limited"): {"public", "token", "private"},
    ("publish", "all"): {"public", "token", "private"},
    ("publish", "limited"): {"public", "token", "private"},
    ("publish", "elsewhere"): {"public"},
}
LIMITS = {"all": None, "limited": [NAME], "elsewhere": ["other"]}


@pytest.mark.parametrize("caller", SEES, ids=str)
def test_who_sees_what(published, publisher, caller):
    scope, limit = caller
    token = None if scope == "nobody" else published.token(scope, models=LIMITS[limit])
    for level in LEVELS:
        published.show(publisher, level)
        visible = level in SEES[caller]
        assert [each["name"] for each in published("GET", "/v1/models", token).json()["models"]] == [NAME] * visible
        for path in (f"/v1/models/{NAME}", PATH, *(f"{PATH}/files/{file}" for file in sorted(FILES))):
            answer = published("GET", path, token)
            assert answer.status_code == (200 if visible else 404), (level, path)
        assert published("HEAD", PATH, token).status_code == (200 if visible else 404)


def test_what_is_hidden_and_what_is_not_there_look_alike(published, publisher):
    published.show(publisher, "private")
    for hidden, absent in (
        (f"/v1/models/{NAME}", "/v1/models/other"),
        (PATH, f"/v1/models/other/{VERSION}"),
        (f"{PATH}/files/manifest.sig", f"/v1/models/other/{VERSION}/files/manifest.sig"),
    ):
        first, second = published("GET", hidden), published("GET", absent)
        assert (first.status_code, first.content) == (second.status_code, second.content)


NEEDS = [
    ("POST", "/v1/uploads", "publish", {"json": {"name": "other", "version": VERSION}}),
    ("PUT", f"/v1/uploads/{'0' * 32}/files/manifest.json", "publish", {"content": b"x"}),
    ("POST", f"/v1/uploads/{'0' * 32}/publish", "publish", {}),
    ("DELETE", f"/v1/uploads/{'0' * 32}", "publish", {}),
    ("PUT", f"/v1/models/{NAME}/visibility", "publish", {"json": {"visibility": "public"}}),
    ("POST", f"{PATH}/signatures", "cosign", {"content": b"[]"}),
]


@pytest.mark.parametrize(("method", "path", "needed", "request_"), NEEDS, ids=lambda value: str(value)[:30])
def test_what_takes_which_scope(published, method, path, needed, request_):
    assert published(method, path, **request_).status_code == 401
    for scopes in itertools.combinations(("read", "publish", "cosign"), 2):
        answer = published(method, path, published.token(*scopes), **request_)
        assert (answer.status_code == 403) == (needed not in scopes), scopes


def test_a_publisher_of_other_models_publishes_no_other(service):
    token = service.token("publish", models=["other"])
    answer = service("POST", "/v1/uploads", token, json={"name": NAME, "version": VERSION})
    assert answer.status_code == 403


def test_a_publisher_of_other_models_shows_no_other(published):
    token = published.token("publish", models=["other"])
    assert published("PUT", f"/v1/models/{NAME}/visibility", token, json={"visibility": "private"}).status_code == 404


@pytest.mark.parametrize("how", ["expired", "revoked", "forged", "unknown", "shape", "empty", "basic", "latin"])
def test_a_token_that_is_not_good_opens_nothing(published, how):
    token = published.token("read", "publish", lifetime=-1 if how == "expired" else 60)
    if how == "revoked":
        with published.database.session() as session:
            tokens.revoke(session, token.split("_")[1])
    header = {
        "forged": f"Bearer {token[:-1]}{'0' if token[-1] != '0' else '1'}",
        "unknown": f"Bearer sottovoce_{'0' * 16}_{token[-64:]}",
        "shape": "Bearer " + "x" * 5000,
        "empty": "Bearer ",
        "basic": "Basic dTpw",
        "latin": "Bearer \xff".encode("latin-1"),
    }.get(how, f"Bearer {token}")
    for path in ("/v1/models", PATH):  # not even what anybody may see: a person should know that their token ended
        answer = published("GET", path, headers={"Authorization": header})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert token.rpartition("_")[2] not in answer.text


def test_a_token_ends_in_time(published, monkeypatch):
    token = published.token("read", lifetime=3600)
    assert published("GET", "/v1/models", token).status_code == 200
    now = time.time()
    monkeypatch.setattr(tokens.time, "time", lambda: now + 3601)
    assert published("GET", "/v1/models", token).status_code == 401


def test_a_token_is_stored_as_a_digest(service):
    text = service.token("read")
    with service.database.session() as session:
        [token] = tokens.everything(session)
        assert text.rpartition("_")[2] not in str(vars(token))


def test_who_asks_too_often_waits(make_registry, settings):
    service = make_registry(replace(settings, requests=3))
    token = service.token("read")
    assert [service("GET", "/v1/models").status_code for _ in range(4)] == [200, 200, 200, 429]
    answer = service("GET", "/v1/models")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert service("GET", "/v1/models", token).status_code == 200  # a token counts for itself


def test_who_guesses_waits_and_fills_no_log(make_registry, settings):
    service = make_registry(replace(settings, refusals=3))
    statuses = [service("GET", "/v1/models", f"guess{number}").status_code for number in range(6)]
    assert statuses == [401] * 3 + [429] * 3
    assert service("GET", "/v1/models", service.token("read")).status_code == 200  # nobody is locked out by another
    with service.database.session() as session:
        refused = [each for each in audit_log.latest(session, 100) if each.action == "refuse"]
    assert len(refused) == 3
    assert all("guess" not in each.subject for each in refused)


class TestRanges:
    FILE = f"{PATH}/files/model.safetensors"

    @pytest.fixture
    def data(self, release):
        return (release / "model.safetensors").read_bytes()

    @pytest.mark.parametrize(
        ("asked", "part"), [("bytes=10-", slice(10, None)), ("bytes=0-0", slice(0, 1)), ("bytes=-5", slice(-5, None))]
    )
    def test_a_part(self, published, data, asked, part):
        answer = published("GET", self.FILE, headers={"Range": asked})
        assert answer.status_code == 206
        assert answer.content == data[part]
        start = range(len(data))[part][0]
        assert answer.headers["content-range"] == f"bytes {start}-{start + len(answer.content) - 1}/{len(data)}"

    def test_the_etag_is_the_digest(self, published, release, data):
        from hashlib import sha256

        for file in FILES:
            answer = published("GET", f"{PATH}/files/{file}")
            assert answer.headers["etag"] == f'"{sha256((release / file).read_bytes()).hexdigest()}"'
            assert (
                published("GET", f"{PATH}/files/{file}", headers={"If-None-Match": answer.headers["etag"]}).status_code
                == 304
            )

    def test_a_part_of_another_content_is_the_whole(self, published, data):
        answer = published("GET", self.FILE, headers={"Range": "bytes=10-", "If-Range": '"0"'})
        assert (answer.status_code, answer.content) == (200, data)

    @pytest.mark.parametrize(
        "asked",
        [
            "bytes=999999999-",
            "bytes=x",
            "lines=1-2",
            "bytes=5-2",
            "bytes=-0",
            "bytes=" + "0-0," * 500,
            "bytes=" + "9" * 5000 + "-",
        ],
    )
    def test_what_is_no_part(self, published, asked):
        assert published("GET", self.FILE, headers={"Range": asked}).status_code in (206, 400, 416)

    def test_head_says_how_large_and_sends_nothing(self, published, data):
        answer = published("HEAD", self.FILE)
        assert (answer.headers["content-length"], answer.content) == (str(len(data)), b"")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/../../etc/passwd",
        "/v1/models/%2e%2e/%2e%2e",
        f"/v1/models/{NAME}/{VERSION}/files/..%2f..%2fregistry.sqlite",
        f"/v1/models/{NAME}/{VERSION}/files/registry.sqlite",
        f"/v1/models/{NAME}%00/{VERSION}",
        f"/v1/models/{NAME}/{VERSION}%0a",
        "/v1/models?after=%00",
        "/v1/models?limit=0",
        "/v1/models?limit=99999999999999999999",
    ],
)
def test_no_address_leads_outside(published, path):
    answer = published("GET", path)
    assert answer.status_code in (404, 422)
    assert b"SQLite" not in answer.content


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"null",
        b'{"name": NaN}',
        b'{"name": "\\ud800", "version": 1}',
        b"[" * 50_000,
        b'{"name": "' + b"x" * 100_000 + b'"}',
        b"\xff",
    ],
)
def test_a_body_that_is_none(service, publisher, body):
    answer = service("POST", "/v1/uploads", publisher, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert isinstance(answer.json()["detail"], str)


def test_a_body_that_is_too_large_is_not_read(service, publisher):
    answer = service(
        "POST", "/v1/uploads", publisher, content=bytes(5 << 20), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413


def test_a_database_that_is_gone(published, monkeypatch):
    from sqlalchemy.exc import OperationalError

    def fail(*_):
        raise OperationalError("SELECT secret", {}, Exception("password=hunter2"))

    monkeypatch.setattr(published.database, "_sessions", type("Sessions", (), {"begin": fail})())
    answer = published("GET", "/v1/models")
    assert answer.status_code == 503
    assert "hunter2" not in answer.text
    assert "secret" not in answer.text


def test_a_full_disk(service, publisher, monkeypatch):
    import errno

    upload = service.begin(publisher)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "/var/secret")

    monkeypatch.setattr("sottovoce_server.registry.file_store._move", full)
    answer = service("PUT", f"/v1/uploads/{upload}/files/manifest.json", publisher, content=b"x")
    assert answer.status_code == 507
    assert "/var" not in answer.text


def test_the_documentation_loads_nothing_from_elsewhere(service):
    page = service("GET", "/docs")
    assert page.status_code == 200
    assert "https://" not in page.text.replace("https://fastapi", "")
    assert service("GET", "/static-offline-docs/swagger-ui-bundle.js").status_code == 200
    paths = service("GET", "/openapi.json").json()["paths"]
    assert {"/v1/models", "/v1/models/{name}/{version}", "/v1/models/{name}/{version}/files/{file}"} <= set(paths)


def test_health(service):
    assert service("GET", "/v1/health").json() == {"status": "ok"}
