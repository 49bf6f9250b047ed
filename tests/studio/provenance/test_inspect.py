"""Finished audio and `sottovoce inspect`: marks are found again, and changes are reported."""

import json
import stat

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from mutagen.flac import FLAC
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce.commands.signing_options import signing_key
from sottovoce.errors import ConfigurationError
from sottovoce.studio.provenance.origin import Origin
from sottovoce.studio.provenance.signing_key import SigningKey, own_authorities, own_folder
from sottovoce.studio.provenance.writer import write_audio

RATE = 22_050


@pytest.fixture(scope="module")
def files(tmp_path_factory, tune, generated, key):
    """The same audio, finished in each container."""
    folder = tmp_path_factory.mktemp("finished")
    return {
        ending: write_audio(folder / f"tune.{ending}", tune, RATE, generated, key=key, title="A reel").path
        for ending in ("wav", "flac", "ogg")
    }


@pytest.fixture
def trust(tmp_path, keys):
    path = tmp_path / "trusted.pem"
    path.write_bytes(own_authorities(keys))
    return path


def inspected(path, *more):
    result = CliRunner().invoke(app, ["inspect", str(path), "--json", *map(str, more)])
    assert result.exit_code in (0, 1), result.output
    return result.exit_code, json.loads(result.stdout)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg"])
def test_what_was_written_is_found(files, trust, generated, ending):
    code, report = inspected(files[ending], "--trust", trust)
    assert code == 0
    assert report["credentials"]["state"] == "trusted"
    assert report["credentials"]["source_type"] == "trainedAlgorithmicMedia"
    assert report["credentials"]["origin"]["digest"] == generated.digest
    assert report["credentials"]["origin"]["parameters"] == {"style": "reel", "seconds": 12.0}
    assert report["tags"]["source_type"] == "trainedAlgorithmicMedia"
    assert report["tags"]["title"] == "A reel"
    assert [mark["payload"] for mark in report["watermarks"]] == [generated.digest[:12]]
    assert report["problems"] == []


def test_an_unknown_signer_is_valid_unless_trust_is_asked_for(files, tmp_path):
    code, report = inspected(files["wav"])
    assert code == 0
    assert report["credentials"]["state"] == "unknown signer"
    other = tmp_path / "other"
    SigningKey.own(other)
    code, report = inspected(files["wav"], "--trust", other / "authorities.pem")
    assert code == 1


def test_ones_own_signature_is_trusted(tmp_path, tune, generated):
    written = write_audio(tmp_path / "mine.flac", tune, RATE, generated)
    assert inspected(written.path)[1]["credentials"]["state"] == "trusted"


def test_changed_audio_is_told(files, tmp_path):
    data = bytearray(files["wav"].read_bytes())
    data[20_000] ^= 0x40
    path = tmp_path / "changed.wav"
    path.write_bytes(data)
    code, report = inspected(path)
    assert code == 1
    assert report["credentials"]["state"] == "changed"
    assert report["credentials"]["same_audio"] is False
    assert report["problems"] == ["The file was changed after it was signed: the audio was changed."]


def test_a_changed_tag_is_told_apart_from_changed_audio(files, tmp_path):
    path = tmp_path / "tagged.flac"
    path.write_bytes(files["flac"].read_bytes())
    tags = FLAC(path)
    tags["TITLE"] = "Another"
    tags.save()
    code, report = inspected(path)
    assert code == 1
    assert report["credentials"]["state"] == "changed"
    assert report["credentials"]["same_audio"] is True


def test_a_watermark_ends_no_later_than_the_audio(tmp_path, tune, generated, key):
    short = write_audio(tmp_path / "short.wav", tune[:, : 5 * RATE], RATE, generated, key=key).path
    (mark,) = inspected(short)[1]["watermarks"]
    assert 0 <= mark["start"] < mark["stop"] <= 5.0


