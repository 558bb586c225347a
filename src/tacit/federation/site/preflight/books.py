"""The records and the ledger: what a study would read, and what it would be charged to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tacit.domain import Numeric
from tacit.errors import TacitError
from tacit.federation.mock import MARK
from tacit.federation.site.preflight.outcome import Bench, Failed, Skipped
from tacit.guard import Cost, Ledger, Records, mu_for

_FIRST = 10_000


def records(bench: Bench) -> str:
    """Whether the records can be opened by the policy's unit, and have the study's columns in the study's types."""
    policy = bench.policy
    if policy.source is None:
        raise Failed("the policy names no records", 'Set source = "FILE" in [files] of tacit.toml.')
    try:
        with Records.open(policy.source, unit=policy.unit, max_rows_per_unit=policy.limits.max_rows_per_unit) as found:
            kinds = dict(found.schema)
            unreadable = _unreadable(bench, found)
    except TacitError as error:
        raise Failed(str(error), "Correct [files] source or [unit] in tacit.toml, or the file.") from None
    if MARK in kinds:
        raise Failed("these are mock records", "Name the real ones in [files] source of tacit.toml.")
    try:
        card = bench.card
    except Skipped:
        return f"{len(kinds)} columns; no study card to hold them against yet"
    wanted = [*card.domain.names, *([card.learner.target] if card.learner.target else [])]
    if missing := [name for name in wanted if name not in kinds]:
        raise Failed(f"the study's column «{missing[0]}» and {len(missing) - 1} others are not in the records", "Rename or add the columns.")
    if unreadable:
        raise Failed(f"the study expects numbers in «{unreadable[0]}»; most rows have none", "Convert the column; what is no number is missing.")
    return f"all {len(wanted)} columns of «{card.name}» are there"


def _unreadable(bench: Bench, found: Records) -> list[str]:
    """Columns of the study's numbers in which fewer than half of the first rows hold one. Owner-side: said to nobody but the owner."""
    try:
        wanted = [name for name, kind in bench.card.domain.columns if isinstance(kind, Numeric) and name in found.names]
    except Skipped:
        return []
    first = next(iter(found.batches(wanted)), None) if wanted else None
    if first is None:
        return []
    return [name for name in wanted if 2 * _numbers(first.columns[name].slice(0, _FIRST)) < min(first.rows, _FIRST)]


def _numbers(column: Any) -> int:
    """How many values of a column are numbers, or texts of numbers."""
    import polars as pl

    series = pl.Series(pl.from_arrow(column))
    return len(series.cast(pl.String).cast(pl.Float64, strict=False).drop_nulls())


def ledger(bench: Bench) -> str:
    """Whether the ledger is whole and can be written, and the study's cost fits what is left."""
    policy = bench.policy
    scope = policy.scope(datetime.now(UTC).date())
    try:
        book = Ledger.open(policy.ledger, key=policy.key)
        book.verify()
        costs = book.costs(scope)
        counted = bool(book.find("count", scope))
        book.record("preflight", scope, {})
    except TacitError as error:
        raise Failed(str(error), "Restore the ledger and its key from where they were; never begin a new one for the same records.") from None
    left = policy.accounting.spent(costs)
    said = f"whole and writable; epsilon {left.left:.3g} of {policy.budget.epsilon:g} is left"
    try:
        card = bench.card
    except Skipped:
        return said
    count = mu_for(policy.budget) ** 2 * policy.count_share if policy.counts_units else 0.0
    needed = max(mu_for(card.budget) ** 2 * 0.99 - (count if counted else 0.0), 1e-12)
    if not policy.accounting.admits([*costs, gaussian(needed)]):
        raise Failed(
            f"the study may cost epsilon {card.budget.epsilon:g}; {left.left:.3g} of {policy.budget.epsilon:g} is left on {scope}",
            "Ask for a cheaper study, or decide on a larger budget in tacit.toml.",
        )
    return f"{said}; the study needs {card.budget.epsilon:g}"


def gaussian(mu_squared: float) -> Cost:
    """The cost of one Gaussian answer."""
    import dp_accounting

    return Cost(dp_accounting.GaussianDpEvent(mu_squared**-0.5), mu_squared)
