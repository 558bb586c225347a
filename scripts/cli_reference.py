"""Write docs/cli.md from the command line itself, so that the page cannot say something else than the program.

Run it after changing a command: ``python scripts/cli_reference.py``. A test fails while the page is stale.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

TARGET = Path(__file__).resolve().parents[1] / "docs" / "cli.md"

EXIT_CODES = {
    0: "clean: the work was done, and nothing at or above `--fail-on` was found",
    1: "the work was done, and it found something at or above `--fail-on`, or a gate of the policy was missed",
    2: "usage, configuration or input is wrong; nothing was answered",
    3: "could not complete: refused by the guard, verification failed, storage or randomness missing",
    101: "an error inside Tacit; please report it",
}

HEADER = """# Command line

*Written by `scripts/cli_reference.py` from the program's own help. Do not edit.*

Standard output is the result; progress and warnings go to standard error. The exit code is the same for every output format:

| code | meaning |
|---|---|
"""


def text_of(help_text: str | None) -> str:
    """Help as Markdown: click's own marks removed, the blocks it keeps as they are in code."""
    blocks = []
    for block in inspect.cleandoc(help_text or "").replace("\f", "").split("\n\n"):
        if block.startswith("\b\n"):
            blocks.append("```text\n" + block[2:] + "\n```")
        else:
            blocks.append(" ".join(block.split()))
    return "\n\n".join(blocks)


def cell(text: str) -> str:
    """Text that cannot break out of a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def parameter_rows(command: click.Command, context: click.Context) -> Iterator[str]:
    """One row of the table for each visible argument and option."""
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Argument):
            yield f"| `{parameter.make_metavar(context)}` | {'required' if parameter.required else 'may be left out'} |"
        elif not getattr(parameter, "hidden", False) and "--help" not in parameter.opts:
            record = parameter.get_help_record(context)
            left, right = record if record else (", ".join(parameter.opts), "")
            yield f"| `{cell(left)}` | {cell(right)} |"


def command_section(command: click.Command, context: click.Context) -> Iterator[str]:
    """The command's heading, help, usage and options, then the same for each command below it."""
    path = context.command_path
    yield f"## `{path}`"
    yield text_of(command.help)
    yield f"```text\n{' '.join([path, *command.collect_usage_pieces(context)])}\n```"
    rows = list(parameter_rows(command, context))
    if rows:
        yield "| argument or option | meaning |\n|---|---|\n" + "\n".join(rows)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from command_section(child, child.make_context(name, [], parent=context, resilient_parsing=True))


def reference(main: click.Command) -> str:
    """The whole page."""
    codes = "\n".join(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items())
    root = click.Context(main, info_name="tacit", terminal_width=100, max_content_width=100)
    return HEADER + codes + "\n\n" + "\n\n".join(part for part in command_section(main, root) if part) + "\n"


def command_line() -> click.Command:
    """The root command, wherever the package keeps it behind ``tacit.cli``."""
    import tacit.cli as package

    for name in ("main", "cli", "app", "root"):
        candidate = getattr(package, name, None)
        if isinstance(candidate, click.Command):
            return candidate
    raise SystemExit("Expected a click command in tacit.cli under the name main, cli, app or root; found none.")


if __name__ == "__main__":
    TARGET.write_text(reference(command_line()), encoding="utf-8")
