"""A studio used over HTTP, from Python: `sottovoce.connect`, and the same with `async`.

Each call is a generator that yields requests and receives answers; `Studio` and `AsyncStudio` only carry them.
"""

import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import httpx
from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from sottovoce.errors import AudioError, ConfigurationError, StudioError
from sottovoce.files import written_aside
from sottovoce.studio.classification import Classification, Segment
from sottovoce.studio.requests import ClassificationRequest, EditRequest, GenerationRequest, asked
from sottovoce.version import __version__
from sottovoce.web import expect_url, printable, retry_after, trusting

PATH = str | PathLike[str]
T = TypeVar("T")
ATTEMPTS = 5
WAIT_SECONDS = 30
"""Time for which the studio holds an answer back until a job ends, seconds."""
TIMEOUT_SECONDS = WAIT_SECONDS + 30.0
LONGEST_PAUSE_SECONDS = 60.0
TRY_AGAIN = {429, 502, 503, 504}


@dataclass(frozen=True)
class RemotePiece:
    """A piece of audio at a studio.

    Args:
        source: its name as the source of an edit.
        seconds: length.
        sample_rate: Hz.
        seed: seed with which it was made; None for an edit.
    """

    source: str
    seconds: float
    sample_rate: int
    seed: int | None


@dataclass(frozen=True)
class _Call:
    """One request: JSON, or a form with a file."""

    method: str
    path: str
    body: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None
    key: str | None = None


Calls = Generator[_Call, httpx.Response, T]


class _Retry(Exception):
    """The studio could not be reached, or asks for patience."""

    def __init__(self, error: StudioError, seconds: float = 0.0) -> None:
        super().__init__()
        self.error, self.seconds = error, seconds


def _models() -> Calls[list[dict[str, Any]]]:
    answer = yield _Call("GET", "models")
    return list(answer.json()["models"])


def _work(path: str, body: Mapping[str, Any], file: Path | None = None) -> Calls[dict[str, Any]]:
    """Have a job done; its final view."""
    key = str(uuid.uuid4())
    answer = yield _Call("POST", path, body, file, key)
    job = answer.json()
    while job["state"] in ("queued", "running"):
        answer = yield _Call("GET", f"jobs/{job['id']}")
        job = answer.json()
    if job["state"] != "done":
        raise StudioError(printable(job["problem"] or f"The job was {job['state']}."), hint=job["hint"])
    return dict(job)


def _classify(file: PATH, model: str, request: ClassificationRequest) -> Calls[Classification]:
    job = yield from _work("classifications", {"model": model, **asked(request)}, _expect_file(file))
    found = job["result"]
    return Classification(found["style"], found["probabilities"], [Segment(**each) for each in found["segments"]])


def _generate(model: str, judge: str | None, request: GenerationRequest) -> Calls[list[RemotePiece]]:
    body = {"model": model, **({} if judge is None else {"judge": judge}), **asked(request)}
    return _pieces((yield from _work("generations", body)))


def _edit(source: "PATH | RemotePiece", model: str | None, request: EditRequest) -> Calls[RemotePiece | None]:
    body = {**({} if model is None else {"model": model}), **asked(request)}
    if isinstance(source, RemotePiece):
        pieces = _pieces((yield from _work("edits", {**body, "source": source.source})))
    else:
        pieces = _pieces((yield from _work("edits", body, _expect_file(source))))
    return pieces[0] if pieces else None


def _inspect(file: PATH) -> Calls[dict[str, Any]]:
    job = yield from _work("inspections", {}, _expect_file(file))
    return dict(job["result"])


def _save(piece: RemotePiece, path: PATH) -> Calls[Path]:
    place = Path(path)
    form = place.suffix.lower().lstrip(".")
    if form not in ("flac", "wav"):
        raise ConfigurationError(
            "A studio's pieces are FLAC or WAV files.", hint="Use a name that ends in .flac or .wav."
        )
    job, _, number = piece.source.partition("/")
    answer = yield _Call("GET", f"jobs/{job}/audio/{number}?format={form}")
    with written_aside(place) as aside:
        aside.write_bytes(answer.content)
    return place


