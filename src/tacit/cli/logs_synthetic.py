"""``tacit logs synthetic``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.cli.ledger import FORMAT
from tacit.cli.specs import POLICY, RUN
from tacit.errors import DataError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from tacit.guard import Policy
    from tacit.models import SyntheticModel

_FORM = click.option("--input-format", "form", default="ecs", show_default=True, help="Of lines; a file named .parquet is read as such.")


@click.group()
def synthetic() -> None:
    """Make up events that look like yours and are nobody's: for parsers, dashboards and people who may not see any."""


@synthetic.command()
@click.argument("events", nargs=-1, required=True, type=click.Path())
@click.option("--budget", required=True, type=float, help="Epsilon that the tables may cost; drawing events from them costs nothing.")
@click.option("--column", "columns", multiple=True, help="A column that events shall have; may be given more than once. [default: all but names]")
@click.option("--about", help="A column whose relation to all others matters most.")
@click.option("--bins", default=16, show_default=True, type=int, help="The most bins of a column in a table.")
@POLICY
@click.option("--output", default="events.tacit", show_default=True, type=click.Path(path_type=Path), help="Where to write the tables.")
@_FORM
@RUN
def fit(events: tuple[str, ...], **options: Any) -> None:
    """Release noisy tables of the files EVENTS within a policy, charged to its ledger, and write them signed.

    Who counts as one is what the policy says, such as an account's day. No name of an account, a machine or a page is ever a column.
    """
    from tacit.cli.specs import policy_for
    from tacit.cli.synthetic import release_tables
    from tacit.domain import Domain
    from tacit.guarantee import Budget
    from tacit.guard import Records
    from tacit.learn import EVERY_COLUMN, LearnSpec, SynthesisShape
    from tacit.logs.ecs import TIME
    from tacit.logs.synthetic import EVENT_COLUMNS, WHOLE_COLUMNS, event_domain

    policy = policy_for(options)
    columns = options["columns"] or EVENT_COLUMNS
    declared = event_domain(columns) if policy.domain is None else Domain.load(policy.domain).select(columns)
    whole = tuple(name for name in WHOLE_COLUMNS if name in columns)
    shape = SynthesisShape(options["bins"], min(8, options["bins"]), options["about"], whole)
    spec = LearnSpec(
        tuple(columns), EVERY_COLUMN, Budget(options["budget"], policy.budget.delta), domain=declared, purpose="make up events", run=options["run"],
    )
    table = _table(events, options["form"], columns, policy)
    time = TIME if policy.unit.window else None
    with Records.open(table.to_arrow(), unit=policy.unit, time=time, max_rows_per_unit=policy.limits.max_rows_per_unit) as records:
        release_tables(records, spec, shape, policy=policy, output=options["output"])


@synthetic.command()
@click.argument("model", type=click.Path())
@click.option("--rows", type=int, help="How many events. [default: about as many as there were]")
@click.option("--from", "begin", default="2026-01-05", show_default=True, help="First day of the week that events lie in.")
@click.option("--seed", type=int, help="Draws the same events again; protects nothing, and needs to protect nothing.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Where to write them, one JSON object per line.")
def sample(model: str, rows: int | None, begin: str, seed: int | None, output: Path) -> None:
    """Draw made-up events from the tables in MODEL, in the Elastic Common Schema. Costs nothing, however often it runs."""
    import datetime as dt

    from tacit.learn import sample_records
    from tacit.logs.synthetic import made_up_events
    from tacit.replacing import replacing

    try:
        first = dt.date.fromisoformat(begin)
    except ValueError:
        raise UsageError(f"Expected --from as a day such as 2026-01-05; got «{begin[:40]}».") from None
    found = _loaded(model)
    drawn, count = sample_records(found, rows, seed=seed), 0
    with replacing(output) as file:
        for event in made_up_events(drawn, begin=first, seed=seed):
            file.write(json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")
            count += 1
    click.echo(f"{output}: {count:,} made-up events; {found.guarantee}")


@synthetic.command()
@click.argument("model", type=click.Path())
@click.option("--data", required=True, type=click.Path(), help="Events that the tables were made from.")
@click.option("--against", required=True, type=click.Path(), help="Events of the same kind that they were not made from, as of other days.")
@click.option("--about", help="A column to predict: trains a model on made-up and one on real events.")
@click.option("--rows", type=int, help="How many events to make up. [default: about as many as there were]")
@POLICY
@click.option("--input-format", default="ecs", show_default=True, help="Of lines; a file named .parquet is read as such.")
@FORMAT
def check(model: str, data: str, against: str, **options: Any) -> int:
    """Measure on real events whether those drawn from MODEL are of use, and whether they give anybody away.

    The attackers look for one event of each unit of the policy. What is printed was measured on events and is not private. Exits with 1 if an attack
    beats the guarantee.
    """
    from dataclasses import replace

    from tacit.attacks import attack_synthetic
    from tacit.cli.synthetic import drawn, tell_check
    from tacit.guard import Policy
    from tacit.logs.synthetic import one_of_each
    from tacit.pilot import check_synthetic

    found = _loaded(model)
    domain = found.binning.domain
    policy = Policy.load(options["policy"])
    tables = [_table((path,), options["input_format"], domain.names, policy) for path in (data, against)]
    made = drawn(found, options["rows"], None)
    members, others = (table.select(domain.names).to_arrow() for table in tables)
    result = check_synthetic(made, members, others, domain=domain, about=options["about"], guarantee=found.guarantee)
    inside, outside = (one_of_each(table, policy.unit).select(domain.names).to_arrow() for table in tables)
    result = replace(result, attacks=attack_synthetic(made, inside, outside, domain=domain, guarantee=found.guarantee))
    return tell_check(result, options["about"], options["form"])


def _loaded(path: str) -> SyntheticModel:
    """Tables of events.

    Raises:
        UsageError: they are of other records.
    """
    from tacit.logs.synthetic import EVENT_COLUMNS
    from tacit.models import load_synthetic

    found = load_synthetic(path)
    if not set(found.binning.domain.names) <= set(EVENT_COLUMNS):
        raise UsageError(f"Expected tables of events in {path}; these are of other records. Use: tacit synthetic")
    return found


def _table(events: tuple[str, ...], form: str, columns: tuple[str, ...], policy: Policy) -> pl.DataFrame:
    """Events as flat records, with what says who counts as one and when."""
    from itertools import chain

    from tacit.logs.detection import event_frames
    from tacit.logs.ecs import EVENT_SCHEMA, TIME
    from tacit.logs.formats import by_name
    from tacit.logs.synthetic import event_table

    keep = [name for name in (policy.unit.column, TIME if policy.unit.window else None) if name is not None]
    strange = [name for name in keep if name not in EVENT_SCHEMA]
    if strange:
        raise UsageError(f"Expected a privacy unit of a field that events are known by, such as user.name; the policy's is of «{strange[0]}».")
    table = event_table(chain.from_iterable(event_frames(path, by_name(form)) for path in events), columns, keep=keep)
    if not table.height:
        raise DataError("Expected events; none of the files holds one. Check --input-format.")
    return table
