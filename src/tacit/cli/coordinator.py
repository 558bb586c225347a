"""``tacit coordinator``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.cli.ledger import FORMAT, printable

if TYPE_CHECKING:
    from tacit.federation.certificates import Address
    from tacit.federation.coordinator import CoordinatorFolder, StudyReport
    from tacit.federation.roster import Roster

_FOLDER = click.option("--folder", default=".", show_default=True, type=click.Path(path_type=Path), help="The coordinator's folder.")


@click.group()
def coordinator() -> None:
    """Ask studies of sites that keep their records: invitations, the desk where sites join, studies, reports."""


@coordinator.command()
@click.argument("names", nargs=-1)
@_FOLDER
@click.option("--federation", default="federation", show_default=True, help="Public name of the federation.")
@click.option("--address", default="localhost:8443", show_default=True, help="Where sites reach the coordinator, as HOST:PORT.")
@click.option("--host", "hosts", multiple=True, help="A further name or address that the certificate is good for; may be given more than once.")
def init(names: tuple[str, ...], folder: Path, federation: str, address: str, hosts: tuple[str, ...]) -> None:
    """Make the coordinator's keys and its own certificate authority, and an invitation for each of NAMES."""
    from tacit.federation.certificates import Address
    from tacit.federation.coordinator import CoordinatorFolder, name_from
    from tacit.federation.invite import spelled

    sites = [name_from(name) for name in names]
    made = CoordinatorFolder.create(folder, federation=federation, address=Address.parse(address), hosts=hosts)
    click.echo(f"«{federation}» at {made.address}; keys and authority in {made.path}")
    click.echo(f"Read this to every site:  {spelled(made.fingerprint)}")
    _invite(made, sites)


@coordinator.command()
@click.argument("names", nargs=-1, required=True)
@_FOLDER
def invite(names: tuple[str, ...], folder: Path) -> None:
    """Print an invitation for each of NAMES; an earlier one that was not used is good no more."""
    from tacit.federation.coordinator import CoordinatorFolder, name_from

    found = CoordinatorFolder.open(folder)
    _invite(found, [name_from(name) for name in names])


@coordinator.command()
@click.argument("name")
@click.argument("fingerprint")
@_FOLDER
def admit(name: str, fingerprint: str, folder: Path) -> None:
    """Let the site NAME in, which has read FINGERPRINT to you; the running coordinator takes it from there."""
    from tacit.federation.coordinator import CoordinatorFolder, Desk

    Desk(CoordinatorFolder.open(folder)).admit(name, fingerprint)
    click.echo(f"«{name}» is in")


@coordinator.command()
@click.argument("name")
@_FOLDER
def remove(name: str, folder: Path) -> None:
    """Forget the site NAME: it is in no further study, and everybody else signs a new roster. It can be invited again, with a new key."""
    from tacit.federation.coordinator import CoordinatorFolder

    CoordinatorFolder.open(folder).remove(name)
    click.echo(f"«{name}» is out; the others sign the new roster with tacit site run")


@coordinator.command()
@click.argument("study", required=False, type=click.Path(path_type=Path))
@_FOLDER
@click.option("--listen", help="Where to listen, as HOST:PORT, if that is not the address that sites use.")
@click.option("--patience", default=86_400.0, show_default=True, help="Seconds to wait for sites to join and to connect.")
@click.option("--gather", default=30.0, show_default=True, help="Seconds to wait for sites that are in to connect; those left are missing.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds that a site has for one answer.")
@FORMAT
def run(study: Path | None, folder: Path, listen: str | None, patience: float, gather: float, timeout: float, form: str) -> int:
    """Let sites in until the roster is whole, then ask STUDY of them; without STUDY only the former. Writes model and report."""
    from tacit.federation.certificates import Address
    from tacit.federation.coordinator import CoordinatorFolder, Desk, Gathering
    from tacit.federation.study import StudyCard

    found = CoordinatorFolder.open(folder)
    card = None if study is None else StudyCard.load(study)
    where = found.address if listen is None else Address.parse(listen)
    roster = Gathering(Desk(found), _hear, _progress).until_whole(where, patience=patience)
    if card is None:
        click.echo(f"the roster is whole: {roster.parties}")
        return 0
    from tacit.federation.coordinator.running import require_askable

    require_askable(card, roster)
    report = _study(found, roster, card, listen=where, gather=gather, timeout=timeout)
    from tacit.federation.coordinator.reporting import as_text

    click.echo(json.dumps(report.to_dict(), ensure_ascii=False) if form == "json" else as_text(report))
    return 0 if report.outcome == "completed" else 3


