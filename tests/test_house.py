"""Rules of the house, checked by reading every file: allowed imports, and forbidden constructs."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "sottovoce": ROOT / "shared" / "sottovoce",
    "sottovoce_client": ROOT / "client" / "sottovoce_client",
    "sottovoce_server": ROOT / "server" / "sottovoce_server",
    "sottovoce_simulations": ROOT / "simulations" / "sottovoce_simulations",
}
MAY_IMPORT = {
    "sottovoce": {"sottovoce"},
    "sottovoce_client": {"sottovoce", "sottovoce_client"},
    "sottovoce_server": {"sottovoce", "sottovoce_server"},
    "sottovoce_simulations": set(PACKAGES),
}
SPEAKS_FLOWER = re.compile(r"[\w]+/flower/|sottovoce_simulations/engine/|sottovoce_server/studio/ray_engine")
UNPICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
RUNS_CODE = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_CALLS = {
    "torch.load": "it unpickles",
    "torch.jit.load": "it runs what it finds",
    "numpy.load": "it may unpickle: use safetensors",
    "yaml.load": "it makes any object",
    "numpy.random.seed": "global state",
    "random.seed": "global state",
    "torch.manual_seed": "global state, allowed only inside torch.random.fork_rng",
    "os.system": "a shell",
}
LARGEST_FILE = 400
FILES = sorted(path for folder in PACKAGES.values() for path in folder.rglob("*.py"))


def name_of(path):
    return next(str(path.relative_to(folder.parent)) for folder in PACKAGES.values() if path.is_relative_to(folder))


def package_of(path):
    return name_of(path).partition("/")[0]


@cache
def tree_of(path):
    """Parsed once for all tests, none of which may change it."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def imported(tree):
    """Every module that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found.add(node.module)
    return found


def imported_packages(tree):
    return {module.partition(".")[0] for module in imported(tree)}


def without_types(path):
    """A file's tree without what only a type checker reads."""

    class Runtime(ast.NodeTransformer):
        def visit_If(self, node):
            return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    return Runtime().visit(ast.parse(path.read_text(encoding="utf-8")))


def calls(tree):
    """The dotted name of every call, with `import … as` undone, and the node."""
    real = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            real |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            real |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, _, rest = ast.unparse(node.func).partition(".")
            yield real.get(first, first) + (f".{rest}" if rest else ""), node


def forked(tree, call):
    """Whether a call stands in a block that gives torch's global generator back as it was."""
    return any(
        isinstance(node, ast.With)
        and any("fork_rng" in ast.unparse(item.context_expr) for item in node.items)
        and call in list(ast.walk(node))
        for node in ast.walk(tree)
    )


def problems(tree):
    for name, node in calls(tree):
        if name in RUNS_CODE:
            yield f"line {node.lineno}: {name} runs what it is given"
        if name == "print":
            yield f"line {node.lineno}: prints"
        if name in FORBIDDEN_CALLS and not (name == "torch.manual_seed" and forked(tree, node)):
            yield f"line {node.lineno}: {name}: {FORBIDDEN_CALLS[name]}"
        if any(keyword.arg == "shell" and ast.unparse(keyword.value) == "True" for keyword in node.keywords):
            yield f"line {node.lineno}: a shell"
    for module in imported(tree):
        if module.partition(".")[0] in UNPICKLES:
            yield f"imports {module}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield f"line {node.lineno}: assert vanishes under -O; raise an error instead"


def test_the_house_is_found():
    assert len(FILES) > 40
    assert {package_of(path) for path in FILES} == set(PACKAGES)


def test_a_package_imports_only_whom_it_may():
    for file in FILES:
        assert imported_packages(tree_of(file)) & set(PACKAGES) <= MAY_IMPORT[package_of(file)], name_of(file)


def test_client_and_server_never_import_each_other():
    others = {"sottovoce_client": "sottovoce_server", "sottovoce_server": "sottovoce_client"}
    for file in FILES:
        assert others.get(package_of(file)) not in imported_packages(tree_of(file)), name_of(file)


