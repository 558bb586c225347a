"""``tacit train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.cli.specs import DATA_FORMAT, DROP, POLICY, RUN, TIME
from tacit.errors import UsageError

if TYPE_CHECKING:
    from tacit.models import Model


@click.command()
@click.argument("file", type=click.Path())
@click.option("--target", help="The column to predict.")
@click.option("--anomaly", is_flag=True, help="Learn without labels which records are unusual; instead of --target.")
@click.option(
    "--learner", type=click.Choice(["trees", "network", "squares", "components"]), default="trees", show_default=True,
    help="A network needs tacit[torch], and one of squares can be scored encrypted; components of variance find anomalies.",
)
@click.option("--positive", help="The value to detect.")
@POLICY
@click.option("--budget", required=True, type=float, help="Epsilon that the model may cost.")
@click.option("--output", default="model.tacit", show_default=True, type=click.Path(path_type=Path), help="Where to write the model.")
@TIME
@DROP
@DATA_FORMAT
@RUN
def train(file: str, **options: Any) -> None:
    """Train a model on FILE within a policy, charged to its ledger, and write it signed."""
    from tacit.cli.specs import curator_of, learn_spec, opened, policy_for
    from tacit.learn import UNLABELLED, TargetSpec, fit_anomaly, fit_boosted, fit_network, fit_subspace
    from tacit.models import save

    if bool(options["target"]) == options["anomaly"] or (options["anomaly"] and options["positive"]):
        raise UsageError("Expected --target COLUMN to learn from labels, or --anomaly to learn without; not both, and --positive only with --target.")
    if options["learner"] in (("network", "squares") if options["anomaly"] else ("components",)):
        raise UsageError("Expected --learner trees or components with --anomaly; trees, network or squares with --target.")
    policy = policy_for(options)
    with opened(file, policy, time=options["when"], data_format=options["data_format"]) as records:
        records.require([name for name in (options["target"],) if name])
        target = UNLABELLED if options["anomaly"] else TargetSpec(options["target"], positive=options["positive"])
        what = "of unusual records" if options["anomaly"] else f"of {options['target']}"
        spec = learn_spec(records, policy, target=target, options=options, purpose=f"train a detector {what}")
        curator, ledger = curator_of(records, policy)
        if options["learner"] == "network":
            model: Model = fit_network(spec, curator)[0]
        elif options["learner"] == "squares":
            from tacit.encrypted import fit_squares

            model = fit_squares(spec, curator)
        else:
            learn = fit_subspace if options["learner"] == "components" else fit_anomaly if options["anomaly"] else fit_boosted
            model = learn(spec, curator)
    save(model, options["output"], ledger.signing_key)
    click.echo(f"{options['output']}: {model.guarantee}; ledger entry {model.provenance.charge}, head {ledger.head[:16]}")
