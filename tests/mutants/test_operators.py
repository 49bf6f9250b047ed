"""The runner of mutants names what is there, and plants the faults that it is for."""

import importlib.util
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
SOURCE = '''
class Ring:
    def add(self, bits: int = 8) -> int:
        """A sum."""
        if bits < 4 or not self.open:
            raise ValueError(f"{bits + 1} bits")
        self.check(bits, strict=True)
        self.total = min(bits + 1, 9)
        return self.total
'''


def operators():
    spec = importlib.util.spec_from_file_location("mutant_operators", HERE / "operators.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_forgotten_check_call_and_bound_are_among_the_mutants():
    names = {mutant.name.rpartition(" | ")[2] for mutant in operators().mutants_of(SOURCE, "ring.py")}
    assert names == {
        "bits < 4 or not self.open -> False",
        "bits < 4 or not self.open -> True",
        "bits < 4 or not self.open -> not self.open",
        "bits < 4 or not self.open -> bits < 4",
        "bits < 4 -> bits <= 4",
        "4 -> 5",
        "not self.open -> self.open",
        "self.check(bits, strict=True) -> pass",
        "self.check(bits, strict=True) -> self.check(bits)",
        "self.total = min(bits + 1, 9) -> pass",
        "min(bits + 1, 9) -> bits + 1",
        "bits + 1 -> bits - 1",
        "1 -> 2",
        "9 -> 10",
    }


def test_a_mutant_differs_in_one_function_and_leaves_the_next_mutants_alone():
    source = SOURCE + SOURCE.replace("Ring", "Other")
    module = operators()
    original = module.functions_of(compile(source, "ring.py", "exec"))
    mutants = list(module.mutants_of(source, "ring.py"))
    assert len(mutants) == 28
    for mutant in mutants:
        assert {where for where, code in mutant.codes.items() if code != original[where]} == {mutant.function}


def test_which_functions_a_test_calls_is_noted_where_they_are():
    module, called = operators(), []
    codes = module.noting(SOURCE, "ring.py", "note")
    assert codes.keys() == module.functions_of(compile(SOURCE, "ring.py", "exec")).keys()
    space = {"note": called.append}
    exec(SOURCE, space)
    space["Ring"].add.__code__ = codes["Ring.add", 3]
    ring = SimpleNamespace(open=True, check=lambda *_, **__: None)
    assert (space["Ring"].add(ring), called) == (9, ["Ring.add"])


def test_targets_and_survivors_name_files_that_exist():
    targets = tomllib.loads((HERE / "targets.toml").read_text())
    survivors = tomllib.loads((HERE / "survivors.toml").read_text()).get("group", [])
    paths = {*targets, *(test for tests in targets.values() for test in tests)}
    assert not [path for path in paths if not (ROOT / path).exists()]
    assert {name.partition(" | ")[0] for group in survivors for name in group["mutants"]} <= set(targets)
    assert all(group["reason"] for group in survivors)
