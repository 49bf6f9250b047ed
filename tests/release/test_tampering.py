"""A release that is not exactly what was signed is refused, each time with its reason."""

import contextlib
import hashlib
import json
import os
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save, save_file

from sottovoce.errors import ReleaseError
from sottovoce.federation.identity import Identity
from sottovoce.release.check import FILES, check
from sottovoce.release.load import load
from sottovoce.release.manifest_reading import read_manifest
from sottovoce.release.signatures import Role, Signature, decode, encode
from sottovoce.release.write import write

CONSTANTS = ("summary_mean", "summary_std", "log_mel_mean", "log_mel_std")


def refused(directory, match, key=None):
    with pytest.raises(ReleaseError, match=match) as caught:
        check(directory, key)
    assert str(directory) not in caught.value.message
    return caught.value


def edit_signature(directory, change):
    path = directory / "manifest.sig"
    values = json.loads(path.read_bytes())
    changed = change(values)
    path.write_text(json.dumps(values if changed is None else changed))


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("place", [0.0, 0.13, 0.5, 0.87, 1.0])
def test_a_flipped_bit(publish, name, place):
    path = publish() / name
    data = bytearray(path.read_bytes())
    data[round(place * (len(data) - 1))] ^= 1
    path.write_bytes(data)
    refused(path.parent, None)


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("change", [lambda data: b"", lambda data: data[:-2], lambda data: data + b"x"])
def test_another_length(publish, name, change):
    path = publish() / name
    path.write_bytes(change(path.read_bytes()))
    refused(path.parent, None)


@pytest.mark.parametrize("name", sorted(FILES - {"manifest.json"}))
def test_a_missing_file(publish, name):
    directory = publish()
    (directory / name).unlink()
    refused(directory, f"{name} is missing")


def test_a_missing_manifest(publish):
    directory = publish()
    (directory / "manifest.json").unlink()
    refused(directory, "no manifest.json")


@pytest.mark.parametrize("name", sorted(FILES - {"normalisation.safetensors"}))  # one for all releases
def test_a_file_of_another_release(publish, name):
    directory, other = publish(seed=0), publish("other", seed=1)
    shutil.copy(other / name, directory / name)
    refused(directory, "is not valid for the manifest|not the file that was signed")


def test_manifest_and_signature_of_another_release(publish):
    directory, other = publish(seed=0), publish("other", seed=1)
    for name in ("manifest.json", "manifest.sig"):
        shutil.copy(other / name, directory / name)
    refused(directory, "not the file that was signed")


def test_an_unsigned_extra_file(publish):
    directory = publish()
    (directory / "model.pkl").write_bytes(b"cos\nsystem\n")
    refused(directory, "model.pkl")


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_link_instead_of_a_file(publish, tmp_path, name):
    path = publish() / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    refused(path.parent, "not a regular file")


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_pipe_or_a_folder_instead_of_a_file(publish, name):
    path = publish() / name
    path.unlink()
    os.mkfifo(path)
    refused(path.parent, "not a regular file")
    path.unlink()
    path.mkdir()
    refused(path.parent, "not a regular file")


def test_another_key_under_the_trusted_name(publish, resign, coordinator):
    directory = resign(publish(), lambda values: None, signer=Identity.generate())
    refused(directory, "another key than the one you trust", coordinator.public_key)
    assert not check(directory).vouched  # without a trusted key a forger cannot be told from the coordinator


def test_a_key_swapped_under_the_old_signature(publish):
    directory = publish()
    edit_signature(directory, lambda values: values[0].update(public_key=Identity.generate().public_key.hex()))
    refused(directory, "is not valid for the manifest")


def test_a_label_cannot_pose_as_the_coordinator(publish, labels):
    directory = publish()
    raw = (directory / "manifest.json").read_bytes()
    signature = Signature.make(labels["east"], Role.LABEL, "east", raw)
    (directory / "manifest.sig").write_bytes(encode((signature,)))
    edit_signature(directory, lambda values: values[0].update(role="coordinator"))
    refused(directory, "is not valid for the manifest", labels["east"].public_key)


def test_a_co_signature_under_another_name(publish, labels):
    directory = publish()
    raw = (directory / "manifest.json").read_bytes()
    own = decode((directory / "manifest.sig").read_bytes())
    (directory / "manifest.sig").write_bytes(encode((*own, Signature.make(labels["east"], Role.LABEL, "east", raw))))
    edit_signature(directory, lambda values: values[1].update(name="north"))
    refused(directory, "'north' is not valid")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda values: [], "start with the coordinator"),
        (lambda values: values * 2, "to have only one"),
        (lambda values: {"a": values[0]}, "Expected `array`"),
        (lambda values: [{**values[0], "role": "owner"}], "'owner'"),
        (lambda values: [{**values[0], "name": "\x1b[2J"}], "signer's name"),
        (lambda values: [{**values[0], "note": "x"}], "unknown field"),
        (lambda values: [{"role": "coordinator"}], "missing"),
        (lambda values: [{**values[0], "signature": values[0]["signature"].upper()}], "hexadecimal"),
        (lambda values: [{**values[0], "public_key": values[0]["public_key"][:-2]}], "hexadecimal"),
        (lambda values: [{**values[0], "name": 3}], "Expected `str`"),
    ],
)
def test_signatures_are_read_strictly(publish, change, match):
    directory = publish()
    edit_signature(directory, change)
    refused(directory, match)