@coordinator.command()
@_FOLDER
@FORMAT
def status(folder: Path, form: str) -> None:
    """Who was invited, who is in, who has signed, and what became of the studies."""
    from tacit.federation.certificates import valid
    from tacit.federation.coordinator import CoordinatorFolder

    found = CoordinatorFolder.open(folder)
    members, waiting, roster = found.members(), found.waiting(), found.roster()
    holders = frozenset() if roster is None else found.holders(roster)
    sites = {
        name: {
            "state": "in" if name in members else "waits to be let in" if name in waiting else "invited",
            "fingerprint": members[name].key.fingerprint if name in members else "",
            "certificate_until": valid(members[name].certificate)[1].date().isoformat() if name in members else "",
            "signed": roster is not None and name in roster.signatures, "has_roster": name in holders,
        } for name in sorted({*found.invited(), *members})
    }
    studies = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((found.root / "studies").glob("*/report.json"))]
    if form == "json":
        told = [{"study": s["study"]["study"]["name"], "outcome": s["outcome"], "started": s["started"]} for s in studies]
        click.echo(json.dumps({"federation": found.federation, "address": str(found.address), "sites": sites, "studies": told}, ensure_ascii=False))
        return
    click.echo(f"«{found.federation}» at {found.address}: " + ("roster not whole yet" if roster is None else str(roster.parties)))
    for name, told_ in sites.items():
        signed = ", has signed" if told_["signed"] else ""
        until = f", certificate until {told_['certificate_until']}" if told_["certificate_until"] else ""
        click.echo(f"  {name:24s}{told_['state']}{signed}{until}  {told_['fingerprint']}")
    for report in studies:
        said = printable(report["guarantee"] or report["said"])
        click.echo(f"  study {report['study']['study']['name']}, {report['started']}: {report['outcome']}  {said}")


def _invite(folder: CoordinatorFolder, sites: list[str]) -> None:
    for name in sites:
        click.echo(f"\nfor {name} alone, by a way nobody else reads:\n  tacit site join {folder.invite(name).text}")


def _hear(name: str) -> str | None:
    """What a person types, or ``None`` where nobody does."""
    try:
        return str(click.prompt(f"«{name}» asks to join. The fingerprint it reads to you", default="", show_default=False, err=True))
    except click.Abort:
        return None


def _study(folder: CoordinatorFolder, roster: Roster, card: Any, *, listen: Address, gather: float, timeout: float) -> StudyReport:
    from tacit.errors import Unreachable
    from tacit.federation.coordinator import run_study
    from tacit.federation.coordinator.keeping import keep
    from tacit.federation.coordinator.resuming import Attempt
    from tacit.federation.journal import JournaledTransport
    from tacit.federation.transports import WebSocketTransport

    transport = WebSocketTransport(folder.path, roster.sites, listen=listen)
    try:
        _connected(transport, roster, gather)
        if len(transport.connected) < roster.parties.threshold:
            absent = ", ".join(sorted(set(roster.names) - set(transport.connected)))
            raise Unreachable(f"{roster.parties}; {absent} did not connect. Nothing was asked or charged; run it again when they are there.")
        attempt = Attempt.of(folder, card)
        if attempt.resumed:
            _progress(f"going on with the run {attempt.run} that was interrupted")
        _progress(f"asking «{card.name}» of {', '.join(roster.names)}")
        journaled = JournaledTransport(transport, attempt.journal)
        model, report = run_study(folder, roster, card, transport=journaled, timeout=timeout, run=attempt.run)
    finally:
        transport.close()
    for path in keep(folder, model, report):
        _progress(f"wrote {path}")
    attempt.over()
    return report


def _connected(transport: Any, roster: Roster, gather: float) -> None:
    """Wait until all sites are there, or for ``gather`` seconds."""
    import time

    end = time.monotonic() + gather
    while len(transport.connected) < len(roster.names) and time.monotonic() < end:
        time.sleep(0.05)
    for name in sorted(set(roster.names) - set(transport.connected)):
        _progress(f"«{name}» is not connected")


def _progress(line: str) -> None:
    click.echo(printable(line), err=True)