WITHOUT_TORCH = {
    "the registry": [
        "sottovoce_server.commands.registry",
        "sottovoce_server.commands.registry_serve",
        *sorted(
            ".".join(path.relative_to(PACKAGES["sottovoce_server"].parent).with_suffix("").parts)
            for path in (PACKAGES["sottovoce_server"] / "registry").glob("[!_]*.py")
        ),
    ],
    "the studio, but its workers": [
        "sottovoce_server.commands.studio",
        *sorted(
            ".".join(path.relative_to(PACKAGES["sottovoce_server"].parent).with_suffix("").parts)
            for path in (PACKAGES["sottovoce_server"] / "studio").glob("[!_]*.py")
            if path.stem not in ("work", "ray_engine")
        ),
    ],
    "a label that only signs": [
        "sottovoce_client.flower.deployed_label",
        "sottovoce_client.rounds.label",
        "sottovoce_client.rounds.cosign_check",
        "sottovoce.release.cosigning",
    ],
    "the program that prints its help": ["sottovoce.cli"],
}


@pytest.mark.parametrize("modules", WITHOUT_TORCH.values(), ids=WITHOUT_TORCH)
def test_what_needs_no_torch_imports_none(modules):
    code = (
        "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]; print('torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code, *modules], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False"]


def test_a_label_imports_torch_in_one_place_only():
    """Of what answers messages, only the trainer loads torch: what else is imported lazily must stay light."""
    label = PACKAGES["sottovoce_client"] / "rounds" / "label.py"
    inside = {
        node
        for function in ast.walk(tree_of(label))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom)
    }
    assert sorted(node.module for node in inside) == [
        "sottovoce.release.cosigning",
        "sottovoce_client.rounds.cosign_check",
        "sottovoce_client.rounds.trainer",
    ]


def speaks_flower(tree):
    return bool(imported_packages(tree) & {"flwr", "ray"})


def test_flower_is_spoken_at_the_edges_only():
    for file in FILES:
        may = SPEAKS_FLOWER.match(name_of(file))
        assert may or not speaks_flower(tree_of(file)) or not speaks_flower(without_types(file)), name_of(file)


def module_of(path):
    parts = Path(name_of(path)).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def arrows(path, modules):
    """Which of the house's modules a file imports, type checking and imports inside functions included."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if inside in modules else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def circle(graph):
    """Some modules that import each other in a circle, or None."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def test_no_modules_import_each_other_in_a_circle():
    modules = {module_of(path) for path in FILES}
    graph = {module_of(path): set(arrows(path, modules)) & modules - {module_of(path)} for path in FILES}
    assert circle(graph) is None


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) is not None


def test_no_file_does_what_none_may():
    assert {name_of(file): found for file in FILES if (found := list(problems(tree_of(file))))} == {}


def test_every_module_says_what_lives_in_it():
    assert [name_of(file) for file in FILES if not ast.get_docstring(tree_of(file))] == []


def test_files_are_small():
    sizes = {name_of(file): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert {name: size for name, size in sizes.items() if size > LARGEST_FILE} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_typed(package):
    assert (PACKAGES[package] / "py.typed").is_file()
    assert (PACKAGES[package] / "__init__.py").is_file()


def test_every_folder_of_modules_is_a_package():
    assert [name_of(path) for path in FILES if not (path.parent / "__init__.py").is_file()] == []


def test_tests_are_no_package():
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import pickle", "pickle"),
        ("from torch import load as get\nget('x')", "torch.load"),
        ("import torch as t\nt.manual_seed(1)", "torch.manual_seed"),
        ("import numpy as np\nnp.random.seed(1)", "numpy.random.seed"),
        ("assert 1", "assert"),
        ("eval('1')", "eval"),
        ("print(1)", "prints"),
        ("import subprocess\nsubprocess.run('ls', shell=True)", "a shell"),
    ],
)
def test_the_reader_finds_what_it_looks_for(source, found):
    assert any(found in problem for problem in problems(ast.parse(source)))


def test_a_forked_seed_is_no_problem():
    source = "import torch\nwith torch.random.fork_rng(devices=[]):\n    torch.manual_seed(1)\n"
    assert list(problems(ast.parse(source))) == []


def test_no_secret_lies_in_the_repository():
    suspicious = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
    for path in [*FILES, *(ROOT / "tests").rglob("*"), *(ROOT / "docs").rglob("*")]:
        if path.is_file():
            assert not suspicious.search(path.read_bytes()) or path == Path(__file__), path


def test_a_page_names_only_files_that_exist():
    pages = sorted((ROOT / "docs").rglob("*.md"))
    assert pages
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"`((?:tests|docs|benchmarks)/[\w/.-]+)`", text):
            assert (ROOT / name).exists(), (page.name, name)
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (page.parent / link).exists(), (page.name, link)