def _pieces(job: Mapping[str, Any]) -> list[RemotePiece]:
    return [
        RemotePiece(f"{job['id']}/{each['number']}", each["seconds"], each["sample_rate"], each["seed"])
        for each in job["audio"]
    ]


def _expect_file(path: PATH) -> Path:
    from sottovoce.audio.reject_reason import RejectReason

    place = Path(path)
    if not place.is_file():
        raise AudioError("The file does not exist, or is not a regular file.", reason=RejectReason.MISSING)
    return place


class _Connection:
    """What both kinds of studio share: address, token, and how an answer is judged."""

    def __init__(self, url: str, token: str | None, authority: Path | None) -> None:
        expect_url(url, token, what="studio", example="https://studio.example.org or http://127.0.0.1:8480")
        self._options: dict[str, Any] = {
            "base_url": url.rstrip("/") + "/v1/",
            "headers": {"User-Agent": f"sottovoce/{__version__}"}
            | ({"Authorization": f"Bearer {token}"} if token else {}),
            "verify": trusting(authority) if url.startswith("https:") else True,
            "timeout": TIMEOUT_SECONDS,
        }

    @property
    def _patience(self) -> dict[str, Any]:
        backoff = wait_exponential_jitter(initial=0.2, max=5, jitter=0.3)

        def wait(state: RetryCallState) -> float:
            failure = state.outcome.exception() if state.outcome else None
            seconds = failure.seconds if isinstance(failure, _Retry) else 0.0
            return max(backoff(state), min(seconds, LONGEST_PAUSE_SECONDS))

        return {
            "retry": retry_if_exception_type(_Retry),
            "stop": stop_after_attempt(ATTEMPTS),
            "wait": wait,
            "reraise": True,
        }


