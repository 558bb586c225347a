from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
MAX_BODY_LINES = 60
MAX_FILE_LINES = 600
MAX_PARAMETERS = 6
MAX_POSITIONAL = 3

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Place(NamedTuple):
    name: str
    function: Function
    owner: ast.ClassDef | None


# Every name here is a promise broken on purpose; the value says why it has to be.
EXCEPTIONS: dict[str, str] = {
    "tacit.attacks.running.attack": "the one call: who is attacked with what, by whom and for how long; what is rarely changed is in its settings",
    "tacit.networks.step.private_step": "the order in which everybody who trains networks names these four: model, loss, optimiser, plan",
}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def functions_of(tree: ast.Module, module: str) -> Iterator[Place]:
    def walk(node: ast.AST, prefix: str, owner: ast.ClassDef | None) -> Iterator[Place]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Function):
                yield Place(f"{prefix}.{child.name}", child, owner)
                yield from walk(child, f"{prefix}.{child.name}", None)
            elif isinstance(child, ast.ClassDef):
                yield from walk(child, f"{prefix}.{child.name}", child)
            else:
                yield from walk(child, prefix, owner)

    yield from walk(tree, module, None)


def all_functions() -> Iterator[Place]:
    for path in modules():
        yield from functions_of(ast.parse(path.read_text(encoding="utf-8")), ".".join(path.relative_to(SOURCE).with_suffix("").parts))


def body_lines(function: Function) -> int:
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return 0 if not body else (body[-1].end_lineno or 0) - body[0].lineno + 1


def decorators(function: Function) -> set[str]:
    return {ast.unparse(item.func if isinstance(item, ast.Call) else item).rsplit(".", 1)[-1] for item in function.decorator_list}


def parameters(place: Place) -> tuple[int, int]:
    """How many parameters can be given by position, and how many there are; self and cls are not counted."""
    arguments = place.function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    bound = place.owner is not None and "staticmethod" not in decorators(place.function)
    named = len(positional) - bool(bound and positional)
    return named, named + len(arguments.kwonlyargs)


def is_command(place: Place) -> bool:
    """Whether the parameters are the options of a command line: click passes them all by keyword, and the command's page documents each."""
    return bool({"command", "group"} & decorators(place.function))


def is_estimator_constructor(place: Place) -> bool:
    """Whether the parameters are scikit-learn's interface: an estimator must take each setting as a keyword of __init__."""
    bases = " ".join(ast.unparse(base) for base in place.owner.bases) if place.owner else ""
    return place.function.name == "__init__" and any(word in bases for word in ("Estimator", "Classifier", "Regressor", "Mixin"))


def is_private(place: Place) -> bool:
    return any(part.startswith("_") and not part.startswith("__") for part in place.name.split("."))


def too_many(place: Place) -> str | None:
    positional, total = parameters(place)
    if is_command(place):
        return None
    if positional > MAX_POSITIONAL and not is_private(place):
        return f"{place.name}: {positional} positional parameters; at most {MAX_POSITIONAL}, the rest keyword-only"
    if total > MAX_PARAMETERS and not is_estimator_constructor(place):
        return f"{place.name}: {total} parameters; at most {MAX_PARAMETERS}"
    return None


def test_functions_are_short() -> None:
    long = [f"{place.name}: {lines} lines" for place in all_functions() if (lines := body_lines(place.function)) > MAX_BODY_LINES
            and place.name not in EXCEPTIONS]
    assert not long, f"a body has at most {MAX_BODY_LINES} lines without its docstring:\n" + "\n".join(long)


def test_files_are_short() -> None:
    long = [f"{path.relative_to(SOURCE)}: {lines} lines" for path in modules()
            if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_FILE_LINES]
    assert not long, f"a file has at most {MAX_FILE_LINES} lines:\n" + "\n".join(long)


def test_functions_take_few_parameters() -> None:
    wide = [message for place in all_functions() if place.name not in EXCEPTIONS and (message := too_many(place))]
    assert not wide, "\n".join(wide)


def test_exceptions_are_alive_and_justified() -> None:
    broken = {place.name for place in all_functions() if body_lines(place.function) > MAX_BODY_LINES or too_many(place)}
    assert set(EXCEPTIONS) <= broken, "these no longer need to be excused"
    assert all(len(reason) > 20 for reason in EXCEPTIONS.values())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("def f(a, b, c, d): ...", True),
        ("def f(a, b, c): ...", False),
        ("def _f(a, b, c, d): ...", False),
        ("def _f(a, b, c, d, e, f, g): ...", True),
        ("def f(a, *, b, c, d, e, g): ...", False),
        ("def f(a, *, b, c, d, e, g, h): ...", True),
        ("class C:\n  def f(self, a, b, c): ...", False),
        ("class C:\n  @staticmethod\n  def f(a, b, c, d): ...", True),
        ("class C(ClassifierMixin):\n  def __init__(self, *, a, b, c, d, e, f, g): ...", False),
        ("class C(ClassifierMixin):\n  def __init__(self, a, b, c, d): ...", True),
        ("@main.command()\ndef f(a, b, c, d, e, f, g): ...", False),
    ],
)
def test_the_parameter_rule_itself(text: str, complaint: bool) -> None:
    assert any(too_many(place) for place in functions_of(ast.parse(text), "m")) is complaint


def test_the_length_rule_itself() -> None:
    tree = ast.parse('def f():\n  """' + "\n" * 100 + '"""\n' + "  x = 1\n" * 61)
    assert body_lines(next(functions_of(tree, "m")).function) == 61
