"""``tacit ledger``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tacit.guard import Entry, Ledger

_LOCATION = click.option(
    "--ledger", "location", envvar="TACIT_LEDGER",
    help="File or database URL of the ledger; by default the one that tacit.toml names, or tacit-ledger.db.",
)
FORMAT = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="What goes to standard output.",
)


@click.group()
def ledger() -> None:
    """Show, verify and export the ledger."""


@ledger.command()
@_LOCATION
@FORMAT
def show(location: str | None, form: str) -> None:
    """List every entry, and what each data set and window has spent."""
    book = _open(location)
    if form == "json":
        spent = [{"dataset": scope.dataset, "window": scope.window} | book.spent(scope).to_dict() for scope in book.scopes()]
        click.echo(json.dumps({"head": book.head, "entries": [entry.to_dict() for entry in book.entries()], "spent": spent}, ensure_ascii=False))
        return
    for entry in book.entries():
        click.echo(f"{entry.sequence:6d}  {entry.time}  {entry.kind:10s}  {_where(entry):24s}  {entry.digest[:12]}  {_what(entry)}")
    for scope in book.scopes():
        state = book.spent(scope)
        click.echo(
            f"{scope}: epsilon {state.epsilon:.4g} of {state.budget.epsilon:g} spent by {state.plans} plans at delta {state.budget.delta:g} "
            f"({state.accountant}; {state.fixed_epsilon:.4g} had they been fixed beforehand), {state.left:.3g} left"
        )
    click.echo(f"head {book.head}")


@ledger.command()
@_LOCATION
@click.option("--head", help="A head that was kept elsewhere, or @FILE that holds it: finds a rollback.")
@FORMAT
def verify(location: str | None, head: str | None, form: str) -> None:
    """Check every entry: numbers, chain, digests, signatures; and that a head kept elsewhere is in the chain."""
    from dataclasses import asdict

    found = _open(location).verify(_head(head))
    if form == "json":
        click.echo(json.dumps(asdict(found)))
        return
    click.echo(f"{found.entries} entries, {found.charges} charges, all right; key {found.public_key[:16]}\nhead {found.head}")


@ledger.command()
@_LOCATION
@click.argument("file", type=click.Path(path_type=Path))
def export(location: str | None, file: Path) -> None:
    """Write every entry to FILE as one line of JSON, all or nothing."""
    click.echo(f"{_open(location).export(file)} entries written to {file}")


def located(location: str | None) -> tuple[str, Path | None]:
    """Where the ledger is, and its key's file: as given, else as tacit.toml says, else tacit-ledger.db."""
    if location is not None:
        return location, None
    if not Path("tacit.toml").exists():
        return "tacit-ledger.db", None
    from tacit.guard import Policy

    policy = Policy.load("tacit.toml")
    return policy.ledger, policy.key


def _open(location: str | None) -> Ledger:
    from tacit.guard import Ledger

    location, key = located(location)
    return Ledger.open(location, key=key if key is not None and key.exists() else None, create=False)


def _head(text: str | None) -> str | None:
    from tacit.errors import UsageError

    if text is None or not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"Expected a file with a head at «{text[1:]}»; it cannot be read.") from None


def printable(text: str) -> str:
    r"""What others wrote, for the owner's terminal: control characters are spelt out.

    >>> printable("train" + chr(27) + "[2J")
    'train\\u001b[2J'
    """
    return "".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in text)


def _where(entry: Entry) -> str:
    return printable(f"{entry.dataset} {entry.window}") if entry.dataset else "-"


def _what(entry: Entry) -> str:
    if entry.kind == "charge":
        return f"{printable(entry.body['plan']['purpose'])} (epsilon so far {entry.body['epsilon_after']:.4g})"
    if entry.kind == "proposal":
        return f"{printable(entry.body['plan']['purpose'])} (plan {entry.body['plan_digest'][:16]})"
    if entry.kind == "attack":
        return f"{printable(entry.body['verdict'])} (model {entry.body['model'][:16]})"
    if entry.kind in ("reveal", "reveal.refused"):
        by = ", ".join(str(index) for index in entry.body["shares"]) or "none"
        return printable(f"{len(entry.body['pseudonyms'])} pseudonyms, shares {by}: {entry.body.get('refusal') or entry.body['reason']}")
    return f"plan {entry.body['plan_digest'][:16]}" if entry.kind == "approval" else ""