def set_to(*path, value):
    def change(values):
        for step in path[:-1]:
            values = values[step]
        values[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (set_to("schema", value=2), "schema 2"),
        (set_to("schema", value=0), "'schema'"),
        (set_to("schema", value="1"), "'schema'"),
        (set_to("extra", value=1), "unknown field 'extra'"),
        (lambda values: values.pop("rounds"), "missing required field `rounds`"),
        (set_to("rounds", value=True), "Expected `int`.*rounds"),
        (set_to("rounds", value=1.0), "Expected `int`.*rounds"),
        (set_to("rounds", value=0), "'rounds'"),
        (set_to("labels", value=4), "'privacy'"),
        (set_to("rounds", value=10**16), "too large"),
        (set_to("features", "segment_seconds", value=10**400), "too large"),
        (set_to("files", "model.safetensors", "size", value=10**14), "not the file that was signed"),
        (set_to("name", value="\x1b[31mred"), "'name'"),
        (set_to("name", value=""), "'name'"),
        (set_to("classes", value=["fugue"]), "'classes'"),
        (set_to("classes", value=["fugue", "fugue", "reel"]), "'classes'"),
        (set_to("classes", value=["fugue", 1, "reel"]), "Expected `str`.*classes"),
        (set_to("parameters", value=1), "'parameters'"),
        (set_to("shapes", value={"weight": [-1, -1]}), "'shapes'"),
        (set_to("shapes", value={"weight": 3}), "Expected `array`.*shapes"),
        (set_to("shapes", value=[]), "Expected `object`.*shapes"),
        (set_to("features", "n_mels", value=-1), "feature spec"),
        (set_to("features", "n_mels", value="16"), "Expected `int`.*n_mels"),
        (set_to("features", "colour", value=1), "unknown field 'colour'"),
        (lambda values: values["features"].pop("compress"), "'compress' is missing"),
        (lambda values: values["privacy"].update(min_honest=values["privacy"].pop("honest")), "honest"),
        (set_to("privacy", "promises", 0, "note", value="x"), "unknown field 'note'"),
        (set_to("features", "n_mels", value=10**9), "'features'"),
        (set_to("features", "normalisation", value="0" * 64), "'features'"),
        (set_to("privacy", "noise", value="none"), "'promises'"),
        (set_to("privacy", "noise", value="quiet"), "'quiet'"),
        (set_to("privacy", "unit", value="album"), "'album'"),
        (set_to("privacy", "promises", value=[]), "'promises'"),
        (set_to("privacy", "promises", 0, "epsilon", value=-1), "'promises'"),
        (set_to("privacy", "promises", 0, "delta", value=1), "'promises'"),
        (set_to("privacy", "promises", 0, "delta", value="1e-5"), "Expected `float`"),
        (set_to("privacy", "promises", 0, "delta", value=None), "Expected `float`"),
        (lambda values: values["privacy"]["promises"][0].pop("epsilon"), "missing required field `epsilon`"),
        (set_to("agreement", value="ab"), "'agreement'"),
        (set_to("run", value="AB" * 16), "'run'"),
        (set_to("created", value="yesterday"), "'created'"),
        (set_to("created", value="2025-13-01T00:00:00Z"), "'created'"),
        (set_to("software", value={"torch": 2}), "Expected `str`.*software"),
        (set_to("files", value={}), "'files'"),
        (set_to("files", "../../etc/passwd", value={"size": 1, "sha256": "0" * 64}), "'files'"),
        (set_to("files", "model.safetensors", "sha256", value="0" * 63), "'sha256'"),
        (set_to("files", "model.safetensors", "size", value=-1), "'size'"),
        (lambda values: b"[]", "Expected an object"),
        (lambda values: b"\xff{}", "cannot be read"),
        (lambda values: b'{"schema": 1, "schema": 1}', "repeats a key"),
        (lambda values: b'{"schema": NaN}', "NaN"),
        (lambda values: b'{"schema": 1e999}', "not finite"),
        (lambda values: b"[" * 100_000, "cannot be read"),
        (lambda values: b'{"schema": ' + b"9" * 5_000 + b"}", "cannot be read"),
        (lambda values: b" " * (1 << 20) + b"{}", "larger than"),
    ],
)
def test_a_signed_manifest_is_read_strictly(publish, resign, coordinator, change, match):
    refused(resign(publish(), change), match, coordinator.public_key)


