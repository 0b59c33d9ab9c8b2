"""The house stands: arrows between rooms point down, nothing goes in circles, and each room keeps to its task."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "dsdcli"

# What each room may know, besides itself.
_BASE = {"errors", "files", "moves", "device", "ranks", "record", "threads"}
MAY_KNOW = {
    "errors": set(),
    "moves": {"errors"},
    "files": {"errors", "moves"},
    "device": {"errors"},
    "ranks": {"errors"},
    "record": {"errors"},
    "threads": set(),
    "process": {"errors", "ranks"},
    "data": {"errors", "files", "device"},
    "network": {"errors", "ranks", "files", "data", "process"},
    "sampling": {"errors", "ranks", "threads", "data", "process", "network"},
    "training": _BASE | {"data", "process", "network"},
    "flow": {"errors"},
    "evaluation": _BASE | {"data", "flow"},
    "view": _BASE | {"data", "flow", "evaluation"},
    "doctor": {"errors", "device", "network"},
    "pipeline": _BASE | {"data", "process", "network", "sampling", "training", "flow", "evaluation", "view"},
    "cli": {"errors", "files", "ranks", "data", "view", "doctor", "pipeline"},
}
# Importing these takes long, so that they may be imported where they are used.
HEAVY = {
    "dask",
    "h5py",
    "matplotlib",
    "numpy",
    "packaging",
    "PIL",
    "porespy",
    "safetensors",
    "scipy",
    "skimage",
    "taufactor",
    "torch",
}


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(name):
    """(module, whether inside a function) of everything that a module imports."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: imports are written out"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module, id(node) in inside


IMPORTS = {name: list(imports(name)) for name in MODULES}


def room(name):
    return name.split(".")[1]


def test_there_are_modules_to_look_at():
    assert len(MODULES) > 80
    assert {room(name) for name in MODULES if name not in ("dsdcli", "dsdcli.__main__")} == set(MAY_KNOW)


@pytest.mark.parametrize("name", [n for n in MODULES if n not in ("dsdcli", "dsdcli.__main__")])
def test_arrows_point_down(name):
    ours = room(name)
    for other, _ in IMPORTS[name]:
        if other.startswith("dsdcli."):
            assert room(other) == ours or room(other) in MAY_KNOW[ours], f"{name} must not know {other}"


def test_no_circles():
    """Not even by imports inside of functions. The facade, which names all and has the version, is left out."""
    edges = {
        n: {o for o, _ in found if o in MODULES and o != "dsdcli"} for n, found in IMPORTS.items() if n != "dsdcli"
    }
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path, name])
        if name not in done:
            path.append(name)
            for other in sorted(edges.get(name, ())):
                visit(other)
            done.add(path.pop())

    for name in edges:
        visit(name)


def heavy(name, seen=frozenset()):
    """Whether importing a module loads something heavy."""
    if name.split(".")[0] in HEAVY:
        return True
    others = {other for other, inside in IMPORTS.get(name, ()) if not inside}
    return any(heavy(other, seen | {name}) for other in others - seen)


def test_only_what_is_heavy_is_imported_inside_functions():
    late = [(name, other) for name, found in IMPORTS.items() for other, inside in found if inside]
    assert len(late) > 20
    for name, other in late:
        if other in MODULES:
            assert heavy(other), f"{name} imports {other}, which is light: write it at the top"


def test_only_commands_speak_of_options():
    """In strings, that is: comments and docstrings may mention the command."""
    found = []
    for name, path in MODULES.items():
        if name.startswith("dsdcli.cli"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        statements = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
        documents = {id(value) for value in statements if isinstance(value, ast.Constant)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
                words = re.findall(r"(?<![\w-])--[a-z][\w-]*", node.value)
                found += [(name, word) for word in words if word != "--force-reinstall"]  # an option of pip
    assert not found


def test_messages_name_parameters_and_commands_show_options():
    from dsdcli.cli.options import as_options

    for message, shown in {
        "`holdout=0.2` must": "--holdout 0.2 must",
        "leave `axes` out": "leave --axes out",
        "say `axes='t'` if": "say --axes t if",
        "`resume=True` keeps": "--resume keeps",
        "give `shape=(Z, Y, X)` and `dtype`": "give --shape ZxYxX and --dtype",
        "by `phases={'NAME': LABEL}`": "by --phase NAME=LABEL",
        "`plane=z:120`: it": "--slice z:120: it",
        "`skip_bad=True`": "--skip-bad",
    }.items():
        assert as_options(message) == shown


@pytest.mark.parametrize("name", MODULES)
def test_no_file_is_longer_than_300_lines(name):
    assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= 300


UNPICKLING = {"cloudpickle", "dill", "joblib", "marshal", "pandas", "pickle", "shelve"}


@pytest.mark.parametrize("name", MODULES)
def test_no_file_is_ever_unpickled(name):
    """Nor anything that ranks send each other."""
    assert not {module.split(".")[0] for module, _ in IMPORTS[name]} & UNPICKLING
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called, words = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
            assert called != "torch.load"
            assert not re.search(r"_object(_list)?$", called), f"{called} pickles"
            assert words.get("allow_pickle", "False") == "False"  # as NumPy has it by default


def test_importing_the_package_loads_nothing_but_itself():
    script = "import sys; before = set(sys.modules); import dsdcli; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert [name for name in done.stdout.split() if name.split(".")[0] not in sys.stdlib_module_names] == ["dsdcli"]


def test_the_api_is_complete():
    import dsdcli

    for name in dsdcli.__all__:
        assert getattr(dsdcli, name).__doc__
    assert set(dsdcli.__all__) <= set(dir(dsdcli))
    assert (PACKAGE / "py.typed").is_file()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        dsdcli.nothing  # noqa: B018
