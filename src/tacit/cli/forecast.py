"""``tacit forecast``."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.cli.specs import DATA_FORMAT, POLICY, RUN
from tacit.errors import UsageError

if TYPE_CHECKING:
    from tacit.guard import Policy, Records
    from tacit.learn import CountSpec
    from tacit.models import CountSeries

_COVERAGE = "Share of bins that an interval holds, from 0.5 to 0.999."
_HISTORY = click.argument("history", nargs=-1, required=True, type=click.Path())


@click.group()
def forecast() -> None:
    """Count records over time within a policy, forecast what comes, and find what came otherwise."""


@forecast.command()
@click.argument("file", type=click.Path())
@click.option("--time", "when", required=True, help="The column that says when.")
@click.option("--budget", required=True, type=float, help="Epsilon that the counts may cost.")
@click.option("--like", type=click.Path(path_type=Path), help="Earlier counts to go on from: same bins, values and clip.")
@click.option("--bin", "width", help="Width of a bin: 15min, 1h, 1d, 1w. [default: 1h]")
@click.option("--from", "begin", help="Where counting begins, ISO 8601, UTC. [default: where --like ends, or the budget's window begins]")
@click.option("--to", "end", help="Where it ends. [default: where the window ends, or last midnight]")
@click.option("--by", help="A column whose values are counted apart.")
@click.option("--value", "values", multiple=True, help="One of those values, publicly known; may be given more than once.")
@click.option("--longest", type=float, help="How many rows of one unit count in full. [default: found by a charged question]")
@POLICY
@click.option("--output", default="counts.tacit", show_default=True, type=click.Path(path_type=Path), help="Where to write the counts.")
@DATA_FORMAT
@RUN
def count(file: str, **options: Any) -> None:
    """Count the records of FILE in bins of time, charged to the policy's ledger, and write the noisy counts signed."""
    from tacit.cli.specs import opened, policy_for

    policy = policy_for(options)
    spec = count_spec(policy, options)
    time = options["when"] if policy.unit.window else None
    with opened(file, policy, time=time, data_format=options["data_format"]) as records:
        release(records, spec, policy=policy, output=options["output"])


def release(records: Records, spec: CountSpec, *, policy: Policy, output: Path) -> None:
    """Count, charge, write and say what was counted."""
    from tacit.cli.specs import curator_of
    from tacit.learn import count_over_time
    from tacit.models import save

    records.require(spec.question(None).columns)
    curator, ledger = curator_of(records, policy)
    counts = count_over_time(spec, curator)
    save(counts, output, ledger.signing_key)
    what = f"{counts.bins:,} bins of {counts.width} s, {len(counts.names)} series, noise {counts.sigma:.3g} per count"
    click.echo(f"{output}: {what}, at most {counts.longest:.3g} rows of one {policy.unit} in full; {counts.guarantee}")
    click.echo(f"ledger entry {counts.provenance.charge}, head {ledger.head[:16]}")


