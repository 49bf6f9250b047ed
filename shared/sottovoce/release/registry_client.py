"""HTTP client for a registry, for publishers and consumers. Nothing it receives is trusted.

Answers are bounded, addresses consist of checked names only, redirects are not followed (a token must not travel
elsewhere), and an interrupted download resumes.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter

from sottovoce.errors import ConfigurationError, RegistryError
from sottovoce.release.manifest import FileEntry
from sottovoce.version import __version__
from sottovoce.web import expect_url, printable, retry_after, trusting

ATTEMPTS = 6
LONGEST_WAIT_SECONDS = 30.0
TIMEOUT_SECONDS = 30.0
LARGEST_ANSWER = 1 << 24
LARGEST_TOKEN_FILE = 4096
TRY_AGAIN = {429, 500, 502, 503, 504}
CHUNK = 1 << 18

Progress = Callable[[str, int, int], object]
"""Called with a file's name, the bytes transferred so far, and its size in bytes."""


class _Transient(Exception):
    """An error after which a retry may succeed."""

    def __init__(self, error: RegistryError, wait: float = 0.0) -> None:
        super().__init__()
        self.error = error
        self.wait = wait


class Refused(RegistryError):
    """The registry refused the request; `status` is the HTTP status code."""

    def __init__(self, message: str, status: int, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class RegistryClient:
    """A connection to a registry.

    Args:
        url: such as https://models.example.org; http only on this machine, or without a token.
        token: an access token, or None for anonymous access.
        authority: PEM file of the certificate authority to trust instead of the system's.
        transport: for tests.

    Raises:
        ConfigurationError: the URL is invalid, would expose the token, or the authority's file cannot be used.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        authority: Path | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        expect_url(url, token, what="registry", example="https://models.example.org or http://127.0.0.1:8470")
        self._http = httpx.Client(
            base_url=url.rstrip("/") + "/v1/",
            headers={"User-Agent": f"sottovoce/{__version__}", "Accept-Encoding": "identity"}
            | ({"Authorization": f"Bearer {token}"} if token else {}),
            verify=trusting(authority) if url.startswith("https:") or authority else True,
            timeout=TIMEOUT_SECONDS,
            transport=transport,
        )

    def __enter__(self) -> "RegistryClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def json(self, path: str, method: str = "GET", body: Any = None, content: bytes | None = None) -> Any:
        """The registry's answer as JSON; None for an empty answer.

        Raises:
            Refused: the registry refuses.
            RegistryError: it cannot be reached, or its answer is not JSON.
        """
        data = self._retried(lambda: self._once(method, path, LARGEST_ANSWER, json=body, content=content))
        try:
            return json.loads(data) if data else None
        except (ValueError, RecursionError):
            raise RegistryError(
                "The registry's answer is not JSON.", hint="Is this the address of a registry?"
            ) from None

    def content(self, path: str, limit: int) -> bytes:
        """A small file's bytes, at most `limit`.

        Raises:
            Refused: the registry refuses.
            RegistryError: it cannot be reached, or sends more than `limit`.
        """
        return self._retried(lambda: self._once("GET", path, limit))

    def send(self, path: str, file: Path, progress: Progress = lambda *_: None) -> None:
        """Upload a file.

        Raises:
            Refused: the registry refuses.
            RegistryError: it cannot be reached.
        """
        size = file.stat().st_size

        def body() -> Iterator[bytes]:
            sent = 0
            with file.open("rb") as opened:
                while chunk := opened.read(CHUNK):
                    yield chunk
                    sent += len(chunk)
                    progress(file.name, sent, size)

        headers = {"Content-Length": str(size)}
        self._retried(lambda: self._once("PUT", path, LARGEST_ANSWER, content=body(), headers=headers))

    def download(self, path: str, entry: FileEntry, partial: Path, progress: Progress = lambda *_: None) -> None:
        """Download a file of known size and digest, resuming from `partial`. The caller verifies it.

        Args:
            path: below /v1/.
            entry: size and digest from the signed manifest; to resume, the server's ETag must be the digest.
            partial: bytes received so far; complete when this returns.
            progress: called as bytes arrive.

        Raises:
            Refused: the registry refuses.
            RegistryError: it cannot be reached, sends too much, or stops sending.
        """

        def size() -> int:
            return partial.stat().st_size if partial.exists() else 0

        if size() > entry.size:
            partial.unlink()
        while (before := size()) < entry.size:
            try:
                self._retried(lambda: self._part(path, entry, partial, progress), lambda: size() > before)
            except _Progressed:
                continue
        if entry.size == 0:
            partial.touch()

    def _part(self, path: str, entry: FileEntry, partial: Path, progress: Progress) -> None:
        """One request for the rest of a file. What arrives before an interruption is kept."""
        start = partial.stat().st_size if partial.exists() else 0
        headers = {"Range": f"bytes={start}-", "If-Range": f'"{entry.sha256}"'} if start else {}
        with self._answer("GET", path, headers=headers) as answer:
            if answer.status_code == 206:
                expected = f"bytes {start}-{entry.size - 1}/{entry.size}"
                if answer.headers.get("content-range") != expected:
                    raise RegistryError("The registry sent a part of the file that was not requested.")
            else:
                start = 0
            with partial.open("ab" if start else "wb") as out:
                for chunk in answer.iter_raw():  # fixed chunks would lose the last one before an interruption
                    start += len(chunk)
                    if start > entry.size:
                        raise RegistryError("The registry sent more bytes than the signed manifest states.")
                    out.write(chunk)
                    progress(path.rpartition("/")[2], start, entry.size)
        if start < entry.size:
            raise _Transient(RegistryError("The registry sent too few bytes of the file."))

    def _once(self, method: str, path: str, limit: int, **request: Any) -> bytes:
        with self._answer(method, path, **request) as answer:
            return _bounded(answer, limit)

    @contextmanager
    def _answer(self, method: str, path: str, **request: Any) -> Iterator[httpx.Response]:
        """An answer that is neither a refusal nor an error."""
        try:
            with self._http.stream(method, path, **request) as answer:
                if answer.status_code in TRY_AGAIN:
                    raise _Transient(_refusal(answer), retry_after(answer))
                if not answer.is_success:
                    raise _refusal(answer)
                if answer.headers.get("content-encoding", "identity") != "identity":
                    raise RegistryError("The registry sent a compressed answer that was not requested.")
                yield answer
        except httpx.TransportError as error:
            raise _Transient(_unreachable(error)) from None
        except httpx.InvalidURL:
            raise ConfigurationError("The registry's address cannot be used.") from None

    def _retried(self, what: Callable[[], Any], progressed: Callable[[], bool] = lambda: False) -> Any:
        patience = wait_exponential_jitter(initial=0.2, max=5, jitter=0.3)

        def wait(state: RetryCallState) -> float:
            failure = state.outcome.exception() if state.outcome else None
            asked = failure.wait if isinstance(failure, _Transient) else 0.0
            return max(patience(state), min(asked, LONGEST_WAIT_SECONDS))

        def stop(state: RetryCallState) -> bool:
            return progressed() or state.attempt_number >= ATTEMPTS

        try:
            return Retrying(retry=retry_if_exception_type(_Transient), stop=stop, wait=wait, reraise=True)(what)
        except _Transient as failure:
            if progressed():
                raise _Progressed from None
            raise failure.error from None


class _Progressed(Exception):
    """The transfer broke off after making progress, so the retry counter restarts."""


def read_token(path: Path) -> str:
    """Read a token from a file.

    Raises:
        ConfigurationError: it cannot be read, can be read by others, or contains no token.
    """
    try:
        mode = path.stat().st_mode
        with path.open("rb") as file:
            text = file.read(LARGEST_TOKEN_FILE).decode("ascii", errors="replace").strip()
    except OSError as error:
        raise ConfigurationError(f"The token's file cannot be read: {error.strerror}.") from None
    if mode & 0o077:
        raise ConfigurationError("The token's file can be read by others.", hint=f"chmod 600 {path.name}")
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigurationError("The token's file contains no token.", hint="It must contain one line: the token.")
    return text


def _bounded(answer: httpx.Response, limit: int) -> bytes:
    data = bytearray()
    for chunk in answer.iter_raw():
        data += chunk
        if len(data) > limit:
            raise RegistryError(f"The registry sent more than {limit:,} bytes, the limit.")
    return bytes(data)


def _refusal(answer: httpx.Response) -> Refused:
    """The registry's refusal, with its text made printable."""
    try:
        said = json.loads(_bounded(answer, LARGEST_ANSWER))
        detail, hint = said.get("detail"), said.get("hint")
    except (ValueError, RecursionError, AttributeError, RegistryError):
        detail, hint = None, None
    if answer.is_redirect:
        hint = "It answers with a redirect, which is not followed: use the address that it redirects to."
    words = detail if isinstance(detail, str) else f"status {answer.status_code}"
    return Refused(
        f"The registry says: {printable(words)}",
        answer.status_code,
        hint=printable(hint) if isinstance(hint, str) else None,
    )


def _unreachable(error: httpx.TransportError) -> RegistryError:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return RegistryError(
            "The registry's certificate is not issued by a trusted authority.",
            hint="Pass the certificate of its authority with --authority.",
        )
    if isinstance(error, httpx.TimeoutException):
        return RegistryError("The registry does not answer in time.")
    return RegistryError("The registry cannot be reached.", hint="Check the address, and that the registry is running.")
