"""Bodies and files that no client would send: each is refused, or fails in words; the service itself decodes none."""

import random

import pytest

from sottovoce_server.studio.intake import LARGEST_FIELD, LARGEST_JSON, MOST_FIELDS
from sottovoce_server.studio.settings import MIB, Limits

BOUNDARY = "b"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def part(disposition, data=b"RIFF", *headers):
    lines = [b"--b", b"Content-Disposition: form-data; " + disposition, *headers, b"", data]
    return b"\r\n".join(lines) + b"\r\n"


def post(studio, body, kind=FORM, *, to="inspections"):
    return studio("POST", f"/v1/{to}", content=body, headers={"Content-Type": kind})


FILE = part(b'name="file"; filename="a.wav"')
END = b"--b--\r\n"


@pytest.fixture(autouse=True)
def nothing_is_done(studio):
    studio.engine.work = None


def test_the_form_of_these_tests_is_accepted(studio):
    assert post(studio, FILE + END).status_code == 202


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        pytest.param(FILE + FILE + END, FORM, 400, id="two files"),
        pytest.param(FILE + part(b'name="file"; filename="b"') * 1000 + END, FORM, 400, id="a thousand files"),
        pytest.param(FILE + part(b'name="x"') * (MOST_FIELDS + 1) + END, FORM, 400, id="a thousand fields"),
        pytest.param(FILE + part(b'name="x"', b"x" * (LARGEST_FIELD + 1)) + END, FORM, 400, id="a huge field"),
        pytest.param(FILE + part(b'name="unknown"') + END, FORM, 422, id="an unknown field"),
        pytest.param(FILE + part(b'name="__proto__"') + END, FORM, 422, id="a name that means something elsewhere"),
        pytest.param(part(b'filename="a.wav"') + END, FORM, 400, id="a file without a field"),
        pytest.param(part(b'name="file"') + END, FORM, 422, id="a file that is a text"),
        pytest.param(part(b'name="model"; filename="a.wav"') + END, FORM, 422, id="a text that is a file"),
        pytest.param(part(b'name="' + b"x" * 100_000 + b'"') + END, FORM, 400, id="a huge header"),
        pytest.param(part(b'name="x"', b"", *[b"A: b"] * 1000) + END, FORM, 400, id="a thousand headers"),
        pytest.param(END, FORM, 422, id="nothing in it"),
        pytest.param(b"", FORM, 422, id="nothing"),
        pytest.param(b"--c\r\n\r\n", FORM, 400, id="another boundary"),
        pytest.param(b"--b\r\nno header\r\n\r\n", FORM, 400, id="no header"),
        pytest.param(FILE[:-2], FORM, 422, id="cut off"),
        pytest.param(FILE + END, "multipart/form-data", 400, id="no boundary"),
        pytest.param(FILE + END, f"multipart/form-data; boundary={'b' * 5000}", 400, id="a long boundary"),
        pytest.param(FILE + END, "application/json", 400, id="a form as JSON"),
        pytest.param(FILE + END, "text/plain", 400, id="a form as a text"),
        pytest.param(b'{"source": null}', FORM, 400, id="JSON as a form"),
        pytest.param(b"[" * 60_000, "application/json", 400, id="deep JSON"),
        pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "application/json", 400, id="deep objects"),
        pytest.param(b"[" * (LARGEST_JSON + 1), "application/json", 413, id="huge JSON"),
        pytest.param(b'{"model": ' + b"9" * 5000 + b"}", "application/json", 400, id="a huge number"),
        pytest.param(b'{"model": NaN}', "application/json", 422, id="no number"),
        pytest.param(b"[]", "application/json", 422, id="a list"),
        pytest.param(b"\xff\xfe", "application/json", 400, id="no text"),
        pytest.param(b"", "application/json", 422, id="no body"),
        pytest.param(b'{"source": "\\u0000"}', "application/json", 422, id="a null character"),
        pytest.param(b'{"source": "\\ud800"}', "application/json", 422, id="half a character"),
    ],
)
def test_a_body_that_no_client_would_send_is_refused(studio, body, kind, code):
    answer = post(studio, body, kind)
    assert answer.status_code == code, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert studio.queue.latest("", 10) == []
    assert not any(studio.queue.folder("").glob("*/*"))


def test_a_charset_that_does_not_exist_does_no_harm(studio):
    assert post(studio, FILE + END, f"{FORM}; charset=nonsense").status_code == 202


@pytest.mark.parametrize(
    "name",
    [
        "../../../../etc/passwd.wav",
        "..\\..\\windows\\system.wav",
        "/etc/passwd",
        "..",
        ".",
        "",
        ".wav",
        "a.wav/",
        "a.\x00wav",
        "a\x1b[2J.wav",
        "‮vaw.a",
        "a" * 4000 + ".wav",
        "a." + "w" * 200,
        "a.wav\r\nSet-Cookie: x=y",
        "%2e%2e%2fa.wav",
        "<script>alert(1)</script>.wav",
        '"; filename="b.wav',
        "\ud83c\udfb5.wav",
    ],
)
def test_the_name_of_a_file_is_only_shown(studio, name):
    quoted = name.encode("utf-8", "surrogatepass").replace(b'"', b"%22").replace(b"\r\n", b" ")
    answer = post(studio, part(b'name="file"; filename="' + quoted + b'"') + END)
    assert answer.status_code in (202, 400, 422), answer.text
    for job in studio.queue.latest("", 10):
        (file,) = studio.queue.folder(job.id).iterdir()
        assert file.resolve().parent == studio.queue.folder(job.id).resolve()
        assert file.name.isascii()
        assert file.name.startswith("upload.")
        assert job.file.isprintable()
        assert "/" not in job.file
        assert len(job.file) <= 100
        studio("GET", f"/v1/jobs/{job.id}", code=200)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(make_studio):
    studio = make_studio(limits=Limits(largest_upload=1))
    studio.engine.work = None
    studio.inspect(data=bytes(MIB))
    studio.inspect(data=bytes(2 * MIB + 1), code=413)

    def endless():
        for _ in range(64):
            yield bytes(MIB // 16)

    answer = studio(
        "POST", "/v1/inspections", content=endless(), headers={"Content-Type": FORM, "Transfer-Encoding": "chunked"}
    )
    assert answer.status_code in (400, 413)
    assert len(studio.queue.latest("", 10)) == 1


def test_what_is_uploaded_is_kept_as_it_came_and_not_looked_at(studio, monkeypatch):
    """The service does not decode audio: whatever a decoder would make of it, the server never opens it as audio."""
    for name in ("info", "SoundFile", "read"):
        monkeypatch.setattr(f"soundfile.{name}", lambda *_, **__: pytest.fail("the service decodes audio"))
    random_bytes = random.Random(1).randbytes(100_000)
    for data in (b"", b"fLaC", b"RIFF\xff\xff\xff\xffWAVE", random_bytes):
        job = studio.inspect(data=data).json()["id"]
        (file,) = studio.queue.folder(job).iterdir()
        assert file.read_bytes() == data


def test_a_text_that_a_database_cannot_store_is_refused(studio):
    for path in ("/v1/jobs/%00", "/v1/models/%00", "/v1/jobs/%ff", "/v1/jobs/%00/audio/0", "/v1/jobs/%00/events"):
        studio("GET", path, code=404)
    studio("GET", "/v1/log?model=%00", code=422)
