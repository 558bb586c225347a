"""``tacit score``."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("model", type=click.Path())
@click.argument("file", type=click.Path())
@click.option("--output", type=click.Path(path_type=Path), help="Where to write the scores; standard output if not given.")
def score(model: str, file: str, output: Path | None) -> None:
    """Score the records of FILE with MODEL: one line of CSV per record, in order."""
    import numpy as np

    from tacit.guard import Records
    from tacit.models import load
    from tacit.models.base import probabilities, replacing

    artefact = load(model)
    header = ",".join(f"p_{name}" for name in artefact.classes) or "value"
    with Records.open(file) as records:
        margins = artefact.margins(records)
    rows = artefact.answers(margins)[:, None] if artefact.target.bounds else probabilities(margins)
    lines = [header, *(",".join(f"{value:.6g}" for value in row) for row in np.asarray(rows, np.float64))]
    content = ("\n".join(lines) + "\n").encode()
    if output is None:
        sys.stdout.write(content.decode())
        return
    with replacing(output) as target:
        target.write(content)
