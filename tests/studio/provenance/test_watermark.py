"""The watermark: its payload, what it leaves unchanged, its robustness, and its false positives."""

import hashlib
import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from sottovoce.studio.provenance.watermark.detect import THRESHOLD, find, periods, pilot_scores
from sottovoce.studio.provenance.watermark.embed import embed, embed_clearly
from sottovoce.studio.provenance.watermark.frames import resampled
from sottovoce.studio.provenance.watermark.pattern import pattern
from sottovoce.studio.provenance.watermark.payload import CODED_BITS, decode, encode

RATE = 22_050
PAYLOAD = bytes.fromhex("0123456789ab")


def found(samples, rate=RATE, **more):
    return [mark.payload for mark in find([samples], rate, **more)]


@pytest.fixture(scope="module")
def marked(tune):
    return embed(tune, RATE, PAYLOAD)


@pytest.fixture(scope="module")
def chance(tune):
    """Scores of music without a mark, under a thousand keys that it does not know: `[keys, shifts]`."""
    levels = sum(periods([tune], RATE))
    return np.array([pilot_scores(levels, pattern(b"key %d" % n)) for n in range(1_000)])


@given(st.binary(min_size=6, max_size=6), st.integers(0, 2**32 - 1))
def test_a_payload_is_read_through_errors(payload, seed):
    rng = np.random.default_rng(seed)
    soft = encode(payload) + rng.normal(scale=1.2, size=CODED_BITS)
    assert decode(soft) == payload


def test_noise_holds_no_payload():
    rng = np.random.default_rng(5)
    assert sum(decode(rng.normal(size=CODED_BITS)) is not None for _ in range(2_000)) <= 1


def test_the_pattern_never_changes():
    """Changing it makes earlier marks unreadable: then the key must change as well."""
    parts = pattern()
    raw = parts.signs.tobytes() + parts.pilots.astype("<i8").tobytes() + parts.data.astype("<i8").tobytes()
    assert hashlib.sha256(raw).hexdigest() == "7a48ea3aec1b0c43b572291281f490f209b6ec4c8b743e90ce21e142d7594737"


def test_it_is_read_back(marked):
    (mark,) = find([marked], RATE)
    assert mark.payload == PAYLOAD
    assert mark.score > 8


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 44_101, 48_000, 96_000])
def test_any_sample_rate(music, rate):
    assert found(embed(music(seconds=9, rate=rate), rate, PAYLOAD), rate) == [PAYLOAD]


@pytest.mark.parametrize("channels", [2, 8])
def test_any_number_of_channels(music, channels):
    samples = embed(music(channels=channels), RATE, PAYLOAD)
    assert found(samples) == [PAYLOAD]
    assert found(samples.mean(axis=0, keepdims=True)) == [PAYLOAD]


def test_opposite_channels_do_not_cancel_it(marked):
    assert found(np.concatenate([marked, -marked])) == [PAYLOAD]


@pytest.mark.parametrize("rate", [7_999, 0, 768_001])
def test_other_rates_are_refused(tune, rate):
    with pytest.raises(ValueError, match="rate"):
        embed(tune, rate, PAYLOAD)
    assert find([tune], rate) == []


def test_only_the_region_changes(tune):
    first, last = 40_000, 40_000 + 6 * RATE
    marked = embed(tune, RATE, PAYLOAD, region=(first, last))
    assert np.array_equal(marked[:, :first], tune[:, :first])
    assert np.array_equal(marked[:, last:], tune[:, last:])
    assert not np.array_equal(marked, tune)
    change = np.abs(marked - tune)
    assert change[:, first] < 1e-6
    assert change[:, last - 1] < 1e-6


def test_a_marked_part_of_a_long_file_is_found(music):
    samples = music(seconds=60)
    first, last = 30 * RATE, 50 * RATE
    marks = find([embed(samples, RATE, PAYLOAD, region=(first, last))], RATE)
    assert [mark.payload for mark in marks] == [PAYLOAD]
    assert 20 < marks[0].start < marks[0].stop < 60


def test_two_marks_in_one_file_are_both_found(music):
    samples = embed(music(seconds=60), RATE, PAYLOAD, region=(0, 28 * RATE))
    samples = embed(samples, RATE, PAYLOAD[::-1], region=(32 * RATE, 60 * RATE))
    assert set(found(samples)) == {PAYLOAD, PAYLOAD[::-1]}


def test_a_region_outside_is_refused(tune):
    with pytest.raises(ValueError, match="region"):
        embed(tune, RATE, PAYLOAD, region=(0, tune.shape[1] + 1))


def test_it_is_quiet(tune, marked):
    noise = marked - tune
    assert 10 * np.log10((tune**2).sum() / (noise**2).sum()) > 15
    assert np.abs(np.fft.rfft(noise[0]))[-1000:].max() < 1e-2 * np.abs(np.fft.rfft(noise[0])).max()


