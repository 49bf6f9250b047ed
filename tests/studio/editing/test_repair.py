import json

import numpy as np
import pytest
import soundfile

from sottovoce.studio.editing import linear_prediction
from sottovoce.studio.editing.exemplar import ExemplarRepairer
from sottovoce.studio.editing.interpolate import InterpolatingRepairer
from sottovoce.studio.editing.repairer import LpcRepairer


def snr(wanted, found):
    return 10 * np.log10(np.sum(wanted**2) / np.sum((wanted - found) ** 2))


@pytest.mark.parametrize("frames", [100, 2000, 8000])
def test_a_chord_is_continued_through_a_gap(chord, frames):
    wave = chord(2, 44_100)[:, 0] + 1e-4 * np.random.default_rng(0).standard_normal(88_200)
    found = linear_prediction.fill(wave[:30_000], wave[30_000 + frames :], frames)
    assert snr(wave[30_000 : 30_000 + frames], found) > 15


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("frames", [700, 4000])
@pytest.mark.parametrize("method", [LpcRepairer, ExemplarRepairer, InterpolatingRepairer])
def test_both_ends_of_a_gap_join_the_surroundings(unperiodic, assert_no_click, method, frames, seed):
    audio, start, stop = unperiodic(3, 22_050, 2, seed), 30_000, 30_000 + frames
    audio[start:stop] = method().fill(audio[:start], audio[stop:], frames, 22_050)
    assert_no_click(audio, [start, stop])


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [
        ("wav", "PCM_U8"),
        ("wav", "PCM_16"),
        ("wav", "PCM_24"),
        ("wav", "PCM_32"),
        ("wav", "FLOAT"),
        ("wav", "DOUBLE"),
        ("flac", "PCM_16"),
        ("flac", "PCM_24"),
    ],
)
@pytest.mark.parametrize(("channels", "rate"), [(1, 96_000), (2, 44_100), (8, 8_000)])
def test_outside_the_gap_every_sample_stays(chord, sottovoce, tmp_path, suffix, subtype, channels, rate):
    source, output = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    wave = chord(1, rate, channels)
    start, end = round(0.4 * rate), round(0.42 * rate)
    wave[start:end] = 0
    soundfile.write(source, wave, rate, subtype=subtype)
    result = sottovoce("edit", source, "--repair", "0.4:0.42", "-o", output)
    assert result.exit_code == 0, result.output
    kind = "float64" if subtype in ("FLOAT", "DOUBLE") else "int32"
    (before, _), (after, found_rate) = (soundfile.read(p, dtype=kind, always_2d=True) for p in (source, output))
    assert found_rate == rate
    assert soundfile.info(output).subtype == subtype
    assert np.array_equal(before[:start], after[:start])
    assert np.array_equal(before[end:], after[end:])
    assert np.abs(after[start:end]).max() > 0


@pytest.mark.parametrize("gap", ["0:0.05", "0.95:1", "0.9:7"])
def test_a_gap_at_an_edge_is_filled_from_the_other_side(chord, sottovoce, tmp_path, gap):
    source, output = tmp_path / "in.wav", tmp_path / "out.wav"
    soundfile.write(source, chord(1, 22_050), 22_050)
    assert sottovoce("edit", source, "--repair", gap, "-o", output).exit_code == 0
    assert soundfile.info(output).frames == 22_050


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        ("0:1", "whole file"),
        ("0:9", "whole file"),
        ("2:3", "after the end"),
        ("0.5:0.4", "does not end after"),
        ("nan:1", "finite"),
        ("0:inf", "finite"),
        ("-1:0.5", "before the file"),
        ("0:1e308", "finite"),
        ("abc", "not a time range"),
        ("1:2:3", "not a time range"),
        ("0.5:0.500001", "shorter than one sample"),
    ],
)
def test_a_gap_that_makes_no_sense_is_refused(chord, sottovoce, tmp_path, gap, words):
    source, output = tmp_path / "in.wav", tmp_path / "out.wav"
    soundfile.write(source, chord(1, 22_050), 22_050)
    result = sottovoce("edit", source, f"--repair={gap}", "-o", output)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


