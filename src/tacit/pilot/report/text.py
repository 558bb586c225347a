"""The same report for a terminal: the recommendation, one table, the warnings, what to do next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING
from unicodedata import category

from tacit.page.numbers import budget, decimal, of_hundred, percent, quantity, tie
from tacit.pilot.results import FAIL, PASS, UNSETTLED, Candidate, Measure, PilotResult, Step

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_SIGN = {PASS: "✓", FAIL: "✗", UNSETTLED: "?"}
_VERDICT = {"pass": "bold green", "none": "bold yellow", "alarm": "bold red"}
_LONGEST_NAME = 28
_WIDEST = 100


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the table; the narrower the terminal, the fewer are shown: those of high ``rank`` go first."""

    head: str
    cells: tuple[str, ...]
    rank: int

    @property
    def width(self) -> int:
        return max(len(line) for text in (self.head, *self.cells) for line in text.split("\n"))


def render_text(result: PilotResult, console: Console) -> None:
    """Print the report to ``console``; control characters are replaced, so that a column's name cannot restyle the terminal.

    Commands and the ledger's head stand on lines of their own and are never broken, so that they can be copied.
    """
    found = result.recommendation
    if found is not None:
        _say(console, found.headline, style=_VERDICT.get(found.verdict, "bold"))
        _say(console, found.sentence)
        alarm = found.verdict == "alarm"
        obstacles = tuple(reason.text for reason in found.reasons) if found.verdict != "pass" else ()
        _list(console, "what happened:" if alarm else "what stands in the way:", obstacles)
        _list(console, "what may be behind it:" if alarm else "what would help:", found.helps)
    console.print()
    console.print(_table(result, min(console.width, _WIDEST)))
    _legend(result, console)
    _list(console, "before you rely on this:", result.warnings)
    if found is not None and found.steps:
        _steps(console, found.steps)
    console.print()
    _say(console, result.disclosure, style="dim")
    _line(console, f"ledger: {result.meta.ledger.charged} entries charged, head {result.meta.ledger.head}", style="dim")


def safe(text: str) -> str:
    r"""A text without control characters, among them escape sequences and marks that turn the direction of writing.

    >>> safe("\x1b[31mred\u202e")
    '?[31mred?'
    """
    return "".join("?" if category(letter).startswith("C") and letter != "\n" else letter for letter in text)


def _line(console: Console, text: str, *, style: str = "") -> None:
    from rich.text import Text

    console.print(Text(safe(text), style=style), soft_wrap=True)


def _say(console: Console, text: str, *, style: str = "", first: str = "") -> None:
    width, rest = min(console.width, _WIDEST), " " * len(first)
    wrapped = wrap(tie(safe(text)), width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
    for line in wrapped:
        _line(console, line, style=style)


def _list(console: Console, head: str, items: tuple[str, ...]) -> None:
    if items:
        _line(console, f"\n{head}", style="bold")
    for item in items:
        _say(console, item, first=" • ")


def _steps(console: Console, steps: tuple[Step, ...]) -> None:
    _line(console, "\nwhat to do next:", style="bold")
    for number, step in enumerate(steps, start=1):
        _say(console, " ".join(part.rstrip(".") + "." for part in (step.title, step.why) if part), first=f" {number}. ")
        if step.command:
            _line(console, f"    {step.command}", style="cyan")


def _table(result: PilotResult, width: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    names = [("→ " if candidate is result.subject else "  ") + tie(safe(candidate.name)) for candidate in result.candidates]
    longest = max((len(name) for name in names), default=0)
    columns = _fitting(_columns(result), width - min(longest, _LONGEST_NAME))
    table = Table(title=None, header_style="bold", pad_edge=False, box=None, collapse_padding=True)
    left = width - sum(column.width + 1 for column in columns)
    table.add_column("model", overflow="fold", max_width=max(8, left), vertical="bottom")
    for column in columns:
        table.add_column(column.head, justify="right", no_wrap=True, vertical="bottom")
    for i, candidate in enumerate(result.candidates):
        cells = [Text(names[i]), *(Text(column.cells[i]) for column in columns)]
        table.add_row(*cells, style="bold" if candidate is result.chosen else "")
    return table


def _fitting(columns: list[_Column], width: int) -> list[_Column]:
    shown = list(columns)
    while len(shown) > 1 and sum(column.width + 1 for column in shown) > width:
        shown.remove(max(shown, key=lambda column: column.rank))
    return shown


def _columns(result: PilotResult) -> list[_Column]:
    def column(head: str, write: Callable[[Candidate], str], rank: int) -> _Column:
        return _Column(head, tuple(write(candidate) for candidate in result.candidates), rank)

    guaranteed = column("guaranteed\nε", lambda c: "none" if c.epsilon is None else budget(c.epsilon), 5)
    if result.released:
        return [column("ε\nasked", lambda c: budget(c.asked), 6), guaranteed]
    return [
        guaranteed,
        column("found\nof 100", lambda c: _measure(c.utility.recall, of_hundred), 0),
        column("\nAUC", lambda c: _measure(c.utility.auc, decimal), 4),
        column("attacker\nrecognises", _recognised, 2),
        column("proven\nlimit", lambda c: "none" if (cap := c.cap()) is None else percent(cap), 3),
        column("CPU\nseconds", lambda c: _measure(c.cost.cpu_seconds, quantity), 6),
        *([column("encrypted\nms", _encrypted, 7)] if any(c.encrypted for c in result.candidates) else []),
        column("\ngates", lambda c: _gates(result, c), 1),
    ]


def _measure(measure: Measure | None, write: Callable[[float], str]) -> str:
    return "-" if measure is None else write(measure.value)


def _recognised(candidate: Candidate) -> str:
    rate = candidate.rate()
    return "-" if rate is None else percent(rate.tpr.value) if rate.resolvable else "too few"


def _encrypted(candidate: Candidate) -> str:
    return "-" if candidate.encrypted is None else _measure(candidate.encrypted.latency_ms, quantity)


def _gates(result: PilotResult, candidate: Candidate) -> str:
    signs = {gate.name: _SIGN[gate.status] for gate in result.gates if gate.candidate == candidate.name}
    return "".join(signs.get(name, "-") for name in dict.fromkeys(gate.name for gate in result.gates)) if signs else "-"


def _legend(result: PilotResult, console: Console) -> None:
    if result.released:
        return
    words, alert = result.meta.words, f" with {result.meta.alert.text}" if result.meta.alert else ""
    seen = f"attacker: training {words.records} recognised at 1 % false alarms; guessing gives 1 %."
    _say(console, f"found: {words.positives}{alert}. {seen}", style="dim")
    if titles := dict.fromkeys(gate.title[0].lower() + gate.title[1:] for gate in result.gates):
        _say(console, f"gates, in this order: {', '.join(titles)}. ✓ passes, ✗ fails, ? cannot be settled with these records.", style="dim")
