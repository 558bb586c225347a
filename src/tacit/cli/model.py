"""``tacit model``."""

from __future__ import annotations

import json

import click


@click.group()
def model() -> None:
    """Show, verify and export a model."""


@model.command()
@click.argument("file", type=click.Path())
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="What goes to standard output.")
def show(file: str, form: str) -> None:
    """What a model predicts, promises, and where it came from."""
    from tacit.models import load

    found = load(file)
    if form == "json":
        click.echo(json.dumps(found.manifest))
        return
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
    from tacit.models import load, verify_against

    found = load(file, trusted=None if key is None else VerifyKey.from_hex(key))
    click.echo(f"content and signature agree: {found.guarantee}")
    if location is not None:
        ledger = Ledger.open(location, create=False)
        ledger.verify()
        click.echo(f"charged by entry {verify_against(found, ledger.entries())} of {ledger.name}")


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
