"""The same report for a terminal: the recommendation, one table, the warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tacit.pilot.numbers import budget, decimal, of_hundred, percent, quantity
from tacit.pilot.results import FAIL, PASS, UNSETTLED, Candidate, Measure, PilotResult

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_SIGN = {PASS: "✓", FAIL: "✗", UNSETTLED: "?"}
_VERDICT = {"pass": "bold green", "none": "bold yellow", "alarm": "bold red"}


def render_text(result: PilotResult, console: Console) -> None:
    """Print the report to ``console``; every text is escaped, so that a column's name cannot restyle the terminal."""
    from rich.text import Text

    found = result.recommendation
    if found is not None:
        console.print(Text(found.headline, style=_VERDICT.get(found.verdict, "bold")))
        console.print(Text(found.sentence))
        for help_ in found.helps:
            console.print(Text(f"  • {help_}"))
    console.print(_table(result))
    for warning in result.warnings:
        console.print(Text(f"! {warning}", style="yellow"))
    if found is not None and found.steps:
        console.print(Text("next:", style="bold"))
        for step in found.steps:
            console.print(Text(f"  {step.title}: {step.command}" if step.command else f"  {step.title}"))
    console.print(Text(result.disclosure, style="dim"))
    console.print(Text(f"ledger: {result.meta.ledger.charged} entries charged, head {result.meta.ledger.head[:12]}…", style="dim"))


def _table(result: PilotResult) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=None, header_style="bold", pad_edge=False, box=None)
    table.add_column("model", no_wrap=True)
    heads = ("ε",) if result.released else ("ε", "found /100", "AUC", "recognised at 1 %", "limit", "CPU s", "gates")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for candidate in result.candidates:
        chosen = candidate is result.chosen
        cells = [Text(("→ " if chosen else "  ") + candidate.name), Text(budget(candidate.epsilon))]
        if not result.released:
            cells += [Text(cell) for cell in _measures(candidate)] + [Text(_gates(result, candidate))]
        table.add_row(*cells, style="bold" if chosen else "")
    return table


def _measures(candidate: Candidate) -> tuple[str, str, str, str, str]:
    rate = candidate.rate()
    seen = "-" if rate is None else percent(rate.tpr.value) if rate.resolvable else "too few"
    limit = "none" if rate is None or rate.bound is None else percent(rate.bound)
    recall, auc, seconds = candidate.utility.recall, candidate.utility.auc, candidate.cost.cpu_seconds
    return _or_dash(recall, of_hundred), _or_dash(auc, decimal), seen, limit, _or_dash(seconds, quantity)


def _or_dash(measure: Measure | None, write: object) -> str:
    return "-" if measure is None or not callable(write) else str(write(measure.value))


def _gates(result: PilotResult, candidate: Candidate) -> str:
    return "".join(_SIGN[gate.status] for gate in result.gates if gate.candidate == candidate.name) or "-"