def test_the_input_is_never_written_to(chord, sottovoce, tmp_path):
    source = tmp_path / "in.wav"
    soundfile.write(source, chord(1, 22_050), 22_050)
    (tmp_path / "link.wav").symlink_to(source)
    content = source.read_bytes()
    for output in (source, tmp_path / "link.wav"):
        result = sottovoce("edit", source, "--repair", "0.4:0.5", "-o", output, "--force")
        assert result.exit_code == 2
        assert "input itself" in result.stderr
    assert source.read_bytes() == content


def test_an_unknown_extension_and_an_existing_output_are_refused(chord, sottovoce, tmp_path):
    source, output = tmp_path / "in.wav", tmp_path / "out.wav"
    soundfile.write(source, chord(1, 22_050), 22_050)
    output.write_bytes(b"mine")
    assert "exists" in sottovoce("edit", source, "--repair", "0.4:0.5", "-o", output).stderr
    assert output.read_bytes() == b"mine"
    assert ".xyz" in sottovoce("edit", source, "--repair", "0.4:0.5", "-o", tmp_path / "out.xyz").stderr


@pytest.mark.parametrize("loudness", [0, 9], ids=["silent", "clipped"])
def test_silent_and_clipped_audio_is_repaired_as_well(chord, sottovoce, tmp_path, loudness):
    wave = np.clip(loudness * chord(1, 22_050, 2), -1, 1)
    source, output = tmp_path / "in.wav", tmp_path / "out.wav"
    soundfile.write(source, wave, 22_050, subtype="PCM_16")
    assert sottovoce("edit", source, "--repair", "0.4:0.5", "--repair", "0.45:0.55", "-o", output).exit_code == 0
    before, after = soundfile.read(source)[0], soundfile.read(output)[0]
    assert np.array_equal(np.delete(before, slice(8_820, 12_128), 0), np.delete(after, slice(8_820, 12_128), 0))
    assert (np.abs(after).max() > 0) == (np.abs(before).max() > 0)


def test_drop_outs_are_found_and_rests_are_not(chord, sottovoce, tmp_path):
    source = tmp_path / "in.wav"
    wave = chord(6, 22_050, 2)
    wave[22_050:22_350] = 0  # a drop-out
    wave[44_100:55_125] *= np.linspace(1, 0, 11_025)[:, None] ** 4  # fades
    wave[55_125:66_150] = 0  # and rests
    wave[100_000:100_100, 1] = np.nan
    soundfile.write(source, wave, 22_050, subtype="FLOAT")
    result = sottovoce("edit", source, "--find-gaps")
    assert result.exit_code == 0
    assert result.stdout.split() == [
        f"{22_050 / 22_050:.6f}:{22_350 / 22_050:.6f}",
        f"{100_000 / 22_050:.6f}:{100_100 / 22_050:.6f}",
    ]
    mended = tmp_path / "out.wav"
    assert sottovoce("edit", source, "--find-gaps", "-o", mended).exit_code == 0
    assert np.isfinite(soundfile.read(mended)[0]).all()


def test_where_nothing_is_to_be_filled_nothing_is_written_and_that_is_told(chord, sottovoce, tmp_path):
    source, output = tmp_path / "in.wav", tmp_path / "out.wav"
    soundfile.write(source, chord(2, 22_050), 22_050)
    done = sottovoce("edit", source, "--find-gaps", "-o", output, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["output"] is None
    assert "not written" in done.stderr
    assert not output.exists()


def test_tags_are_kept(chord, sottovoce, tmp_path):
    from mutagen.flac import FLAC

    source, output = tmp_path / "in.flac", tmp_path / "out.flac"
    soundfile.write(source, chord(1, 22_050), 22_050)
    tagged = FLAC(source)
    tagged["title"] = "Air"
    tagged.save()
    assert sottovoce("edit", source, "--repair", "0.4:0.5", "-o", output).exit_code == 0
    assert FLAC(output)["title"] == ["Air"]