def test_a_sidecar_of_other_audio_is_told(files, tmp_path, music, generated, key):
    other = write_audio(tmp_path / "other.ogg", music(seed=9), RATE, generated, key=key)
    other.sidecar.write_bytes(files["ogg"].with_suffix(".c2pa").read_bytes())
    assert inspected(other.path)[1]["credentials"]["state"] == "changed"
    other.sidecar.write_bytes(b"nonsense")
    assert inspected(other.path)[1]["credentials"]["state"] == "invalid"
    other.sidecar.unlink()
    code, report = inspected(other.path)
    assert (code, report["credentials"]["state"]) == (0, "absent")


def test_the_watermark_outlives_credentials_and_tags(files, tmp_path, generated):
    samples, rate = soundfile.read(files["flac"])
    soundfile.write(tmp_path / "stripped.mp3", samples, rate)
    code, report = inspected(tmp_path / "stripped.mp3")
    assert code == 0
    assert report["credentials"]["state"] == "absent"
    assert report["tags"] == {}
    assert [mark["payload"] for mark in report["watermarks"]] == [generated.digest[:12]]


def test_no_sign_of_an_origin_is_no_error(tmp_path, tune):
    soundfile.write(tmp_path / "plain.wav", tune.T, RATE)
    result = CliRunner().invoke(app, ["inspect", str(tmp_path / "plain.wav")])
    assert result.exit_code == 0
    assert "proves nothing" in result.stdout


@pytest.mark.parametrize("content", [b"", b"RIFF", b"fLaC", b"OggS", b"not audio at all", b"\0" * 100])
def test_what_is_no_audio_is_refused(tmp_path, content):
    path = tmp_path / "file.wav"
    path.write_bytes(content)
    result = CliRunner().invoke(app, ["inspect", str(path)])
    assert result.exit_code == 2
    assert "Error" in result.stderr


def test_a_folder_and_nothing_are_refused(tmp_path):
    assert CliRunner().invoke(app, ["inspect", str(tmp_path)]).exit_code == 2
    assert CliRunner().invoke(app, ["inspect", str(tmp_path / "none.wav")]).exit_code == 2


@settings(max_examples=30)
@given(st.data())
def test_no_damage_makes_a_traceback(files, tmp_path, data):
    ending = data.draw(st.sampled_from(["wav", "flac", "ogg"]))
    content = bytearray(files[ending].read_bytes())
    place = st.one_of(
        st.integers(0, 400), st.integers(0, len(content) - 1), st.integers(len(content) - 9_000, len(content) - 1)
    )
    for where in data.draw(st.lists(place, max_size=6)):
        content[where] = data.draw(st.integers(0, 255))
    path = tmp_path / f"damaged.{ending}"
    path.write_bytes(content[: data.draw(st.one_of(st.just(len(content)), place))])
    (tmp_path / "damaged.c2pa").write_bytes(data.draw(st.binary(max_size=60)))
    assert CliRunner().invoke(app, ["inspect", str(path)]).exit_code in (0, 1, 2)


def test_outside_the_region_every_number_stays(tmp_path, tune, repaired, key):
    before = tmp_path / "before.wav"
    soundfile.write(before, np.clip(9 * tune, -1, 1).T, RATE, subtype="PCM_16")
    samples = soundfile.read(before, dtype="float32", always_2d=True)[0].T
    region = (30_000, 30_000 + 6 * RATE)
    after = write_audio(
        tmp_path / "after.wav", samples, RATE, repaired, key=key, region=region, source=before, subtype="PCM_16"
    ).path
    old, new = (soundfile.read(path, dtype="int16")[0] for path in (before, after))
    assert np.array_equal(old[: region[0]], new[: region[0]])
    assert np.array_equal(old[region[1] :], new[region[1] :])
    assert not np.array_equal(old, new)
    report = inspected(after)[1]
    assert report["credentials"]["source_type"] == "compositeWithTrainedAlgorithmicMedia"
    assert [mark["payload"] for mark in report["watermarks"]] == [repaired.digest[:12]]


def test_a_short_region_gets_no_watermark(tmp_path, tune, repaired, key):
    written = write_audio(tmp_path / "a.wav", tune, RATE, repaired, key=key, region=(30_000, 40_000), subtype="FLOAT")
    assert not written.watermarked
    assert np.array_equal(soundfile.read(written.path, dtype="float32")[0], tune[0])
    assert inspected(written.path)[1]["watermarks"] == []


