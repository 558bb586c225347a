"""``tacit synthetic``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.cli.ledger import FORMAT
from tacit.cli.specs import DATA_FORMAT, DROP, POLICY, RUN, TIME
from tacit.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from tacit.guard import Policy, Records
    from tacit.learn import LearnSpec, SynthesisShape
    from tacit.models import SyntheticModel
    from tacit.pilot import SyntheticCheck


@click.group()
def synthetic() -> None:
    """Make up records that look like yours and are nobody's: release tables, draw records, check both."""


@synthetic.command()
@click.argument("file", type=click.Path())
@click.option("--budget", required=True, type=float, help="Epsilon that the tables may cost; drawing records from them costs nothing.")
@click.option("--about", help="A column whose relation to all others matters most, such as a label.")
@click.option("--whole", multiple=True, help="A column whose numbers are whole; may be given more than once.")
@click.option("--bins", default=16, show_default=True, type=int, help="The most bins of a column in a table.")
@POLICY
@click.option("--output", default="synthetic.tacit", show_default=True, type=click.Path(path_type=Path), help="Where to write the tables.")
@TIME
@DROP
@DATA_FORMAT
@RUN
def fit(file: str, **options: Any) -> None:
    """Release noisy tables of FILE within a policy, charged to its ledger, and write them signed."""
    from tacit.cli.specs import learn_spec, opened, policy_for
    from tacit.learn import EVERY_COLUMN, SynthesisShape

    policy = policy_for(options)
    shape = SynthesisShape(options["bins"], min(8, options["bins"]), options["about"], tuple(options["whole"]))
    with opened(file, policy, time=options["when"], data_format=options["data_format"]) as records:
        spec = learn_spec(records, policy, target=EVERY_COLUMN, options=options, purpose="make up records")
        release_tables(records, spec, shape, policy=policy, output=options["output"])


def release_tables(records: Records, spec: LearnSpec, shape: SynthesisShape, *, policy: Policy, output: Path) -> None:
    """Ask for the tables, charged to the policy's ledger, write them signed, and say so."""
    from tacit.cli.specs import curator_of
    from tacit.learn import fit_synthetic
    from tacit.models import save

    curator, ledger = curator_of(records, policy)
    model = fit_synthetic(spec, curator, shape)
    save(model, output, ledger.signing_key)
    click.echo(f"{output}: {len(model.binning.counts)} columns in {len(model.cliques)} tables; {model.guarantee}")
    click.echo(f"ledger entry {model.provenance.charge}, head {ledger.head[:16]}")


@synthetic.command()
@click.argument("model", type=click.Path())
@click.option("--rows", type=int, help="How many records. [default: about as many as there were]")
@click.option("--seed", type=int, help="Draws the same records again; protects nothing, and needs to protect nothing.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Where to write them: a name that ends in .parquet or .csv.")
def sample(model: str, rows: int | None, seed: int | None, output: Path) -> None:
    """Draw made-up records from the tables in MODEL. Costs nothing, however often it runs."""
    from tacit.models import load_synthetic
    from tacit.replacing import replacing

    if output.suffix not in (".parquet", ".csv"):
        raise UsageError(f"Expected --output to end in .parquet or .csv; got «{output.name}».")
    found = load_synthetic(model)
    table = drawn(found, rows, seed)
    with replacing(output) as target:
        if output.suffix == ".parquet":
            import pyarrow.parquet

            pyarrow.parquet.write_table(table, target)
        else:
            import pyarrow.csv

            pyarrow.csv.write_csv(table, target)
    click.echo(f"{output}: {table.num_rows:,} made-up records; {found.guarantee}")


@synthetic.command()
@click.argument("model", type=click.Path())
@click.option("--data", required=True, type=click.Path(), help="The records that the tables were made from.")
@click.option("--against", required=True, type=click.Path(), help="Records of the same kind that they were not made from.")
@click.option("--about", help="A column to predict: trains a model on made-up and one on real records.")
@click.option("--rows", type=int, help="How many records to make up. [default: about as many as there were]")
@DATA_FORMAT
@FORMAT
def check(model: str, data: str, against: str, **options: Any) -> int:
    """Measure on real records whether records drawn from MODEL are of use, and whether they give anybody away.

    What is printed was measured on records and is not private. Exits with 1 if an attack beats the guarantee.
    """
    from tacit.guard import Records
    from tacit.models import load_synthetic
    from tacit.pilot import check_synthetic

    found = load_synthetic(model)
    domain = found.binning.domain
    if options["about"] and options["about"] not in domain.names:
        raise UsageError(f"Expected --about to name a column of the tables: {', '.join(domain.names[:12])}.")
    tables = []
    for path in (data, against):
        with Records.open(path, format=options["data_format"]) as records:
            records.require(domain.names)
            tables.append(records.table(domain.names))
    made = drawn(found, options["rows"], None)
    result = check_synthetic(made, *tables, domain=domain, about=options["about"], guarantee=found.guarantee)
    return tell_check(result, options["about"], options["form"])


def tell_check(result: SyntheticCheck, about: str | None, form: str) -> int:
    """Print what was measured; returns the exit code."""
    if form == "json":
        click.echo(json.dumps(result.to_dict()))
    else:
        click.echo(f"distance from held-out records, single columns: {result.single:.3f} (real records: {result.single_real:.3f})")
        click.echo(f"distance from held-out records, pairs of columns: {result.pairs:.3f} (real records: {result.pairs_real:.3f})")
        if result.auc is not None:
            click.echo(f"AUC of «{about}», trained on made-up records: {result.auc:.3f} (on real ones: {result.auc_real:.3f})")
        for attack in result.attacks:
            click.echo(f"attack «{attack.name}»: AUC {attack.auc:.3f} ({attack.auc_low:.3f} to {attack.auc_high:.3f}); {attack.verdict}")
        click.echo("owner-side: these figures are not private")
    return 1 if result.contradicted else 0


def drawn(model: SyntheticModel, rows: int | None, seed: int | None) -> pa.Table:
    """Made-up records as a table."""
    import pyarrow as pa

    from tacit.learn import sample_records

    columns = sample_records(model, rows, seed=seed)
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})
