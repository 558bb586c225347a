"""``tacit site``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.cli.ledger import FORMAT, printable

if TYPE_CHECKING:
    from tacit.federation.roster import Roster
    from tacit.federation.site.joining import Membership
    from tacit.federation.study import StudyCard
    from tacit.guarantee import Scope
    from tacit.guard import Ledger, Policy

_FOLDER = click.option("--folder", default=".", show_default=True, type=click.Path(path_type=Path), help="The site's folder.")
_STUDY = click.option("--study", "study", type=click.Path(path_type=Path), help="A study card, instead of the one that came last.")
_PATIENCE = click.option("--patience", default=600.0, show_default=True, help="Seconds to wait for people and other sites.")
_YES = click.option("--yes", is_flag=True, help="Agree to the roster without being asked; only where somebody has compared it already.")


def _first_policy(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a first policy."""
    for option in (
        click.option("--approval", type=click.Choice(["automatic", "owner"]), default="automatic", show_default=True,
                     help="Whether what fits the policy is answered, or every study waits for tacit site approve."),
        click.option("--delta", default=1e-6, show_default=True, help="Delta of everything ever asked."),
        click.option("--epsilon", default=1.0, show_default=True, help="Epsilon of everything ever asked."),
        click.option("--unit-column", "column", default="", help="Column that identifies the unit; without it every record is one."),
        click.option("--unit", default="record", show_default=True, help="Whom the policy protects, in the singular, such as patient."),
        click.option("--dataset", default="my-records", show_default=True, help="Public name of the records."),
        click.option("--data", "source", default="", help="File with the records; taken from the site's folder."),
    ):
        command = option(command)
    return command


@click.group()
def site() -> None:
    """Take part in a federation: your records stay here, behind your policy and your ledger."""


@site.command()
@_FOLDER
@_first_policy
def init(folder: Path, **decided: Any) -> None:
    """Make this site's key and, where there is none, a policy to read and correct. Nothing is sent anywhere."""
    from tacit.federation.site import SiteFolder

    _begin(folder, decided)
    click.echo(f"key {SiteFolder.open(folder).key.public.fingerprint}, made here; it never leaves {folder / 'site'}")


@site.command()
@click.argument("invitation", required=False)
@_FOLDER
@_first_policy
@click.option("--fingerprint", help="The coordinator's fingerprint, as heard by phone, instead of being asked whether it is the one shown.")
@_PATIENCE
def join(invitation: str | None, folder: Path, fingerprint: str | None, patience: float, **decided: Any) -> None:
    """Join a federation with an INVITATION, or go on with one. The key is made here; two people compare two fingerprints by phone."""
    from tacit.errors import UsageError
    from tacit.federation.invite import Invite
    from tacit.federation.site import Joining, SiteFolder

    parsed = None if invitation is None else Invite.parse(invitation)
    _begin(folder, decided)
    found = SiteFolder.open(folder)
    known = parsed or found.kept_invite()
    if known is None:
        raise UsageError("Expected an invitation: one line that the coordinator gave you. Run: tacit site join INVITATION.")
    joining = Joining.begin(found, known, patience=min(patience, 60.0), say=_progress)
    click.echo(f"«{printable(known.federation)}» at {known.address} invites «{known.site}».")
    _compare(joining.theirs, fingerprint)
    click.echo(f"Read this to the coordinator:  {joining.ours}")
    click.echo("waiting to be let in ...", err=True)
    joining.wait(patience=patience)
    click.echo(f"«{known.site}» is in: certificate in {found.path}, keys made here. Next: tacit site preflight, or tacit site run.")


@site.command()
@_FOLDER
@_STUDY
@FORMAT
def preflight(folder: Path, study: Path | None, form: str) -> int:
    """Look for all that could fail in a study, each with its fix. Exits with 1 if something would."""
    from tacit.federation.site import SiteFolder
    from tacit.federation.site.preflight import Bench
    from tacit.federation.site.preflight import preflight as checks

    bench = Bench(SiteFolder.open(folder), _card(study))
    outcomes = []
    for outcome in checks(bench):
        outcomes.append(outcome)
        if form == "text":
            click.echo(f"{_MARKS[outcome.state]}  {outcome.check:12s}{printable(outcome.said)}")
            if outcome.fix:
                click.echo(f"{'':18s}fix: {printable(outcome.fix)}")
    failed = sum(outcome.state == "failed" for outcome in outcomes)
    if form == "json":
        click.echo(json.dumps({"failed": failed, "checks": [outcome.to_dict() for outcome in outcomes]}, ensure_ascii=False))
    return 1 if failed else 0


