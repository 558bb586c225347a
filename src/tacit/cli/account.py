"""``tacit account``."""

from __future__ import annotations

import json

import click

from tacit.errors import UsageError

_RELATIONS = ("add/remove", "replace", "zero-out")


@click.command()
@click.option("--sampling-rate", default=1.0, show_default=True, help="Chance that a record takes part in a step (Poisson sampling).")
@click.option("--noise", type=float, help="Noise multiplier: standard deviation over one record's largest norm.")
@click.option("--epsilon", type=float, help="Ask the other way round: which noise does this epsilon need?")
@click.option("--steps", default=1, show_default=True, help="How many steps.")
@click.option("--delta", default=1e-5, show_default=True, help="Delta.")
@click.option("--relation", type=click.Choice(_RELATIONS), default="add/remove", show_default=True, help="When two data sets are neighbours.")
@click.option("--fast", is_flag=True, help="A coarser grid: ten times faster, epsilon up to 0.1 % higher.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="What goes to standard output.")
def account(noise: float | None, epsilon: float | None, relation: str, form: str, **given: float) -> None:
    """What epsilon does this noise mean, or which noise does this epsilon need?

    By privacy loss distributions (exact where nothing is sampled), with Rényi divergences as a second, looser opinion.
    """
    from tacit.guarantee import Relation
    from tacit.guard.accounting import epsilon_for, noise_for

    if (noise is None) == (epsilon is None):
        raise UsageError("Expected either --noise or --epsilon; give one of them.")
    numbers: dict[str, object] = {**given, "relation": Relation(relation)}
    found = noise_for(epsilon=epsilon, **numbers) if noise is None else epsilon_for(noise_multiplier=noise, **numbers)  # type: ignore[arg-type]
    if form == "json":
        click.echo(json.dumps(found.to_dict()))
        return
    second = "" if found.renyi_epsilon is None else f"; by Rényi divergences {found.renyi_epsilon:.4f}"
    asked = f"at delta {found.delta:g}, noise {found.noise_multiplier:.4f}, {found.relation}, {found.accountant}{second}"
    click.echo(f"epsilon {found.epsilon:.4f} {asked}")
