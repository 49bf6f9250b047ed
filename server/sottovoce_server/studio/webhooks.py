"""Webhooks: the studio calls a URL when a job ends, if its operator allows the host.

The scheme is that of Standard Webhooks (https://www.standardwebhooks.com), with asymmetric signatures: headers
`webhook-id`, `webhook-timestamp` and `webhook-signature`; the last is `v1a,` and the Ed25519 signature, in base64, of
the other two and the body with dots between. What is owed stands in the job's row, so that it survives a restart.
"""

import asyncio
import base64
import logging
import threading
import time
from collections.abc import Collection
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import anyio
import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sottovoce.errors import ConfigurationError
from sottovoce.federation.identity import private_file
from sottovoce.files import write_bytes
from sottovoce.web import is_here
from sottovoce_server.studio.jobs import Jobs, Refused
from sottovoce_server.studio.schema import Job
from sottovoce_server.studio.views import job_view

KEY_FILE = "webhook.key"
"""File of the signing key in the studio's folder."""
PAUSES = (5.0, 60.0, 600.0, 3600.0, 4 * 3600.0, 8 * 3600.0)
"""Times between the calls of one webhook, seconds: less than a day in all."""
CALL_SECONDS = 10.0
"""Longest time for one call, seconds."""
AT_A_TIME = 32
LOOK_SECONDS = 1.0
"""Time between two looks at what is owed, seconds."""
LOG = logging.getLogger(__name__)
GONE = 410
"""The receiver wants no further calls."""
PORTS = {"https": 443, "http": 80}


class Webhooks:
    """Calls what jobs ask to be called, one by one until each has answered.

    Args:
        jobs: the queue.
        hosts: allowed receivers, as HOST or HOST:PORT; empty: webhooks are off.
        folder: the studio's folder, for its key.
    """

    def __init__(self, jobs: Jobs, hosts: Collection[str], folder: Path) -> None:
        self._jobs = jobs
        self._hosts = frozenset(hosts)
        self._key = _key(folder / KEY_FILE) if hosts else None
        self._authorities = httpx.create_ssl_context(trust_env=False) if hosts else True
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="studio-webhooks", daemon=True)

    @property
    def public_key(self) -> str | None:
        """The key that signatures are verified with, in the form of Standard Webhooks; None if webhooks are off."""
        if self._key is None:
            return None
        return "whpk_" + base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def expect_allowed(self, url: str) -> None:
        """Refuse a URL that may not be called.

        Raises:
            Refused: webhooks are off, the host is not allowed, or the URL has neither https nor this machine's address.
        """
        if not self._hosts:
            raise Refused("This studio calls no webhooks.", "Its operator can allow hosts with --webhooks.")
        place = _split(url)
        if place is None:
            raise Refused("The webhook is not a URL that can be called.", "https://HOST/PATH, without a password.")
        host = place.hostname or ""
        if place.scheme == "http" and not is_here(host):
            raise Refused("A webhook needs https.")
        port = place.port or PORTS[place.scheme]
        names = [f"{host}:{port}", *([host] if port == PORTS[place.scheme] else ())]
        if self._hosts.isdisjoint(names):
            raise Refused("The webhook's host is not allowed.", "Ask the operator, who allows hosts with --webhooks.")

    def start(self) -> None:
        """Begin to call, in a thread."""
        if self._hosts:
            self._thread.start()

    def stop(self) -> None:
        """Stop; what is still owed is called after the next start."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(CALL_SECONDS)

    def _run(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            try:
                self.deliver()
            except Exception:  # a database that does not respond, say
                LOG.exception("Webhooks could not be called; next attempt in %g s.", PAUSES[0])
                self._over.wait(PAUSES[0])

    def deliver(self) -> None:
        """Call what is due, once."""
        owed = self._jobs.owed(time.time(), AT_A_TIME)
        if owed:
            anyio.run(self._deliver, owed)

    async def _deliver(self, owed: list[Job]) -> None:
        async with httpx.AsyncClient(
            trust_env=False, follow_redirects=False, timeout=CALL_SECONDS, verify=self._authorities
        ) as client:
            await asyncio.gather(*(self._call(client, job) for job in owed))

    async def _call(self, client: httpx.AsyncClient, job: Job) -> None:
        try:
            self.expect_allowed(job.webhook or "")  # the operator may allow fewer hosts since
        except Refused:
            self._jobs.called(job, None)
            return
        body = job_view(job, self._jobs).model_dump_json().encode()
        try:
            async with (
                asyncio.timeout(CALL_SECONDS),  # httpx's own is for each part of the answer
                client.stream("POST", job.webhook or "", content=body, headers=self._signed(job.id, body)) as answer,
            ):
                ended = answer.is_success or answer.status_code == GONE  # its body is of no interest
        except (httpx.HTTPError, TimeoutError, ValueError, OSError):
            ended = False
        calls = job.webhook_calls
        self._jobs.called(job, None if ended or calls >= len(PAUSES) else time.time() + PAUSES[calls])

    def _signed(self, job: str, body: bytes) -> dict[str, str]:
        """The headers of a call; a repeated call has the same id."""
        name, now = f"msg_{job}", str(int(time.time()))
        if self._key is None:
            raise ValueError("webhooks are off")
        signature = self._key.sign(b".".join((name.encode(), now.encode(), body)))
        return {
            "content-type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": now,
            "webhook-signature": "v1a," + base64.b64encode(signature).decode(),
        }


def _split(url: str) -> SplitResult | None:
    """A URL's parts; None unless it is an absolute http or https URL of printable ASCII without a user."""
    if not url.isascii() or not url.isprintable() or set(url) & set(' \\"<>^`{|}'):
        return None
    try:
        place = urlsplit(url)
        if place.scheme not in PORTS or not place.hostname or place.username is not None or place.port == 0:
            return None
        parsed = httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        return None
    return place if parsed.host == place.hostname else None  # what is checked is what is called


def _key(file: Path) -> Ed25519PrivateKey:
    """The studio's signing key, made at the first start."""
    if not file.exists():
        write_bytes(file, Ed25519PrivateKey.generate().private_bytes_raw(), mode=0o600)
    data = private_file(file, "webhook key")
    try:
        return Ed25519PrivateKey.from_private_bytes(data)
    except ValueError:
        raise ConfigurationError(
            f"The webhook key {file.name} is damaged.", hint="Delete it: a new one is made."
        ) from None
