import json
import shutil
import time

import pytest
import torch

STYLES = ("fugue", "reel", "tango")


@pytest.fixture
def pool(music, tmp_path):
    """A copy of the music that a test may add to."""
    return shutil.copytree(music, tmp_path / "pool")


def test_figures_are_those_of_the_single_files(sottovoce, release, music):
    files = sorted(path for path in music.rglob("*.*"))
    single = json.loads(sottovoce("classify", *files, "--release", release, "--json").stdout)
    matrix = [[0] * 3 for _ in STYLES]
    for file, answer in zip(files, single, strict=True):
        true = file.relative_to(music).parts[0]
        matrix[STYLES.index(true)][STYLES.index(answer["style"])] += 1
    figures = json.loads(sottovoce("evaluate", music, "--release", release, "--json").stdout)
    assert figures["confusion_matrix"] == matrix
    assert figures["tracks"] == 6
    assert figures["accuracy"] == pytest.approx(sum(matrix[i][i] for i in range(3)) / 6)
    assert set(figures["per_class"]) == set(STYLES)
    assert set(figures["per_class"]["reel"]) == {"precision", "recall", "f1", "support"}
    assert (figures["unusable"], figures["unknown_styles"]) == ([], {})


def test_tables_for_people(sottovoce, release, music, coordinator):
    result = sottovoce("evaluate", music, "--release", release, "--key", coordinator.public_key.hex())
    assert result.exit_code == 0
    assert "macro-F1" in result.stdout
    for heading in ("precision", "recall", "F1", "tracks", "recognised as"):
        assert heading in result.stdout
    for style in STYLES:
        assert result.stdout.count(style) == 2
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


def test_what_is_left_out_is_named(sottovoce, release, pool, unusable, tmp_path):
    for name in unusable:
        shutil.move(tmp_path / name, pool / "reel" / name)
    shutil.copytree(pool / "tango", pool / "polka")
    (pool / "stray.wav").write_bytes(b"")
    result = sottovoce("evaluate", pool, "--release", release)
    assert result.exit_code == 0
    assert "'polka' is not a style of the release (2 files)" in result.stderr
    for name, reason in unusable.items():
        assert any(f"reel/{name}" in line and reason in line for line in result.stderr.splitlines())
    figures = json.loads(sottovoce("evaluate", pool, "--release", release, "--json").stdout)
    assert figures["tracks"] == 6
    assert figures["unknown_styles"] == {"polka": 2}
    assert {each["file"] for each in figures["unusable"]} == {f"reel/{name}" for name in unusable}


def test_hidden_files_and_links_are_passed_over(sottovoce, release, pool):
    (pool / "reel" / ".DS_Store").write_bytes(b"x")
    (pool / ".cache").mkdir()
    (pool / ".cache" / "x.wav").write_bytes(b"x")
    (pool / "reel" / "again.wav").symlink_to(pool / "reel" / "d.wav")
    figures = json.loads(sottovoce("evaluate", pool, "--release", release, "--json").stdout)
    assert (figures["tracks"], figures["unusable"]) == (6, [])


def test_a_style_without_tracks_is_shown_and_does_not_count(sottovoce, release, pool):
    shutil.rmtree(pool / "tango")
    figures = json.loads(sottovoce("evaluate", pool, "--release", release, "--json").stdout)
    assert figures["per_class"]["tango"]["support"] == 0


@pytest.mark.parametrize("kind", ["empty", "only files", "unknown styles", "no folder", "a file"])
def test_nothing_to_measure(sottovoce, release, music, tmp_path, kind):
    place = tmp_path / "pool"
    if kind != "no folder":
        place.mkdir()
    if kind == "only files":
        shutil.copy(music / "fugue/a.wav", place)
    if kind == "unknown styles":
        shutil.copytree(music / "fugue", place / "polka")
    if kind == "a file":
        place = music / "fugue/a.wav"
    result = sottovoce("evaluate", place, "--release", release)
    assert result.exit_code == 2
    expected = {
        "empty": "holds no tracks in folders named after their styles",
        "only files": "holds no tracks in folders named after their styles",
        "unknown styles": "No track belongs to a style that the release knows",
        "no folder": "No such file or directory",
        "a file": "Not a directory",
    }
    assert expected[kind] in result.stderr
    assert result.stdout == ""


def test_nothing_usable_is_an_error(sottovoce, release, unusable, tmp_path):
    for name in unusable:
        (tmp_path / "pool/reel").mkdir(parents=True, exist_ok=True)
        shutil.move(tmp_path / name, tmp_path / "pool/reel" / name)
    result = sottovoce("evaluate", tmp_path / "pool", "--release", release)
    assert result.exit_code == 2
    assert "None of the tracks could be used." in result.stderr


def test_an_interruption_does_not_wait_for_the_other_files(sottovoce, release, pool, monkeypatch):
    for number in range(300):
        (pool / "reel" / f"{number}.wav").hardlink_to(pool / "reel" / "d.wav")
    asked = []

    def interrupted(_release, path):
        asked.append(path)
        time.sleep(0.1)
        raise KeyboardInterrupt

    monkeypatch.setattr("sottovoce.release.load.Release.probabilities", interrupted)
    result = sottovoce("evaluate", pool, "--release", release)
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "Interrupted."
    assert len(asked) < 300


def test_torchs_threads_are_given_back(sottovoce, release, music):
    before = torch.get_num_threads()
    sottovoce("evaluate", music, "--release", release)
    assert torch.get_num_threads() == before


def test_many_unusable_files_do_not_flood_the_terminal(sottovoce, release, pool):
    for number in range(30):
        (pool / "reel" / f"{number}.wav").write_bytes(b"")
    result = sottovoce("evaluate", pool, "--release", release)
    assert result.stderr.count("The file is empty.") == 20
    assert "10 more files" in result.stderr
