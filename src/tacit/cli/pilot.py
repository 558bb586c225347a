"""``tacit pilot``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tacit.errors import StorageError, UsageError

if TYPE_CHECKING:
    from tacit.pilot import PilotData


@click.command()
@click.option("--data", default="soc", show_default=True, help="A file, «hospital», or «soc» for a simulated enterprise.")
@click.option("--data-format", help="Format of the file, where its name does not say: csv, parquet, jsonl, arrow.")
@click.option("--target", help="The column to predict, for a file.")
@click.option("--positive", help="The value to detect; needed if the target has more than two values.")
@click.option("--groups", multiple=True, help="A column that tells groups apart; may be given more than once.")
@click.option("--drop", multiple=True, help="A column to leave out; may be given more than once.")
@click.option("--budgets", default="0.1,1,3,8", show_default=True, help="Epsilons to compare, separated by commas.")
@click.option("--delta", default=1e-5, show_default=True, help="Delta of all of them.")
@click.option("--sites", default=4, show_default=True, help="Sites of the federated candidate.")
@click.option("--shadows", default=16, show_default=True, help="Shadow models per attack.")
@click.option("--policy", type=click.Path(path_type=Path), help="A policy file, for its gates and its domain.")
@click.option("--output", default="pilot", show_default=True, type=click.Path(path_type=Path), help="Folder for report and ledger.")
@click.option("--release", is_flag=True, help="Also write a version of the report that leaves out what is not private.")
@click.option("--seed", default=1, show_default=True, help="Seed of simulation and split; noise never depends on it.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="What goes to standard output.")
def pilot(**options: object) -> int:
    """Compare detectors with and without privacy on your records: utility, cost, leakage, groups; recommend a budget.

    Trains a baseline, private models at several budgets, one over several sites and a linear one, attacks them, and writes one HTML page. Charges an
    assessment ledger. Exits with 1 if no candidate passes the gates.
    """
    return _run(options)


def _run(options: dict[str, object]) -> int:
    from tacit.pilot import PilotSpec, render_text, run_pilot, write_report

    folder = Path(str(options["output"]))
    _require_folder(folder)
    budgets = _budgets(str(options["budgets"]))
    start = time.perf_counter()

    def say(what: str) -> None:
        click.echo(f"{time.perf_counter() - start:6.1f} s  {what}", err=True)

    gates, data = _gates(options), _data(options)
    spec = PilotSpec(
        budgets=budgets, delta=float(str(options["delta"])), sites=int(str(options["sites"])), shadows=int(str(options["shadows"])),
        seed=int(str(options["seed"])), folder=folder, command=_command(options), arguments=_arguments(options),
    )
    result = run_pilot(data, spec, gates=gates, say=say)
    paths = write_report(result, folder)
    if options["release"]:
        write_report(result, folder, release=True)
    if options["form"] == "json":
        click.echo(result.to_json())
    else:
        from rich.console import Console

        render_text(result, Console())
        click.echo(f"report: {paths.html}   ledger: {folder / 'assessment.db'}, head {result.meta.ledger.head[:16]}")
    say("done")
    return 0 if result.recommendation is not None and result.recommendation.candidate is not None else 1


def _budgets(text: str) -> tuple[float, ...]:
    try:
        found = tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        raise UsageError(f"Expected numbers separated by commas in --budgets; got «{text}». For example --budgets 0.1,1,3.") from None
    if not found or found[0] <= 0 or found[-1] > 15:
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


def _gates(options: dict[str, object]) -> dict[str, float] | None:
    if options["policy"] is None:
        return None
    from tacit.guard import Policy

    return dict(Policy.load(Path(str(options["policy"]))).gates)


def _data(options: dict[str, object]) -> PilotData:
    from tacit.domain import Domain
    from tacit.guard import Policy
    from tacit.pilot import TableSpec, from_file, hospital, simulated

    seed, source = int(str(options["seed"])), str(options["data"])
    if source == "soc":
        click.echo("   0.0 s  simulating an enterprise: 1,500 users, 42 days", err=True)
        return simulated(seed)
    if source == "hospital":
        return hospital(seed)
    if not options["target"]:
        raise UsageError("Expected --target, the column to predict; name it, for example --target label.")
    policy = None if options["policy"] is None else Policy.load(Path(str(options["policy"])))
    domain = None if policy is None or policy.domain is None else Domain.load(policy.domain)
    groups, drop = (tuple(str(name) for name in options[key]) for key in ("groups", "drop"))  # type: ignore[attr-defined]
    positive, form = (None if options[key] is None else str(options[key]) for key in ("positive", "data_format"))
    return from_file(TableSpec(source, str(options["target"]), positive, form, groups, drop), seed, domain)


def _arguments(options: dict[str, object]) -> str:
    if options["data"] in ("soc", "hospital"):
        return ""
    positive = f" --positive {options['positive']}" if options["positive"] else ""
    return f"{options['data']} --target {options['target']}{positive}"


def _command(options: dict[str, object]) -> str:
    return "tacit pilot" if options["data"] == "soc" else f"tacit pilot --data {_arguments(options) or options['data']}"
