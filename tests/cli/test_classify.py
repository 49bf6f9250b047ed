import json
import os
import re
import shutil

import numpy as np
import pytest
import torch

from sottovoce.features.extract import default_spec, extract_file
from sottovoce.features.spec import View
from sottovoce.files import sha256_file
from sottovoce.models import discovery
from sottovoce.models.style._prediction import probabilities
from sottovoce.release.load import load
from sottovoce_client.data.feature_cache import FeatureCache


def answers(result):
    return json.loads(result.stdout)


def test_a_table_for_people(sottovoce, release, music, coordinator):
    result = sottovoce("classify", music / "reel/d.wav", "--release", release, "--key", coordinator.public_key.hex())
    assert result.exit_code == 0
    assert result.stderr == ""
    name, *rows = result.stdout.splitlines()
    assert name.endswith("reel/d.wav")
    shares = [float(row.split()[1].rstrip("%")) for row in rows]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.2)


def test_json_for_scripts(sottovoce, release, music):
    files = [music / "fugue/a.wav", music / "reel/c.ogg", music / "tango/f.flac"]
    found = answers(sottovoce("classify", *files, "--release", release, "--json"))
    assert [each["file"] for each in found] == [str(file) for file in files]
    for each in found:
        assert set(each["probabilities"]) == {"fugue", "reel", "tango"}
        assert sum(each["probabilities"].values()) == pytest.approx(1)
        assert each["style"] == max(each["probabilities"], key=each["probabilities"].get)


def test_the_segments_are_averaged_by_the_releases_own_constants(sottovoce, release, music):
    opened = load(release)
    file = music / "tango/f.flac"
    features = extract_file(file, opened.manifest.features, opened.constants).summary
    assert len(features) > 1
    with torch.inference_mode():
        each = opened.family.probabilities(opened.model(torch.from_numpy(features)))
    [found] = answers(sottovoce("classify", file, "--release", release, "--json"))
    assert list(found["probabilities"].values()) == pytest.approx(sorted(each.mean(dim=0).tolist(), reverse=True))


def test_what_a_label_has_in_its_cache_classifies_the_same(sottovoce, release, music, tmp_path):
    file, spec = music / "fugue/deep/er/b.flac", default_spec()
    cache = FeatureCache(tmp_path / "cache")
    digest = sha256_file(file)
    cache.features_of(file, digest, spec)
    stored = cache.get(digest, spec)
    assert stored is not None
    opened = load(release)
    expected = probabilities(discovery.family("style", "svm"), opened.model, np.array(stored.view(View.SUMMARY)))
    [found] = answers(sottovoce("classify", file, "--release", release, "--json"))
    assert found["probabilities"] == {
        style: float(expected[index])
        for index, style in sorted(enumerate(("fugue", "reel", "tango")), key=lambda p: -expected[p[0]])
    }


def test_top_limits_what_is_shown(sottovoce, release, music):
    result = sottovoce("classify", music / "fugue/a.wav", "--release", release, "--top", 1)
    assert len(result.stdout.splitlines()) == 2
    [found] = answers(sottovoce("classify", music / "fugue/a.wav", "--release", release, "--top", 1, "--json"))
    assert len(found["probabilities"]) == 3  # scripts get all


def test_one_bad_file_does_not_stop_the_others(sottovoce, release, music, unusable, tmp_path):
    bad = [tmp_path / name for name in unusable]
    result = sottovoce("classify", bad[0], music / "fugue/a.wav", *bad[1:], tmp_path / "gone.wav", "--release", release)
    assert result.exit_code == 1
    assert "a.wav" in result.stdout
    for name, reason in {**unusable, "gone.wav": "does not exist"}.items():
        assert any(name in line and reason in line for line in result.stderr.splitlines()), result.stderr
    assert result.stderr.splitlines()[-1] == "Error: 5 of 6 files could not be classified."


def test_bad_files_are_in_the_json_too(sottovoce, release, music, unusable, tmp_path):
    result = sottovoce("classify", tmp_path / "silent.wav", music / "fugue/a.wav", "--release", release, "--json")
    assert result.exit_code == 1
    bad, good = answers(result)
    assert bad == {"file": str(tmp_path / "silent.wav"), "error": "The audio is silent."}
    assert good["style"]


def test_a_pipe_is_not_waited_for(sottovoce, release, tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    result = sottovoce("classify", tmp_path / "pipe.wav", "--release", release)
    assert result.exit_code == 1
    assert "not a regular file" in result.stderr


def test_a_folder_is_not_a_file(sottovoce, release, music):
    result = sottovoce("classify", music, "--release", release)
    assert result.exit_code == 2
    assert "is a folder" in result.stderr
    assert "sottovoce evaluate" in result.stderr


def test_a_name_cannot_steer_the_terminal(sottovoce, release, music, tmp_path):
    odd = tmp_path / os.fsdecode(b"[red]\x1b[2J\xff.wav")
    shutil.copy(music / "fugue/a.wav", odd)
    result = sottovoce("classify", odd, "--release", release)
    assert result.exit_code == 0
    assert "[red]\\x1b[2J\\xff.wav" in result.stdout
    assert answers(sottovoce("classify", odd, "--release", release, "--json"))[0]["file"] == str(odd)


@pytest.mark.parametrize(
    ("release_is", "message"),
    [
        ("nowhere", "There is no such folder."),
        ("a file", "A release is a folder, not a file."),
        ("a folder", "This folder is not a release: it has no manifest.json."),
        ("damaged", "The release's model.safetensors is not the file that was signed."),
    ],
)
def test_a_release_that_cannot_be_used(sottovoce, release, music, tmp_path, release_is, message):
    place = tmp_path / "r"
    if release_is == "a file":
        place.write_text("x")
    elif release_is == "a folder":
        place.mkdir()
    elif release_is == "damaged":
        shutil.copytree(release, place)
        with (place / "model.safetensors").open("ab") as file:
            file.write(b"x")
    result = sottovoce("classify", music / "fugue/a.wav", "--release", place)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {place}: ")
    assert message in result.stderr or "larger than" in result.stderr
    assert result.stdout == ""


def test_a_key_that_does_not_fit_is_an_error(sottovoce, release, music):
    result = sottovoce("classify", music / "fugue/a.wav", "--release", release, "--key", "ab" * 32)
    assert result.exit_code == 2
    assert "another key than the one you trust" in result.stderr


def test_an_unpinned_release_comes_with_a_note(sottovoce, release, music):
    result = sottovoce("classify", music / "fugue/a.wav", "--release", release)
    assert result.exit_code == 0
    assert result.stderr.startswith("Note: the release's key is not confirmed")


def test_the_parts_of_a_track_are_shown_on_request(sottovoce, release, music):
    file = music / "tango/f.flac"
    [found] = answers(sottovoce("classify", file, "--release", release, "--over-time", "--json"))
    assert len(found["segments"]) > 1
    shown = sottovoce("classify", file, "--release", release, "--over-time").stdout
    for part in found["segments"]:
        style, _ = next(iter(part["probabilities"].items()))
        assert re.search(rf"{part['start']:.1f} to {part['end']:.1f} s .* {style}", shown)
