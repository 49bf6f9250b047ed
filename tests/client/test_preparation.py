"""What a label brings to a run, from files on its disk."""

from dataclasses import replace
from itertools import count

import pytest

from sottovoce.errors import CatalogueError
from sottovoce_client.catalogue import Purpose, holdout
from sottovoce_client.catalogue.holdout import HELD_OUT_SHARE
from sottovoce_client.data.preparation import prepare, usable_tracks
from sottovoce_client.home.label_home import LabelHome
from sottovoce_simulations.synthesis import synthesise

TRACKS = 10


@pytest.fixture
def home_with_hold_out(tmp_path, config):
    """Makes a home whose key holds out this many of its tracks."""
    synthesise(tmp_path / "music", labels=1, tracks=TRACKS, seconds=(4, 4))
    (catalogue,) = (path for path in (tmp_path / "music").iterdir() if path.is_dir())

    def make(name, held_out):
        home = LabelHome.create(tmp_path / name, name=name, catalogues=[catalogue], split_key=b"any")
        tracks = usable_tracks(home, Purpose.STYLE, workers=1)
        keys = (number.to_bytes(8) for number in count())
        key = next(key for key in keys if len(holdout(tracks, HELD_OUT_SHARE, key=key).held_out) == held_out)
        home.split_key_file.chmod(0o600)
        home.split_key_file.write_bytes(key)
        return home, replace(config, classes=tuple(sorted({track.style for track in tracks})))

    return make


def test_tracks_are_on_one_side_of_the_hold_out(home_with_hold_out):
    prepared = prepare(*home_with_hold_out("some", 3))
    assert (len(prepared.train), len(prepared.holdout)) == (TRACKS - 3, 3)


def test_a_small_catalogue_may_hold_nothing_out(home_with_hold_out):
    prepared = prepare(*home_with_hold_out("none", 0))
    assert len(prepared.train) == TRACKS
    assert prepared.holdout is None


def test_with_nothing_to_train_on_a_label_takes_no_part_but_in_private_runs(home_with_hold_out):
    home, config = home_with_hold_out("half", 5)
    unknown = replace(config, classes=("no such style", "nor this"))
    with pytest.raises(CatalogueError, match="no tracks to train on"):
        prepare(home, replace(unknown, private=False))
    assert len(prepare(home, unknown).train) == 0