def test_output_may_be_the_input(files, tmp_path, tune, repaired, key):
    path = tmp_path / "same.flac"
    path.write_bytes(files["flac"].read_bytes())
    write_audio(path, tune, RATE, repaired, key=key, source=path)
    code, report = inspected(path)
    assert code == 0
    assert report["tags"]["title"] == "A reel"
    assert report["credentials"]["origin"]["operation"] == "repair"


@pytest.mark.parametrize("name", ["a.mp3", "a", "a.txt"])
def test_other_endings_are_refused(tmp_path, tune, generated, key, name):
    with pytest.raises(ConfigurationError, match=r"written|extension"):
        write_audio(tmp_path / name, tune, RATE, generated, key=key)
    assert list(tmp_path.glob("a*")) == []


def test_a_key_that_is_refused_leaves_nothing(tmp_path, tune, generated, key):
    path = tmp_path / "out" / "a.wav"
    with pytest.raises(ConfigurationError, match="signed"):
        write_audio(path, tune, RATE, generated, key=SigningKey("es256", b"no certificate", key.private))
    assert list(path.parent.iterdir()) == []


def test_numbers_that_are_no_audio_are_refused(tmp_path, tune, generated, key):
    for samples in (tune[0], np.zeros((1, 0), np.float32), np.full((1, 9), np.nan), np.zeros((1, 9), np.int16)):
        with pytest.raises(ValueError, match="Expected"):
            write_audio(tmp_path / "a.wav", samples, RATE, generated, key=key)


def test_the_own_key_is_the_owners_only_and_stays(tmp_path):
    folder = tmp_path / "keys"
    first, second = SigningKey.own(folder), SigningKey.own(folder)
    assert first == second
    assert stat.S_IMODE((folder / "signing.key").stat().st_mode) == 0o600
    assert "PRIVATE" not in repr(first)
    (folder / "signing.key").chmod(0o644)
    with pytest.raises(ConfigurationError, match="read by others"):
        SigningKey.own(folder)


def test_a_certificate_of_another_key_is_refused(tmp_path):
    for name in ("one", "two"):
        SigningKey.own(tmp_path / name)
    with pytest.raises(ConfigurationError, match="does not belong to the key"):
        SigningKey.load(tmp_path / "one" / "signing.key", tmp_path / "two" / "signing.pem")


@pytest.mark.parametrize(
    "fields",
    [
        {"operation": "Generate!"},
        {"operation": "generate", "release": "isles"},
        {"operation": "generate", "parameters": {"source": "/music/secret.wav"}},
        {"operation": "generate", "parameters": {"Bad name": 1}},
        {"operation": "generate", "parameters": {"text": "x" * 65}},
    ],
)
def test_an_origin_is_checked(fields):
    with pytest.raises(ValueError, match="Expected"):
        Origin(**fields)


@pytest.mark.parametrize("ending", ["wav", "mp3"])
def test_a_release_is_asked_for(files, tmp_path, monkeypatch, generated, ending):
    path = files["wav"]
    if ending == "mp3":  # only the watermark is left
        samples, rate = soundfile.read(path)
        path = tmp_path / "stripped.mp3"
        soundfile.write(path, samples, rate)
    monkeypatch.setattr("sottovoce.commands.inspect._digest", lambda release, key: generated.digest)
    assert inspected(path, "--release", tmp_path)[0] == 0
    monkeypatch.setattr("sottovoce.commands.inspect._digest", lambda release, key: "f" * 64)
    code, report = inspected(path, "--release", tmp_path)
    assert code == 1
    assert report["problems"] == ["Neither valid credentials nor the watermark name this release."]


def test_what_is_no_release_is_named(files, tmp_path):
    result = CliRunner().invoke(app, ["inspect", str(files["wav"]), "--release", str(tmp_path)])
    assert result.exit_code == 2
    assert "not a release" in result.stderr


def test_the_options_of_a_key_go_together(tmp_path):
    own = signing_key(None, None)
    assert signing_key(own_folder() / "signing.key", own_folder() / "signing.pem") == own
    with pytest.raises(ConfigurationError, match="together"):
        signing_key(tmp_path / "key.pem", None)
