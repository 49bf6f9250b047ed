import numpy as np
import pytest
import torch

from sottovoce.audio.reject_reason import RejectReason
from sottovoce.errors import AudioError, ConfigurationError
from sottovoce.features.extract import default_spec, extract, extract_file, summary_names
from sottovoce.features.normalisation import CLIP
from sottovoce.features.spec import FeatureSpec

RATE = 22_050


@pytest.fixture
def describe(raw_spec, as_audio, value):
    """`describe(wave, name)`: descriptors in their own units."""
    return lambda wave, name: value(extract(as_audio(wave), raw_spec), raw_spec, name)


def sine(hertz, seconds=4.0, level=0.3):
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def clicks(rate, seconds=4.0):
    """Short bursts of noise at this rate per second."""
    rng = np.random.default_rng(0)
    wave = 1e-4 * rng.standard_normal(round(seconds * RATE))
    for start in np.arange(0.1, seconds - 0.1, 1 / rate):
        first = round(start * RATE)
        wave[first : first + 600] += rng.standard_normal(600) * np.exp(-np.arange(600) / 150)
    return wave


def test_shapes_types_and_range(spec, music, as_audio):
    features = extract(as_audio(music(rate=RATE)), spec)
    assert features.summary.shape == (2, len(summary_names(spec)))
    assert features.summary.dtype == np.float32
    assert features.log_mel.shape == (2, spec.n_mels, spec.frames)
    assert features.log_mel.dtype == np.float16
    for view in spec.views:
        values = features.view(view)
        assert np.isfinite(values).all()
        assert np.abs(values).max() <= CLIP
        assert values.std() > 0.2


def test_names_are_unique_and_as_many_as_dimensions(spec):
    names = summary_names(spec)
    assert len(set(names)) == len(names)
    assert 250 <= len(names) <= 450
    assert summary_names(FeatureSpec(n_mels=16, segment_seconds=0.75)) == names


def test_the_same_audio_gives_the_same_numbers(spec, music, as_audio):
    audio = as_audio(music(rate=RATE))
    one, other = extract(audio, spec), extract(audio.clone(), spec)
    assert np.array_equal(one.summary, other.summary)
    assert np.array_equal(one.log_mel, other.log_mel)


def test_a_segment_does_not_depend_on_the_others(raw_spec, music, as_audio):
    """What a track's segments share is the loudness alone; here it is the same."""
    audio = as_audio(music(8.0, RATE))
    both = extract(torch.cat([audio[: raw_spec.segment_samples]] * 2), raw_spec)
    alone = extract(audio[: raw_spec.segment_samples], raw_spec)
    assert np.allclose(both.summary[0], both.summary[1], atol=1e-5)
    assert np.allclose(both.summary[:1], alone.summary, atol=1e-3)


def test_gain_changes_nothing(spec, music, as_audio):
    wave = music(rate=RATE)
    loud, soft = extract(as_audio(wave), spec), extract(as_audio(wave * 0.05), spec)
    assert np.abs(loud.summary - soft.summary).max() < 0.02
    assert np.abs(loud.log_mel.astype(np.float32) - soft.log_mel).max() < 0.02