_MARKS = {"passed": "ok  ", "failed": "FAIL", "skipped": "--  "}


@site.command()
@_FOLDER
@FORMAT
def policy(folder: Path, form: str) -> None:
    """What the owner decided, what is left, and which studies have asked."""
    from tacit.cli.policy import decided, state_of
    from tacit.federation.site import SiteFolder, decisions

    found = SiteFolder.open(folder).policy
    ledger, scope = _ledger(found), _scope(found)
    spent = found.accounting.spent([] if ledger is None else ledger.costs(scope))
    asked = () if ledger is None else decisions(ledger, scope)
    if form == "json":
        studies = [{"digest": d.card.digest, "said": d.said, "charges": d.charges, "card": d.card.to_dict()} for d in asked]
        click.echo(json.dumps({"policy": found.to_dict(), "spent": spent.to_dict(), "studies": studies}, ensure_ascii=False))
        return
    for left, right in (*decided(found), *state_of(spent, scope)):
        click.echo(f"{left:12s}{right}")
    for known in asked:
        said = known.said or ("answered by the policy" if found.limits.approval == "automatic" else "waits for you")
        click.echo(f"{'study':12s}{_described(known.card)}: {said}, charged {known.charges} times")


@site.command()
@_FOLDER
@FORMAT
def ledger(folder: Path, form: str) -> None:
    """What was asked of the records here, by whom, what it cost, and how much is left."""
    from tacit.federation.site import SiteFolder

    found = SiteFolder.open(folder).policy
    book, scope = _ledger(found), _scope(found)
    entries = [] if book is None else [entry for entry in book.entries(scope) if entry.kind in _SHOWN]
    spent = found.accounting.spent([] if book is None else book.costs(scope))
    if form == "json":
        click.echo(json.dumps({"entries": [entry.to_dict() for entry in entries], "spent": spent.to_dict()}, ensure_ascii=False))
        return
    for entry in entries:
        click.echo(f"{entry.sequence:6d}  {entry.time}  {_SHOWN[entry.kind]:9s}  {printable(_what(entry.kind, entry.body))}")
    click.echo(f"epsilon {spent.epsilon:.4g} of {found.budget.epsilon:g} spent on {scope}, {spent.left:.3g} left, at delta {found.budget.delta:g}")
    if book is not None:
        click.echo(f"head {book.head}")


_SHOWN = {"study": "asked", "study.approval": "approved", "study.denial": "denied", "charge": "charged"}


@site.command()
@click.argument("study")
@_FOLDER
def approve(study: str, folder: Path) -> None:
    """Say yes to a STUDY that waits, by its name or digest: it is answered when it is run again, within its budget."""
    _decide(folder, study, approve=True)


@site.command()
@click.argument("study")
@_FOLDER
def deny(study: str, folder: Path) -> None:
    """Say no to a STUDY, by its name or digest, whatever the policy allows. A later approval takes it back."""
    _decide(folder, study, approve=False)


@site.command()
@_FOLDER
@click.option("--once", is_flag=True, help="Stop after one study; else until interrupted.")
@click.option("--mock", is_flag=True, help="Take part with mock records, for a rehearsal of everybody.")
@_YES
@_PATIENCE
def run(folder: Path, once: bool, mock: bool, yes: bool, patience: float) -> None:
    """Connect to the coordinator, outbound only, and answer studies that the policy allows. The first time, sign the roster."""
    import threading

    from tacit.federation.site import Membership, SiteFolder, Told, agent_of
    from tacit.federation.transports import SiteOptions, serve

    found = SiteFolder.open(folder)
    roster = _roster(Membership.of(found), yes=yes, patience=patience)
    stop = threading.Event()
    with agent_of(found, roster, mock=mock) as agent:
        told = Told(agent, _progress, stop, once)
        serve(told, found.path, options=SiteOptions(stop=stop, report=_changes()))
    click.echo(f"{found.connection.name}: stopped. See tacit site ledger for what was charged.")


@site.command()
@_FOLDER
@_STUDY
@click.option("--rows", default=1000, show_default=True, help="How many records.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Where to write them: a name that ends in .parquet or .csv.")
def mock(folder: Path, study: Path | None, rows: int, output: Path) -> None:
    """Write made-up records in the shape of a study, drawn from its public bounds alone: for whoever may not see real ones."""
    from tacit.errors import UsageError
    from tacit.federation.mock import MARK, mock_table
    from tacit.federation.site import SiteFolder
    from tacit.federation.site.preflight import Bench
    from tacit.federation.site.preflight.outcome import Skipped

    if output.suffix not in (".parquet", ".csv"):
        raise UsageError(f"Expected --output to end in .parquet or .csv; got «{output.name}».")
    try:
        card = _card(study) or Bench(SiteFolder.open(folder)).card
    except Skipped as reason:
        raise UsageError(f"Expected a study card; {reason}.") from None
    table = mock_table(card, rows)
    _write_table(table, output)
    click.echo(f"{output}: {rows:,} mock records of «{card.name}», drawn from its public bounds; the column «{MARK}» marks them")


