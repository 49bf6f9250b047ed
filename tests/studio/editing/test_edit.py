"""`sottovoce edit` as a whole: any audio in, a finished file out or nothing; and what the file says of itself."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import soundfile
from mutagen.flac import FLAC
from mutagen.id3 import COMM, TIT2
from mutagen.wave import WAVE

from sottovoce.studio.editing.pipeline import Plan
from sottovoce.studio.editing.pipeline import edit as carry_out
from sottovoce.studio.editing.repairer import Repairer
from sottovoce.studio.provenance import finish
from sottovoce.studio.provenance.credentials import State
from sottovoce.studio.provenance.examination import examine
from sottovoce.studio.provenance.origin import Origin
from sottovoce.studio.provenance.signing_key import own_authorities
from sottovoce.studio.provenance.writer import write_audio

DIGEST = "fedcba9876543210" * 4


def examined(path):
    return examine(path, trusted=own_authorities())


def music(seconds, rate, seed=0):
    """Plucked chords over a hiss: enough for a watermark to hide in."""
    rng = np.random.default_rng(seed)
    wave = 0.004 * rng.standard_normal(round(seconds * rate))
    times = np.arange(2 * rate) / rate
    for start in range(0, len(wave) - len(times), rate // 4):
        f = 110 * 2 ** (rng.integers(0, 24) / 12)
        wave[start : start + len(times)] += 0.1 * sum(
            np.sin(2 * np.pi * f * k * times) * np.exp(-(1.5 + k / 2) * times) / k for k in range(1, 20)
        )
    return wave[:, None]


@pytest.fixture
def source(tmp_path, chord):
    path = tmp_path / "in.wav"
    soundfile.write(path, chord(2, 22_050, 2), 22_050, subtype="PCM_16")
    return path


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "aiff"])
@pytest.mark.parametrize(
    "options", [("--repair", "0.5:0.55"), ("--gain", "-3"), ("--pitch", "2", "--fade-out", "0.5")], ids=" ".join
)
def test_every_edited_file_says_so(sottovoce, tmp_path, source, suffix, options):
    output = tmp_path / f"out.{suffix}"
    done = sottovoce("edit", source, *options, "-o", output, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    report = examined(output)
    assert report.credentials.state == "trusted"
    assert report.credentials.source_type == report.tags["source_type"] == "algorithmicallyEnhanced"
    operations = [option[2:].replace("-", "_") for option in options[::2]]
    assert said["operations"] == operations
    assert report.credentials.origin.operation == (operations[0] if len(operations) == 1 else "edit")
    assert report.same_audio is (None if suffix == "ogg" else True)
    assert report.marks == []  # no release: nothing that the watermark could name
    assert (said["sidecar"] is not None) == (suffix in ("ogg", "aiff"))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        {"in.wav", output.name, *([Path(said["sidecar"]).name] if said["sidecar"] else [])}
    )


@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000])
@pytest.mark.parametrize("seconds", [0.01, 1])
def test_any_channels_rate_and_length_go_through_all_effects(sottovoce, tmp_path, chord, channels, rate, seconds):
    source, output = tmp_path / "in.wav", tmp_path / "out.wav"
    soundfile.write(source, chord(seconds, rate, channels), rate, subtype="PCM_24")
    options = ["--stretch", 1.5, "--pitch", 2, "--eq", "300:3", "--compress=-20:2", "--gain", 1]
    done = sottovoce("edit", source, *options, "--fade-in", 0.2, "--fade-out", 0.2, "-o", output)
    assert done.exit_code == 0, done.output
    info = soundfile.info(output)
    assert (info.channels, info.samplerate, info.subtype) == (channels, rate, "PCM_24")
    assert info.frames == round(round(seconds * rate) * 1.5)


def test_silence_stays_silent_and_what_is_too_loud_is_cut_and_told(sottovoce, tmp_path, chord):
    for loudness in (0, 9):
        source, output = tmp_path / f"in{loudness}.wav", tmp_path / f"out{loudness}.wav"
        soundfile.write(source, np.clip(loudness * chord(1, 22_050, 2), -1, 1), 22_050, subtype="PCM_16")
        done = sottovoce("edit", source, "--gain", 12, "-o", output, "--json")
        assert done.exit_code == 0, done.output
        before, after = soundfile.read(source)[0], soundfile.read(output)[0]
        assert np.array_equal(np.sign(before), np.sign(after)), "a sample wrapped around"
        cut = np.count_nonzero(np.abs(before * 10 ** (12 / 20)) > 1)
        assert json.loads(done.stdout)["limited"] == cut
        assert ("beyond full scale" in done.stderr) == (cut > 0)


def test_effects_come_in_the_documented_order(sottovoce, tmp_path, chord):
    source, one, other = (tmp_path / name for name in ("in.wav", "one.wav", "other.wav"))
    soundfile.write(source, chord(3, 22_050), 22_050, subtype="FLOAT")
    options = [["--trim", "0.5:2.5"], ["--eq", "220:6"], ["--compress=-20:4"], ["--gain", "-6"], ["--fade-in", "1"]]
    assert sottovoce("edit", source, *chain.from_iterable(options), "-o", one).exit_code == 0
    assert sottovoce("edit", source, *chain.from_iterable(options[::-1]), "-o", other).exit_code == 0
    assert np.array_equal(soundfile.read(one)[0], soundfile.read(other)[0])
    step = source
    for number, option in enumerate(options):
        after = tmp_path / f"step{number}.wav"
        assert sottovoce("edit", step, *option, "-o", after).exit_code == 0
        step = after
    assert np.allclose(soundfile.read(step)[0], soundfile.read(one)[0], atol=1e-6)


def test_the_originals_tags_and_comment_are_kept(sottovoce, tmp_path, source):
    flac = tmp_path / "in.flac"
    soundfile.write(flac, soundfile.read(source)[0], 22_050)
    tagged = FLAC(flac)
    tagged.update({"title": "Air", "date": "1998", "comment": "take 2", "custom": "field"})
    tagged.save()
    assert sottovoce("edit", flac, "--gain", -1, "-o", tmp_path / "out.flac").exit_code == 0
    found = FLAC(tmp_path / "out.flac")
    assert found["title"] == ["Air"]
    assert found["date"] == ["1998"]
    assert found["custom"] == ["field"]
    assert found["comment"] == ["Sottovoce: gain", "take 2"]
    assert sottovoce("edit", tmp_path / "out.flac", "--gain", 1, "-o", tmp_path / "again.flac").exit_code == 0
    assert FLAC(tmp_path / "again.flac")["comment"] == ["Sottovoce: gain", "take 2"]

    wave = WAVE(source)
    wave.add_tags()
    wave.tags.add(TIT2(encoding=3, text=["Air"]))
    wave.tags.add(COMM(encoding=3, lang="eng", desc="", text=["take 2"]))
    wave.save()
    assert sottovoce("edit", source, "--gain", -1, "-o", tmp_path / "out.wav").exit_code == 0
    tags = WAVE(tmp_path / "out.wav").tags
    assert str(tags["TIT2"]) == "Air"
    assert sorted(str(comment) for comment in tags.getall("COMM")) == ["Sottovoce: gain", "take 2"]


def test_what_a_model_made_says_so_after_an_edit_too(sottovoce, tmp_path):
    made, output = tmp_path / "made.flac", tmp_path / "out.flac"
    origin = Origin("generate", "isles", DIGEST)
    write_audio(made, music(13, 22_050).T.astype(np.float32), 22_050, origin)
    assert sottovoce("edit", made, "--gain", -3, "-o", output).exit_code == 0
    report = examined(output)
    assert report.credentials.source_type == report.tags["source_type"] == "compositeWithTrainedAlgorithmicMedia"
    assert [mark.payload.hex() for mark in report.marks] == [DIGEST[:12]]  # still there


class Halved:
    name = "denoise"

    def process(self, blocks, sample_rate):
        for block in blocks:
            yield block * 0.5


class Filled(Repairer):
    name = "model"
    context_seconds = 0.1

    def fill(self, before, after, frames, sample_rate):
        return music(frames / sample_rate + 0.1, sample_rate, seed=5)[:frames]


def test_what_a_release_changes_as_a_whole_is_watermarked(tmp_path):
    source, output = tmp_path / "in.flac", tmp_path / "out.flac"
    soundfile.write(source, music(25, 22_050), 22_050, subtype="PCM_24")
    plan = Plan(Origin("denoise", "isles", DIGEST, {"amount": 0.5}), learned=[Halved()], made=None)
    done = carry_out(source, output, plan)
    assert done.watermark > 5
    report = examined(output)
    assert [mark.payload.hex() for mark in report.marks] == [DIGEST[:12]]
    assert report.credentials.origin.digest == DIGEST
    assert report.credentials.source_type == "compositeWithTrainedAlgorithmicMedia"
    before, after = soundfile.read(source)[0], soundfile.read(output)[0]
    assert np.abs(after - before / 2).max() < 0.05
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.flac", "out.flac"]


@pytest.mark.parametrize("subtype", ["PCM_32", "DOUBLE"])  # the finest of each kind
def test_the_watermark_of_a_filled_gap_changes_nothing_outside_it(tmp_path, subtype):
    rate = 22_050
    source, output = tmp_path / "in.wav", tmp_path / "out.wav"
    soundfile.write(source, music(20, rate), rate, subtype=subtype)
    long, short = (4 * rate, 13 * rate), (17 * rate, 18 * rate)
    from sottovoce.studio.editing.gaps import Gap

    plan = Plan(Origin("repair", "isles", DIGEST), (Gap(*long), Gap(*short)), Filled(), made=[long, short])
    done = carry_out(source, output, plan)
    assert done.exact
    assert done.watermark > 5
    kind = "float64" if subtype in ("FLOAT", "DOUBLE") else "int32"
    before, after = (soundfile.read(path, dtype=kind)[0] for path in (source, output))
    inside = np.zeros(len(before), bool)
    for first, last in (long, short):
        inside[first:last] = True
    assert np.array_equal(before[~inside], after[~inside])
    filled = Filled().fill(None, None, rate, rate)[:, 0]
    scale = 1 if kind == "float64" else 2**31
    assert np.allclose(after[slice(*short)] / scale, filled, atol=2**-15)  # too short for a watermark
    assert [mark.payload.hex() for mark in examined(output).marks] == [DIGEST[:12]]


@pytest.mark.parametrize("suffix", ["wav", "ogg"])
def test_a_full_disk_leaves_nothing(sottovoce, tmp_path, source, monkeypatch, suffix):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for place in ("tags.write", "credentials.sign", "digest" if suffix == "wav" else "write_bytes"):
        with monkeypatch.context() as patched:
            target, name = (finish, place) if "." not in place else (getattr(finish, place.split(".")[0]), place[5:])
            name = place.split(".")[-1]
            patched.setattr(target, name, full)
            done = sottovoce("edit", source, "--gain", 1, "-o", tmp_path / f"out.{suffix}")
        assert done.exit_code == 1
        assert "disk is full" in done.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limits on files here")
def test_a_file_that_cannot_be_written_to_its_end_leaves_nothing(tmp_path, source):
    """The system refuses what is beyond a limit, as a full disk does."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536));"
        "from sottovoce.cli import main; sys.argv[0] = 'sottovoce'; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "edit", source, "--gain", "1", "-o", tmp_path / "out.wav"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (1, 2)
    assert "Error" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


