"""The command line: one command, one function; nothing heavy is imported before a command runs."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from tacit.errors import TacitError

_COMMANDS = {
    "account": "which epsilon a noise means, and which noise an epsilon needs",
    "attack": "what a model gives away about those it learned from",
    "coordinator": "ask studies of sites that keep their records",
    "defences": "what each defence costs and what it stops, on your records",
    "detect": "learn what attacks look like in logs, and raise alerts",
    "doctor": "check this installation",
    "encrypt": "score records that whoever owns the model cannot read",
    "forecast": "count records over time, forecast what comes, find what came otherwise",
    "init": "write a commented policy file",
    "ledger": "show, verify and export the ledger",
    "logs": "treat logs so that they can be analysed and not read",
    "model": "show, verify and export a model",
    "pilot": "what privacy costs on your data, what still leaks, what to do next",
    "policy": "what the owner decided, what is left, which plans wait for a yes",
    "score": "score records with a model",
    "site": "take part in a federation; the records stay here",
    "synthetic": "make up records that look like yours and are nobody's",
    "train": "train a model within a policy, charged to its ledger",
}
INTERNAL = 101


class _Lazy(click.Group):
    """A group whose commands are imported when they run; help comes from the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"tacit.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="tacit")
def root() -> None:
    """Train detectors on records nobody may look at, prove what they leak, and run them in the SOC.

    Results go to standard output, progress to standard error. Exit codes: 0 done, 1 a gate or a finding, 2 usage, configuration or input, 3 refused
    or could not complete, 101 a fault of Tacit's own.
    """


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; turns every deliberate error into one line and an exit code."""
    try:
        code = root.main(args=arguments, prog_name="tacit", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        _fail("stopped", 130)
    except click.ClickException as error:
        error.show(file=sys.stderr)
        sys.exit(error.exit_code)
    except TacitError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("stopped; what was charged stays charged", 130)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        _fail(f"{error.strerror or type(error).__name__}: {error.filename or 'a file'}", 3)
    except MemoryError:
        _fail("out of memory; use a smaller file or a machine with more", 3)
    except Exception as error:
        _internal(error)


def _fail(message: str, code: int) -> None:
    click.echo(message if message.startswith("refused") else f"tacit: {message}", err=True)
    sys.exit(code)


def _internal(error: Exception) -> None:
    """A fault of ours: where it happened, never what the data was."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" in {trace.tb_frame.f_globals.get('__name__')}, line {trace.tb_lineno}"
    click.echo(f"tacit: internal fault ({type(error).__name__}){place}. Please report it; set TACIT_TRACE=1 to see more.", err=True)
    import os

    if os.environ.get("TACIT_TRACE"):
        raise error
    sys.exit(INTERNAL)


__all__ = ["main"]
