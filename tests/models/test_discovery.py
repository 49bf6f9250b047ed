import subprocess
import sys

import pytest

from sottovoce.errors import ConfigurationError
from sottovoce.models import discovery


def test_names_are_found():
    assert {"editor", "generator", "style"} <= set(discovery.tasks())
    assert {"cnn", "rnn", "svm"} <= set(discovery.families("style"))


@pytest.mark.parametrize("name", discovery.families("style"))
def test_a_family_is_what_it_is_called(name):
    family = discovery.family("style", name)
    assert (family.task, family.name) == ("style", name)


def test_a_task_is_what_it_is_called():
    assert discovery.task("style").name == "style"


@pytest.mark.parametrize("name", ["", "tabla", "task", "..", "../style"])
def test_an_unknown_family_is_refused_with_the_known_ones(name):
    with pytest.raises(ConfigurationError, match="Unknown family") as caught:
        discovery.family("style", name)
    assert caught.value.hint == f"Known: {', '.join(discovery.families('style'))}."


def test_an_unknown_task_is_refused_with_the_known_ones():
    for ask in (discovery.task, discovery.families, lambda name: discovery.family(name, "svm")):
        with pytest.raises(ConfigurationError, match="Unknown task: 'mixing'") as caught:
            ask("mixing")
        assert caught.value.hint == f"Known: {', '.join(discovery.tasks())}."


def test_listing_names_imports_no_torch():
    code = (
        "import sys; from sottovoce.models import discovery; discovery.families(discovery.tasks()[0]);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
