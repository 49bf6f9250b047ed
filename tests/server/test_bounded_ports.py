"""Strangers at a port: endless headers, bodies without a key, half-sent requests and idle sockets stop nobody else."""

import asyncio
import base64
import datetime as dt
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator

import httpx
import pytest
import uvicorn
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER, TASK_TOKEN_HEADER
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from sottovoce_server.flower.callers import CONTROL_BODY, LARGEST_BODY, Callers
from sottovoce_server.ports import bounded_body, bounded_http
from sottovoce_server.ports.bounded_body import STRANGERS_BODY, BoundedBody
from sottovoce_server.ports.bounded_http import BoundedH11, allow_open_files, bounded

KNOWN = 1 << 20
"""Bytes that a caller with a key may send here."""


async def health(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


async def length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a served app whose callers with an `x-key` are known."""
    app = Starlette(routes=[Route("/health", health), Route("/length", length, methods=["POST"])])
    guarded = BoundedBody(app, lambda scope: KNOWN if b"x-key" in dict(scope["headers"]) else STRANGERS_BODY)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(4096)
        server = uvicorn.Server(bounded(guarded))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port))


def closed(connection: socket.socket) -> bytes:
    """What was answered until the other side closed the connection."""
    answer = b""
    try:
        while part := connection.recv(1 << 16):
            answer += part
    except ConnectionResetError:
        pass
    return answer


def test_a_header_without_end_is_cut_off(port):
    with connected(port) as stranger:
        stranger.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: ")
        sent = 0
        try:
            while sent < 200 << 20:
                sent += stranger.send(b"a" * (1 << 16))
        except OSError:
            pass
        assert sent < 16 << 20  # what sockets' buffers hold beyond the limit
    assert httpx.get(f"http://127.0.0.1:{port}/health").text == "ok"


def test_a_body_without_a_key_is_refused_by_its_length_and_by_what_comes(port):
    url = f"http://127.0.0.1:{port}/length"
    assert httpx.post(url, content=bytes(STRANGERS_BODY)).text == str(STRANGERS_BODY)
    assert httpx.post(url, content=bytes(STRANGERS_BODY + 1)).status_code == 413
    assert httpx.post(url, content=iter([bytes(STRANGERS_BODY), b"x"])).status_code == 413  # without a length
    known = {"x-key": "1"}
    assert httpx.post(url, content=bytes(KNOWN), headers=known).text == str(KNOWN)
    assert httpx.post(url, content=bytes(KNOWN + 1), headers=known).status_code == 413


def test_a_gigabyte_that_is_announced_is_not_waited_for(port):
    with connected(port) as stranger:
        stranger.sendall(b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        assert closed(stranger).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("sent", [b"", b"GET /hea", b"GET /health HTTP/1.1\r\nHost: x\r\n"])
def test_a_half_sent_request_is_closed(port, monkeypatch, sent):
    monkeypatch.setattr(bounded_http, "HEADER_SECONDS", 0.2)
    with connected(port) as stranger:
        stranger.sendall(sent)
        assert closed(stranger) == b""


def test_headers_that_trickle_in_do_not_turn_the_clock_back(port, monkeypatch):
    monkeypatch.setattr(bounded_http, "HEADER_SECONDS", 0.5)
    with connected(port) as stranger:
        stranger.sendall(b"GET /health HTTP/1.1\r\n")
        stranger.settimeout(0.05)
        for _ in range(10_000):
            try:
                stranger.sendall(b"X: y\r\n")
                assert stranger.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                pass
            break
        else:
            pytest.fail("headers may trickle in for ever")


def test_a_body_that_nobody_reads_is_not_taken_for_ever(port, monkeypatch):
    """`make soak`: the registry answered 404, and took a gigabyte."""
    monkeypatch.setattr(bounded_http, "HEADER_SECONDS", 0.3)
    with connected(port) as stranger:
        stranger.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nX-Key: 1\r\nContent-Length: 1000000\r\n\r\n")
        assert stranger.recv(1 << 16).startswith(b"HTTP/1.1 404")
        stranger.settimeout(0.05)
        for _ in range(10_000):
            try:
                stranger.sendall(b"x")
                if not stranger.recv(1 << 16):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            pytest.fail("a body that nobody reads may come for ever")


def test_a_second_half_request_on_a_connection_is_closed_too(port, monkeypatch):
    monkeypatch.setattr(bounded_http, "HEADER_SECONDS", 0.3)
    with connected(port) as stranger:
        stranger.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /hea")
        assert closed(stranger).endswith(b"ok")


@pytest.mark.parametrize("key", [b"", b"X-Key: 1\r\n"])
def test_a_body_that_does_not_come_is_not_waited_for(port, monkeypatch, key):
    monkeypatch.setattr(bounded_body, "STRANGERS_SECONDS", 0.2)
    monkeypatch.setattr(bounded_body, "PAUSE_SECONDS", 0.2)
    with connected(port) as stranger:
        stranger.sendall(b"POST /length HTTP/1.1\r\nHost: x\r\n" + key + b"Content-Length: 10\r\n\r\nhalf")
        assert closed(stranger).startswith(b"HTTP/1.1 408")


def test_two_thousand_idle_sockets_keep_nobody_out(port):
    allow_open_files()
    idle = [connected(port) for _ in range(2000)]
    try:
        assert httpx.get(f"http://127.0.0.1:{port}/health", timeout=60).text == "ok"
    finally:
        for each in idle:
            each.close()


def test_a_connection_that_says_nothing_takes_little_memory():
    """asyncio alone reserves 256 KiB for each."""
    loop, strangers = bounded_http.BoundedLoop(), 20
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # without a certificate: nobody gets as far
    server = loop.run_until_complete(loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=context))
    tracemalloc.start()
    idle = [connected(server.sockets[0].getsockname()[1]) for _ in range(strangers)]
    try:
        loop.run_until_complete(asyncio.sleep(0.1))
        taken, _ = tracemalloc.get_traced_memory()
        assert bounded_http.TLS_BUFFER_BYTES * strangers < taken < 2 * bounded_http.TLS_BUFFER_BYTES * strangers
    finally:
        tracemalloc.stop()
        for each in idle:
            each.close()
        server.close()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def test_one_address_has_a_limited_number_of_connections(port, monkeypatch):
    monkeypatch.setattr(BoundedH11, "_exempt", frozenset())
    monkeypatch.setattr(bounded_http, "CONNECTIONS_PER_ADDRESS", 3)
    with connected(port) as first, connected(port) as second, connected(port) as third:
        for each in (first, second, third):
            each.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert _until(each, b"ok")
        with connected(port) as fourth:
            assert closed(fourth) == b""
        first.close()
        assert b"ok" in _eventually(lambda: httpx.get(f"http://127.0.0.1:{port}/health").content)


def _until(connection: socket.socket, end: bytes) -> bytes:
    answer = b""
    while not answer.endswith(end):
        answer += connection.recv(1 << 16)
    return answer


def _eventually(get: Callable[[], bytes]) -> bytes:
    while True:
        try:
            return get()
        except httpx.HTTPError:
            time.sleep(0.01)


def test_only_a_members_node_may_send_much_to_the_fleet():
    key, other = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
    callers = Callers([_pem(key)], lambda _: False)
    fleet = "/v1/fleet/push-object"
    now = dt.datetime.now(dt.UTC)
    assert callers.largest_body(_scope(fleet, _signed(key, now))) == LARGEST_BODY
    assert callers.largest_body(_scope(fleet, _signed(other, now))) == STRANGERS_BODY
    assert callers.largest_body(_scope(fleet, {**_signed(other, now), **_public(key)})) == STRANGERS_BODY
    assert callers.largest_body(_scope(fleet, _signed(key, now - dt.timedelta(hours=2)))) == STRANGERS_BODY
    assert callers.largest_body(_scope(fleet, _signed(key, now.replace(tzinfo=None)))) == STRANGERS_BODY
    for name in _signed(key, now):
        damaged = {**_signed(key, now), name: "\x00?"}
        absent = {other: value for other, value in damaged.items() if other != name}
        assert callers.largest_body(_scope(fleet, damaged)) == STRANGERS_BODY
        assert callers.largest_body(_scope(fleet, absent)) == STRANGERS_BODY


def test_large_runtime_bodies_come_with_a_tasks_token_and_control_bodies_are_small():
    callers = Callers([], lambda token: token == "ours")
    assert callers.largest_body(_scope("/v1/runtime/push-object", {TASK_TOKEN_HEADER: "ours"})) == LARGEST_BODY
    assert callers.largest_body(_scope("/v1/runtime/push-object", {TASK_TOKEN_HEADER: "another"})) == STRANGERS_BODY
    assert callers.largest_body(_scope("/v1/runtime/push-object", {})) == STRANGERS_BODY
    assert callers.largest_body(_scope("/v1/control/start-run", {})) == CONTROL_BODY
    assert callers.largest_body(_scope("/health", {})) == STRANGERS_BODY


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _public(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    return {FLEET_HTTP_PUBLIC_KEY_HEADER: base64.b64encode(_pem(key)).decode()}


def _signed(key: ec.EllipticCurvePrivateKey, when: dt.datetime) -> dict[str, str]:
    signature = key.sign(when.isoformat().encode(), ec.ECDSA(hashes.SHA256()))
    return {
        **_public(key),
        FLEET_HTTP_SIGNATURE_HEADER: base64.b64encode(signature).decode(),
        TIMESTAMP_HEADER: when.isoformat(),
    }


def _scope(path: str, headers: dict[str, str]) -> dict[str, object]:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "path": path, "headers": raw, "client": ("127.0.0.1", 1)}
