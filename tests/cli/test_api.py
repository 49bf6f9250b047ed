"""The face for Python: what a notebook or a service would write."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

import sottovoce
from sottovoce.errors import AudioError, ConfigurationError, ReleaseError
from sottovoce.release.manifest import Noise
from sottovoce.studio.provenance.credentials import read as read_credentials
from sottovoce_simulations.engine import python_face

RATE = 22_050


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """Twenty seconds of noise whose colour changes."""
    path = tmp_path_factory.mktemp("song") / "song.wav"
    audio = np.cumsum(np.random.default_rng(1).normal(size=20 * RATE)) % 1 - 0.5
    soundfile.write(path, 0.3 * audio, RATE)
    return path


def test_importing_the_package_loads_no_torch():
    code = "import sottovoce, sys; sottovoce.load, sottovoce.edit; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_name_of_the_face_is_there():
    assert all(getattr(sottovoce, name) is not None for name in sottovoce.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = sottovoce.lode


def test_a_model_says_its_styles_its_privacy_and_who_vouched(release, coordinator):
    model = sottovoce.load(release, key=coordinator.public_key)
    assert model.vouched
    assert not sottovoce.load(release).vouched
    assert model.styles == model.manifest.classes
    assert model.privacy.noise is Noise.SYSTEM
    assert model.privacy.promises[0].epsilon == 8.0


def test_the_parts_of_a_track_average_to_the_whole(release, song):
    model = sottovoce.load(release)
    whole, parts = model.classify(song), model.classify(song, over_time=True)
    assert whole.segments == ()
    spec = model.manifest.features
    assert [part.start for part in parts.segments] == [n * spec.hop_seconds for n in range(len(parts.segments))]
    assert parts.segments[-1].end == pytest.approx(20.0, abs=spec.hop_seconds)
    for style, probability in whole.probabilities.items():
        found = np.mean([part.probabilities[style] for part in parts.segments])
        assert parts.probabilities[style] == pytest.approx(probability, abs=1e-6)
        assert found == pytest.approx(probability, abs=1e-6)


def test_another_key_is_refused(release):
    with pytest.raises(ReleaseError, match="another key"):
        sottovoce.load(release, key=bytes(32))


def test_a_model_classifies_as_the_command_line_does(release, song):
    model = sottovoce.load(release)
    answer = model.classify(song)
    assert dict(zip(model.styles, map(float, model.release.probabilities(song)), strict=True)) == answer.probabilities
    assert answer.style == max(answer.probabilities, key=answer.probabilities.get) == next(iter(answer.probabilities))
    with pytest.raises(ReleaseError, match="generator"):
        model.generate(model.styles[0])
    with pytest.raises(AudioError):
        model.classify(song.with_name("absent.wav"))


def test_generated_music_is_saved_with_what_made_it(maker, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))  # signing keys of the test
    model = sottovoce.load(maker)
    piece = model.generate("reel", seconds=1.5, seed=7)
    assert piece.seconds == pytest.approx(1.5, abs=1 / RATE)
    np.testing.assert_array_equal(model.generate("reel", seconds=1.5, seed=7).samples, piece.samples)
    assert not np.array_equal(model.generate("reel", seconds=1.5).samples, piece.samples)
    piece.save(tmp_path / "reel.flac")
    credentials = read_credentials(tmp_path / "reel.flac")
    assert (credentials.origin.digest, credentials.origin.parameters["seed"]) == (model.release.digest, 7)


def test_a_file_is_edited_without_a_model(song, tmp_path):
    result = sottovoce.edit(song, tmp_path / "short.wav", trim=(1, 5), gain=-6)
    assert result.operations == ("trim", "gain")
    assert result.seconds == soundfile.info(tmp_path / "short.wav").duration == 4
    quiet, _ = soundfile.read(tmp_path / "short.wav")
    loud, _ = soundfile.read(song, start=RATE, stop=5 * RATE)
    np.testing.assert_allclose(quiet, loud * 10 ** (-6 / 20), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Nothing to do"),
        ({"method": "magic", "find_gaps": True}, "Unknown method"),
        ({"denoise": 0.5}, "needs a release"),
    ],
)
def test_an_edit_that_cannot_be_done_is_refused_before_anything_is_written(song, tmp_path, options, message):
    with pytest.raises(ConfigurationError, match=message):
        sottovoce.edit(song, tmp_path / "out.wav", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_source_is_never_written_over(song):
    before = song.read_bytes()
    with pytest.raises(ConfigurationError, match="input itself"):
        sottovoce.edit(song, song, gain=1)
    assert song.read_bytes() == before


def test_a_misspelt_option_of_a_simulation_is_named_with_the_right_one(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        sottovoce.simulate(tmp_path, tmp_path / "out", epsilom=4)
    assert "epsilom" in caught.value.message
    assert "'epsilon'" in caught.value.hint


def test_options_given_as_text_become_the_experiments_values(tmp_path, monkeypatch):
    seen = {}

    def run(experiment, folder, *, cpus):
        seen.update(experiment=experiment, folder=folder, cpus=cpus)
        return {"configuration": {}, "figures": {"macro_f1": 0.5, "release": "nowhere"}, "rounds": [{"round": 1}]}

    monkeypatch.setattr(python_face, "run", run)
    found = sottovoce.simulate(
        tmp_path, tmp_path / "out", noise="distributed", partition="dirichlet:0.5", clients=4, cpus=1
    )
    assert (seen["experiment"].noise.value, str(seen["experiment"].scheme)) == ("distributed", "dirichlet:0.5")
    assert (seen["experiment"].clients, seen["folder"], seen["cpus"]) == (4, tmp_path / "out", 1)
    assert (found.metrics["macro_f1"], found.rounds[0]["round"], found.folder) == (0.5, 1, tmp_path / "out")
