"""What a bundle may hold; the SuperLink in tests/deploy serves some of these, and here are the others."""

import hashlib
import io
import stat
import zipfile

import pytest
import tomli_w
from flwr.cli.build import build_fab_from_files
from hypothesis import given
from hypothesis import strategies as st

from sottovoce_client.flower.bundle_check import APP, BundleRefused, check_bundle


def pyproject(**app) -> dict:
    return {
        "project": {"name": "sottovoce", "version": "0.1.0", "dependencies": []},
        "tool": {
            "flwr": {"app": {"publisher": "sottovoce", "components": {"serverapp": "any:app", "clientapp": APP}, **app}}
        },
    }


def packed(values, *more, hashes=True, mode=0) -> bytes:
    data = values if isinstance(values, bytes) else tomli_w.dumps(values).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("pyproject.toml")
        entry.external_attr = mode << 16
        archive.writestr(entry, data)
        for name, content in more:
            archive.writestr(name, content)
        if hashes:
            archive.writestr(".info/CONTENT", f"pyproject.toml,{hashlib.sha256(data).hexdigest()},{8 * len(data)}")
    return buffer.getvalue()


def changed(place: str, value) -> dict:
    values = pyproject()
    *tables, last = place.split(".")
    table = values
    for name in tables:
        table = table.setdefault(name, {})
    table[last] = value
    return values


def test_configuration_alone_is_let_in():
    content = packed(pyproject(config={"rounds": 3, "deep": {"rate": 0.1, "on": True}}))
    bundle = check_bundle(content)
    assert (bundle.app, bundle.version) == ("sottovoce/sottovoce", "0.1.0")
    assert bundle.digest == hashlib.sha256(content).hexdigest()


def test_what_flower_builds_is_let_in():
    content, _ = build_fab_from_files({"pyproject.toml": tomli_w.dumps(pyproject()).encode()})
    assert check_bundle(content).app == "sottovoce/sottovoce"


@pytest.mark.parametrize(
    "name",
    [
        "evil.py",
        "sottovoce_client/__init__.py",
        "sottovoce/__init__.py",
        "flwr/__init__.py",
        "sitecustomize.py",
        "torch.so",
        "uv.toml",
        "../evil.py",
        "/etc/evil.pth",
        "README.md",
        "__pycache__/deploy.cpython-311.pyc",
        "PYPROJECT.TOML",
    ],
)
def test_any_other_file_is_refused(name):
    with pytest.raises(BundleRefused, match="files other"):
        check_bundle(packed(pyproject(), (name, b"import os")))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("project.dependencies", ["evil"]),
        ("project.dependencies", ["flwr>=1.0"]),
        ("project.dependencies", "evil"),
        ("project.optional-dependencies", {"x": ["evil"]}),
        ("project.scripts", {"flwr-clientapp": "evil:main"}),
        ("project.entry-points", {"sottovoce.commands": {"label": "evil:main"}}),
        ("dependency-groups", {"dev": ["evil"]}),
        ("build-system", {"requires": ["evil"]}),
        ("tool.uv", {"index-url": "https://evil"}),
        ("tool.flwr.federations", {"x": {}}),
        ("tool.flwr.app.components.clientapp", "evil:app"),
        ("tool.flwr.app.components.clientapp", "sottovoce_client.flower.deployed_label:label_of"),
        ("tool.flwr.app.components.agentapp", "evil:app"),
        ("tool.flwr.app.components.serverapp", 3),
        ("tool.flwr.app.publisher", "../.."),
        ("tool.flwr.app.publisher", "a/b"),
        ("tool.flwr.app.publisher", ""),
        ("project.name", "a..b"),
        ("project.version", "1/2"),
        ("project.version", 1),
        ("tool.flwr.app.config", {"list": [1]}),
        ("tool.flwr.app.config", 3),
        ("tool.flwr.app", 3),
        ("tool", {}),
        ("project", []),
    ],
)
def test_configuration_that_asks_for_more_is_refused(place, value):
    with pytest.raises(BundleRefused):
        check_bundle(packed(changed(place, value)))


def test_odd_archives_are_refused():
    good = packed(pyproject())
    assert check_bundle(good)
    for odd in (
        b"",
        b"PK",
        good[: len(good) // 2],
        packed(pyproject(), hashes=False),
        packed(pyproject(), (".info/CONTENT", "pyproject.toml,00,1"), hashes=False),
        packed(pyproject(), ("pyproject.toml", b"x")),
        packed(pyproject(), ("folder/", b"")),
        packed(pyproject(), mode=stat.S_IFLNK | 0o777),
        packed(b"\xff\xfe"),
        packed(b"project = ["),
        packed(b"a = 1 #" + b" " * 200_000),
        bytes(2_000_000),
    ):
        with pytest.raises(BundleRefused):
            check_bundle(odd)


def test_a_bomb_is_not_blown_up():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pyproject.toml", bytes(300_000_000))
    assert len(buffer.getvalue()) < 1_000_000
    with pytest.raises(BundleRefused, match="too large"):
        check_bundle(buffer.getvalue())


@given(st.data())
def test_a_damaged_bundle_is_refused_or_the_same(data):
    good = packed(pyproject())
    place = data.draw(st.integers(0, len(good) - 1))
    damaged = bytearray(good)
    damaged[place] ^= data.draw(st.integers(1, 255))
    try:
        found = check_bundle(bytes(damaged))
    except BundleRefused:
        return
    assert found.app == "sottovoce/sottovoce"


@given(st.binary(max_size=400))
def test_any_bytes_are_refused(data):
    with pytest.raises(BundleRefused):
        check_bundle(data)
