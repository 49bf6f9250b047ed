"""What a user can get wrong about a simulation, and what is said: a message, a way out, an exit code, no traceback."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sottovoce.errors import CatalogueError, ConfigurationError
from sottovoce_simulations.engine.experiment import Experiment
from sottovoce_simulations.engine.label_dropouts import DropOuts, Moment
from sottovoce_simulations.engine.local_federation import Federation, label_name
from sottovoce_simulations.engine.partition import Scheme
from sottovoce_simulations.engine.simulation import simulate

AS_IS = Scheme.parse("as-is")


@pytest.fixture
def silence(tmp_path: Path) -> Path:
    """Catalogues of three labels that hold no audio."""
    for number in range(3):
        (tmp_path / "catalogues" / f"label-{number}" / "jazz").mkdir(parents=True)
    return tmp_path / "catalogues"


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("drop_out", 1.0, "drop_out=1.0"), ("drop_out", -0.1, "drop_out=-0.1"), ("seed", -1, "seed")],
)
def test_an_experiment_is_checked_at_birth(tmp_path, option, value, said):
    with pytest.raises(ConfigurationError, match=said):
        Experiment(tmp_path, AS_IS, **{option: value})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"family": "forest"}, "forest"),
        ({"task": "cooking"}, "cooking"),
        ({"epsilon": 0.0}, "epsilon=0.0"),
        ({"epsilon": float("nan")}, "epsilon=nan"),
        ({"delta": 1.0}, "delta=1.0"),
        ({"rounds": 0}, "rounds=0"),
        ({"ring_bits": 20}, "ring_bits=20"),
    ],
)
def test_a_configuration_is_checked_before_anything_runs(tmp_path, changes, said):
    with pytest.raises(ConfigurationError, match=said):
        simulate(Experiment(tmp_path, AS_IS, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_something_else_is_not_touched(tmp_path, silence):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="is not a simulation's results"):
        simulate(Experiment(silence, AS_IS), tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "mine"


def test_catalogues_without_audio_are_an_error_and_leave_nothing(tmp_path, silence):
    with pytest.raises(CatalogueError):
        simulate(Experiment(silence, AS_IS), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.glob(".run*"))


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(CatalogueError, match="not a folder"):
        simulate(Experiment(tmp_path / "nowhere", AS_IS), tmp_path / "run")


@pytest.mark.parametrize(
    ("folder", "name"),
    [("Blue Note", "blue-note"), ("ÄÖ Records", "records"), ("...", "label"), ("label-01", "label-01")],
)
def test_a_folders_name_becomes_a_labels(folder, name):
    assert label_name(Path(folder)) == name


def test_folders_with_one_name_become_different_labels(tmp_path):
    folders = [tmp_path / name for name in ("Blue Note", "blue note", "blue-note", "other")]
    federation = Federation.create(tmp_path / "homes", folders, tmp_path / "cache", Experiment(tmp_path, AS_IS))
    assert len({home.name for home in federation.homes}) == 4
    assert {folder for home in federation.homes for folder in home.catalogues} == set(folders)


def test_drop_outs_are_repeatable_and_as_frequent_as_asked():
    faults = DropOuts(0.3, seed=1)
    moments = [faults.moment(f"label-{label}", number) for label in range(50) for number in range(100)]
    assert moments == [DropOuts(0.3, seed=1).moment(f"label-{label}", n) for label in range(50) for n in range(100)]
    share = sum(moment is not None for moment in moments) / len(moments)
    assert share == pytest.approx(0.3, abs=0.03)
    assert set(moments) == {None, *Moment}


def test_nobody_vanishes_with_probability_zero():
    assert not any(DropOuts(0.0).moment("label", number) for number in range(1000))


def test_help_shows_examples():
    from sottovoce.cli import app

    shown = CliRunner().invoke(app, ["simulate", "--help"])
    assert shown.exit_code == 0
    assert "--drop-out" in shown.output
