"""Strangers at the ports of a federation at work: idle sockets, endless headers, huge bodies, many downloads at a time.

A run under way ends as it would without them, and `/health` of the SuperLink and the registry goes on answering.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.soak.soak import Soak

IDLE, DOWNLOADS = 2000, 500
HEADERS, BODY = 200 << 20, 1 << 30
"""Bytes."""
HEALTH_SECONDS = 1.0
"""Longest time in which `/health` may answer, seconds."""
CHUNK = 1 << 16
LONGEST = 900.0
GLANCE = 0.5


def strangers(soak: "Soak") -> dict[str, Any]:
    """With a run under way: each attack in turn, on both ports; figures of each, and of `/health` meanwhile."""
    federation = soak.federation
    release = json.loads((federation.root / "pulled" / "manifest.json").read_text())["name"]
    soak.wait(lambda: _trains(soak), "a run is under way", begin=True)
    figures: dict[str, Any] = {}
    for name, attack in (
        ("nobody", _nothing),
        (f"{IDLE} idle sockets", _idle),
        (f"{HEADERS >> 20} MB of headers", _headers),
        (f"{BODY >> 20} MB of body", _body),
        (f"{DOWNLOADS} downloads", _downloads),
    ):
        figures[name] = _attacked(soak, attack, release)
        soak.say(f"{name}: {figures[name]}")
    soak.wait(lambda: soak.runs.idle, "the run under way ends", begin=False)
    if soak.last is None or soak.last[1] != "published":
        soak.complain(f"a run that strangers disturbed ended otherwise: {soak.last}")
    return figures


def _trains(soak: "Soak") -> bool:
    folder = soak.runs.folder
    return folder is not None and folder.progress()["state"] == "training"


def _attacked(soak: "Soak", attack: "Attack", release: str) -> dict[str, Any]:
    """Run an attack in a process of its own until it ends, and ask both ports for their health meanwhile."""
    federation = soak.federation
    there, out = federation.root / "attack.json", get_context("fork")
    there.unlink(missing_ok=True)
    process = out.Process(
        target=_attack, args=(attack, federation.superlink, federation.registry, release, federation.root)
    )
    process.start()
    slowest = {"superlink": 0.0, "registry": 0.0}
    began = time.monotonic()
    while process.is_alive() or time.monotonic() < began + 10 * GLANCE:
        for name in slowest:
            seconds = federation.healthy(name, LONGEST)
            slowest[name] = max(slowest[name], LONGEST if seconds is None else seconds)
        soak.tick(begin=False)
        time.sleep(GLANCE)
        if time.monotonic() > began + LONGEST:
            soak.complain(f"{attack.__name__} does not end")
            process.kill()
            break
    process.join()
    for name, seconds in slowest.items():
        if seconds > HEALTH_SECONDS:
            soak.complain(f"/health of the {name} took {seconds:.1f} s while attacked by {attack.__name__[1:]}")
    found = json.loads(there.read_text()) if there.exists() else {"ended": process.exitcode}
    return {"health_seconds": {name: round(seconds, 3) for name, seconds in slowest.items()}, **found}


Attack = Callable[[str, str, str, Path], Awaitable[dict[str, Any]]]


def _attack(attack: Attack, superlink: str, registry: str, release: str, root: Path) -> None:
    from sottovoce_server.ports.bounded_http import allow_open_files

    allow_open_files()
    figures = asyncio.run(attack(superlink, registry, release, root))
    (root / "attack.json").write_text(json.dumps(figures))


def _trusting(root: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(root / "authority.pem"))


def _place(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("https://").partition(":")
    return host, int(port)


async def _nothing(superlink: str, registry: str, release: str, root: Path) -> dict[str, Any]:
    return {}


async def _idle(superlink: str, registry: str, release: str, root: Path) -> dict[str, Any]:
    """Connect, half of them with TLS, and say nothing for as long as one is let stay."""
    trusting = _trusting(root)
    opened = 0
    writers = []
    for url in (superlink, registry):
        for number in range(IDLE):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(*_place(url), ssl=trusting if number % 2 else None)
                writers.append(writer)
                opened += 1
    await asyncio.sleep(5)
    for writer in writers:
        writer.transport.abort()
    return {"opened": opened}


def _sent(url: str, root: Path, head: bytes, size: int) -> int:
    """How many bytes of an endless request were taken."""
    sent, part = 0, b"a" * CHUNK
    with (
        contextlib.suppress(OSError),
        socket.create_connection(_place(url)) as plain,
        _trusting(root).wrap_socket(plain, server_hostname=_place(url)[0]) as connection,
    ):
        connection.sendall(head)
        while sent < size:
            connection.sendall(part)
            sent += len(part)
    return sent


async def _headers(superlink: str, registry: str, release: str, root: Path) -> dict[str, Any]:
    head = b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: "
    taken = [_sent(url, root, head, HEADERS) for url in (superlink, registry)]
    return {"taken_mib": [round(each / (1 << 20), 2) for each in taken]}


async def _body(superlink: str, registry: str, release: str, root: Path) -> dict[str, Any]:
    head = b"POST /v1/fleet/push-object HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % BODY
    taken = [_sent(url, root, head, BODY) for url in (superlink, registry)]
    return {"taken_mib": [round(each / (1 << 20), 2) for each in taken]}


async def _downloads(superlink: str, registry: str, release: str, root: Path) -> dict[str, Any]:
    """Many at a time, each on a connection of its own; how many came whole."""
    trusting, expected = _trusting(root), (root / "pulled" / "model.safetensors").read_bytes()
    token = (root / "publish.token").read_text().strip()
    listing = json.loads(await _got(registry, trusting, token, f"/v1/models/{release}"))
    path = f"/v1/models/{release}/{listing['newest']}/files/model.safetensors"
    began = time.monotonic()
    bodies = await asyncio.gather(*(_got(registry, trusting, token, path) for _ in range(DOWNLOADS)))
    return {"whole": sum(body == expected for body in bodies), "seconds": round(time.monotonic() - began, 1)}


async def _got(url: str, trusting: ssl.SSLContext, token: str, path: str) -> bytes:
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(*_place(url), ssl=trusting)
        writer.write(head.encode())
        answer = await reader.read()
        writer.transport.abort()
        return answer.partition(b"\r\n\r\n")[2]
    return b""