@forecast.command()
@_HISTORY
@click.option("--horizon", default="1w", show_default=True, help="How far ahead: 24h, 1w.")
@click.option("--coverage", default=0.9, show_default=True, type=float, help=_COVERAGE)
@click.option("--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True, help="What goes to standard output.")
@click.option("--output", type=click.Path(path_type=Path), help="Where to write it; standard output if not given.")
def ahead(history: tuple[str, ...], horizon: str, coverage: float, form: str, output: Path | None) -> None:
    """Forecast the bins that follow the counts in HISTORY, one file for each window. Costs nothing."""
    from tacit.learn import forecast as run
    from tacit.learn.counting import span
    from tacit.models import load_counts
    from tacit.replacing import replacing

    parts = [load_counts(path) for path in history]
    found = run(parts, max(1, span(horizon) // parts[0].width), coverage=coverage)
    text = _written(found.columns(), form)
    if output is None:
        sys.stdout.write(text)
    else:
        with replacing(output) as target:
            target.write(text.encode())


@forecast.command()
@click.argument("later", type=click.Path())
@_HISTORY
@click.option("--coverage", default=0.999, show_default=True, type=float, help=_COVERAGE)
@click.option("--format", "form", type=click.Choice(["text", "csv", "json"]), default="text", show_default=True, help="What goes to standard output.")
def check(later: str, history: tuple[str, ...], coverage: float, form: str) -> int:
    """Hold the counts in LATER against what HISTORY let expect. Exits with 1 if a bin lies outside its interval."""
    from tacit.learn import forecast as run
    from tacit.models import load_counts

    release, parts = load_counts(later), [load_counts(path) for path in history]
    end = max(part.end for part in parts)
    if release.end <= end:
        raise UsageError("Expected LATER to end after HISTORY; it does not. The order is: LATER first, then the windows before it.")
    found = run(parts, -(-(release.end - end) // release.width), coverage=coverage, sigma=release.sigma)
    outside = found.outside(release)
    rows = len(outside["time"])
    if form == "text":
        for when, series, direction, counted, expected in zip(*outside.values(), strict=True):
            click.echo(f"{str(when)[:16].replace('T', ' ')}  {series:20s}  {direction}: {counted:,.0f}, expected {expected:,.0f}")
        click.echo(f"{rows} of {release.bins * len(release.names)} counts outside their interval of coverage {coverage:g}")
    else:
        sys.stdout.write(_written(outside, form))
    return 1 if rows else 0


def count_spec(policy: Policy, options: dict[str, Any]) -> CountSpec:
    """What the options ask for.

    Raises:
        UsageError: they do not fit together, or reach where nothing can be seen.
    """
    from tacit.guarantee import Budget
    from tacit.guard.windows import window_end, window_start
    from tacit.learn import CountSpec
    from tacit.learn.counting import bins_between, moment, span

    like = _like(options)
    now = datetime.now(UTC)
    window = policy.scope(now.date()).window
    first, last = window_start(window), window_end(window)
    if options["begin"] is None and first is None and like is None:
        raise UsageError("Expected --from: the budget's window never began, so that nothing public says where to begin counting.")
    begin = moment(options["begin"]) if options["begin"] else like.end if like else moment(str(first))
    midnight = moment(now.strftime("%Y-%m-%d"))
    end = moment(options["end"]) if options["end"] else midnight if last is None else min(moment(str(last)), midnight)
    require_seen(begin, end, window=(first, last), now=int(now.timestamp()))
    width = like.width if like else span(options["width"] or "1h")
    by, values = (like.by or None, like.names if like.by else ()) if like else (options["by"], tuple(options["values"]))
    return CountSpec(
        options["when"], begin, width, bins_between(begin, end, width), Budget(options["budget"], policy.budget.delta), by, values,
        like.longest if like else options["longest"], purpose="count records over time" + (f" by {by}" if by else ""), run=options["run"],
    )


def require_seen(begin: int, end: int, *, window: tuple[date | None, date | None], now: int) -> None:
    """Raise `UsageError` for a calendar that reaches where no record can be seen: its counts would be zero, and mean nothing."""
    from tacit.learn.counting import moment

    first, last = (None if day is None else moment(str(day)) for day in window)
    if (first is not None and begin < first) or (last is not None and end > last):
        raise UsageError(f"Expected --from and --to within the budget's window, {window[0]} to {window[1]}: records outside it are not seen.")
    if end > now:
        raise UsageError("Expected --to in the past: what has not happened yet would be counted as zero.")


def _like(options: dict[str, Any]) -> CountSeries | None:
    """The earlier counts, if there are any."""
    from tacit.models import load_counts

    if options["like"] is None:
        return None
    if options["width"] or options["by"] or options["values"] or options["longest"]:
        raise UsageError("Expected --like alone: it says what --bin, --by, --value and --longest would say.")
    return load_counts(options["like"])


def _written(columns: dict[str, Any], form: str) -> str:
    """Columns as CSV or JSON, times as ISO 8601."""
    import csv
    import io

    plain = [(name, [f"{value}Z" if name == "time" else value for value in values.tolist()]) for name, values in _readable(columns).items()]
    if form == "json":
        return json.dumps([dict(zip(columns, row, strict=True)) for row in zip(*(values for _, values in plain), strict=True)]) + "\n"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(values for _, values in plain), strict=True))
    return text.getvalue()


def _readable(columns: dict[str, Any]) -> dict[str, Any]:
    """Numbers to three decimals, times as text."""
    texts = {"time": columns["time"].astype(str)}
    return {name: texts.get(name, values.round(3) if values.dtype.kind == "f" else values) for name, values in columns.items()}
