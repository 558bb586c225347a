from __future__ import annotations

import ast
import importlib
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
PACKAGE = SOURCE / "tacit"
HEAVY = {
    "numpy", "scipy", "sklearn", "torch", "pyarrow", "polars", "pandas", "sqlalchemy", "cryptography", "dp_accounting", "jinja2", "rich",
}
MAY_PRINT = ("cli",)
HELP = """
import sys
sys.argv = ["tacit", "--help"]
from tacit.cli import main
try:
    code = main()
except SystemExit as stop:
    code = stop.code
"""
with_cli = pytest.mark.skipif(not (PACKAGE / "cli" / "__init__.py").exists(), reason="there is no command line yet")


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def packages() -> list[Path]:
    return sorted(path.parent for path in PACKAGE.rglob("__init__.py"))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def exported(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            return list(ast.literal_eval(node.value))
    return None


def run(program: str) -> str:
    environment = {"PYTHONPATH": str(SOURCE), "PATH": ""}
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment).stdout


def loaded_by(program: str) -> set[str]:
    marked = run(f"{program}\nimport sys\nprint('LOADED', *sys.modules)").partition("LOADED")[2]
    return {name.partition(".")[0] for name in marked.split()}


def test_the_top_package_is_small() -> None:
    names = exported(parse(PACKAGE / "__init__.py"))
    assert names is not None
    assert len(names) <= 15


def test_importing_tacit_is_light() -> None:
    assert not loaded_by("import tacit") & HEAVY


def test_the_probe_for_heavy_imports_sees_one() -> None:
    assert "numpy" in loaded_by("import numpy")


LAZY = ("tacit.federation", "tacit.federation.site", "tacit.federation.coordinator")


def test_the_faces_of_federations_load_nothing_until_they_are_asked() -> None:
    """A site's small commands run often: they import what they use."""
    program = "; ".join(f"import {name}" for name in LAZY)
    assert not loaded_by(program) & (HEAVY | {"numpy", "cryptography", "sqlalchemy"})
    loaded = run("from tacit.federation.site import SiteFolder, decisions\nimport sys\nprint(*sys.modules)").split()
    assert "tacit.guard" in loaded
    assert not {"tacit.learn", "tacit.models", "tacit.federation.agent"} & set(loaded)


@pytest.mark.parametrize("name", LAZY)
def test_a_lazy_face_shows_everything_it_lists_and_nothing_else(name: str) -> None:
    room = importlib.import_module(name)
    for shown in room.__all__:
        assert getattr(room, shown).__module__.startswith(f"{name}.")
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = room.Nothing


@pytest.mark.parametrize("package", packages(), ids=lambda path: path.name)
def test_every_package_shows_its_face(package: Path) -> None:
    tree = parse(package / "__init__.py")
    assert ast.get_docstring(tree), "a package says what it is for in its docstring"
    names = exported(tree)
    assert names, "a package lists what it offers in __all__"
    assert len(names) == len(set(names))


@pytest.mark.parametrize("package", packages(), ids=lambda path: path.name)
def test_no_package_is_empty(package: Path) -> None:
    size = sum(len(path.read_text(encoding="utf-8").split()) for path in package.rglob("*.py") if path.name != "__init__.py")
    assert size > 50, "a room that is not filled is not there yet"


def test_every_directory_with_code_is_a_package() -> None:
    homeless = {str(path.parent.relative_to(SOURCE)) for path in modules() if not (path.parent / "__init__.py").exists()}
    assert not homeless


UNSAFE_CALLS = {
    "pickle.load": "runs what it reads",
    "pickle.loads": "runs what it reads",
    "eval": "runs what it reads",
    "exec": "runs what it reads",
    "np.random.seed": "global seeding; pass the source of randomness",
    "numpy.random.seed": "global seeding; pass the source of randomness",
    "random.seed": "global seeding; pass the source of randomness",
}


def complaints(tree: ast.Module, *, may_print: bool = False) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            found.append(f"line {node.lineno}: assert vanishes under -O; raise from tacit.errors")
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append(f"line {node.lineno}: bare except")
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name == "print" and not may_print:
                found.append(f"line {node.lineno}: print outside the command line")
            if name in UNSAFE_CALLS:
                found.append(f"line {node.lineno}: {name}: {UNSAFE_CALLS[name]}")
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_source_does_not_assert_print_or_swallow(path: Path) -> None:
    found = complaints(parse(path), may_print=path.parent.name in MAY_PRINT)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("text", ["assert x", "try:\n  f()\nexcept:\n  g()", "print(x)", "pickle.loads(x)", "np.random.seed(0)"])
def test_the_rule_on_source_finds(text: str) -> None:
    assert complaints(ast.parse(text))


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_say_what_they_are(path: Path) -> None:
    assert ast.get_docstring(parse(path))


def seconds(program: str) -> float:
    began = time.perf_counter()
    run(program)
    return time.perf_counter() - began


@with_cli
def test_help_starts_fast() -> None:
    pairs = [(seconds(HELP), seconds("pass")) for _ in range(7)]
    ratio = statistics.median(slow for slow, _ in pairs) / statistics.median(bare for _, bare in pairs)
    assert ratio <= 8, f"tacit --help takes {ratio:.1f} times a bare start of Python; import heavy libraries inside commands"


@with_cli
def test_help_loads_nothing_heavy() -> None:
    assert not loaded_by(f"{HELP}\nif code: sys.exit(1)") & HEAVY
