"""``tacit detect count`` and ``tacit detect forecast``: events counted per class and hour, and alerts where counts leave their forecast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.cli.alerting import alert_options, alerted
from tacit.cli.specs import POLICY, RUN
from tacit.errors import DataError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from tacit.guard import Policy

_CLASS = "class"


@click.command()
@click.argument("events", nargs=-1, required=True, type=click.Path())
@click.option("--budget", required=True, type=float, help="Epsilon that the counts may cost.")
@click.option("--by", default="event.category", show_default=True, help="A field whose values are counted apart, or class.")
@click.option("--classes", type=click.Path(path_type=Path), help="CSV with user.name or host.name, and class: events are counted by it.")
@click.option("--value", "values", multiple=True, help="A value or class, publicly known; may be given more than once.")
@click.option("--like", type=click.Path(path_type=Path), help="Earlier counts to go on from: same bins, values and clip.")
@click.option("--bin", "width", help="Width of a bin: 15min, 1h, 1d, 1w. [default: 1h]")
@click.option("--from", "begin", help="Where counting begins, ISO 8601, UTC. [default: where --like ends, or the budget's window begins]")
@click.option("--to", "end", help="Where it ends. [default: where the window ends, or last midnight]")
@click.option("--longest", type=float, help="How many events of one unit count in full. [default: found by a charged question]")
@POLICY
@click.option("--output", default="counts.tacit", show_default=True, type=click.Path(path_type=Path), help="Where to write the counts.")
@click.option("--input-format", "form", default="ecs", show_default=True, help="Of lines; a file named .parquet is read as such.")
@RUN
def count(events: tuple[str, ...], **options: Any) -> None:
    """Count the events of the files EVENTS per class and bin of time, charged to the policy's ledger, and write the noisy counts signed."""
    from tacit.cli.forecast import count_spec, release
    from tacit.cli.specs import policy_for
    from tacit.guard import Records
    from tacit.logs.ecs import TIME

    policy = policy_for(options)
    spec = count_spec(policy, options | {"when": TIME, "by": None if options["like"] else _CLASS if options["classes"] else options["by"]})
    table = _table(events, spec.column or TIME, policy, options)
    time = TIME if policy.unit.window else None
    with Records.open(table.to_arrow(), unit=policy.unit, time=time, max_rows_per_unit=policy.limits.max_rows_per_unit) as records:
        release(records, spec, policy=policy, output=options["output"])


@click.command()
@click.argument("later", type=click.Path())
@click.argument("history", nargs=-1, required=True, type=click.Path())
@click.option("--coverage", default=0.999, show_default=True, type=float, help="Share of bins that an interval holds, from 0.5 to 0.999.")
@click.option("--alerts-per-day", type=float, help="The farthest from their forecast only, so many for each day. [default: all]")
@alert_options
def forecast(later: str, history: tuple[str, ...], coverage: float, alerts_per_day: float | None, **options: Any) -> None:
    """Write an alert for each count in LATER that leaves the interval which the counts in HISTORY let expect. Costs nothing.

    Alerts follow from released counts alone, so that they carry the guarantee of these and may go wherever they may.
    """
    from tacit.logs.detection import surprise_to_ecs, surprise_to_ocsf, surprises
    from tacit.models import load_counts

    released, parts = load_counts(later), [load_counts(path) for path in history]
    found = surprises(released, parts, coverage=coverage, alerts_per_day=alerts_per_day)
    count = alerted(map(surprise_to_ecs if options["shape"] == "ecs" else surprise_to_ocsf, found), options)
    click.echo(f"{count:,} alerts on {released.bins * len(released.names):,} counts; {released.guarantee}", err=True)


def _table(events: tuple[str, ...], by: str, policy: Policy, options: dict[str, Any]) -> pl.DataFrame:
    """What is counted: the time, who counts as one, and the field or class that is counted by."""
    from itertools import chain

    import polars as pl

    from tacit.logs.detection import event_frames
    from tacit.logs.ecs import EVENT_SCHEMA, TIME
    from tacit.logs.formats import by_name

    classes = None if options["classes"] is None else _classes(options["classes"])
    if (by == _CLASS) != (classes is not None):
        raise UsageError(f"Expected --classes where events are counted by class, and only there; they are counted by «{by}».")
    entity = by if classes is None else classes.columns[0]
    wanted = dict.fromkeys([TIME, entity, *([] if policy.unit.column is None else [policy.unit.column])])
    strange = [name for name in wanted if name not in EVENT_SCHEMA]
    if strange:
        raise UsageError(f"Expected fields that events are known by, such as user.name or event.category; got «{strange[0]}».")
    frames = [frame.select(list(wanted)) for frame in chain.from_iterable(event_frames(path, by_name(options["form"])) for path in events)]
    if not frames:
        raise DataError("Expected events; none of the files holds one. Check --input-format.")
    table = pl.concat(frames)
    return table if classes is None else table.join(classes, on=entity, how="left", maintain_order="left")


def _classes(path: Path) -> pl.DataFrame:
    """Accounts or machines, each with its class."""
    import polars as pl

    try:
        found = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"Cannot read the classes {path}; expected CSV with a header.") from error
    entity = [name for name in ("user.name", "host.name") if name in found.columns]
    if len(entity) != 1 or _CLASS not in found.columns:
        raise DataError(f"Expected the columns class, and user.name or host.name, in {path}; it has {len(found.columns)} columns.")
    found = found.select(entity[0], _CLASS)
    if found[entity[0]].is_duplicated().any():
        raise DataError(f"Expected each {entity[0]} once in {path}, so that an event has one class.")
    return found
