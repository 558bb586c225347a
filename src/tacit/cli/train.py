"""``tacit train``."""

from __future__ import annotations

from pathlib import Path

import click

from tacit.errors import UsageError


@click.command()
@click.argument("file", type=click.Path())
@click.option("--target", required=True, help="The column to predict.")
@click.option("--positive", help="The value to detect.")
@click.option("--policy", default="tacit.toml", show_default=True, type=click.Path(path_type=Path), help="The owner's policy.")
@click.option("--budget", required=True, type=float, help="Epsilon that the model may cost.")
@click.option("--output", default="model.tacit", show_default=True, type=click.Path(path_type=Path), help="Where to write the model.")
@click.option("--time", "when", help="For a unit with a window: the column that says when.")
def train(file: str, **options: object) -> None:
    """Train a model on FILE within a policy, charged to its ledger, and write it signed."""
    from tacit.domain import Domain
    from tacit.guarantee import Budget
    from tacit.guard import Curator, Guard, Ledger, Policy, Records
    from tacit.learn import LearnSpec, TargetSpec, fit_boosted
    from tacit.models import save

    policy = Policy.load(Path(str(options["policy"])))
    output = Path(str(options["output"]))
    if not output.parent.is_dir():
        raise UsageError(f"Expected a folder at «{output.parent}»; there is none. Make it, or name another with --output.")
    when = None if options["when"] is None else str(options["when"])
    target, positive = str(options["target"]), None if options["positive"] is None else str(options["positive"])
    with Records.open(file, unit=policy.unit, time=when, max_rows_per_unit=policy.limits.max_rows_per_unit) as records:
        records.require((target,))
        kept_apart = {target, policy.unit.column, when}
        features = tuple(name for name, _ in records.schema if name not in kept_apart)
        ledger = Ledger.open(policy.ledger, key=policy.key)
        spec = LearnSpec(
            features, TargetSpec(target, positive=positive), Budget(float(str(options["budget"])), policy.budget.delta),
            domain=None if policy.domain is None else Domain.load(policy.domain), purpose="train a detector",
        )
        model = fit_boosted(spec, Curator(Guard(records, policy=policy, ledger=ledger)))
    save(model, output, ledger.signing_key)
    click.echo(f"{output}: {model.guarantee}; ledger entry {model.provenance.charge}, head {ledger.head[:16]}")



