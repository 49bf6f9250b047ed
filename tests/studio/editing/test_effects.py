"""Each plain effect against what is known of a signal, whatever the blocks it comes in."""

import numpy as np
import pytest

from sottovoce.errors import ConfigurationError
from sottovoce.studio.editing.compressor import Compressor
from sottovoce.studio.editing.equaliser import Band, Equaliser
from sottovoce.studio.editing.levels import FadeIn, FadeOut, Gain, Trim
from sottovoce.studio.editing.time_pitch import FADE_SECONDS, OVERLAP_SECONDS, WINDOW_SECONDS, TimePitch

RATE = 22_050


def tone(frequency, seconds=2.0, rate=RATE, level=0.5, channels=1):
    wave = level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)
    return np.tile(wave[:, None], (1, channels))


def noise(seconds=2.0, channels=2):
    return 0.1 * np.random.default_rng(0).standard_normal((round(seconds * RATE), channels))


def run(effect, wave, rate=RATE, size=4096):
    before = wave.copy()
    blocks = list(effect.process((wave[i : i + size] for i in range(0, len(wave), size)), rate))
    assert np.array_equal(wave, before), "an effect changed its input in place"
    return np.concatenate(blocks)


def decibels(wave):
    return 20 * np.log10(np.sqrt(np.mean(np.square(wave))))


