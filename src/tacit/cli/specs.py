"""What the commands that learn have in common: the owner's policy, the records it lets them see, and the columns they learn from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.errors import UsageError

if TYPE_CHECKING:
    from tacit.guard import Curator, Ledger, Policy, Records
    from tacit.learn import LearnSpec, TargetSpec


POLICY = click.option("--policy", default="tacit.toml", show_default=True, type=click.Path(path_type=Path), help="The owner's policy.")
DATA_FORMAT = click.option("--data-format", help="Format of the file, where its name does not say: csv, parquet, jsonl, arrow.")
TIME = click.option("--time", "when", help="For a unit with a window: the column that says when.")
DROP = click.option("--drop", multiple=True, help="A column to leave out; may be given more than once.")
RUN = click.option("--run", help="Public name of the run. Needed to open a plan again that waited for the owner's approval.")


def policy_for(options: dict[str, Any]) -> Policy:
    """The policy, once there is a folder for what the command will write.

    Raises:
        UsageError: if there is none.
    """
    from tacit.guard import Policy

    policy, output = Policy.load(options["policy"]), options["output"]
    require_folder(output)
    return policy


def require_folder(output: Path | None) -> None:
    """Before anything is read or charged: whether the file that is to be written has a folder.

    Raises:
        UsageError: if it has none.
    """
    if output is not None and not output.parent.is_dir():
        raise UsageError(f"Expected a folder at «{output.parent}»; there is none. Make it, or name another with --output.")


@contextmanager
def opened(file: str, policy: Policy, *, time: str | None, data_format: str | None) -> Iterator[Records]:
    """The records of a file, grouped as the policy says."""
    from tacit.guard import Records

    with Records.open(
        file, format=data_format, unit=policy.unit, time=time, max_rows_per_unit=policy.limits.max_rows_per_unit,
    ) as records:
        yield records


def curator_of(records: Records, policy: Policy) -> tuple[Curator, Ledger]:
    """Who answers, and the ledger that is charged."""
    from tacit.guard import Curator, Guard, Ledger

    ledger = Ledger.open(policy.ledger, key=policy.key)
    return Curator(Guard(records, policy=policy, ledger=ledger)), ledger


def learn_spec(records: Records, policy: Policy, *, target: TargetSpec, options: dict[str, Any], purpose: str) -> LearnSpec:
    """All columns that may be learned from, for a target.

    Raises:
        DataError: if a column that was named is not there.
        UsageError: for JSON lines without a domain.
    """
    from tacit.domain import Domain
    from tacit.guarantee import Budget
    from tacit.learn import LearnSpec

    records.require(options["drop"])
    apart = {target.column, policy.unit.column, options["when"], *options["drop"]}
    domain = None if policy.domain is None else Domain.load(policy.domain)
    if not records.names_are_public and domain is None:
        raise UsageError("Expected a domain file in the policy for JSON lines: their column names stand in the records. See [domain] in tacit.toml.")
    names = [name for name, _ in records.schema] if domain is None else [name for name in domain.names if name in records.names]
    features = tuple(name for name in names if name not in apart)
    return LearnSpec(features, target, Budget(options["budget"], policy.budget.delta), domain=domain, purpose=purpose, run=options["run"])