def _authorization(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


@contextmanager
def _request(call: _Call) -> Iterator[dict[str, Any]]:
    """A call as httpx takes it; its file is open meanwhile."""
    headers = {"Prefer": f"wait={WAIT_SECONDS}"} | ({"Idempotency-Key": call.key} if call.key else {})
    common: dict[str, Any] = {"method": call.method, "url": call.path, "headers": headers}
    if call.file is not None:
        with call.file.open("rb") as file:
            yield {**common, "data": dict(call.body), "files": {"file": (call.file.name, file)}}
    else:
        yield common if call.method == "GET" else {**common, "json": dict(call.body)}


def _judged(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        said = answer.json()
        detail, hint = str(said["detail"]), said.get("hint")
    except (ValueError, KeyError, TypeError, AttributeError):
        detail, hint = f"status {answer.status_code}", None
    error = StudioError(
        f"The studio says: {printable(detail)}", hint=printable(hint) if isinstance(hint, str) else None
    )
    if answer.status_code in TRY_AGAIN:
        raise _Retry(error, retry_after(answer))
    raise error


def _unreachable(error: httpx.TransportError) -> _Retry:
    late = isinstance(error, httpx.TimeoutException)
    return _Retry(
        StudioError("The studio does not answer in time.")
        if late
        else StudioError("The studio cannot be reached.", hint="Check the address, and that the studio is running.")
    )


class Studio(_Connection):
    """A studio over HTTP. Make one with `sottovoce.connect`; it is a context manager.

    All methods raise StudioError if the studio cannot be reached or refuses, or if a job fails.
    """

    def __init__(self, url: str, token: str | None = None, *, authority: Path | None = None) -> None:
        super().__init__(url, token, authority)
        self._http = httpx.Client(**self._options)

    def __enter__(self) -> "Studio":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def models(self) -> Sequence[Mapping[str, Any]]:
        """The releases that can be used, newest first."""
        return self._run(_models())

    def classify(self, file: PATH, *, model: str, **options: Any) -> Classification:
        """Recognise the style of a track.

        Args:
            file: an audio file.
            model: name of a release.
            options: fields of `sottovoce.studio.requests.ClassificationRequest`.
        """
        return self._run(_classify(file, model, ClassificationRequest(**options)))

    def generate(self, model: str, style: str, *, judge: str | None = None, **options: Any) -> list[RemotePiece]:
        """Generate music.

        Args:
            model: name of a release.
            style: one of its styles.
            judge: name of a style release that picks the best of several candidates.
            options: other fields of `sottovoce.studio.requests.GenerationRequest`, such as `seconds=30`.
        """
        return self._run(_generate(model, judge, GenerationRequest(style=style, **options)))

    def edit(self, source: PATH | RemotePiece, *, model: str | None = None, **options: Any) -> RemotePiece | None:
        """Edit a file or a piece; None if there was nothing to repair.

        Args:
            source: an audio file, or a piece of this studio.
            model: name of a release, for the effects that need one.
            options: fields of `sottovoce.studio.requests.EditRequest`, such as `gain=-2.0` or `repair=["12.5:12.7"]`.
        """
        return self._run(_edit(source, model, EditRequest(**options)))

    def inspect(self, file: PATH) -> Mapping[str, Any]:
        """Where a file comes from: credentials, tags, watermarks."""
        return self._run(_inspect(file))

    def save(self, piece: RemotePiece, path: PATH) -> Path:
        """Download a piece to a .flac or .wav file, which is written whole or not at all."""
        return self._run(_save(piece, path))

    def _run(self, calls: Calls[T]) -> T:
        return _driven(calls, self._answer)

    def _answer(self, call: _Call) -> httpx.Response:
        def once() -> httpx.Response:
            try:
                with _request(call) as request:
                    return _judged(self._http.request(**request))
            except httpx.TransportError as error:
                raise _unreachable(error) from None

        try:
            return Retrying(**self._patience)(once)
        except _Retry as failure:
            raise failure.error from None


class AsyncStudio(_Connection):
    """`Studio` with `async` methods; an asynchronous context manager."""

    def __init__(self, url: str, token: str | None = None, *, authority: Path | None = None) -> None:
        super().__init__(url, token, authority)
        self._http = httpx.AsyncClient(**self._options)

    async def __aenter__(self) -> "AsyncStudio":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def models(self) -> Sequence[Mapping[str, Any]]:
        """See `Studio.models`."""
        return await self._run(_models())

    async def classify(self, file: PATH, *, model: str, **options: Any) -> Classification:
        """See `Studio.classify`."""
        return await self._run(_classify(file, model, ClassificationRequest(**options)))

    async def generate(self, model: str, style: str, *, judge: str | None = None, **options: Any) -> list[RemotePiece]:
        """See `Studio.generate`."""
        return await self._run(_generate(model, judge, GenerationRequest(style=style, **options)))

    async def edit(self, source: PATH | RemotePiece, *, model: str | None = None, **options: Any) -> RemotePiece | None:
        """See `Studio.edit`."""
        return await self._run(_edit(source, model, EditRequest(**options)))

    async def inspect(self, file: PATH) -> Mapping[str, Any]:
        """See `Studio.inspect`."""
        return await self._run(_inspect(file))

    async def save(self, piece: RemotePiece, path: PATH) -> Path:
        """See `Studio.save`."""
        return await self._run(_save(piece, path))

    async def _run(self, calls: Calls[T]) -> T:
        try:
            call = next(calls)
            while True:
                call = calls.send(await self._answer(call))
        except StopIteration as end:
            return end.value

    async def _answer(self, call: _Call) -> httpx.Response:
        async def once() -> httpx.Response:
            try:
                with _request(call) as request:
                    if "files" in request:  # httpx cannot read a file while other tasks run
                        request["files"] = {"file": (request["files"]["file"][0], request["files"]["file"][1].read())}
                    return _judged(await self._http.request(**request))
            except httpx.TransportError as error:
                raise _unreachable(error) from None

        try:
            return await AsyncRetrying(**self._patience)(once)
        except _Retry as failure:
            raise failure.error from None


def _driven(calls: Calls[T], answer: Callable[[_Call], httpx.Response]) -> T:
    try:
        call = next(calls)
        while True:
            call = calls.send(answer(call))
    except StopIteration as end:
        return end.value