def _long(path, seconds, rate=22_050):
    block = (0.1 * np.sin(np.arange(rate) * 440 * 2 * np.pi / rate)).astype(np.float32)
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as file:
        for _ in range(seconds):
            file.write(block)


@pytest.mark.slow
def test_ctrl_c_leaves_nothing(tmp_path, eventually):
    source = tmp_path / "in.wav"
    _long(source, 1800)
    process = subprocess.Popen(
        [sys.executable, "-m", "sottovoce", "edit", source, "--pitch", "1", "-o", tmp_path / "out.wav"],
        stderr=subprocess.PIPE,
        text=True,
    )
    eventually(
        lambda: any(path.is_dir() and any(path.iterdir()) for path in tmp_path.glob(".out.*")),
        "it writes",
        alive=lambda: process.poll() is None,
    )
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=600)
    assert process.returncode == 130, words
    assert "Interrupted" in words
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path):
    """A minute and then 10 minutes (212 MB as numbers twice over), through everything that streams."""
    # Not getrusage, whose peak begins with that of the process that started this one.
    code = (
        "import json, re, sys; from sottovoce.cli import app\n"
        "for arguments in json.loads(sys.argv[1]):\n"
        "    app(arguments, standalone_mode=False)\n"
        "    print('peak', int(re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1]) // 1024)"
    )
    edits = []
    for seconds in (60, 600):
        source, output = tmp_path / f"in{seconds}.wav", tmp_path / f"out{seconds}.wav"
        _long(source, seconds)
        options = ["--repair", "1:1.05", "--repair", f"{seconds - 9}:{seconds - 8.9}", "--eq", "300:2", "--gain=-1"]
        edits.append(["edit", str(source), *options, "--fade-out", "5", "-o", str(output), "--json"])
    as_users_have_it = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", code, json.dumps(edits)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=as_users_have_it)
    small, large = (int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("peak"))
    assert large - small < 100, f"{small} MB for a minute, {large} MB for ten"
    assert soundfile.info(output).frames == 600 * 22_050
    report = examined(output)
    assert report.credentials.state == "trusted"
    assert report.same_audio


@pytest.mark.parametrize("options", [("--repair", "0.5:0.55"), ("--gain", "-3")], ids=" ".join)
def test_a_wav_that_promises_more_than_there_is_is_named_by_its_digest(sottovoce, source, tmp_path, options):
    content = bytearray(source.read_bytes())
    content[4:8] = (len(content) + 100_000).to_bytes(4, "little")
    source.write_bytes(content)
    output = tmp_path / "out.wav"
    result = sottovoce("edit", source, *options, "-o", output)
    assert result.exit_code == 0, result.output
    found = examined(output).credentials
    assert found.state is State.TRUSTED
    assert found.origin.operation == options[0].strip("-")
    said = sottovoce("inspect", output, "--json")
    assert said.exit_code == 0, said.output


def test_a_trim_beyond_any_file_keeps_what_there_is(sottovoce, source, tmp_path):
    assert sottovoce("edit", source, "--trim", "1:1e308", "-o", tmp_path / "out.wav").exit_code == 0
    assert soundfile.info(tmp_path / "out.wav").frames == 22_050
    refused = sottovoce("edit", source, "--trim", "1e308:", "-o", tmp_path / "none.wav")
    assert refused.exit_code == 2
    assert "starts before the audio" in " ".join(refused.stderr.split())
