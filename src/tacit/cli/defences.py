"""``tacit defences``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.cli.specs import DATA_FORMAT, require_folder
from tacit.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


@click.command()
@click.argument("file", type=click.Path())
@click.option("--target", required=True, help="The column with the labels.")
@click.option("--drop", multiple=True, help="A column to leave out; may be given more than once.")
@click.option("--epsilon", "epsilons", multiple=True, type=float, default=(8.0, 1.0), show_default=True, help="Of private training; may be repeated.")
@click.option("--seed", default=0, show_default=True, type=int, help="Of splits and attacks.")
@click.option("--format", "form", type=click.Choice(["text", "json", "html"]), default="text", show_default=True, help="What comes out.")
@click.option("--output", type=click.Path(path_type=Path), help="Where to write it; standard output if not given.")
@DATA_FORMAT
def defences(file: str, **options: Any) -> None:
    """What each defence costs and stops on the records of FILE: models are trained, defended and attacked by attackers who know of it.

    Takes a minute or two and at most 8,000 records. What comes out was measured on records and is not private.
    """
    from tacit.attacks import compare_defences
    from tacit.guard import Records

    output: Path | None = options["output"]
    require_folder(output)
    with Records.open(file, format=options["data_format"]) as records:
        records.require([options["target"], *options["drop"]])
        table = records.table()
    matrix, codes = _numbers(table, options["target"], options["drop"])
    found = compare_defences(matrix, codes, epsilons=options["epsilons"], seed=options["seed"])
    text = _rendered(found, options["form"], Path(file).name)
    if output is None:
        click.echo(text)
        return
    from tacit.replacing import replacing

    with replacing(output) as target:
        target.write(text.encode())
    click.echo(f"{output}: {len(found.rows)} defences on {found.records:,} records", err=True)


def _numbers(table: pa.Table, target: str, drop: tuple[str, ...]) -> tuple[Any, Any]:
    """Records as a matrix, and labels as class numbers."""
    import numpy as np

    from tacit.attacks.tables import numeric

    known = table.filter(table.column(target).is_valid())
    values, codes = np.unique(known.column(target).to_numpy(zero_copy_only=False), return_inverse=True)
    if not 2 <= len(values) <= 100:
        raise DataError(f"Expected from 2 to 100 classes in «{target}»; there are {len(values)}.")
    return numeric(known.drop_columns([target, *drop])), codes.astype(np.int64)


def _rendered(found: Any, form: str, name: str) -> str:
    from tacit.attacks.rendering import defences_html, defences_text

    if form == "json":
        return json.dumps(found.to_dict())
    return defences_text(found) if form == "text" else defences_html(found, name=name)