def _begin(folder: Path, decided: dict[str, Any]) -> None:
    from tacit.errors import UsageError
    from tacit.federation.site import SiteFolder
    from tacit.federation.site.beginning import FirstPolicy
    from tacit.federation.site.folder import POLICY
    from tacit.guard import Policy

    if not folder.is_dir():
        raise UsageError(f"Expected a folder at «{folder}»; there is none. Make it, or name another with --folder.")
    path = folder / POLICY
    if FirstPolicy(**decided).write(path):
        click.echo(f"wrote {path}: read it; only you decide what is in it")
    Policy.load(path)
    SiteFolder.create(folder)


def _compare(theirs: str, heard: str | None) -> None:
    from tacit.errors import VerificationError
    from tacit.federation.invite import same_fingerprint

    click.echo(f"The coordinator reads to you: {theirs}")
    right = same_fingerprint(heard, theirs) if heard is not None else click.confirm("Is that what you hear on the phone?")
    if not right:
        raise VerificationError("refused: it is not the coordinator you know that made this invitation. Nothing was sent; ask for another.")


def _roster(membership: Membership, *, yes: bool, patience: float) -> Roster:
    """The roster with all signatures: the one that was kept, unless the coordinator's desk has a newer one."""
    from tacit.errors import TacitError, Unreachable

    kept = membership.folder.roster()
    try:
        if kept is not None:
            kept.require_signed()
            membership.fetch()
    except Unreachable:
        return kept  # type: ignore[return-value]
    except TacitError:
        kept = None

    def accept(roster: Roster) -> bool:
        click.echo(f"Members of «{printable(roster.federation)}» ({roster.parties}):")
        for name in roster.names:
            click.echo(f"  {name:24s}{roster.sites[name].fingerprint}")
        return yes or click.confirm("Sign this list?", default=True)

    return membership.complete(accept=accept, patience=patience, say=_progress)


def _card(path: Path | None) -> StudyCard | None:
    from tacit.federation.study import StudyCard

    return None if path is None else StudyCard.load(path)


def _decide(folder: Path, study: str, *, approve: bool) -> None:
    from tacit.errors import UsageError
    from tacit.federation.site import SiteFolder, decide

    found = SiteFolder.open(folder).policy
    book = _ledger(found)
    if book is None:
        raise UsageError("Expected a study that has asked; none has yet. A study is noted in the ledger when it is run for the first time.")
    entry, card = decide(book, _scope(found), study, approve=approve)
    click.echo(f"{'approved' if approve else 'denied'} in entry {entry.sequence}: {_described(card)}")


def _scope(policy: Policy) -> Scope:
    from datetime import UTC, datetime

    return policy.scope(datetime.now(UTC).date())


def _ledger(policy: Policy) -> Ledger | None:
    from tacit.guard import Ledger

    return Ledger.open(policy.ledger, key=policy.key, create=False) if Ledger.exists(policy.ledger) else None


def _described(card: StudyCard) -> str:
    return printable(
        f"«{card.name}» edition {card.edition} of {card.asker}: {card.purpose}; epsilon {card.budget.epsilon:g} per {card.unit}, until {card.ends}"
    )


def _what(kind: str, body: dict[str, Any]) -> str:
    if kind == "charge":
        return f"{body['plan']['purpose']} (epsilon so far {body['epsilon_after']:.4g})"
    if kind == "study":
        study = body["card"]["study"]
        return f"«{study['name']}» by {study['asker']}: {study['purpose']}"
    return f"«{body['study']}»"


def _progress(line: str) -> None:
    click.echo(printable(line), err=True)


def _changes() -> Callable[[str], None]:
    """Progress in which what is only repeated is said once."""
    last = ""

    def say(line: str) -> None:
        nonlocal last
        if line != last:
            _progress(line)
        last = line

    return say


def _write_table(table: Any, output: Path) -> None:
    from tacit.replacing import replacing

    with replacing(output) as target:
        if output.suffix == ".parquet":
            import pyarrow.parquet

            pyarrow.parquet.write_table(table, target)
        else:
            import pyarrow.csv

            pyarrow.csv.write_csv(table, target)