def sign_model(directory, tensors, coordinator):
    """Publish other tensors, with a manifest that fits their bytes."""
    save_file(tensors, directory / "model.safetensors")
    data = (directory / "model.safetensors").read_bytes()

    def change(values):
        values["files"]["model.safetensors"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda name, value: {name: value[:-1]}, "names and shapes"),
        (lambda name, value: {name + "x": value}, "names and shapes"),
        (lambda name, value: {name: value, "more": value}, "names and shapes"),
        (lambda name, value: {name: value.astype(np.float64)}, "float64 instead of float32"),
        (lambda name, value: {name: value * np.float32("nan")}, "not finite"),
        (lambda name, value: {name: value + np.float32("inf")}, "not finite"),
    ],
)
def test_tensors_that_do_not_fit(publish, resign, coordinator, change, match):
    directory = publish()
    tensors = load_file(directory / "model.safetensors")
    name, value = tensors.popitem()
    refused(resign(directory, sign_model(directory, {**tensors, **change(name, value)}, coordinator)), match)


def test_a_pickle_in_place_of_the_model(publish, resign, tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    directory, data = publish(), pickle.dumps(Bomb())
    (directory / "model.safetensors").write_bytes(data)
    entry = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    refused(resign(directory, set_to("files", "model.safetensors", value=entry)), "not a safetensors file")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (set_to("task", value="remixer"), "Unknown task: 'remixer'"),
        (set_to("task", value="../models"), "Unknown task"),
        (set_to("family", value="transformer"), "'transformer'"),
        (set_to("classes", value=["fugue", "reel"]), "cannot be built"),
        (set_to("family", value="rnn"), "cannot be built"),
        (set_to("features", "version", value=3), "needs features of version 3"),
    ],
)
def test_a_model_that_its_manifest_does_not_describe(publish, resign, coordinator, change, match):
    directory = resign(publish(), change)
    with pytest.raises(ReleaseError, match=match):
        load(directory, coordinator.public_key)


@pytest.mark.parametrize(
    ("constants", "match"),
    [
        (b"", "Normalisation constants are damaged"),
        (save({"summary_mean": np.zeros(3, np.float32)}), "missing or unknown parts"),
        (save({name: np.ones(3, np.float32) for name in CONSTANTS}), "do not fit its feature spec"),
        (save({name: np.zeros(3, np.float32) for name in CONSTANTS}), "not positive"),
    ],
)
def test_constants_that_cannot_be_used(publish, resign, coordinator, constants, match):
    directory, digest = publish(), hashlib.sha256(constants).hexdigest()
    (directory / "normalisation.safetensors").write_bytes(constants)

    def change(values):
        values["files"]["normalisation.safetensors"] = {"size": len(constants), "sha256": digest}
        values["features"]["normalisation"] = digest

    with pytest.raises(ReleaseError, match=match):
        load(resign(directory, change), coordinator.public_key)


def test_what_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "nowhere", "no such folder")
    refused(tmp_path / "file", "not a file")
    refused(tmp_path, "no manifest.json")


def test_a_runs_folder_points_to_its_release(publish, tmp_path):
    publish()
    assert "'release'" in refused(tmp_path, "no manifest.json").hint


def test_each_check_is_said_and_none_after_a_failure(publish, coordinator):
    said = []
    directory = publish()
    load(directory, coordinator.public_key, say=said.append)
    assert len(said) == 6
    assert coordinator.public_key.hex() in said[1]
    assert "which is the one you trust" in said[1]
    (directory / "model.safetensors").write_bytes(b"")
    fewer = []
    with pytest.raises(ReleaseError):
        check(directory, say=fewer.append)
    assert len(fewer) == 3
    assert "not confirmed" in fewer[1]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def honest(provenance_of, parameters_of, coordinator, tmp_path_factory):
    """A right manifest's bytes."""
    directory = tmp_path_factory.mktemp("honest") / "release"
    write(directory, provenance_of(), parameters_of(provenance_of()), coordinator, name="honest")
    return (directory / "manifest.json").read_bytes()


@given(data=st.data(), value=JSON)
def test_any_field_may_hold_anything(honest, data, value):
    """A stranger's manifest raises nothing but a `ReleaseError`, whatever stands where."""
    values = json.loads(honest)
    place = values
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = value
    for read, raw in ((read_manifest, json.dumps(values).encode()), (decode, json.dumps([value]).encode())):
        with contextlib.suppress(ReleaseError):
            read(raw)


@given(raw=st.binary(max_size=60))
def test_any_bytes_may_stand_in_a_file(raw):
    for read in (read_manifest, decode):
        with pytest.raises(ReleaseError):
            read(raw)