def pitch(wave, rate=RATE):
    """The frequency of the strongest partial, Hz."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 1 << 21))
    return spectrum.argmax() * rate / (1 << 21)


@pytest.mark.parametrize("db", [-20.0, -3.0, 0.0, 6.0])
def test_gain_is_in_decibels(db):
    wave = noise()
    assert decibels(run(Gain(db), wave)) - decibels(wave) == pytest.approx(db, abs=1e-9)


def test_fades_begin_and_end_in_silence_and_leave_the_rest():
    wave = np.ones((3 * RATE, 2))
    into, out = run(FadeIn(1.0), wave), run(FadeOut(1.0), wave)
    assert np.abs(into[0]).max() < 1e-6
    assert np.abs(out[-1]).max() < 1e-6
    assert np.array_equal(into[RATE:], wave[RATE:])
    assert np.array_equal(out[: 2 * RATE], wave[: 2 * RATE])
    assert (np.diff(into[:, 0]) >= 0).all()
    assert (np.diff(out[:, 0]) <= 0).all()
    assert into[RATE // 2, 0] == pytest.approx(0.5, abs=1e-3)


def test_audio_shorter_than_its_fade_ends_in_silence_all_the_same():
    assert np.abs(run(FadeOut(5.0), np.ones((RATE, 1)))[-1]).max() < 1e-6


def test_trim_keeps_the_very_samples():
    wave = noise(3.0)
    assert np.array_equal(run(Trim(0.5, 1.25), wave), wave[round(0.5 * RATE) : round(1.25 * RATE)])
    assert np.array_equal(run(Trim(2.5), wave), wave[round(2.5 * RATE) :])
    assert np.array_equal(run(Trim(1, 9), wave), wave[RATE:])
    with pytest.raises(ConfigurationError, match="no audio after 3 s"):
        run(Trim(3), wave)


@pytest.mark.parametrize(("gain", "q"), [(6.0, 1.0), (-12.0, 4.0)])
def test_the_equaliser_has_its_gain_at_its_frequency(gain, q):
    equaliser = Equaliser([Band(1000, gain, q)])
    for frequency, wanted in ((1000, gain), (50, 0.0), (9000, 0.0)):
        wave = tone(frequency, channels=2)
        settled = slice(RATE, None)
        change = decibels(run(equaliser, wave)[settled]) - decibels(wave[settled])
        assert change == pytest.approx(wanted, abs=0.01 if wanted else 0.5)


def test_bands_of_the_equaliser_add_up():
    wave = tone(500)
    both = run(Equaliser([Band(500, 4), Band(500, 3)]), wave)
    assert decibels(both[RATE:]) - decibels(wave[RATE:]) == pytest.approx(7, abs=0.01)


def test_a_band_beyond_half_the_sample_rate_is_refused():
    with pytest.raises(ConfigurationError, match="ends at"):
        run(Equaliser([Band(12_000, 3)]), noise())


@pytest.mark.parametrize(("level", "wanted"), [(0.0, -15.0), (-8.0, -17.0), (-40.0, -40.0)])
def test_the_compressor_follows_its_curve(level, wanted):
    wave = tone(1000, level=10 ** (level / 20), channels=2)
    peak = np.abs(run(Compressor(-20, 4), wave)[RATE:]).max()
    assert 20 * np.log10(peak) == pytest.approx(wanted, abs=0.1)


def test_the_compressor_holds_the_channels_together():
    wave = np.concatenate([tone(1000, level=1.0), tone(300, level=0.01)], axis=1)
    squeezed = run(Compressor(-20, 4), wave)[RATE:]
    assert squeezed[:, 1].std() / wave[RATE:, 1].std() == pytest.approx(10 ** (-15 / 20), rel=0.02)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 2.0])
def test_stretching_changes_the_length_and_not_the_pitch(factor):
    changed = run(TimePitch(factor), tone(440, seconds=4, channels=2))
    assert len(changed) == round(4 * RATE * factor)
    middle = changed[len(changed) // 4 : -len(changed) // 4, 0]
    assert abs(1200 * np.log2(pitch(middle) / 440)) < 5
    assert decibels(middle) == pytest.approx(decibels(tone(440)), abs=0.5)


@pytest.mark.parametrize("semitones", [-5, 3, 12])
def test_shifting_changes_the_pitch_and_not_the_length(semitones):
    changed = run(TimePitch(semitones=semitones), tone(440, seconds=4))
    assert len(changed) == 4 * RATE
    middle = changed[RATE:-RATE, 0]
    assert abs(1200 * np.log2(pitch(middle) / (440 * 2 ** (semitones / 12)))) < 10  # cents


def test_long_audio_is_stretched_without_a_seam():
    seconds = 2.5 * WINDOW_SECONDS
    changed = run(TimePitch(1.1), tone(440, seconds=seconds, rate=8_000), rate=8_000)[:, 0]
    assert len(changed) == round(seconds * 8_000 * 1.1)
    inner = changed[4_000:-4_000]
    loudness = np.sqrt(np.mean(inner[: len(inner) // 800 * 800].reshape(-1, 800) ** 2, axis=1))
    assert loudness.max() - loudness.min() < 0.01
    assert np.abs(np.diff(inner, 2)).max() < 1.1 * 0.5 * (2 * np.pi * 440 / 8_000) ** 2  # of the tone itself


@pytest.mark.parametrize("seed", range(2))
def test_windows_of_a_stretch_meet_without_a_click(unperiodic, assert_no_click, seed):
    rate, factor = 8_000, 1.1
    changed = run(TimePitch(factor), unperiodic(2.2 * WINDOW_SECONDS, rate, 2, seed), rate=rate)
    starts = [round(n * WINDOW_SECONDS * rate * factor) + round(OVERLAP_SECONDS * rate * factor / 2) for n in (1, 2)]
    assert_no_click(changed, [*starts, *(start + round(FADE_SECONDS * rate) for start in starts)])


def test_stretched_events_stay_in_their_places():
    wave = 1e-3 * noise(3 * WINDOW_SECONDS, channels=1)
    for second in range(5, 90, 10):
        wave[second * RATE : second * RATE + 200] += np.hanning(200)[:, None]
    changed = np.abs(run(TimePitch(0.8), wave)[:, 0])
    for second in range(5, 90, 10):
        around = round((second - 1) * 0.8 * RATE)
        found = around + changed[around : around + round(1.6 * RATE)].argmax()
        assert found / (0.8 * RATE) == pytest.approx(second, abs=0.03)


@pytest.mark.parametrize(
    "effect",
    [
        Gain(-3),
        FadeIn(0.7),
        FadeOut(0.7),
        Trim(0.1, 1.3),
        Equaliser([Band(300, 5, 2)]),
        Compressor(-30, 3),
        TimePitch(1.2, 2),
    ],
    ids=lambda effect: effect.name,
)
def test_blocks_of_any_length_give_the_same(effect):
    wave = noise()
    whole = run(effect, wave, size=len(wave))
    for size in (1_000, 77, 30_000):
        assert np.allclose(run(effect, wave, size=size), whole, atol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gain(float("nan")),
        lambda: Gain(200),
        lambda: FadeIn(0),
        lambda: FadeOut(31),
        lambda: Band(-1, 3),
        lambda: Band(100, 99),
        lambda: Band(100, 3, 0),
        lambda: Compressor(3, 2),
        lambda: Compressor(-3, 0.5),
        lambda: TimePitch(0.1),
        lambda: TimePitch(1, 40),
        lambda: TimePitch(float("nan")),
    ],
)
def test_values_that_make_no_sense_are_refused(make):
    with pytest.raises(ConfigurationError):
        make()
