"""What docs/protocol.md says of the model is enough to follow a run to the bit."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from sottovoce.run.global_model import GlobalModel
from sottovoce.run.round_sum import RoundSum

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "run"))
import independent_model
from followed_paths import KINDS, LABELS, RUN, SIZE, config_of, first_parameters, sum_of


def test_it_imports_nothing_of_ours() -> None:
    text = Path(independent_model.__file__).read_text()
    assert "sottovoce." not in text
    assert "import sottovoce" not in text


@pytest.mark.parametrize("kind", KINDS)
def test_an_independent_model_follows_to_the_same_bits(kind: str) -> None:
    config = config_of(**KINDS[kind])
    ours = GlobalModel.start(config, run=RUN, labels=LABELS, trainable=np.ones(SIZE, bool), first=first_parameters())
    theirs = independent_model.Model(json.loads(config.to_bytes()), RUN, LABELS, first_parameters())
    for number in (1, 2, 3, 4):
        total = RoundSum.aborted(3, ours.ring) if number == 3 else sum_of(config, ours.coordinates, number)
        ours.follow(total)
        theirs.follow(total.to_bytes(ours.ring))
        assert theirs.digest() == ours.digest.hex()
