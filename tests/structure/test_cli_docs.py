from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "cli.md"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cli_reference", REPOSITORY / "scripts" / "cli_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    return script()


@pytest.fixture(scope="module")
def root(reference: ModuleType) -> click.Command:
    if not (REPOSITORY / "src" / "tacit" / "cli" / "__init__.py").exists():
        pytest.skip("there is no command line yet")
    command: click.Command = reference.command_line()
    return command


def every_command(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    yield context.command_path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            if not child.hidden:
                yield from every_command(child, click.Context(child, info_name=name, parent=context))


def test_the_page_is_what_the_program_says(reference: ModuleType, root: click.Command) -> None:
    assert PAGE.is_file(), "run python scripts/cli_reference.py"
    assert PAGE.read_text(encoding="utf-8") == reference.reference(root), "docs/cli.md is stale; run python scripts/cli_reference.py"


def test_every_command_and_option_is_on_the_page_and_has_help(root: click.Command) -> None:
    page = PAGE.read_text(encoding="utf-8")
    missing = []
    for path, command, context in every_command(root, click.Context(root, info_name="tacit")):
        if f"`{path}`" not in page or not command.help:
            missing.append(path)
        for parameter in command.get_params(context):
            if isinstance(parameter, click.Option) and not parameter.hidden and "--help" not in parameter.opts:
                missing += [f"{path} {option}" for option in parameter.opts if option not in page or not parameter.help]
    assert not missing, f"not documented: {missing}"


def test_every_exit_code_is_documented(reference: ModuleType) -> None:
    from tacit import errors

    codes = {item.exit_code for item in vars(errors).values() if isinstance(item, type) and issubclass(item, errors.TacitError)}
    assert codes | {0, 1, 101} <= set(reference.EXIT_CODES)


def test_the_reference_describes_groups_options_and_arguments(reference: ModuleType) -> None:
    @click.group()
    def tool() -> None:
        """Do things."""

    @tool.command()
    @click.argument("source")
    @click.option("--depth", default=3, show_default=True, help="How deep | wide.")
    def dig(source: str, depth: int) -> None:
        """Dig in SOURCE."""

    page = reference.reference(tool)
    assert "## `tacit dig`" in page
    assert "| `--depth INTEGER` | How deep \\| wide. [default: 3] |" in page
    assert "| `SOURCE` | required |" in page
    assert "| 101 |" in page
