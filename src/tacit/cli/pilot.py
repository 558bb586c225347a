"""``tacit pilot``."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.errors import StorageError, UsageError

if TYPE_CHECKING:
    from tacit.domain import Domain
    from tacit.guarantee import PrivacyUnit
    from tacit.guard import Policy
    from tacit.pilot import PilotData

_WINDOWS = ("hour", "day", "week", "month")
_EMBEDDED = ("soc", "hospital")


@click.command()
@click.option("--data", default="soc", show_default=True, help="A file, «hospital», or «soc» for a simulated enterprise.")
@click.option("--data-format", help="Format of the file, where its name does not say: csv, parquet, jsonl, arrow.")
@click.option("--target", help="The column to predict, for a file.")
@click.option("--positive", help="The value to detect; needed if the target has more than two values.")
@click.option("--unit", help="The column that says whom a row is about: all rows of one are protected together. Without it, every row is a unit.")
@click.option("--window", type=click.Choice(_WINDOWS), help="Protect one unit's rows within such a window, such as a user's day; needs --time.")
@click.option("--time", "when", help="The column that says when, for --window.")
@click.option("--rows-per-unit", type=click.IntRange(min=1), help="How many rows a unit usually has, a public guess. [default: the policy's, or 10]")
@click.option("--groups", multiple=True, help="A column that tells groups apart; may be given more than once.")
@click.option("--drop", multiple=True, help="A column to leave out; may be given more than once.")
@click.option("--budgets", default="0.1,1,3,8", show_default=True, help="Epsilons to compare, separated by commas.")
@click.option("--delta", default=1e-5, show_default=True, help="Delta of all of them.")
@click.option("--sites", default=4, show_default=True, help="Sites of the federated candidate.")
@click.option("--shadows", default=16, show_default=True, help="Shadow models per attack.")
@click.option("--policy", type=click.Path(path_type=Path), help="A policy file, for its unit, its gates and its domain.")
@click.option("--output", default="pilot", show_default=True, type=click.Path(path_type=Path), help="Folder for report and ledger.")
@click.option("--release", is_flag=True, help="Also write a version of the report that leaves out what is not private.")
@click.option("--seed", default=1, show_default=True, help="Seed of simulation and split; noise never depends on it.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="What goes to standard output.")
def pilot(**options: Any) -> int:
    """Compare detectors with and without privacy on your records: utility, cost, leakage, groups; recommend a budget.

    Trains a baseline, private models at several budgets, one over several sites and a linear one, attacks them, and writes one HTML page. Charges an
    assessment ledger. An interrupted pilot on the same records goes on where it stopped. Exits with 1 if no candidate passes the gates.
    """
    return _run(options)


def _run(options: dict[str, Any]) -> int:
    from tacit.guard import Policy
    from tacit.pilot import PilotSpec, forget, render_text, run_pilot, write_report

    folder = options["output"]
    _require_folder(folder)
    budgets = _budgets(options["budgets"])
    policy = None if options["policy"] is None else Policy.load(options["policy"])
    start = time.perf_counter()

    def say(what: str) -> None:
        click.echo(f"{time.perf_counter() - start:6.1f} s  {what}", err=True)

    spec = PilotSpec(
        budgets=budgets, delta=options["delta"], sites=options["sites"], federated=min(budgets, key=lambda epsilon: abs(epsilon - 1)),
        shadows=options["shadows"], seed=options["seed"], folder=folder, command=_command(options), arguments=_arguments(options),
    )
    if options["data"] == "soc":
        say("simulating an enterprise: 4,000 users, 42 days, about 3.4 million events")
    data = _data(options, policy)
    result = run_pilot(data, spec, gates=None if policy is None else dict(policy.gates), say=say)
    paths = write_report(result, folder)
    if options["release"]:
        write_report(result, folder, release=True)
    forget(folder)
    if options["form"] == "json":
        click.echo(result.to_json())
    else:
        from rich.console import Console

        render_text(result, Console())
        click.echo(f"report: {paths.html}   ledger: {folder / 'assessment.db'}")
    say("done")
    return 0 if result.recommendation is not None and result.recommendation.candidate is not None else 1


def _budgets(text: str) -> tuple[float, ...]:
    try:
        found = tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        raise UsageError(f"Expected numbers separated by commas in --budgets; got «{text}». For example --budgets 0.1,1,3.") from None
    if not found or not 0 < found[0] <= found[-1] <= 15:
        raise UsageError(f"Expected budgets above 0 and at most 15; got «{text}». Larger ones promise nothing.")
    return found


def _require_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StorageError(f"Expected a folder that can be written at «{folder}»; {error.strerror}. Choose another with --output.") from None


def _data(options: dict[str, Any], policy: Policy | None) -> PilotData:
    from tacit.pilot import TableSpec, from_file, hospital, simulated

    seed, source = options["seed"], options["data"]
    if source in _EMBEDDED:
        _refuse_for_embedded(options)
        return simulated(seed) if source == "soc" else hospital(seed)
    if not options["target"]:
        raise UsageError("Expected --target, the column to predict; name it, for example --target label.")
    rows = options["rows_per_unit"] or (policy.rows_per_unit if policy and not options["unit"] else 10)
    spec = TableSpec(
        source, options["target"], options["positive"], options["data_format"], _unit(options, policy), options["when"], rows,
        tuple(options["groups"]), tuple(options["drop"]),
    )
    return from_file(spec, seed, _domain(policy))


def _refuse_for_embedded(options: dict[str, Any]) -> None:
    for name in ("target", "positive", "unit", "window", "when", "groups", "drop"):
        if options[name]:
            flag = "--time" if name == "when" else f"--{name}"
            raise UsageError(f"Expected {flag} together with a file; name it with --data. The embedded records say themselves what is what.")


def _domain(policy: Policy | None) -> Domain | None:
    from tacit.domain import Domain

    return None if policy is None or policy.domain is None else Domain.load(policy.domain)


def _unit(options: dict[str, Any], policy: Policy | None) -> PrivacyUnit:
    from tacit.guarantee import PrivacyUnit

    column, window = options["unit"], options["window"]
    if column is None and (window or options["when"]) and policy is None:
        raise UsageError("Expected --unit together with --window and --time; it is the column that says whom a row is about.")
    if bool(window) != bool(options["when"]) and policy is None:
        raise UsageError("Expected --window and --time together: a window of what, by which column?")
    if column is None:
        return PrivacyUnit() if policy is None else policy.unit
    return PrivacyUnit(f"{column}-{window}" if window else column, column, window)


def _arguments(options: dict[str, Any]) -> str:
    """What `tacit train` has to be told about the data."""
    if options["data"] in _EMBEDDED:
        return ""
    return shlex.join([options["data"], *_flags(options, "target", "positive", "time", "drop", "data-format")])


def _command(options: dict[str, Any]) -> str:
    """The whole command again."""
    context = click.get_current_context()
    named = {option.opts[0].removeprefix("--"): option.name or "" for option in context.command.params if isinstance(option, click.Option)}
    given = [flag for flag, name in named.items() if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT]
    return shlex.join(["tacit", "pilot", *_flags(options, *given)])


def _flags(options: dict[str, Any], *flags: str) -> list[str]:
    """Options as they are written on a command line."""
    words: list[str] = []
    for flag in flags:
        value = options["when" if flag == "time" else "form" if flag == "format" else flag.replace("-", "_")]
        if value is True:
            words.append(f"--{flag}")
        elif value not in (None, False, ()):
            words += [word for one in (value if isinstance(value, tuple) else (value,)) for word in (f"--{flag}", str(one))]
    return words
