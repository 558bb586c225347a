"""``tacit score``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tacit.guard import Records
    from tacit.models import Model


@click.command()
@click.argument("model", type=click.Path())
@click.argument("file", type=click.Path())
@click.option("--output", type=click.Path(path_type=Path), help="Where to write the scores; standard output if not given.")
@click.option("--data-format", help="Format of the file, where its name does not say: csv, parquet, jsonl, arrow.")
def score(model: str, file: str, output: Path | None, data_format: str | None) -> None:
    """Score the records of FILE with MODEL: one line of CSV per record, in order."""
    from tacit.guard import Records
    from tacit.models import load
    from tacit.replacing import replacing

    artefact = load(model)
    with Records.open(file, format=data_format) as records:
        records.require(artefact.domain.names)
        if output is None:
            for text in _lines(artefact, records):
                sys.stdout.write(text)
            return
        with replacing(output) as target:
            for text in _lines(artefact, records):
                target.write(text.encode())


def _lines(artefact: Model, records: Records) -> Iterator[str]:
    """A header, then the lines of one batch after the other, so that no file is too large."""
    import csv
    import io

    import numpy as np

    from tacit.models.base import batches_of

    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow([f"p_{name}" for name in artefact.classes] or ["value"])
    yield header.getvalue()
    for batch in batches_of(records, artefact.domain):
        margins = artefact.batch_margins(batch.columns, batch.rows)
        rows = np.asarray(artefact.answers(margins)[:, None] if artefact.target.bounds else artefact.probabilities_at(margins), np.float64)
        yield "".join(",".join(f"{value:.6g}" for value in row) + "\n" for row in rows.tolist())
