"""Webhooks against a receiver on this machine: signed, repeated until answered, and only to allowed hosts."""

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

import sottovoce_server.studio.webhooks as module
from sottovoce.errors import ConfigurationError
from sottovoce_server.studio.jobs import Refused
from sottovoce_server.studio.settings import DAY
from sottovoce_server.studio.webhooks import KEY_FILE, PAUSES, Webhooks

KEY = {"Idempotency-Key": "a"}


class Receiver(ThreadingHTTPServer):
    """Keeps what it is sent, and answers with `statuses`, then 204."""

    def __init__(self):
        self.calls, self.statuses = [], []
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def host(self):
        return f"127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.calls.append((self.path, dict(self.headers), body))
        status = self.server.statuses.pop(0) if self.server.statuses else 204
        self.send_response(status)
        self.send_header("Location", f"http://{self.server.host}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def calling(make_studio, receiver):
    """A studio that may call the receiver."""
    return make_studio(webhooks=[receiver.host])


@pytest.fixture
def later(monkeypatch):
    """Let time pass: call it with seconds."""
    passed = [0.0]
    now = time.time
    monkeypatch.setattr(module.time, "time", lambda: now() + passed[0])
    return lambda seconds: passed.__setitem__(0, passed[0] + seconds)


def verified(studio, headers, body):
    """A body, if its signature is the studio's."""
    key = studio("GET", "/v1/webhook-key", code=200).json()["key"]
    kind, _, signature = headers["webhook-signature"].partition(",")
    assert (kind, key[:5]) == ("v1a", "whpk_")
    signed = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    Ed25519PublicKey.from_public_bytes(base64.b64decode(key[5:])).verify(base64.b64decode(signature), signed)
    return json.loads(body)


def test_the_receiver_is_called_once_with_the_job_signed(calling, receiver):
    job = calling.generate(webhook=f"http://{receiver.host}/hook?for=me").json()
    calling.webhooks.deliver()
    calling.webhooks.deliver()
    ((path, headers, body),) = receiver.calls
    assert path == "/hook?for=me"
    assert headers["webhook-id"] == f"msg_{job['id']}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < DAY
    assert verified(calling, headers, body) == calling("GET", f"/v1/jobs/{job['id']}").json()
    with pytest.raises(InvalidSignature):
        verified(calling, headers, body.replace(b"done", b"gone"))
    with pytest.raises(InvalidSignature):
        verified(calling, headers | {"webhook-timestamp": "1"}, body)


def test_only_jobs_that_have_ended_are_told_of_however_they_ended(calling, receiver):
    calling.engine.work = None
    jobs = [calling.generate(webhook=f"http://{receiver.host}/").json()["id"] for _ in range(3)]
    calling.generate()
    calling.webhooks.deliver()
    assert receiver.calls == []
    calling.queue.fail(calling.queue.claim("w"), "It cannot be done.")
    calling("DELETE", f"/v1/jobs/{jobs[1]}", code=200)
    calling.webhooks.deliver()
    told = {job["id"]: job["state"] for job in (verified(calling, *call[1:]) for call in receiver.calls)}
    assert told == {jobs[0]: "failed", jobs[1]: "cancelled"}


def test_a_receiver_that_fails_is_called_again_for_less_than_a_day(calling, receiver, later):
    receiver.statuses = [500, 302, 404, 429, 503, 500, 500, 500]
    calling.generate(webhook=f"http://{receiver.host}/")
    for number, pause in enumerate((*PAUSES, DAY), 1):
        calling.webhooks.deliver()
        calling.webhooks.deliver()
        assert len(receiver.calls) == number
        later(pause + 1)
    calling.webhooks.deliver()
    assert len(receiver.calls) == len(PAUSES) + 1
    assert sum(PAUSES) < DAY
    assert {path for path, _, _ in receiver.calls} == {"/"}
    assert len({headers["webhook-id"] for _, headers, _ in receiver.calls}) == 1


def test_a_receiver_that_is_not_there_is_called_when_it_is(calling, receiver, later, monkeypatch):
    calling.generate(webhook=f"http://{receiver.host}/")
    with monkeypatch.context() as patch:
        patch.setattr(module, "CALL_SECONDS", 0)
        calling.webhooks.deliver()
    later(PAUSES[0] + 1)
    calling.webhooks.deliver()
    assert [json.loads(body)["state"] for _, _, body in receiver.calls][-1] == "done"
    calling.webhooks.deliver()
    assert len(receiver.calls) <= 2


def test_a_receiver_that_wants_no_more_is_left_alone(calling, receiver, later):
    receiver.statuses = [410]
    calling.generate(webhook=f"http://{receiver.host}/")
    calling.webhooks.deliver()
    later(DAY)
    calling.webhooks.deliver()
    assert len(receiver.calls) == 1


def test_what_is_owed_survives_a_restart_under_the_same_key(calling, receiver, tmp_path):
    calling.generate(webhook=f"http://{receiver.host}/")
    again = Webhooks(calling.queue, [receiver.host], tmp_path)
    assert again.public_key == calling.webhooks.public_key
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    again.start()
    deadline = time.monotonic() + 60
    while not receiver.calls and time.monotonic() < deadline:
        time.sleep(0.02)
    again.stop()
    ((_, headers, body),) = receiver.calls
    assert verified(calling, headers, body)["state"] == "done"


def test_hosts_that_are_no_longer_allowed_are_no_longer_called(calling, receiver, tmp_path):
    calling.generate(webhook=f"http://{receiver.host}/")
    Webhooks(calling.queue, ["other.example"], tmp_path).deliver()
    calling.webhooks.deliver()
    assert receiver.calls == []


def test_a_damaged_key_is_said(tmp_path, queue):
    (tmp_path / KEY_FILE).write_bytes(b"short")
    (tmp_path / KEY_FILE).chmod(0o600)
    with pytest.raises(ConfigurationError, match="damaged"):
        Webhooks(queue, ["a.example"], tmp_path)


def test_a_studio_calls_nobody_unless_its_operator_allows_it(studio):
    refused = studio.generate(code=422, webhook="https://a.example/").json()
    assert "--webhooks" in refused["hint"]
    studio("GET", "/v1/webhook-key", code=404)
    assert studio.queue.latest("", 10) == []


ALLOWED = ["a.example", "b.example:8443", "127.0.0.1:9", "localhost"]


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example/",
        "https://A.EXAMPLE/hook",
        "https://a.example:443/x?y=z",
        "https://b.example:8443",
        "http://127.0.0.1:9/",
        "http://localhost/",
        "https://localhost/",
    ],
)
def test_an_allowed_host_is_accepted(queue, tmp_path, url):
    assert Webhooks(queue, ALLOWED, tmp_path).expect_allowed(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/",
        "https://a.example:22/",
        "https://b.example/",
        "https://sub.a.example/",
        "https://a.example.evil.example/",
        "https://a.example@evil.example/",
        "https://evil.example@a.example/",
        "https://user:password@a.example/",
        "https://a.example\\@evil.example/",
        "https://evil.example#@a.example/",
        "https://evil.example/?a.example",
        "https://a.example%2eevil.example/",
        "https://a.example\u3002evil.example/",
        "https://127.0.0.1/",
        "http://127.0.0.1:8480/v1/jobs",
        "http://169.254.169.254/",
        "http://[::ffff:127.0.0.1]:9/",
        "http://2130706433:9/",
        "https://a.example:0/",
        "https://a.example:99999/",
        "https://a.example:x/",
        "https://[a.example/",
        "https:///a.example",
        "https:a.example",
        "//a.example/",
        "a.example",
        "",
        "file:///etc/passwd",
        "ftp://a.example/",
        "javascript:alert(1)",
        "https://a.example/\x00",
        "https://a.example/\r\nHost: evil.example",
        "https://a.example /",
        " https://a.example/",
    ],
)
def test_any_other_url_is_refused(queue, tmp_path, url):
    with pytest.raises(Refused) as refusal:
        Webhooks(queue, ALLOWED, tmp_path).expect_allowed(url)
    assert refusal.value.status == 422


def test_another_webhook_is_another_request(calling, receiver):
    calling.engine.work = None
    first = calling.generate(headers=KEY, webhook=f"http://{receiver.host}/1").json()["id"]
    assert calling.generate(headers=KEY, webhook=f"http://{receiver.host}/1").json()["id"] == first
    calling.generate(headers=KEY, webhook=f"http://{receiver.host}/2", code=422)
