"""``tacit model``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tacit.cli.ledger import FORMAT

_POLICY = click.option("--policy", default="tacit.toml", show_default=True, type=click.Path(path_type=Path), help="The owner's policy.")


@click.group()
def model() -> None:
    """Show, verify, compare, promote and export a model."""


@model.command()
@click.argument("file", type=click.Path())
@FORMAT
def show(file: str, form: str) -> None:
    """What a model predicts, promises, and where it came from."""
    from tacit.models import CountSeries, SyntheticModel, load_any

    found = load_any(file)
    if form == "json":
        click.echo(json.dumps(found.manifest))
        return
    if isinstance(found, CountSeries):
        click.echo(f"{found.kind}, {len(found.names)} series of {found.bins} bins of {found.width} s, noise {found.sigma:.3g}")
    elif isinstance(found, SyntheticModel):
        click.echo(f"{found.kind}, {len(found.binning.counts)} columns in {len(found.cliques)} tables, noise {found.sigma:.3g}")
    else:
        click.echo(f"{found.kind}, {len(found.domain.names)} features, target «{found.target.column}»: {', '.join(found.classes) or 'a number'}")
    click.echo(str(found.guarantee))
    origin = found.provenance
    click.echo(f"plan {origin.plan[:16]}, ledger entry {origin.charge}, trained {origin.created} by Tacit {origin.version}")


@model.command()
@click.argument("file", type=click.Path())
@click.option("--ledger", "location", help="The ledger that paid for it: checks that both agree.")
@click.option("--key", help="The public key it must be signed with, in hexadecimal.")
def verify(file: str, location: str | None, key: str | None) -> None:
    """Check every byte of a model, its signature, and that a ledger charged it."""
    from tacit.crypto import VerifyKey
    from tacit.guard import Ledger
    from tacit.models import load_any, verify_against

    found = load_any(file, trusted=None if key is None else VerifyKey.from_hex(key))
    click.echo(f"content and signature agree: {found.guarantee}")
    if location is not None:
        ledger = Ledger.open(location, create=False)
        ledger.verify()
        click.echo(f"charged by entry {verify_against(found, ledger.entries())} of {ledger.name}")


@model.command()
@click.argument("old", type=click.Path())
@click.argument("new", type=click.Path())
@click.argument("file", type=click.Path())
@_POLICY
@click.option("--alerts", type=click.IntRange(min=1), help="How many records may be looked at. [default: 2 %, or as many as are positive]")
@click.option("--data-format", help="Format of the file, where its name does not say: csv, parquet, jsonl, arrow.")
@FORMAT
def compare(old: str, new: str, file: str, policy: Path, alerts: int | None, **options: str | None) -> int:
    """Compare the model in service, OLD, with NEW on the labelled records of FILE, by the policy's gates.

    What is printed was measured on records and is not private. Exits with 1 if NEW loses too much.
    """
    from tacit.guard import Policy, Records
    from tacit.models import load
    from tacit.pilot import Gates
    from tacit.pilot import compare as compare_models

    gates = Gates.from_mapping(Policy.load(policy).gates)
    with Records.open(file, format=options["data_format"]) as records:
        found = compare_models(load(old), load(new), records, gates=gates, alerts=alerts)
    if options["form"] == "json":
        click.echo(json.dumps(found.to_dict()))
    else:
        for name, loss in found.losses.items():
            before, after = found.old.measures[name], found.new.measures[name]
            mark = "  too much is lost" if name in found.failed else ""
            click.echo(f"{name.replace('_', ' '):18s} {before:.4f} -> {after:.4f}  ({-loss:+.4f}){mark}")
        click.echo(f"on {found.rows:,} labelled records; owner-side: these figures are not private")
        click.echo("NEW may take OLD's place" if found.passed else "NEW loses more than the policy's gates accept")
    return 0 if found.passed else 1


@model.command()
@click.argument("new", type=click.Path(path_type=Path))
@click.argument("place", type=click.Path(path_type=Path))
@_POLICY
@click.option("--evidence", type=click.Path(path_type=Path), help="What the decision rests on, such as pilot/report.json; its digest is noted.")
def promote(new: Path, place: Path, policy: Path, evidence: Path | None) -> None:
    """Put NEW into service at PLACE: noted in the ledger first; a model that is there already is kept beside it.

    What was charged for the old model stays charged.
    """
    from tacit.guard import Ledger, Policy
    from tacit.pilot import promote as promote_model

    found = Policy.load(policy)
    ledger = Ledger.open(found.ledger, key=found.key, create=False)
    old = promote_model(new, place, ledger=ledger, evidence=evidence)
    click.echo(f"{place}: in service" + ("" if old is None else f"; supersedes {old[:16]}") + f"; ledger head {ledger.head}")


@model.command(name="export-onnx")
@click.argument("file", type=click.Path())
@click.argument("output", type=click.Path())
def export_onnx(file: str, output: str) -> None:
    """Write the model as ONNX, checked against onnxruntime."""
    from tacit.errors import UsageError
    from tacit.models import AdditiveModel, load, to_onnx

    found = load(file)
    if not isinstance(found, AdditiveModel):
        raise UsageError(f"Expected an additive model; this one is {found.kind}. Only additive models are exported yet.")
    to_onnx(found, output)
    click.echo(f"wrote {output}")
