"""``tacit logs stats``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import click

from tacit.cli.specs import DATA_FORMAT, POLICY, RUN, TIME
from tacit.errors import UsageError

if TYPE_CHECKING:
    from tacit.guard import Policy
    from tacit.logs.stats import Calendar, Release, Request

Command: TypeAlias = Callable[..., Any]

_METRICS = ("count", "units", "distinct", "histogram", "quantiles", "top")
_APART = "\x1f"
_WORDS = " Words: by= where= cells= each= rows= share= bias= name="


class Releases(click.Command):
    """A command in whose options «--count by=host.name,hour where=outcome=failure» the words that follow belong together, quoted or not."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Fold those words into one value each, and remember in which order releases were asked for."""
        options = {f"--{metric}" for metric in _METRICS}
        folded: list[str] = []
        waiting = list(reversed(args))
        while waiting:
            word = waiting.pop()
            folded.append(word)
            if word in options:
                words = []
                while waiting and not waiting[-1].startswith("-") and "=" in waiting[-1]:
                    words.append(waiting.pop())
                folded.append(_APART.join(words) if len(words) != 1 else words[0])
        ctx.ensure_object(dict)
        ctx.obj["order"] = [word[2:].partition("=")[0] for word in folded if word.partition("=")[0] in options]
        return super().parse_args(ctx, folded)


def _metric(name: str, text: str) -> Callable[[Command], Command]:
    return click.option(f"--{name}", multiple=True, metavar="WORDS", help=text)


@click.command(cls=Releases)
@click.argument("file", type=click.Path())
@_metric("count", "Records in each cell." + _WORDS)
@_metric("units", "Units (such as user-days) in each cell. The same words, without each=.")
@_metric("distinct", "Different values of of= in each cell.")
@_metric("histogram", "Records in ranges of the number of=: range=0..1e9 bins= scale=log|even, or edges=.")
@_metric("quantiles", "Quantiles of the number of=: range=0..1e9 at=0.5,0.95 bins= scale=.")
@_metric("top", "The k= commonest values of of=, for each cell of by=.")
@click.option("--budget", required=True, type=float, help="Epsilon that all of it may cost.")
@click.option("--from", "begin", help="Where counting begins, ISO 8601, UTC. [default: where the budget's window begins]")
@click.option("--to", "end", help="Where it ends. [default: where the window ends, or last midnight]")
@click.option("--nonnegative", is_flag=True, help="Set negative values to zero afterwards; small ones are then too large on average.")
@POLICY
@TIME
@click.option("--parquet", type=click.Path(path_type=Path), help="A folder for one Parquet file per release.")
@click.option("--metrics", type=click.Path(path_type=Path), help="A file for ECS metric documents, one JSON line each.")
@click.option("--format", "form", type=click.Choice(["text", "json", "csv"]), default="text", show_default=True, help="What goes to standard output.")
@click.option("--lines", default=20, show_default=True, type=click.IntRange(0), help="Rows of each table in text: the largest ones.")
@DATA_FORMAT
@RUN
@click.pass_context
def stats(ctx: click.Context, /, file: str, **options: Any) -> None:
    """Release counts, distinct values, quantiles and commonest keys of FILE, with noise and a guarantee, for one charge to the policy's ledger.

    Write for example: --count by=host.name,hour where=event.outcome=failure. A key without values (by=host.name) is found by a charged selection;
    with public ones (by=host.name=[a|b] or =@names.txt) nothing is selected. Words with spaces need quotes.
    """
    from tacit.cli.specs import curator_of
    from tacit.guarantee import Budget
    from tacit.guard import Policy, Records
    from tacit.logs.stats import Terms, release

    policy = Policy.load(options["policy"])
    requests = _requests(policy, ctx.obj["order"], options)
    calendar = _calendar(policy, requests, options)
    terms = Terms(Budget(options["budget"], policy.budget.delta), calendar, options["nonnegative"], _purpose(requests), options["run"])
    columns = _columns(requests, calendar)
    with ExitStack() as files:
        targets = _targets(files, requests, options)
        time = options["when"] if policy.unit.window else None
        records = files.enter_context(Records.open_columns(
            file, columns, format=options["data_format"], unit=policy.unit, time=time, max_rows_per_unit=policy.limits.max_rows_per_unit,
        ))  # fmt: skip
        curator, ledger = curator_of(records, policy)
        released = release(requests, curator, terms)
        _write(released, targets, options)
    click.echo(f"ledger entry {released.provenance.charge}, head {ledger.head[:16]}", err=True)


