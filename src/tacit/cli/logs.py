"""``tacit logs``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.cli.logs_directory import know
from tacit.cli.logs_keys import keys
from tacit.cli.logs_keys import opened as keyring
from tacit.cli.logs_leaks import leaks
from tacit.cli.logs_names import names
from tacit.cli.logs_reveal import reveal
from tacit.cli.logs_serve import serve
from tacit.cli.logs_sigma import sigma_check
from tacit.cli.logs_spark import spark, told
from tacit.cli.logs_stats import stats
from tacit.cli.logs_synthetic import synthetic
from tacit.errors import UsageError

if TYPE_CHECKING:
    from tacit.logs.anonymise import Anonymiser
    from tacit.logs.formats import LineFormat
    from tacit.logs.keys import EpochKey, Recorder
    from tacit.logs.policies import SourcePolicy
    from tacit.logs.stages import Sink, Tally

POLICY = click.option("--policy", required=True, help="The policy of the source: a file, or pack:ecs for one that comes with Tacit.")
KEYS = click.option("--keys", required=True, type=click.Path(path_type=Path), help="The keyring; make one with: tacit logs keys init")
_SAMPLE, _PLANNED = 2_000, 50_000


@click.group()
def logs() -> None:
    """Make logs that can be analysed and not read: policies, keys, and records treated under both."""


@logs.command()
@click.argument("file", type=click.Path())
@POLICY
@click.option("--keys", type=click.Path(path_type=Path), help="The keyring; make one with: tacit logs keys init. Only --dry-run does without one.")
@click.option("--output", default="-", show_default=True,
              help="A file, or - for standard output. A name that ends in .jsonl or .parquet says what is written.")
@click.option("--format", "form", help="How FILE is written, if not as the policy says, such as zeek or nginx.")
@click.option("--output-format", type=click.Choice(["same", "json"]), default="same", show_default=True,
              help="The format that was read, or JSON lines.")
@click.option("--dead-letters", type=click.Path(path_type=Path), help="Where records go that cannot be treated. [default: beside the output]")
@click.option("--directory", type=click.Path(path_type=Path),
              help="Names to look for in texts: one per line, or a CSV with columns user, email, host.")
@click.option("--learn/--no-learn", default=True, show_default=True, help="Read a file twice, and look in texts for names of later records too.")
@click.option("--learn-everywhere", is_flag=True,
              help="Read a file a third time, for names that no field holds; what comes out then hardly depends on the order of records.")
@click.option("--vault", type=click.Path(path_type=Path), help="Where what a pseudonym stands for is kept, sealed, for «tacit logs reveal».")
@click.option("--epoch", help="Use the key of this epoch, not the newest.")
@click.option("--dry-run", is_flag=True, help="Treat the first records only, show them before and after, and what is still readable.")
def anonymise(file: str, policy: str, keys: Path | None, **options: Any) -> None:
    """Treat the records of FILE (- for standard input) under a policy and a key.

    What the policy does not name is left out. Records that cannot be read go to the dead letters, never to the output. The output appears when it is
    complete; standard output is written as records come.
    """
    from tacit.logs.anonymise import Anonymiser
    from tacit.logs.formats import by_name, records
    from tacit.logs.policies import SourcePolicy
    from tacit.logs.stages import LINES, DeadLetters, learn, run

    rules = SourcePolicy.load(policy)
    name = options["form"] or rules.format
    form = by_name(name)
    key, prior, kept = _key(keys, options)
    anonymiser = Anonymiser(rules, key, prior=prior, recorder=kept)
    if options["directory"]:
        know(anonymiser, options["directory"])
    if options["dry_run"]:
        _dry_run(file, anonymiser, form)
        return
    if options["learn"] and file != "-":
        for everywhere in (False, True) if options["learn_everywhere"] else (False,):
            learn(records(file, lines=LINES), by_name(name), anonymiser, everywhere=everywhere)
    with ExitStack() as stack:
        sink = stack.enter_context(_sink(options["output"], rules, form if options["output_format"] == "same" else None))
        letters = stack.enter_context(DeadLetters(_dead_letters(options)))
        pieces = records(file, lines=LINES, waiting=options["output"] == "-" and file == "-")
        tally = run(pieces, form, anonymiser, sink=sink, dead=letters)
    _tell(tally, rules, key.id)


@logs.command()
@click.argument("sample", type=click.Path())
@click.option("--source", default="my-source", show_default=True, help="A public name of the source.")
@click.option("--format", "form", help="How SAMPLE is written, such as syslog or nginx. [default: what its first lines look like]")
def plan(sample: str, source: str, form: str | None) -> None:
    """Look at the records in SAMPLE and propose a policy, with a reason for every field. Read it before you use it.

    Every format that anonymise reads is read, and the proposal names it. The first 50,000 records are looked at.
    """
    from tacit.logs.formats import NAMES, by_name, detect
    from tacit.logs.policies import propose

    lines = _first(sample, _PLANNED)
    name = form or ("windows" if sample.endswith(".evtx") else detect(lines[:_SAMPLE]))
    if name is None:
        raise UsageError(f"Cannot tell how {sample} is written: its first lines fit no format. Name it with --format: {', '.join(NAMES)}.")
    parsed = by_name(name).parse(lines)
    if not parsed.events:
        raise UsageError(f"Expected records as {name} in {sample}; found none in its first {_PLANNED:,} lines. Name another format with --format.")
    click.echo(propose(parsed.events, source=source, form=name), nl=False)
    read = f"{len(parsed.events):,} records read as {name}, {len(parsed.damaged):,} damaged"
    click.echo(f"{read}; fields beyond those found here will be left out", err=True)


@logs.command()
@POLICY
def statement(policy: str) -> None:
    """Say for every field of a policy what is left of it: kept, a pseudonym, coarser, or differentially private."""
    from tacit.logs.policies import SourcePolicy

    rules = SourcePolicy.load(policy)
    wide = max(len(path) for path in rules.fields)
    for path, treatment, promise, why in rules.statement():
        click.echo(f"{path:{wide}}  {treatment:10}  {promise}{'; ' + why if why else ''}")
    click.echo(f"{'everything else':{wide}}  {rules.unknown:10}  {'left out' if rules.unknown == 'drop' else 'the whole record is held back'}")


def _key(keys: Path | None, options: dict[str, Any]) -> tuple[EpochKey, EpochKey | None, Recorder | None]:
    """The key of the epoch, the one before it where both hold, and what notes in the vault."""
    from tacit.logs.keys import EpochKey, Recorder, Vault

    if keys is None and options["dry_run"] and not options["epoch"]:
        return EpochKey.kept_nowhere(), None, None
    if keys is None:
        raise UsageError("Expected --keys, the keyring of the pseudonyms. Make one: tacit logs keys init --keys keys.json --tenant NAME")
    ring = keyring(keys)
    key = ring.epoch(options["epoch"]) if options["epoch"] else ring.active()
    kept = None if options["vault"] is None or options["dry_run"] else Recorder(Vault.of(options["vault"], ring), key)
    return key, None if options["epoch"] else ring.prior(), kept


def _dead_letters(options: dict[str, Any]) -> Path:
    if options["dead_letters"]:
        return Path(options["dead_letters"])
    return Path("dead-letters.jsonl") if options["output"] == "-" else Path(options["output"] + ".dead-letters.jsonl")


@contextmanager
def _sink(output: str, policy: SourcePolicy, form: LineFormat | None) -> Iterator[Sink]:
    """Where treated records go: JSON lines, Parquet, or lines of a format that is no JSON."""
    from tacit.logs.formats import JSON_NAMES
    from tacit.logs.stages import FormatSink, LinesSink, ParquetSink
    from tacit.replacing import replacing

    own = form if form is not None and form.name not in JSON_NAMES else None
    if output == "-" and own is not None:
        yield FormatSink(sys.stdout.buffer, own, flush=True)
    elif output == "-":
        yield LinesSink(sys.stdout.buffer, flush=True)
    elif output.endswith((".jsonl", ".json", ".ndjson")) or (form is None and not output.endswith((".parquet", ".gz", ".zst"))):
        with replacing(output) as file:
            yield LinesSink(file)
    elif output.endswith(".parquet"):
        with replacing(output) as file:
            sink = ParquetSink(file, policy)
            yield sink
            sink.close()
    elif own is not None and not output.endswith((".gz", ".zst")):
        with replacing(output) as file:
            yield FormatSink(file, own)
    else:
        raise UsageError(f"Expected --output to end in .jsonl or .parquet, or to be -, for JSON records; got «{Path(output).name}».")


def _first(file: str, lines: int = _SAMPLE) -> list[bytes]:
    """The first lines of a file."""
    from tacit.logs.formats import records

    return next(records(file, lines=lines), [])


def _dry_run(file: str, anonymiser: Anonymiser, form: LineFormat) -> None:
    """Records before and after, and which names of the dictionary are still readable."""
    from tacit.errors import DataError
    from tacit.logs.leaks import Sample, leak_report, residuals

    lines = _first(file)
    parsed = form.parse(lines)
    anonymiser.learn(parsed.events)
    treated = anonymiser.texts(parsed.events)
    for place, text in list(zip(treated.places, treated.events, strict=True))[:3]:
        click.echo("before  " + lines[parsed.places[place]].decode("utf-8", "replace")[:2_000])
        click.echo("after   " + text[:2_000] + "\n")
    _unknown(treated.unknown)
    named: dict[str, list[str]] = {"email": [], "fqdn": [], "host": [], "user": []}
    for name, pseudonym in anonymiser.tools.identities.items():
        named["email" if "@" in name else "user" if pseudonym[0] == "u" else "fqdn" if "." in name else "host"].append(name)
    found = residuals("\n".join(treated.events).encode(), named).total if len(anonymiser.tools.identities) else 0
    click.echo(f"{len(lines):,} records: {len(parsed.damaged):,} damaged, {len(treated.refused):,} refused, {len(treated.events):,} treated")
    click.echo(f"{len(anonymiser.tools.identities):,} identities were named by fields; {found:,} of them are still readable in what is kept")
    try:
        sample = Sample.of([parsed.events[place] for place in treated.places], [json.loads(text) for text in treated.events], anonymiser.policy)
    except DataError:
        click.echo("no leak report: nothing was treated")
    else:
        click.echo("\nwhat could be linked (more with: tacit logs leaks): " + leak_report(sample).render("short"))
    click.echo("owner-side: this shows records in the clear. A name that no field holds is not counted: give a --directory")


def _unknown(unknown: Any) -> None:
    for path, count in unknown.most_common(20):
        click.echo(f"left out  {path}  ({count:,} times: the policy does not name it)")


def _tell(tally: Tally, policy: SourcePolicy, epoch: str) -> None:
    for line in told(tally, epoch, policy.source):
        click.echo(line, err=True)
    if policy.epsilon_per_unit_day():
        click.echo(f"local differential privacy: at most ε={policy.epsilon_per_unit_day():g} per unit and day", err=True)


for command in (keys, leaks, names, reveal, serve, sigma_check, spark, stats, synthetic):
    logs.add_command(command)
