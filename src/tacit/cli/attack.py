"""``tacit attack``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.cli.specs import DATA_FORMAT, require_folder
from tacit.errors import DataError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from tacit.attacks import AttackReport, Sample, Target
    from tacit.guard import Ledger


@click.command()
@click.argument("model")
@click.option("--data", required=True, type=click.Path(), help="Records that the model learned from.")
@click.option("--against", required=True, type=click.Path(), help="Records of the same kind that it did not learn from.")
@click.option("--target", help="The column with the labels. [default: the model's own, where it says]")
@click.option("--unit", help="A column that says whom a record belongs to; a unit is then guessed about as a whole.")
@click.option("--group", multiple=True, help="A column by which risk is shown; may be given more than once.")
@click.option("--drop", multiple=True, help="A column that the model is not asked about; may be given more than once.")
@click.option(
    "--access", default="logits", show_default=True, help="What the attacker sees: label, top-k, probabilities, logits, gradients or weights.",
)
@click.option("--top", default=3, show_default=True, type=int, help="How many answers an attacker with access top-k sees.")
@click.option("--budget", default="30s", show_default=True, help="Time for shadow models; 0s tries only what needs none.")
@click.option("--shadows", type=int, help="How many shadow models, even. [default: as many as the budget allows, at most 16]")
@click.option("--trainer", help="How the model was trained: module:name of an estimator or of a function (X, y) -> model. [default: found out]")
@click.option("--also", multiple=True, type=click.Choice(["extraction", "structure"]), help="Another attack as well; may be given more than once.")
@click.option("--sensitive", help="A column that the attacker does not know: attribute inference as well.")
@click.option("--cache", type=click.Path(path_type=Path), help="A folder that keeps what shadows said, for the next attack on the same records.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "sarif", "cyclonedx", "html"]), default="text", show_default=True, help="What comes out.",
)
@click.option("--output", type=click.Path(path_type=Path), help="Where to write it; standard output if not given.")
@click.option("--policy", type=click.Path(path_type=Path), help="The owner's policy: notes the verdict in the ledger that paid for the model.")
@click.option("--fail-on", type=click.Choice(["info", "low", "medium", "high", "critical", "never"]), default="high", show_default=True,
              help="Exit with 1 if a finding is at least this severe.")
@DATA_FORMAT
def attack(model: str, data: str, against: str, **options: Any) -> int:
    """Can somebody who queries MODEL tell who was in its training data? With controls, intervals and power.

    MODEL is a Tacit model, an ONNX file, an http(s) address that answers {"instances": [...]} with {"predictions": [...]}, or module:name of anything
    that has predict or can be called. What comes out was measured on records and is not private.
    """
    from tacit.attacks import as_target, at_least

    output: Path | None = options["output"]
    require_folder(output)
    target = as_target(model, access=options["access"])
    if options["policy"] is not None:
        _paying(target, options["policy"])
    sides = [_sample(_read(path, options["data_format"]), target, options) for path in (data, against)]
    report = _attacked(target, sides, options)
    text = report.render(options["form"])
    if options["policy"] is not None:
        click.echo(_noted(report, target, options["policy"]), err=True)
    if output is None:
        click.echo(text)
    else:
        from tacit.replacing import replacing

        with replacing(output) as file:
            file.write(text.encode())
        click.echo(f"{output}: {report.verdict}; {len(report.findings)} findings", err=True)
    return 1 if options["fail_on"] != "never" and at_least(report.findings, options["fail_on"]) else 0


def _paying(target: Target, policy: Path) -> Ledger:
    """The ledger that paid for a model.

    Raises:
        UsageError: for a model that is not Tacit's.
        VerificationError: if the ledger did not pay for it.
    """
    from tacit.guard import Ledger, Policy
    from tacit.models import Predictor, verify_against

    if not isinstance(target.model, Predictor):
        raise UsageError("Expected a Tacit model for --policy: a ledger notes attacks on what it paid for. Leave --policy out.")
    found = Policy.load(policy)
    ledger = Ledger.open(found.ledger, key=found.key, create=False)
    verify_against(target.model, ledger.entries())
    return ledger


def _noted(report: AttackReport, target: Target, policy: Path) -> str:
    """Verdict, and the digest of the report as JSON: what a promotion can point at. No figure, because the ledger may be shown to others."""
    import hashlib

    ledger, text = _paying(target, policy), report.to_json()
    digest = hashlib.sha256(text.encode()).hexdigest()
    body = {
        "model": target.model.digest, "verdict": report.verdict, "report": digest, "findings": sorted({finding.rule for finding in report.findings}),
    }
    entry = ledger.record("attack", target.model.guarantee.scope, body)
    return f"ledger entry {entry.sequence}: attack on {target.model.digest[:16]}, head {ledger.head[:16]}"


def _attacked(target: Target, sides: list[Sample], options: dict[str, Any]) -> AttackReport:
    from tacit.attacks import AttackSettings
    from tacit.attacks import attack as run

    settings = AttackSettings(
        shadows=options["shadows"], top=options["top"], cache=options["cache"], also=tuple(options["also"]), sensitive=_place(sides[0].X, options),
    )
    trainer = "auto" if options["trainer"] is None else _named(options["trainer"])
    return run(target, *sides, trainer=trainer, access=options["access"], budget=options["budget"], settings=settings)


def _place(X: Any, options: dict[str, Any]) -> str | int | None:
    """The sensitive column as `attack` takes it: its name in a table, its place in a matrix."""
    name: str | None = options["sensitive"]
    if name is None or hasattr(X, "columns") or hasattr(X, "column_names"):
        return name
    return list(options["columns"]).index(name) if name in options["columns"] else name


def _named(name: str) -> Any:
    from tacit.attacks.targets import imported

    if ":" not in name:
        raise UsageError(f"Expected --trainer as module:name; got «{name}».")
    return imported(name)


def _read(path: str, data_format: str | None) -> pa.Table:
    from tacit.guard import Records

    with Records.open(path, format=data_format) as records:
        return records.table()


def _sample(table: pa.Table, target: Target, options: dict[str, Any]) -> Sample:
    """Records as the target takes them, apart from labels, units and groups."""
    from tacit.attacks import Sample
    from tacit.models import Predictor

    own = target.model if isinstance(target.model, Predictor) else None
    label = options["target"] or (own.target.column if own is not None and own.target.column in table.column_names else None)
    apart = [name for name in (label, options["unit"], *options["group"], *options["drop"]) if name]
    missing = [name for name in apart if name not in table.column_names]
    if missing:
        raise DataError(f"Expected a column «{missing[0]}» in both files; there is none. They have {', '.join(table.column_names[:10])}.")
    y = None if label is None else table.column(label).to_numpy(zero_copy_only=False)
    unit = None if options["unit"] is None else table.column(options["unit"]).to_numpy(zero_copy_only=False)
    groups = {name: table.column(name).to_numpy(zero_copy_only=False) for name in options["group"]}
    kept = own.domain.names if own is not None else [name for name in table.column_names if name not in apart or name in options["group"]]
    absent = [name for name in kept if name not in table.column_names]
    if absent:
        raise DataError(f"Expected the model's features in both files; «{absent[0]}» is missing.")
    options["columns"] = list(kept)
    return Sample(_plain(table.select(list(kept)), target), y, unit, groups)


def _plain(table: pa.Table, target: Target) -> Any:
    """A matrix where everything is a number and the target is not Tacit's own; a frame where pandas is there; else the table."""
    import numpy as np
    import pyarrow as pa

    if target.kind in ("tacit", "http"):
        return table
    if all(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) for kind in table.schema.types):
        return np.column_stack([column.to_numpy(zero_copy_only=False).astype(np.float64) for column in table.columns])
    try:
        return table.to_pandas()
    except ImportError:
        return table