def _requests(policy: Policy, order: Sequence[str], options: dict[str, Any]) -> list[Request]:
    from tacit.domain import Domain
    from tacit.logs.stats import Reader

    reader = Reader(None if policy.domain is None else Domain.load(policy.domain))
    waiting = {metric: list(options[metric]) for metric in _METRICS}
    found: list[Request] = []
    for metric in order:
        text = waiting[metric].pop(0)
        taken = {request.name for request in found}
        usual = next(name for name in (metric, *(f"{metric}-{number}" for number in range(2, len(order) + 2))) if name not in taken)
        found.append(reader.read(metric, text, name=usual))
    if not found:
        raise UsageError(f"Expected at least one of {', '.join(f'--{metric}' for metric in _METRICS)}; there is nothing to release.")
    if options["form"] == "csv" and len(found) > 1:
        raise UsageError("Expected one release for --format csv, because tables differ in their columns; write --parquet or --format json.")
    return found


def _purpose(requests: Sequence[Request]) -> str:
    return "statistics of a log: " + ", ".join(request.name for request in requests)[:200]


def _calendar(policy: Policy, requests: Sequence[Request], options: dict[str, Any]) -> Calendar | None:
    """The time that is counted; `None` for all that the budget pays for."""
    from tacit.cli.forecast import require_seen
    from tacit.guard.windows import window_end, window_start
    from tacit.learn.counting import moment
    from tacit.logs.stats import Calendar

    timed = any(request.time is not None for request in requests) or bool(options["begin"] or options["end"])
    if options["when"] is None and (timed or policy.unit.window or policy.window != "all"):
        raise UsageError("Expected --time, the column that says when: for bins of time, --from and --to, a windowed unit or a budget that renews.")
    if not timed:
        return None
    now = datetime.now(UTC)
    window = policy.scope(now.date()).window
    first, last = window_start(window), window_end(window)
    if options["begin"] is None and first is None:
        raise UsageError("Expected --from: the budget's window never began, so that nothing public says where to begin counting.")
    midnight = moment(now.strftime("%Y-%m-%d"))
    begin = moment(options["begin"] or str(first))
    end = moment(options["end"]) if options["end"] else midnight if last is None else min(moment(str(last)), midnight)
    require_seen(begin, end, window=(first, last), now=int(now.timestamp()))
    return Calendar(options["when"], begin, end)


def _columns(requests: Sequence[Request], calendar: Calendar | None) -> list[str]:
    names = [name for request in requests for name in request.columns]
    return list(dict.fromkeys([*names, *([] if calendar is None else [calendar.column])]))


def _targets(files: ExitStack, requests: Sequence[Request], options: dict[str, Any]) -> dict[str, BinaryIO]:
    """Open files for everything that is to be written, before anything is read or charged; they appear when all went well."""
    from tacit.cli.specs import require_folder

    folder, metrics = options["parquet"], options["metrics"]
    if folder is not None and not folder.is_dir():
        raise UsageError(f"Expected a folder at «{folder}» for --parquet; there is none. Make it first.")
    require_folder(metrics)
    if metrics is not None and metrics.is_dir():
        raise UsageError(f"Expected a file for --metrics; «{metrics}» is a folder.")
    paths = {} if folder is None else {request.name: folder / f"{request.name}.parquet" for request in requests}
    named = {**paths, **({} if metrics is None else {"": metrics})}
    return {name: files.enter_context(_appearing(path)) for name, path in named.items()}


@contextmanager
def _appearing(path: Path) -> Iterator[BinaryIO]:
    from tacit.replacing import replacing

    with replacing(path) as file:
        yield file


def _write(released: Release, targets: dict[str, BinaryIO], options: dict[str, Any]) -> None:
    """To standard output first: what was paid for is not lost if a disk is full."""
    from tacit.logs.stats import as_csv, as_json, as_text, write_metrics, write_parquet

    form = options["form"]
    sys.stdout.write(as_text(released, options["lines"]) if form == "text" else as_json(released) if form == "json" else as_csv(released.tables[0]))
    sys.stdout.flush()
    for table in released.tables:
        if table.name in targets:
            write_parquet(released, table, targets[table.name])
    if "" in targets:
        write_metrics(released, targets[""])
