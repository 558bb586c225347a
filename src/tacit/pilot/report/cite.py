"""Numbers that link to their evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

from tacit.page.numbers import NBSP, budget, decimal, of_hundred
from tacit.pilot.results import Candidate, Measure, PilotResult

EMPTY = Markup('<span class="none">not measured</span>')


class Cites:
    """Writes numbers of a result as links to the evidence rows behind them."""

    def __init__(self, result: PilotResult) -> None:
        self.result = result
        self.meta = result.meta
        self.words = result.meta.words
        self.baseline, self.chosen, self.subject = result.baseline, result.chosen, result.subject
        self._rows = {row.id: row for row in result.evidence}

    def cite(self, text: object, *refs: str) -> Markup:
        """A text that links to its first evidence row and names all of them in its title."""
        known = [ref for ref in dict.fromkeys(refs) if ref in self._rows]
        if not known:
            return escape(text)
        about = "; ".join(f"{ref}: {self._rows[ref].what} ({self._rows[ref].source})" for ref in known)
        return Markup('<a class="n" href="#e-{}" title="{}" data-ref="{}">{}</a>').format(known[0], about, ", ".join(known), text)

    def refs(self, refs: Sequence[str]) -> Markup:
        """Small reference ids behind a sentence."""
        links = Markup(", ").join(self.cite(ref, ref) for ref in dict.fromkeys(refs) if ref)
        return Markup('<span class="refs">[{}]</span>').format(links) if links else Markup("")

    def number(self, measure: Measure | None, write: Callable[[float], str] = decimal) -> Markup:
        """A measure with its interval, or that it was not measured."""
        if measure is None:
            return EMPTY
        text = self.cite(write(measure.value), measure.ref)
        if measure.low is None or measure.high is None:
            return text
        return text + Markup(' <span class="ci">{} to {}</span>').format(_bare(write(measure.low)), _bare(write(measure.high)))

    def said(self, measure: Measure) -> Markup:
        """How many of a hundred, in running text."""
        text = self.cite(of_hundred(measure.value), measure.ref)
        if measure.low is None or measure.high is None:
            return text
        ends = f"({of_hundred(measure.low)} to {of_hundred(measure.high)})".replace(" ", NBSP)
        return text + Markup(' <span class="ci">{}</span>').format(ends)

    def epsilon(self, candidate: Candidate) -> Markup:
        """The budget of a candidate, linked to the charge."""
        return self.cite(f"ε = {budget(candidate.asked)}".replace(" ", NBSP), candidate.guarantee_ref)

    def private(self) -> list[Candidate]:
        """The candidates with a guarantee."""
        return [candidate for candidate in self.result.candidates if candidate.is_private]


def _bare(text: str) -> str:
    """An interval's end without its unit, which the value already shows."""
    return text.replace(f"{NBSP}%", "")
