"""``tacit policy``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tacit.cli.ledger import FORMAT, printable

if TYPE_CHECKING:
    from tacit.guarantee import Scope
    from tacit.guard import Ledger, Plan, Policy, Spent

_POLICY = click.option("--policy", "path", default="tacit.toml", show_default=True, type=click.Path(path_type=Path), help="The owner's policy.")


@click.group()
def policy() -> None:
    """What the owner decided, what is left of it, and which plans wait for a yes."""


@policy.command()
@_POLICY
@FORMAT
def show(path: Path, form: str) -> None:
    """What the policy decides in plain words, what is spent and left in the current window, and which plans wait."""
    from tacit.guard.approvals import waiting

    found = _load(path)
    scope = _scope(found)
    ledger = _ledger(found)
    spent = found.accounting.spent([] if ledger is None else ledger.costs(scope))
    plans = {} if ledger is None else waiting(ledger, scope)
    if form == "json":
        listed = [{"digest": digest, "epsilon": _price(found, plan), "plan": plan.to_dict()} for digest, plan in plans.items()]
        where = {"dataset": scope.dataset, "window": scope.window}
        click.echo(json.dumps({"policy": found.to_dict(), "scope": where, "spent": spent.to_dict(), "waiting": listed}, ensure_ascii=False))
        return
    for left, right in (*decided(found), *state_of(spent, scope)):
        click.echo(f"{left:12s}{right}")
    for digest, plan in plans.items():
        click.echo(f"{'waits':12s}{digest[:16]}  {_described(found, plan)}: tacit policy approve {digest[:16]}")


@policy.command()
@click.argument("file", default="tacit.toml", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Check FILE against the schema, and the domain it names."""
    from tacit.domain import Domain
    from tacit.questions import KINDS

    found = _load(file)
    if found.domain is not None:
        Domain.load(found.domain)
    for kind in found.limits.questions or ():
        if kind not in KINDS:
            click.echo(f"note: [limits] questions names «{kind}», which this version does not know; it knows {', '.join(KINDS)}", err=True)
    click.echo(f"{file}: right; digest {found.digest[:16]}")


@policy.command()
@click.argument("plan")
@_POLICY
def approve(plan: str, path: Path) -> None:
    """Let one waiting PLAN be charged and answered, once. PLAN is its digest, or the beginning of it."""
    from tacit.errors import UsageError
    from tacit.guard import Ledger
    from tacit.guard.approvals import approve as approve_in

    found = _load(path)
    if not Ledger.exists(found.ledger):
        raise UsageError("Expected a ledger with a waiting plan; there is none yet. A plan is proposed when it is opened for the first time.")
    ledger = Ledger.open(found.ledger, key=found.key, create=False)
    entry, waiting = approve_in(ledger, _scope(found), plan)
    click.echo(f"approved in entry {entry.sequence}: {_described(found, waiting)}. Opening the same run again now charges and answers it, once.")


def _load(path: Path) -> Policy:
    from tacit.guard import Policy

    return Policy.load(path)


def _scope(policy: Policy) -> Scope:
    from datetime import UTC, datetime

    return policy.scope(datetime.now(UTC).date())


def _ledger(policy: Policy) -> Ledger | None:
    from tacit.guard import Ledger

    if not Ledger.exists(policy.ledger):
        return None
    return Ledger.open(policy.ledger, key=policy.key if policy.key is not None and policy.key.exists() else None, create=False)


def _price(policy: Policy, plan: Plan) -> float:
    from tacit.guard import plan_cost

    return policy.accounting.epsilon([plan_cost(plan)])


def _described(policy: Policy, plan: Plan) -> str:
    answers = "1 answer" if plan.total_steps == 1 else f"{plan.total_steps} answers"
    return f"«{printable(plan.purpose)}», {answers} of {', '.join(plan.kinds)}, epsilon {_price(policy, plan):.4g}"


def decided(policy: Policy) -> Iterator[tuple[str, str]]:
    """What a policy decides, in plain words."""
    limits, unit = policy.limits, policy.unit
    yield "data set", f"«{policy.dataset}»"
    grouped = "every record is one" if unit.column is None else f"told by the column «{printable(unit.column)}»"
    yield "protects", f"each {printable(unit.name)} ({grouped}), {policy.relation}"
    renews = "for everything ever asked" if policy.window == "all" else f"for everything asked within one {policy.window}"
    yield "budget", f"epsilon {policy.budget.epsilon:g} at delta {policy.budget.delta:g}, {renews}"
    yield "count", f"{policy.count_share:.3g} of it for one noised count; below {limits.minimum_units} nothing else is answered"
    yield "questions", "every kind" if limits.questions is None else ", ".join(limits.questions)
    most = "" if limits.max_rows_per_unit is None else f"; rows beyond {limits.max_rows_per_unit} of one {printable(unit.name)} are left out"
    yield "approval", ("what fits is answered" if limits.approval == "automatic" else "every plan waits for the owner") + most


def state_of(spent: Spent, scope: Scope) -> Iterator[tuple[str, str]]:
    """What is spent and left."""
    from tacit.guard.windows import window_end

    end = window_end(scope.window)
    until = "" if end is None else f" until {end.isoformat()}"
    plans = "1 plan" if spent.plans == 1 else f"{spent.plans} plans"
    yield "spent", f"epsilon {spent.epsilon:.4g} by {plans} on {scope}; {spent.left:.3g} is left{until}"
