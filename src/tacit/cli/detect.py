"""``tacit detect``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.cli.alerting import alert_options, alerted
from tacit.cli.detect_forecast import count, forecast
from tacit.cli.specs import POLICY, RUN
from tacit.errors import DataError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from tacit.guard import Policy, Records
    from tacit.logs.detection import Windows
    from tacit.logs.formats import Event
    from tacit.logs.stages import DeadLetters

_LENGTHS = ("1d", "12h", "8h", "6h", "4h", "3h", "2h", "1h")
_FORM = click.option("--input-format", "form", default="ecs", show_default=True, help="Of lines; a file named .parquet is read as such.")


@click.group()
def detect() -> None:
    """Learn what attacks, or unusual days, look like, and raise alerts."""


@detect.command()
@click.argument("events", nargs=-1, required=True, type=click.Path())
@POLICY
@click.option("--budget", required=True, type=float, help="Epsilon that the detector may cost.")
@click.option("--unit", "protected", help="Refuse unless the policy's privacy unit has this name, such as user-day.")
@click.option("--labels", type=click.Path(path_type=Path), help="Known incidents: CSV or Parquet with the columns of --entity and date.")
@click.option("--entity", type=click.Choice(["user.name", "host.name"]), default="user.name", show_default=True, help="Whose windows are judged.")
@click.option("--window", type=click.Choice(_LENGTHS), default="1d", show_default=True, help="Length of a window; they begin at midnight UTC.")
@click.option("--alerts-per-day", default=20.0, show_default=True, help="How many alerts a day somebody has time for.")
@click.option("--output", default="detector", show_default=True, type=click.Path(path_type=Path), help="Folder for the detector.")
@_FORM
@RUN
def train(events: tuple[str, ...], **options: Any) -> None:
    """Learn a detector from the files EVENTS, in order of time, within a policy.

    With --labels (or events that say themselves whether they are malicious, as simulated ones do) it learns what attacks look like; without, what is
    unusual. Events may be anonymised ones: pseudonyms serve as well as names.
    """
    from tacit.cli.specs import curator_of, policy_for
    from tacit.guarantee import Budget
    from tacit.logs.detection import Detector, DetectorSpec, Windows

    policy = policy_for(options)
    if options["protected"] and options["protected"] != policy.unit.name:
        raise UsageError(f"Expected a policy whose privacy unit is «{options['protected']}»; {options['policy']} protects «{policy.unit.name}».")
    spec = DetectorSpec(
        Budget(options["budget"], policy.budget.delta), Windows(options["entity"], options["window"]), options["alerts_per_day"], options["run"],
    )
    table, labels = _table(events, options, spec.windows)
    with _records(table, policy, spec.windows) as records:
        curator, ledger = curator_of(records, policy)
        detector = Detector.fit(spec, curator, labels=labels)
    detector.save(options["output"], ledger.signing_key)
    learned = "from labels" if labels else "without labels"
    click.echo(f"{options['output']}: learned {learned}; {detector.model.guarantee}; ledger entry {detector.model.provenance.charge}")


@detect.command()
@click.argument("events", nargs=-1, required=True, type=click.Path())
@click.option("--detector", default="detector", show_default=True, type=click.Path(path_type=Path), help="Folder that «tacit detect train» wrote.")
@click.option("--alerts-per-day", type=float, help="Another budget of alerts than the detector was trained with.")
@alert_options
@_FORM
def run(events: tuple[str, ...], detector: Path, alerts_per_day: float | None, form: str, **options: Any) -> None:
    """Score every window of the files EVENTS and write the highest ones as alerts, within the budget of alerts per day.

    Alerts are about persons and are not private: they belong to the analysts who may see the events.
    """
    from tacit.logs.detection import Detector, to_ecs, to_ocsf

    found = Detector.load(detector)
    if alerts_per_day is not None:
        found = found.with_alerts(alerts_per_day)
    features = _features(events, form, found.windows, labels=False)
    count = alerted(map(to_ecs if options["shape"] == "ecs" else to_ocsf, found.alerts(features)), options)
    windows = features["window"].n_unique()
    click.echo(f"{count:,} alerts on {features.height:,} windows of accounts in {windows:,} windows of {found.windows.length}", err=True)


@detect.command()
@click.argument("events", nargs=-1, required=True, type=click.Path())
@click.option("--rules", "folder", required=True, type=click.Path(path_type=Path),
              help="Sigma rules; for treated events those that «tacit logs sigma-check --output» wrote.")
@click.option("--fields", type=click.Path(path_type=Path), help="YAML: what fields that rules name are called in the events.")
@alert_options
@click.option("--input-format", "form", default="windows", show_default=True, help="Of the events' lines.")
@click.option("--dead-letters", type=click.Path(path_type=Path), help="Where damaged lines go. [default: they end the command]")
def rules(events: tuple[str, ...], folder: Path, fields: Path | None, **options: Any) -> None:
    """Evaluate Sigma rules on every event of the files EVENTS, and write an alert for each hit."""
    from contextlib import ExitStack

    from tacit.cli.logs_sigma import names_in
    from tacit.logs.content import Rules
    from tacit.logs.detection import hit_to_ecs, hit_to_ocsf, rule_hits
    from tacit.logs.stages import DeadLetters

    found = Rules.load(folder, format=options["form"], names=names_in(fields))
    if not len(found):
        raise UsageError(f"Expected Sigma rules in {folder}; none of its files can be read as one.")
    write, read = hit_to_ecs if options["shape"] == "ecs" else hit_to_ocsf, Counter[str]()
    with ExitStack() as stack:
        letters = None if options["dead_letters"] is None else stack.enter_context(DeadLetters(options["dead_letters"]))
        batches = _counted(_batches(events, options["form"], letters), read)
        count = alerted((write(hit) for batch in batches for hit in rule_hits(found, batch)), options)
    click.echo(f"{count:,} alerts of {len(found):,} rules on {read['events']:,} events", err=True)


def _counted(batches: Iterator[list[Event]], read: Counter[str]) -> Iterator[list[Event]]:
    for batch in batches:
        read["events"] += len(batch)
        yield batch


def _batches(events: tuple[str, ...], form: str, letters: DeadLetters | None) -> Iterator[list[Event]]:
    """Events of all files. Damaged lines go to the dead letters, or end the command: a detection must not pass over events in silence."""
    from tacit.logs.formats import by_name, records

    for path in events:
        reader, line = by_name(form), 0
        for lines in records(path, lines=20_000):
            parsed = reader.parse(lines)
            for damaged in parsed.damaged:
                if letters is None:
                    where = f"Line {line + damaged.line + 1:,} of {path}"
                    raise DataError(f"{where} is damaged ({damaged.reason}). Give --dead-letters FILE to go on.")
                letters.add(lines[damaged.line], line=line + damaged.line + 1, reason=damaged.reason)
            line += len(lines)
            yield parsed.events


def _features(events: tuple[str, ...], form: str, windows: Windows, *, labels: bool) -> pl.DataFrame:
    from itertools import chain

    from tacit.logs.detection import event_frames
    from tacit.logs.formats import by_name

    reader = by_name(form)
    return windows.features(chain.from_iterable(event_frames(path, reader, labels=labels) for path in events))


def _table(events: tuple[str, ...], options: dict[str, Any], windows: Windows) -> tuple[pl.DataFrame, bool]:
    """Rows of features, and whether they have labels."""
    import polars as pl

    from tacit.logs.detection import labelled

    features = _features(events, options["form"], windows, labels=options["labels"] is None)
    if not features.height:
        raise DataError(f"Expected events with «{windows.entity}»; none of the files has one. Name another --entity, or check --input-format.")
    if options["labels"] is not None:
        features = labelled(features, _incidents(options["labels"]), windows)
    known = "malicious" in features.columns and bool(features["malicious"].any())
    if options["labels"] is not None and not known:
        raise DataError(f"Expected incidents that belong to the events; no window of {options['labels']} occurs in them.")
    return features.with_columns(pl.col("malicious").cast(pl.Int64)) if known else features, known


def _incidents(path: Path) -> pl.DataFrame:
    import polars as pl

    try:
        return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"Cannot read the incidents {path}; expected CSV with a header, or Parquet.") from error


def _records(table: pl.DataFrame, policy: Policy, windows: Windows) -> Records:
    """The rows as records of the policy's unit. A unit without a column is a row: one account's window."""
    from tacit.guard import Records

    if policy.unit.column not in (None, windows.entity):
        raise UsageError(
            f"Expected a privacy unit of «{windows.entity}» (or of rows), since a row is about one; the policy's is of «{policy.unit.column}»."
        )
    time = "window" if policy.unit.column is not None and policy.unit.window is not None else None
    return Records.open(table.to_arrow(), unit=policy.unit, time=time, max_rows_per_unit=policy.limits.max_rows_per_unit)


for command in (count, forecast):
    detect.add_command(command)
