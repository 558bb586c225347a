"""``tacit logs reveal``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.cli.ledger import located, printable

if TYPE_CHECKING:
    from tacit.crypto import Share
    from tacit.logs.keys import Opened

_DOUBT = {
    True: "",
    None: "  (not checked: no key of its epoch at hand; name the keyring)",
    False: "  (NOT GENUINE: whoever wrote this did not have the key of the epoch)",
}


@click.command()
@click.argument("pseudonyms", nargs=-1, required=True)
@click.option("--vault", "file", required=True, type=click.Path(path_type=Path), help="Where the pipeline keeps sealed identities.")
@click.option("--share", "files", multiple=True, type=click.Path(path_type=Path), help="A file with a share; once for each holder. [default: ask]")
@click.option("--reason", default="", help="Why, for whoever audits the ledger: a case, no names.")
@click.option("--ledger", "location", envvar="TACIT_LEDGER", help="Where it is noted; by default the one that tacit.toml names, or tacit-ledger.db.")
@click.option("--keys", "path", type=click.Path(path_type=Path), help="The keyring, to tell whether what the vault says is genuine.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="What goes to standard output.")
def reveal(pseudonyms: tuple[str, ...], file: Path, files: tuple[Path, ...], **options: Any) -> None:
    """Say who or what PSEUDONYMS stand for, if enough holders of a share agree. It is noted in the ledger before anything is shown.

    An address carries no epoch: write k7/10.3.7.1 if the vault knows it in several.
    """
    import json
    from dataclasses import asdict

    from tacit.cli.logs_keys import opened
    from tacit.crypto import Share
    from tacit.guard import Ledger
    from tacit.logs.keys import Vault
    from tacit.logs.keys import reveal as reveal_in

    vault = Vault.open(file)
    ring = None if options["path"] is None else opened(options["path"])
    location, key = located(options["location"])
    ledger = Ledger.open(location, key=key)
    shares = [Share.load(name) for name in files] if files else _asked()
    found = reveal_in(vault, pseudonyms, shares=shares, reason=options["reason"], ledger=ledger, keyring=ring)
    if options["form"] == "json":
        click.echo(json.dumps([asdict(one) for one in found]))
    else:
        for one in found:
            click.echo(_line(one))
    click.echo(f"noted in the ledger {ledger.name}; its head is now {ledger.head}: keep it elsewhere", err=True)


def _asked() -> list[Share]:
    """Shares as their holders type or paste them, until there are enough."""
    from tacit.crypto import Share

    shares: list[Share] = []
    while not shares or len(shares) < shares[0].threshold:
        text = click.prompt(f"share of holder {len(shares) + 1}, all rows in one line", hide_input=True, err=True)
        shares.append(Share.parse(text))
    return shares


def _line(found: Opened) -> str:
    return f"{found.pseudonym}  epoch {found.epoch}  {found.namespace}  {printable(found.identity)}{_DOUBT[found.genuine]}"
