"""``tacit logs keys``."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.errors import UsageError

if TYPE_CHECKING:
    from tacit.crypto import SealedTo, SealingKey, Share
    from tacit.logs.keys import Keyring

KEYS = click.option("--keys", "path", required=True, type=click.Path(path_type=Path), help="The keyring; make one with: tacit logs keys init")
_MOST_SHARES = 20


def opened(path: Path) -> Keyring:
    """The keyring at a path; a locked one takes its passphrase from TACIT_PASSPHRASE, or asks at a terminal."""
    from tacit.logs.keys import Keyring

    return Keyring.open(path, passphrase=_ask if _interactive() else None)


@click.group()
def keys() -> None:
    """Make, rotate, show and destroy the keys of pseudonyms."""


@keys.command()
@KEYS
@click.option("--tenant", required=True, help="Whose logs these are; tenants' pseudonyms never match.")
@click.option("--shares-dir", "folder", type=click.Path(path_type=Path), help="Where the shares of the reveal key go. Without it nobody can reveal.")
@click.option("--shares", default=3, show_default=True, type=click.IntRange(2, _MOST_SHARES), help="How many people hold a share.")
@click.option("--threshold", default=2, show_default=True, type=click.IntRange(2, _MOST_SHARES), help="How many of them must agree.")
@click.option("--passphrase", is_flag=True, help="Wrap the keys with a passphrase: from TACIT_PASSPHRASE, or asked for.")
def init(path: Path, tenant: str, folder: Path | None, **options: Any) -> None:
    """Make a keyring with one epoch and, with --shares-dir, what it takes to reveal: a public key for the vault and a share for each holder."""
    from tacit.crypto import SealingKey
    from tacit.logs.keys import Keyring

    if path.exists():
        raise UsageError(f"The keyring {path} exists. Expected a new name; add an epoch to the old one with: tacit logs keys rotate")
    words = _new_passphrase() if options["passphrase"] else None
    private = None if folder is None else SealingKey.generate()
    public = path.with_name(path.stem + ".reveal.pub")
    made: list[Path] = []
    try:
        if private is not None and folder is not None:
            _write_shares(private, folder, tenant, made=made, options=options)
            private.public.save(public)
            made.append(public)
        ring = Keyring.create(path, tenant=tenant, passphrase=words, reveal=None if private is None else private.public)
    except BaseException:
        for file in made:
            file.unlink(missing_ok=True)
        raise
    click.echo(f"{path}: tenant {tenant}, epoch {ring.active().id}. Whoever holds this file can test guesses; keep it as you keep the logs.")
    if private is not None:
        _tell(private.public, public, made[:-1], options["threshold"])


@keys.command()
@KEYS
@click.option("--overlap", default=7.0, show_default=True, type=float, help="Days during which records carry their earlier pseudonyms too.")
def rotate(path: Path, overlap: float) -> None:
    """Begin a new epoch."""
    if not 0 <= overlap <= 3_650:
        raise UsageError(f"Expected --overlap from 0 to 3,650 days; got {overlap:g}.")
    ring = opened(path)
    epoch = ring.rotate(overlap=timedelta(days=overlap))
    click.echo(f"epoch {epoch} begins; records carry the pseudonyms of {ring.epochs[-2].id} too for {overlap:g} days")


@keys.command()
@KEYS
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="What goes to standard output.")
def show(path: Path, form: str) -> None:
    """List the epochs, and what identities are sealed to. No key is shown."""
    import json

    ring = opened(path)
    reveal = None if ring.reveal_key is None else ring.reveal_key.fingerprint
    rows = [
        {"id": epoch.id, "begun": epoch.begun.isoformat(), "overlap_days": epoch.overlap / timedelta(days=1), "state": state}
        for epoch, state in zip(ring.epochs, _states(ring), strict=True)
    ]
    if form == "json":
        click.echo(json.dumps({"tenant": ring.tenant, "reveal_key": reveal, "passphrase": ring.locked, "epochs": rows}))
        return
    click.echo(f"tenant {ring.tenant}; {'wrapped by a passphrase' if ring.locked else 'no passphrase'}; {_sealed(reveal)}")
    for epoch, row in zip(ring.epochs, rows, strict=True):
        click.echo(f"{epoch.id}  since {epoch.begun:%Y-%m-%d %H:%M} UTC  {row['state']}")


@keys.command()
@KEYS
@click.argument("epoch")
@click.option("--vault", "file", type=click.Path(path_type=Path), help="Delete the identities of the epoch from this vault too.")
@click.confirmation_option(prompt="Its pseudonyms can never be recomputed again. Destroy the key?", help="Do not ask.")
def destroy(path: Path, epoch: str, file: Path | None) -> None:
    """Take the key of an earlier EPOCH out of the keyring for good."""
    from tacit.logs.keys import Vault

    ring, vault = opened(path), None if file is None else Vault.open(file)
    if vault is not None and vault.tenant != ring.tenant:
        raise UsageError("The vault is that of another tenant than the keyring. Name the one that the pipeline used.")
    gone = any(known.id == epoch and known.destroyed for known in ring.epochs)
    if not (gone and vault is not None):
        ring.destroy(epoch)
        click.echo(f"the key of epoch {epoch} is gone from {path}; its backups and snapshots are not: delete them too")
    if vault is not None:
        click.echo(f"{vault.purge(epoch):,} identities of epoch {epoch} are gone from {vault.path}")
    elif ring.reveal_key is not None:
        click.echo("a vault still holds the identities of that epoch, sealed; to delete them, add --vault to the same command")


def _states(ring: Keyring) -> list[str]:
    """What each epoch is used for now."""
    now, before = ring.active().id, ring.prior()
    attached = "" if before is None else before.id
    return ["destroyed" if epoch.destroyed else {now: "in use", attached: "still attached"}.get(epoch.id, "kept") for epoch in ring.epochs]


def _sealed(reveal: str | None) -> str:
    return "no reveal key" if reveal is None else f"identities are sealed to {reveal}"


def _write_shares(private: SealingKey, folder: Path, tenant: str, *, made: list[Path], options: dict[str, Any]) -> None:
    """A file for each holder, and proof by reading them again that every two neighbours, or as many as are needed, give the key."""
    from tacit.crypto import Share

    if options["threshold"] > options["shares"]:
        raise UsageError(f"Expected --threshold={options['threshold']} of no more than --shares={options['shares']}.")
    _make_folder(folder)
    shares = private.split(shares=options["shares"], threshold=options["threshold"])
    for share in shares:
        file = folder / f"share-{share.index}-of-{len(shares)}.txt"
        share.save(file, note=f"reveals identities in the logs of {tenant}; key {private.public.fingerprint}\nkeep it apart from the others")
        made.append(file)
    _require_whole(private.public, [Share.load(file) for file in made], options["threshold"])


def _require_whole(public: SealedTo, shares: list[Share], threshold: int) -> None:
    from tacit.crypto import SealingKey
    from tacit.errors import VerificationError

    for start in range(len(shares) - threshold + 1):
        if SealingKey.from_shares(shares[start : start + threshold]).public != public:
            raise VerificationError("The shares do not give the key back. Nothing was kept; check the disk, then run this again.")


def _make_folder(folder: Path) -> None:
    from tacit.errors import StorageError

    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"Cannot make the folder {folder}: {error.strerror}. Name another for --shares-dir.") from error


def _tell(key: SealedTo, public: Path, files: list[Path], threshold: int) -> None:
    click.echo(f"{public}: identities are sealed to the key {key.fingerprint}; the keyring holds this key too")
    for file in files:
        click.echo(str(file))
    click.echo(
        f"Give each share to another person, on paper or a medium of their own, then delete these {len(files)} files here. Any {threshold} of them "
        "reveal who is behind a pseudonym; with fewer nobody can, you included."
    )


def _new_passphrase() -> str:
    import os

    from tacit.logs.keys.locking import VARIABLE

    found = os.environ.get(VARIABLE)
    return str(click.prompt("passphrase", hide_input=True, confirmation_prompt=True, err=True)) if found is None else found


def _interactive() -> bool:
    return sys.stdin.isatty()


def _ask() -> str:
    return str(click.prompt("passphrase of the keyring", hide_input=True, err=True))
