"""Hostile inputs: names, tokens, listings, signatures and bodies that no client would send."""

import json
import re

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.errors import ConfigurationError, RegistryError, ReleaseError
from sottovoce.federation.log import LogMemory
from sottovoce.release.check import ALLOWED, FILES
from sottovoce.release.pull import listed, pull
from sottovoce.release.registry_client import RegistryClient
from sottovoce.release.seen_versions import Seen
from sottovoce.release.versions import Reference

NAME = "isles-style-svm"
VERSION = "20260101T000000Z"
PATH = f"/v1/models/{NAME}/{VERSION}"
FEW = settings(max_examples=25)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
LISTING = st.fixed_dictionaries(
    {"models": JSON, "next": JSON} | dict.fromkeys(("name", "newest", "releases", "visibility"), JSON)
)
HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=100)


@given(st.text())
def test_a_reference_is_safe_in_an_address_or_refused(text):
    try:
        reference = Reference.parse(text)
    except ConfigurationError:
        return
    assert str(reference) == text
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}(@\d{8}T\d{6}Z)?", text)


@FEW
@given(JSON | LISTING)
def test_no_listing_crashes_a_client(value):
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=json.dumps(value).encode()))
    with RegistryClient("http://registry.example", transport=Streamed(transport)) as client:
        try:
            found = listed(client)
        except RegistryError:  # any other is a bug
            found = []
    assert all(re.fullmatch(r"[a-z0-9._-]+", each.name) for each in found)


class Streamed(httpx.BaseTransport):
    """httpx does not stream what a mock made from bytes."""

    def __init__(self, inner):
        self.inner = inner

    def handle_request(self, request):
        answer = self.inner.handle_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=Body(answer.content))


class Body(httpx.SyncByteStream):
    def __init__(self, data):
        self.data = data

    def __iter__(self):
        yield self.data


@FEW
@given(file=st.sampled_from(sorted(FILES)), at=st.integers(0, 1 << 20), bit=st.integers(0, 7))
def test_no_bit_survives_a_flip(wire, coordinator, tmp_path_factory, file, at, bit):
    """Nothing appears, whatever was flipped, but for what says nothing: the blanks between signatures."""

    def spoil(request, answer):
        if not request.url.path.endswith(file):
            return answer
        body = bytearray(answer.content)
        body[at % len(body)] ^= 1 << bit
        return httpx.Response(answer.status_code, content=bytes(body))

    wire.spoil = spoil
    folder = tmp_path_factory.mktemp("flip")
    refused = False
    with RegistryClient("http://registry.example", transport=wire) as client:
        try:
            pulled = pull(
                client,
                Reference(NAME, VERSION),
                coordinator.public_key,
                folder / "model",
                seen=Seen(folder / "seen"),
                memory=LogMemory(folder / "logs"),
            )
        except (ReleaseError, RegistryError):
            refused = True
    assert (folder / "model").exists() != refused
    assert refused or (file == "manifest.sig" and len(pulled.checked.signatures) == 1)


@FEW
@given(header=HEADER)
def test_no_token_crashes_the_service(published, header):
    answer = published("GET", "/v1/models", headers={"Authorization": header.encode("latin-1")})
    assert answer.status_code in (401, 429)


@FEW
@given(asked=HEADER, fits=HEADER, etag=HEADER)
def test_no_range_crashes_the_service(published, asked, fits, etag):
    headers = {"Range": f"bytes={asked}", "If-Range": fits, "If-None-Match": etag}
    answer = published(
        "GET", f"{PATH}/files/model.safetensors", headers={key: text.encode("latin-1") for key, text in headers.items()}
    )
    assert answer.status_code in (200, 206, 304, 400, 416, 429)


@FEW
@given(body=st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_body_crashes_the_service(published, body):
    for method, path in (
        ("POST", "/v1/uploads"),
        ("PUT", f"/v1/models/{NAME}/visibility"),
        ("POST", f"{PATH}/signatures"),
    ):
        token = published.token("publish", "cosign")
        answer = published(method, path, token, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422)
        assert "Traceback" not in answer.text


@FEW
@given(content=st.dictionaries(st.sampled_from(sorted(ALLOWED)), st.binary(max_size=300)))
def test_no_upload_of_rubbish_is_published(published, content):
    token = published.token("publish")
    upload = published.begin(token, of="20260102T000000Z")
    for file, data in content.items():
        assert published("PUT", f"/v1/uploads/{upload}/files/{file}", token, content=data).status_code == 200
    answer = published("POST", f"/v1/uploads/{upload}/publish", token)
    assert answer.status_code == 422
    assert published("GET", f"/v1/models/{NAME}").json()["newest"] == VERSION


@pytest.mark.parametrize("file", sorted(FILES))
def test_an_empty_file_is_an_answer_too(wire, coordinator, seen, memory, tmp_path, file):
    wire.spoil = lambda request, answer: httpx.Response(200) if request.url.path.endswith(file) else answer
    with (
        RegistryClient("http://registry.example", transport=wire) as client,
        pytest.raises((ReleaseError, RegistryError)),
    ):
        pull(client, Reference(NAME, VERSION), coordinator.public_key, tmp_path / "model", seen=seen, memory=memory)
    assert not (tmp_path / "model").exists()
