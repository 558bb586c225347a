"""``tacit train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.errors import UsageError

if TYPE_CHECKING:
    from tacit.guard import Policy, Records
    from tacit.learn import LearnSpec
    from tacit.models import Model


@click.command()
@click.argument("file", type=click.Path())
@click.option("--target", help="The column to predict.")
@click.option("--anomaly", is_flag=True, help="Learn without labels which records are unusual; instead of --target.")
@click.option("--learner", type=click.Choice(["trees", "network"]), default="trees", show_default=True, help="A network needs tacit[torch].")
@click.option("--positive", help="The value to detect.")
@click.option("--policy", default="tacit.toml", show_default=True, type=click.Path(path_type=Path), help="The owner's policy.")
@click.option("--budget", required=True, type=float, help="Epsilon that the model may cost.")
@click.option("--output", default="model.tacit", show_default=True, type=click.Path(path_type=Path), help="Where to write the model.")
@click.option("--time", "when", help="For a unit with a window: the column that says when.")
@click.option("--drop", multiple=True, help="A column to leave out; may be given more than once.")
@click.option("--data-format", help="Format of the file, where its name does not say: csv, parquet, jsonl, arrow.")
@click.option("--run", help="Public name of the run. Needed to open a plan again that waited for the owner's approval.")
def train(file: str, **options: Any) -> None:
    """Train a model on FILE within a policy, charged to its ledger, and write it signed."""
    from tacit.guard import Curator, Guard, Ledger, Policy, Records
    from tacit.learn import fit_anomaly, fit_boosted, fit_network
    from tacit.models import save

    if bool(options["target"]) == options["anomaly"] or (options["anomaly"] and options["positive"]):
        raise UsageError("Expected --target COLUMN to learn from labels, or --anomaly to learn without; not both, and --positive only with --target.")
    if options["anomaly"] and options["learner"] != "trees":
        raise UsageError("Expected --learner trees with --anomaly: networks learn from labels here.")
    policy, output = Policy.load(options["policy"]), options["output"]
    if not output.parent.is_dir():
        raise UsageError(f"Expected a folder at «{output.parent}»; there is none. Make it, or name another with --output.")
    with Records.open(
        file, format=options["data_format"], unit=policy.unit, time=options["when"], max_rows_per_unit=policy.limits.max_rows_per_unit,
    ) as records:
        spec = _spec(records, policy, options)
        ledger = Ledger.open(policy.ledger, key=policy.key)
        curator = Curator(Guard(records, policy=policy, ledger=ledger))
        if options["learner"] == "network":
            model: Model = fit_network(spec, curator)[0]
        else:
            model = fit_anomaly(spec, curator) if options["anomaly"] else fit_boosted(spec, curator)
    save(model, output, ledger.signing_key)
    click.echo(f"{output}: {model.guarantee}; ledger entry {model.provenance.charge}, head {ledger.head[:16]}")


def _spec(records: Records, policy: Policy, options: dict[str, Any]) -> LearnSpec:
    from tacit.domain import Domain
    from tacit.guarantee import Budget
    from tacit.learn import UNLABELLED, LearnSpec, TargetSpec

    records.require((*filter(None, (options["target"],)), *options["drop"]))
    target = UNLABELLED if options["anomaly"] else TargetSpec(options["target"], positive=options["positive"])
    what = "of unusual records" if options["anomaly"] else f"of {options['target']}"
    apart = {options["target"], policy.unit.column, options["when"], *options["drop"]}
    domain = None if policy.domain is None else Domain.load(policy.domain)
    if not records.names_are_public and domain is None:
        raise UsageError("Expected a domain file in the policy for JSON lines: their column names stand in the records. See [domain] in tacit.toml.")
    names = [name for name, _ in records.schema] if domain is None else [name for name in domain.names if name in records.names]
    return LearnSpec(
        tuple(name for name in names if name not in apart), target, Budget(options["budget"], policy.budget.delta), domain=domain,
        purpose=f"train a detector {what}", run=options["run"],
    )
