"""What a leak report holds: for each attack what was assumed, what was found, what it means and what to do next. Numbers, no values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tacit.attacks import SEVERITIES
from tacit.attacks.linkage import Control, Share
from tacit.errors import UsageError

LEAK, NO_LEAK, NOT_TESTED = "leak found", "no leak found", "not tested"


@dataclass(frozen=True)
class Table:
    """Figures of one attack."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Exposure:
    """What one attack found. Owner-side: measured on records, not released.

    Args:
        name: of the attack, for machines.
        title: the question it answers.
        verdict: `LEAK`, `NO_LEAK` or `NOT_TESTED`.
        severity: one of `tacit.attacks.SEVERITIES`.
        assumed: what the attacker knows.
        found: in a sentence, with figures.
        means: what follows from it.
        advice: what to do next, the first thing first.
        share: the figure it rests on, if it is one.
        tables: all figures.
        controls: the same attack where the answer is known.
        facts: for machines.
    """

    name: str
    title: str
    verdict: str
    severity: str
    assumed: str
    found: str
    means: str
    advice: tuple[str, ...] = ()
    share: Share | None = None
    tables: tuple[Table, ...] = ()
    controls: tuple[Control, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def untested(cls, name: str, title: str, reason: str) -> Exposure:
        """An attack that could not be tried, with the reason."""
        return cls(name, title, NOT_TESTED, "info", "", reason, "Nothing is known about this attack.")

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {
            "attack": self.name, "title": self.title, "verdict": self.verdict, "severity": self.severity, "assumed": self.assumed,
            "found": self.found, "means": self.means, "advice": list(self.advice), "figure": None if self.share is None else self.share.to_dict(),
            "controls": [control.to_dict() for control in self.controls], "tables": [asdict(table) for table in self.tables], "facts": self.facts,
        }


@dataclass(frozen=True)
class LeakReport:
    """A whole report. Owner-side.

    Args:
        source: the policy's name of the source.
        records: that were looked at.
        exposures: one for each attack.
        seconds: it took.
    """

    source: str
    records: int
    exposures: tuple[Exposure, ...]
    seconds: float

    @property
    def verdict(self) -> str:
        """The worst of all; never «safe»."""
        verdicts = [exposure.verdict for exposure in self.exposures]
        return next((verdict for verdict in (LEAK, NO_LEAK) if verdict in verdicts), NOT_TESTED)

    @property
    def severity(self) -> str:
        """The highest of all."""
        return max((exposure.severity for exposure in self.exposures), key=SEVERITIES.index, default="info")

    @property
    def worst(self) -> tuple[Exposure, ...]:
        """Worst first."""
        return tuple(sorted(self.exposures, key=lambda exposure: (exposure.verdict != LEAK, -SEVERITIES.index(exposure.severity))))

    def at_least(self, severity: str) -> tuple[Exposure, ...]:
        """Leaks of this severity or a higher one.

        Raises:
            UsageError: for an unknown severity.
        """
        if severity not in SEVERITIES:
            raise UsageError(f"Expected a severity among {', '.join(SEVERITIES)}; got {severity!r}.")
        bar = SEVERITIES.index(severity)
        return tuple(e for e in self.exposures if e.verdict == LEAK and SEVERITIES.index(e.severity) >= bar)

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {
            "tacit": "log-leaks@1", "source": self.source, "records": self.records, "verdict": self.verdict, "severity": self.severity,
            "exposures": [exposure.to_dict() for exposure in self.exposures], "seconds": self.seconds, "released": False,
        }

    def to_json(self) -> str:
        """As JSON."""
        return json.dumps(_finite(self.to_dict()), ensure_ascii=False, indent=1, allow_nan=False)

    def render(self, form: str) -> str:
        """As «text», «short» (a line for each attack), «json» or «html».

        Raises:
            UsageError: for another form.
        """
        from tacit.logs.leaks import rendering

        forms = {"text": rendering.as_text, "short": rendering.as_short, "html": rendering.as_html, "json": LeakReport.to_json}
        if form not in forms:
            raise UsageError(f"Expected a form among {', '.join(forms)}; got {form!r}.")
        return forms[form](self)

    def save(self, path: str | Path) -> None:
        """Write it: ``.html``, ``.json`` or ``.txt``.

        Raises:
            UsageError: for another ending.
            StorageError: if it cannot be written.
        """
        from tacit.replacing import replacing

        forms = {".html": "html", ".json": "json", ".txt": "text"}
        form = forms.get(Path(path).suffix)
        if form is None:
            raise UsageError(f"Expected a name that ends in {', '.join(forms)}; got «{Path(path).name}».")
        with replacing(path) as file:
            file.write(self.render(form).encode())

    def __str__(self) -> str:
        return self.render("text")


def judged(share: Share, controls: Sequence[Control], *, leaks: bool) -> tuple[str, str]:
    """Verdict and severity: by the low end of the interval, so that a few lucky guesses are not called high."""
    if not all(control.passed for control in controls):
        return NOT_TESTED, "medium"
    if not leaks:
        return NO_LEAK, "info"
    low = share.interval[0]
    return LEAK, "high" if low >= 0.25 else "medium" if low >= 0.05 else "low"


def _finite(value: Any) -> Any:
    """Without numbers that JSON does not know."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and value != value else value