def test_compression_evens_out_level(music, as_audio, value):
    wave = music(rate=RATE)
    wave[: len(wave) // 2] *= 0.1
    plain, even = FeatureSpec(), FeatureSpec(compress=True)
    column = summary_names(plain).index("rms.mean")
    heights = [np.ptp(extract(as_audio(wave), spec).summary[:, column]) for spec in (plain, even)]
    assert heights[1] < 0.7 * heights[0]


@pytest.mark.parametrize("rate", [16_000, 48_000, 96_000])
def test_the_files_sample_rate_hardly_matters(write, music, raw_spec, value, rate):
    """Descriptors of what every rate can carry: harmony and rhythm."""
    usual = extract_file(write(music(rate=44_100)), raw_spec)
    other = extract_file(write(music(rate=rate), rate=rate), raw_spec)
    for name, tolerance in (("chroma.mean", 0.03), ("quality", 0.03), ("onset.rate", 0.1), ("register.centre", 1.0)):
        assert np.abs(value(usual, raw_spec, name) - value(other, raw_spec, name)).max() < tolerance, name


@pytest.mark.parametrize("hertz", [440.0, 1500.0, 4000.0])
def test_a_sine_has_its_centroid_and_pitch(describe, hertz):
    assert describe(sine(hertz), "centroid.mean")[0] == pytest.approx(np.log2(hertz), abs=0.15)
    assert describe(sine(hertz), "centroid.std")[0] < 0.1


def test_a_sine_has_its_register_and_no_harmony(describe):
    chroma = describe(sine(440 * 2 ** (3 / 12)), "chroma.mean")  # C5
    assert chroma.argmax() == 0
    assert chroma[0] > 0.99
    assert describe(sine(440), "register.centre")[0] == pytest.approx(69 - 36, abs=0.1)
    assert describe(sine(440), "tuning")[0] == pytest.approx(0, abs=0.02)
    assert describe(sine(440 * 2 ** (0.3 / 12)), "tuning")[0] == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("rate", [1.0, 2.0, 4.0, 7.0])
def test_clicks_have_their_onset_rate(describe, rate):
    found = np.exp(describe(clicks(rate), "onset.rate")[0]) - 0.25
    assert found == pytest.approx(rate, rel=0.15)
    assert 2 ** describe(clicks(rate), "onset.gap")[0] == pytest.approx(1 / rate, rel=0.1)
    assert describe(clicks(rate), "onset.irregularity")[0] < 0.15


def test_clicks_move_their_band_of_modulation(describe):
    slow, fast = (describe(clicks(rate), "modulation.").reshape(6, 6).mean(axis=0) for rate in (1.5, 8.0))
    assert slow[1] > slow[0]
    assert (fast - slow).argmax() == np.searchsorted(0.5 * 2 ** (np.arange(7) / 1.25), 8.0) - 1


def test_the_scale_transform_hardly_knows_tempo_while_the_periods_do(describe):
    pattern = [clicks(rate) for rate in (2.0, 2.5)]
    moved = [np.linalg.norm(np.subtract(*(describe(wave, name) for wave in pattern))) for name in ("period.", "scale.")]
    assert moved[1] < moved[0]


def test_a_chord_has_its_chroma(describe):
    wave = sum(sine(440 * 2 ** ((pitch - 69) / 12), level=0.2) for pitch in (60, 64, 67))
    chroma = describe(wave, "chroma.mean")
    assert set(np.argsort(chroma)[-3:]) == {0, 4, 7}
    assert np.sort(chroma)[:-3].max() < 0.2


@pytest.mark.parametrize("steps", [1, -3, 5])
def test_transposition_leaves_what_knows_no_key(describe, music, steps):
    """Each descriptor moves less than a quarter as far as it does to another kind of harmony."""
    wave, moved = music(4.0, RATE), music(4.0, RATE, transpose=steps)
    rng = np.random.default_rng(3)
    chromatic = sum(sine(440 * 2 ** (pitch / 12), level=0.1) * (rng.random(4 * RATE) < 2) for pitch in (0, 1, 2, 6))
    for name in ("quality", "interval.", "succession.", "melody.", "chroma.entropy"):
        other = sine(440) if name == "chroma.entropy" else chromatic  # which has as many pitch classes
        here, there, elsewhere = (describe(each, name) for each in (wave, moved, other))
        assert np.linalg.norm(here - there) < 0.25 * np.linalg.norm(here - elsewhere), name
    assert np.linalg.norm(describe(wave, "chroma.mean") - describe(moved, "chroma.mean")) > 0.3


def test_noise_is_flat_and_a_sine_is_not(describe):
    noise = 0.1 * np.random.default_rng(0).standard_normal(4 * RATE)
    assert describe(noise, "flatness.mean")[0] > -0.5
    assert describe(sine(440), "flatness.mean")[0] < -2
    assert describe(noise, "contrast.mean").mean() < describe(sine(440), "contrast.mean").mean()


def test_digital_silence_between_notes_is_finite(raw_spec, as_audio):
    wave = np.zeros(9 * RATE)
    wave[100:2000] = sine(440, 1900 / RATE)
    features = extract(as_audio(wave), raw_spec)
    assert np.isfinite(features.summary).all()
    assert np.isfinite(features.log_mel.astype(np.float32)).all()


def test_a_long_track_gives_segments_spread_over_it(as_audio, raw_spec):
    wave = np.concatenate([sine(hertz, raw_spec.segment_seconds) for hertz in np.linspace(200, 2000, 90)])
    features = extract(as_audio(wave), raw_spec)
    assert len(features.summary) == raw_spec.max_segments
    centroid = features.summary[:, summary_names(raw_spec).index("centroid.mean")]
    assert (np.diff(centroid) > 0).all()
    assert 2 ** centroid[-1] == pytest.approx(2000, rel=0.05)


def test_overlapping_segments(as_audio):
    spec = FeatureSpec(hop_seconds=1.0)
    assert len(extract(as_audio(sine(440, 7.0)), spec).summary) == 4


def test_a_track_shorter_than_a_segment(spec, as_audio):
    with pytest.raises(AudioError, match="shorter than one segment") as caught:
        extract(as_audio(sine(440, 3.9)), spec)
    assert caught.value.reason is RejectReason.TOO_SHORT


def test_a_spec_of_another_version_is_refused(as_audio):
    with pytest.raises(ConfigurationError, match="version 99"):
        extract(as_audio(sine(440)), FeatureSpec(version=99))


def test_the_default_spec_names_what_is_shipped(spec):
    assert len(spec.normalisation) == 64
    assert spec is default_spec()