def test_blocks_do_not_matter(music):
    samples = music(seconds=50)
    pieces = [samples[:, start : start + 7_001] for start in range(0, samples.shape[1], 7_001)]
    whole, cut = np.concatenate([*periods([samples], RATE)]), np.concatenate([*periods(pieces, RATE)])
    assert np.array_equal(whole, cut)


def recoded(samples, kind, subtype):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples.T, RATE, format=kind, subtype=subtype)
    buffer.seek(0)
    return soundfile.read(buffer, always_2d=True)[0].T


def low_passed(samples):
    return resampled(resampled(samples.astype(float), RATE, 8_000), 8_000, RATE)


ATTACKS = {
    "shifted": lambda x, rng: x[:, 12_345:],
    "cropped": lambda x, rng: x[:, 2 * RATE : 10 * RATE],
    "louder": lambda x, rng: 1.9 * x,
    "quieter": lambda x, rng: 0.05 * x,
    "16 bit": lambda x, rng: np.round(x * 32_767) / 32_767,
    "noise": lambda x, rng: x + 10 ** (-25 / 20) * x.std() * rng.normal(size=x.shape),
    "low-passed": lambda x, rng: low_passed(x),
    "resampled": lambda x, rng: resampled(resampled(x.astype(float), RATE, 16_000), 16_000, RATE),
    "MP3": lambda x, rng: recoded(x, "MP3", "MPEG_LAYER_III"),
    "OGG": lambda x, rng: recoded(x, "OGG", "VORBIS"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_survives(marked, attack):
    assert found(ATTACKS[attack](marked, np.random.default_rng(2))) == [PAYLOAD]


def test_it_does_not_survive_stretching(marked):
    """Stated in docs/provenance.md; if a change makes it survive, change that page too."""
    assert found(resampled(marked.astype(float), 20, 21)) == []


def test_a_known_payload_is_found_in_fainter_traces(marked):
    faint = marked + 0.4 * marked.std() * np.random.default_rng(8).normal(size=marked.shape)
    assert found(faint) == []
    assert found(faint, expected=PAYLOAD) == [PAYLOAD]


def test_nothing_is_found_where_nothing_is(music):
    for seed in range(8):
        samples = music(seed=100 + seed)
        assert found(samples) == []
        assert found(samples, expected=PAYLOAD) == []


def test_scores_are_standard_normal_without_a_mark(chance):
    """The false-positive rate rests on this: over keys, the score of music that knows none of them."""
    scores = np.array([of_key[n % 205] for n, of_key in enumerate(chance)])
    assert kstest(scores, "norm").pvalue > 1e-3
    assert kstest(scores, "norm", args=(0, 1.3)).pvalue < 1e-3
    assert kstest(scores, "norm", args=(0, 0.77)).pvalue < 1e-3
    assert kstest(scores, "norm", args=(0.25, 1)).pvalue < 1e-3


def test_the_tail_is_no_heavier_than_the_normal_one(chance):
    assert (np.abs(chance) > 4).sum() < 3 * 6.3e-5 * chance.size
    assert np.abs(chance).max() < THRESHOLD + 0.6


def test_another_key_reads_nothing(marked):
    assert found(marked, key=b"another") == []


@pytest.mark.parametrize("samples", [np.zeros((1, 200_000)), np.zeros((2, 1))])
def test_audio_without_content(samples):
    assert found(samples.astype(np.float32)) == []
    marked, score = embed_clearly(samples.astype(np.float32), RATE, PAYLOAD)
    assert score == 0
    assert np.isfinite(marked).all()


def test_no_audio():
    assert find([], RATE) == []


@settings(max_examples=25)
@given(st.integers(1, 3), st.integers(1, 30_000), st.sampled_from([8_000, 22_050, 44_100]), st.integers(0, 99))
def test_any_shape_keeps_its_shape(channels, length, rate, seed):
    samples = np.random.default_rng(seed).uniform(-1, 1, size=(channels, length)).astype(np.float32)
    marked = embed(samples, rate, PAYLOAD)
    assert marked.shape == samples.shape
    assert marked.dtype == np.float32
    assert np.isfinite(marked).all()
    find([marked], rate)


def test_a_mark_is_not_taken_for_that_of_another_release(marked, music):
    """The pilot is the same in all marks, and must not count as evidence for a requested payload."""
    for other in (b"\xff" * 6, PAYLOAD[::-1], PAYLOAD[:3] + b"\0\0\0"):
        assert found(marked, expected=other) == [PAYLOAD]
        assert found(embed(music(seconds=5, seed=3), RATE, PAYLOAD, step_db=0.4), expected=other) in ([], [PAYLOAD])
