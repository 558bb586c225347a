"""``tacit init``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("path", default="tacit.toml", type=click.Path(path_type=Path))
def init(path: Path) -> None:
    """Write a commented policy file to PATH; never overwrites one."""
    from tacit.guard.policy import write_default_policy

    write_default_policy(path)
    click.echo(f"wrote {path}: read it, set the data set, the unit and the budget")
