"""Who may call the studio, and how often: tokens, other people's jobs, other sites' pages, and limits."""

import pytest

from sottovoce_server.registry import tokens
from sottovoce_server.studio.settings import Limits

EVERYTHING = ("/v1/models", "/v1/jobs", "/v1/log", "/v1/models/isles-style", f"/v1/jobs/{'0' * 32}")


def test_a_token_is_needed_where_tokens_are(members):
    for path in EVERYTHING:
        answer = members("GET", path, code=401)
        assert answer.headers["www-authenticate"] == "Bearer"
        members("GET", path, f"sottovoce_{'0' * 16}_{'0' * 64}", code=401)
    members.generate(code=401)
    members.inspect(code=401)
    assert members.queue.latest("", 10) == []
    members.generate(members.token())


def test_a_revoked_or_expired_token_is_none(members):
    alive, gone, old = members.token(), members.token(), members.token(lifetime=-1)
    with members.queue.database.session() as session:
        tokens.revoke(session, gone.split("_")[1])
    assert [members("GET", "/v1/jobs", token).status_code for token in (alive, gone, old)] == [200, 401, 401]


@pytest.mark.parametrize("scope", ["read", "publish", "cosign"])
def test_a_token_for_something_else_does_not_open_it(members, scope):
    with members.queue.database.session() as session:
        _, text = tokens.create(session, "ann", {tokens.Scope(scope)}, None, 60)
    members("GET", "/v1/jobs", text, code=403)
    members.generate(text, code=403)


def test_the_job_of_another_is_nowhere(members):
    ann, bob = members.token("ann"), members.token("bob")
    job = members.generate(ann, code=200, headers={"Prefer": "wait=5"}).json()["id"]
    members("GET", f"/v1/jobs/{job}", ann, code=200)
    for method, path in (
        ("GET", f"/v1/jobs/{job}"),
        ("GET", f"/v1/jobs/{job}/events"),
        ("GET", f"/v1/jobs/{job}/audio/0"),
        ("HEAD", f"/v1/jobs/{job}/audio/0"),
        ("DELETE", f"/v1/jobs/{job}"),
    ):
        missing = members(method, path.replace(job, "f" * 32), bob, code=404)
        assert members(method, path, bob, code=404).content == missing.content
    members("POST", "/v1/edits", bob, json={"source": f"{job}/0", "gain": -3}, code=404)
    members("POST", "/v1/edits", ann, json={"source": f"{job}/0", "gain": -3}, code=202)
    assert members("GET", "/v1/jobs", bob).json() == {"jobs": []}
    assert members("GET", "/v1/log", bob).json() == {"outputs": []}
    assert len(members("GET", "/v1/jobs", ann).json()["jobs"]) == 2


def test_equal_keys_of_two_callers_are_two_requests(members):
    key = {"Idempotency-Key": "a"}
    ann, bob = (members.generate(members.token(name), headers=key).json()["id"] for name in ("ann", "bob"))
    assert ann != bob


def test_a_browser_holds_its_token_in_a_cookie(members):
    token = members.token()
    members.client.cookies.set("sottovoce_token", token)
    members("GET", "/v1/jobs", code=200)
    members("GET", "/v1/jobs", members.token(), code=200)
    for value in ("", "x", '"\\012"', "a" * 5000, "é", "a\x00b"):
        members.client.cookies.clear()
        members("GET", "/v1/jobs", headers={"Cookie": f"sottovoce_token={value}".encode()}, code=401)


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost:8480", 200),
        ("LOCALHOST", 200),
        ("evil.example", 421),
        ("localhost.evil.example:8480", 421),
        ("evil.example:8480@localhost.evil", 421),
        ("", 421),
        ("[::1", 421),
        ("localhost:8480, evil.example", 421),
    ],
)
def test_another_name_for_this_machine_is_refused(studio, host, code):
    """A page whose name is made to mean this machine's address (DNS rebinding) has its own name in the request."""
    for path in ("/v1/models", "/v1/jobs", "/docs", "/openapi.json"):
        assert studio("GET", path, headers={"Host": host}).status_code == code
    if code != 200:
        assert "address that it printed" in studio("GET", "/v1/models", headers={"Host": host}).json()["hint"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8481"},
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:8480"},
    ],
)
def test_another_sites_page_changes_nothing(studio, members, headers):
    studio.engine.work = None
    job = studio.generate().json()["id"]
    assert studio.generate(code=403, headers=headers).headers["content-type"] == "application/problem+json"
    studio.inspect(code=403, headers=headers)
    studio("DELETE", f"/v1/jobs/{job}", code=403, headers=headers)
    assert [each.state for each in studio.queue.latest("", 10)] == ["queued"]
    members.engine.work = None
    members.client.cookies.set("sottovoce_token", members.token())
    members.generate(code=403, headers=headers)
    members.generate(code=202, headers={"Origin": "http://localhost:8480", "Sec-Fetch-Site": "same-origin"})


def test_answers_are_for_our_own_pages(studio):
    headers = studio("GET", "/v1/jobs", headers={"Origin": "https://evil.example"}).headers
    assert "access-control-allow-origin" not in headers
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "no-store" in studio("GET", "/v1/jobs/x", code=404).headers["cache-control"]


def test_a_caller_who_asks_too_often_is_told_when_to_come_back(make_studio):
    studio = make_studio(tokens=True, limits=Limits(requests=5, refusals=3))
    busy, other = studio.token(), studio.token()
    assert [studio("GET", "/v1/jobs", busy).status_code for _ in range(6)] == [200] * 5 + [429]
    refused = studio("GET", "/v1/jobs", busy, code=429)
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    studio("GET", "/v1/jobs", other, code=200)
    wrong = f"sottovoce_{'0' * 16}_{'0' * 64}"
    assert [studio("GET", "/v1/jobs", wrong).status_code for _ in range(4)] == [401] * 3 + [429]
    studio("GET", "/v1/jobs", other, code=200)


def test_jobs_at_a_time_and_seconds_a_day_are_refused_in_words(make_studio):
    studio = make_studio(tokens=True, limits=Limits(jobs_at_a_time=2, seconds_per_day=10))
    studio.engine.work = None
    ann = studio.token()
    for _ in range(2):
        studio.generate(ann)
    refused = studio.generate(ann, code=429)
    assert (refused.json()["status"], refused.headers["retry-after"]) == (429, "5")
    assert "Wait for one" in refused.json()["hint"]
    assert len(list(studio.queue.folder("").iterdir())) == 2
    bob = studio.token()
    studio.generate(bob, seconds=6)
    refused = studio.generate(bob, seconds=6, code=429)
    assert refused.headers["retry-after"] == "3600"
    assert "10 seconds of audio within a day" in refused.json()["detail"]
