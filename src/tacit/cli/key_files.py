"""Files with keys, as commands make and open them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from tacit.cli.specs import require_folder
from tacit.errors import UsageError

_VARIABLE = "TACIT_PASSPHRASE"


def beside(output: Path, suffix: str) -> Path:
    """Where the other file of a pair goes, once it is sure that both are new.

    Raises:
        UsageError: one of them exists, both have one name, or there is no folder for them.
    """
    require_folder(output)
    other = output.with_suffix(suffix)
    if output.exists() or other.exists() or other == output:
        raise UsageError(f"The file {output} or {other} exists. Expected a new name; keys are never overwritten")
    return other


def passphrase(*, new: bool = False) -> str:
    """From the environment, or asked for at a terminal.

    Raises:
        UsageError: there is neither.
    """
    found = os.environ.get(_VARIABLE)
    if found is not None:
        return found
    if not sys.stdin.isatty():
        raise UsageError(f"The key is under a passphrase. Expected it in the variable {_VARIABLE}, or a terminal to ask at.")
    return str(click.prompt("passphrase of the key", hide_input=True, confirmation_prompt=new, err=True))
