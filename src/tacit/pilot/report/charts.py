"""Charts as inline SVG: no script, no style attribute, colours from the page's classes, meaning never by colour alone.

Each chart has a title and a description for those who cannot see it. A chart with row labels is drawn twice, wide and narrow, and the
page shows the one that fits: scaling one drawing to a phone would make its text unreadable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

from markupsafe import Markup

from tacit.page.numbers import budget, decimal, of_hundred, percent
from tacit.pilot.results import CalibrationBin, Measure, Rate


@dataclass(frozen=True, slots=True)
class Point:
    """One model in the chart of utility against ε; ``epsilon`` is ``None`` without privacy."""

    name: str
    kind: str
    epsilon: float | None
    measure: Measure
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class LeakRow:
    """One model in the chart of what an attacker recognises: what was measured, and what the guarantee allows, each if there is any."""

    name: str
    kind: str
    rate: Rate | None
    cap: float | None
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One group in the chart of who is served worse."""

    name: str
    score: float
    baseline: float | None


@dataclass
class _Canvas:
    """Collects SVG elements; every text is escaped here."""

    width: float
    height: float
    parts: list[str] = field(default_factory=list)

    def add(self, tag: str, css: str, text: str | None = None, **attributes: float | str) -> None:
        given = {name.replace("_", "-"): f"{value:.1f}" if isinstance(value, float) else str(value) for name, value in attributes.items()}
        inside = "".join(f' {name}="{escape(value)}"' for name, value in given.items())
        close = "/>" if text is None else f">{escape(text)}</{tag}>"
        self.parts.append(f'<{tag} class="{css}"{inside}{close}')

    def line(self, css: str, x1: float, y1: float, x2: float, y2: float) -> None:
        self.add("line", css, x1=x1, y1=y1, x2=x2, y2=y2)

    def text(self, css: str, x: float, y: float, text: str) -> None:
        self.add("text", css, text, x=x, y=y)

    def marker(self, kind: str, x: float, y: float, *, size: float = 5.5) -> None:
        """A circle for private, a diamond for federated, a square for linear, a ring for the baseline."""
        css = f"k-{kind}"
        if kind == "federated":
            s = size * 1.25
            self.add("path", css, d=f"M{x:.1f} {y - s:.1f}L{x + s:.1f} {y:.1f}L{x:.1f} {y + s:.1f}L{x - s:.1f} {y:.1f}Z")
        elif kind == "linear":
            self.add("rect", css, x=x - size * 0.9, y=y - size * 0.9, width=size * 1.8, height=size * 1.8)
        else:
            self.add("circle", css, cx=x, cy=y, r=size)

    def svg(self, name: str, title: str, description: str, *, css: str = "") -> Markup:
        head = f'<svg class="chart {css}" viewBox="0 0 {self.width:.0f} {self.height:.0f}" role="img" aria-labelledby="{name}-t {name}-d">'
        about = f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(description)}</desc>'
        return Markup(head + about + "".join(self.parts) + "</svg>")  # noqa: S704 - every text was escaped above


def shorten(name: str, most: int) -> str:
    """A name that fits beside a chart; the table has it in full.

    >>> shorten("department = research and development", 20)
    'department = resear…'
    """
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"


def nice_ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """Round ticks that cover ``low`` to ``high``, within [0, 1].

    >>> nice_ticks(0.83, 0.95)
    [0.82, 0.84, 0.86, 0.88, 0.9, 0.92, 0.94, 0.96]
    """
    steps = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25)
    step = next((s for s in steps if (high - low) / s <= most), 0.25)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if first == last:
        first, last = first - 1, last + 1
    return [round(i * step, 4) for i in range(max(0, first), min(round(1 / step), last) + 1)]


# ---------------------------------------------------------------- utility against ε


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where data values land on the drawing."""

    left: float
    right: float
    top: float
    bottom: float
    low: float
    high: float

    def y(self, value: float) -> float:
        return self.bottom - (self.bottom - self.top) * (value - self.low) / (self.high - self.low)

    def x(self, value: float) -> float:
        return self.left + (self.right - self.left) * (value - self.low) / (self.high - self.low)


def tradeoff(name: str, points: Sequence[Point], *, title: str, gate: float | None, as_percent: bool = True) -> Markup:
    """Utility of each model over its ε, with intervals, the baseline as a line across and the least the policy accepts."""
    canvas = _Canvas(400, 292)
    measures = [p.measure for p in points]
    lows = [m.value if m.low is None else m.low for m in measures] + ([gate] if gate is not None else [])
    highs = [m.value if m.high is None else m.high for m in measures]
    ticks = nice_ticks(max(0.0, min(lows)), min(1.0, max(highs)))
    frame = _Frame(46, 392, 14, 236, ticks[0], ticks[-1])
    columns: list[float | None] = [*sorted({p.epsilon for p in points if p.epsilon is not None}), None]
    _grid(canvas, frame, ticks, as_percent=as_percent)
    _columns(canvas, frame, columns)
    _references(canvas, frame, points, gate)
    _private_curve(canvas, frame, columns, points)
    for point in sorted(points, key=lambda p: p.chosen):
        x = _column_x(frame, columns, point.epsilon) + _DODGE[point.kind]
        _point(canvas, frame, x, point, as_percent=as_percent)
    return canvas.svg(name, title, _tradeoff_text(points, as_percent=as_percent))


def _write(value: float, as_percent: bool) -> str:
    return percent(value) if as_percent else decimal(value)


def _tradeoff_text(points: Sequence[Point], *, as_percent: bool) -> str:
    return "; ".join(f"{p.name}: {_write(p.measure.value, as_percent)}" for p in points) + "."


def _grid(canvas: _Canvas, frame: _Frame, ticks: Sequence[float], *, as_percent: bool) -> None:
    digits = 3 if ticks[1] - ticks[0] < 0.0099 else 2
    for tick in ticks:
        canvas.line("grid", frame.left, frame.y(tick), frame.right, frame.y(tick))
        label = f"{100 * tick:.{digits - 2}f}" if as_percent else f"{tick:.{digits}f}"
        canvas.text("tick end", frame.left - 8, frame.y(tick) + 4, label)


def _column_x(frame: _Frame, columns: Sequence[float | None], epsilon: float | None) -> float:
    return frame.left + (frame.right - frame.left) * (columns.index(epsilon) + 0.5) / len(columns)


def _columns(canvas: _Canvas, frame: _Frame, columns: Sequence[float | None]) -> None:
    for epsilon in columns:
        label = budget(epsilon)
        canvas.text("tick mid", _column_x(frame, columns, epsilon), frame.bottom + 20, label)
    left, right = _column_x(frame, columns, columns[0]), _column_x(frame, columns, columns[-1])
    canvas.text("note mid", (left + right) / 2, frame.bottom + 46, "← more privacy\u2003 ε \u2003less privacy →")


def _references(canvas: _Canvas, frame: _Frame, points: Sequence[Point], gate: float | None) -> None:
    base = next((p.measure for p in points if p.kind == "baseline"), None)
    if base is not None:
        if base.low is not None and base.high is not None:
            top, bottom = frame.y(min(base.high, frame.high)), frame.y(max(base.low, frame.low))
            canvas.add("rect", "band", x=frame.left, y=top, width=frame.right - frame.left, height=bottom - top)
        canvas.line("baseline", frame.left, frame.y(base.value), frame.right, frame.y(base.value))
    if gate is not None and frame.low <= gate <= frame.high:
        canvas.line("gate", frame.left, frame.y(gate), frame.right, frame.y(gate))


def _private_curve(canvas: _Canvas, frame: _Frame, columns: Sequence[float | None], points: Sequence[Point]) -> None:
    row = sorted((p for p in points if p.kind == "private" and p.epsilon is not None), key=lambda p: p.epsilon or 0.0)
    if len(row) > 1:
        spots = " ".join(f"{_column_x(frame, columns, p.epsilon):.1f},{frame.y(p.measure.value):.1f}" for p in row)
        canvas.add("polyline", "curve", points=spots)


_DODGE = {"private": 0.0, "baseline": 0.0, "federated": 15.0, "linear": -15.0}


def _point(canvas: _Canvas, frame: _Frame, x: float, point: Point, *, as_percent: bool) -> None:
    y = frame.y(point.measure.value)
    low, high = point.measure.low, point.measure.high
    if low is not None and high is not None:
        canvas.line(f"whisker k-{point.kind}", x, frame.y(max(low, frame.low)), x, frame.y(min(high, frame.high)))
    if point.chosen:
        canvas.add("circle", "chosen", cx=x, cy=y, r=11.0)
    canvas.marker(point.kind, x, y)
    text = of_hundred(point.measure.value) if as_percent else decimal(point.measure.value)
    if point.kind == "baseline":
        canvas.text("value end", x - 11, y - 7, text)
    elif point.chosen:
        canvas.text("value mid", x, y - 17 if y - 26 > frame.top else y + 27, text)


# ---------------------------------------------------------------- what an attacker recognises


def leakage(name: str, rows: Sequence[LeakRow], *, fpr: float) -> Markup:
    """Per model: what the guarantee permits (a bar), what the attack reached (a dot with its interval), and what guessing gives (a line)."""
    title = f"Share of training records an attacker recognises, at {percent(fpr)} false alarms"
    text = "; ".join(f"{row.name}: {_leak_value(row)}, {_permitted(row)}" for row in rows) + f". Guessing: {percent(fpr)}."
    return _twice(name, lambda narrow: _leakage(rows, fpr=fpr, narrow=narrow), title=title, description=text)


def _leak_value(row: LeakRow) -> str:
    if row.rate is None:
        return "not attacked"
    if not row.rate.resolvable:
        return "too few records to tell"
    tpr = row.rate.tpr
    ends = f" ({of_hundred(tpr.low)} to {of_hundred(tpr.high)})" if tpr.low is not None and tpr.high is not None else ""
    return percent(tpr.value) + ends


def _permitted(row: LeakRow) -> str:
    return "no limit" if row.cap is None else f"limit {percent(row.cap)}"


def _leakage(rows: Sequence[LeakRow], *, fpr: float, narrow: bool) -> _Canvas:
    pitch, head = (60, 26) if narrow else (44, 26)
    canvas = _Canvas(360 if narrow else 760, head + pitch * len(rows) + 44)
    frame = _Frame(8, 352, head, canvas.height - 40, -3.0, 0.0) if narrow else _Frame(170, 570, head, canvas.height - 40, -3.0, 0.0)
    for power, label in ((-3, "0.1 %"), (-2, "1 %"), (-1, "10 %"), (0, "100 %")):
        canvas.line("grid", frame.x(power), frame.top, frame.x(power), frame.bottom)
        anchor = "start" if power == -3 and narrow else "end" if power == 0 and narrow else "mid"
        canvas.text(f"tick {anchor}", frame.x(power), frame.bottom + 18, label)
    placed = [(row, frame.top + pitch * (i + (0.68 if narrow else 0.5))) for i, row in enumerate(rows)]
    for row, y in placed:
        _leak_bar(canvas, frame, row, y)
    canvas.line("chance", frame.x(math.log10(fpr)), frame.top - 6, frame.x(math.log10(fpr)), frame.bottom)
    for row, y in placed:
        _leak_row(canvas, frame, row, y=y, narrow=narrow)
    canvas.text("note mid", frame.x(math.log10(fpr)), frame.top - 12, "guessing")
    return canvas


def _leak_x(frame: _Frame, share: float) -> float:
    return frame.x(max(-3.0, math.log10(max(share, 1e-9))))


def _leak_bar(canvas: _Canvas, frame: _Frame, row: LeakRow, y: float) -> None:
    end = _leak_x(frame, 1.0 if row.cap is None else row.cap)
    css = "permitted" if row.cap is not None else "unlimited"
    canvas.add("rect", css, x=frame.left, y=y - 8, width=end - frame.left, height=16)
    if row.cap is not None:
        canvas.line("bound", end, y - 11, end, y + 11)


def _leak_row(canvas: _Canvas, frame: _Frame, row: LeakRow, *, y: float, narrow: bool) -> None:
    if row.rate is not None and row.rate.resolvable:
        tpr = row.rate.tpr
        if tpr.low is not None and tpr.high is not None:
            canvas.line(f"whisker k-{row.kind}", _leak_x(frame, tpr.low), y, _leak_x(frame, tpr.high), y)
        if row.chosen:
            canvas.add("circle", "chosen", cx=_leak_x(frame, tpr.value), cy=y, r=10.5)
        canvas.marker(row.kind, _leak_x(frame, tpr.value), y)
    weight = "label strong" if row.chosen else "label"
    value = _leak_value(row)
    if narrow:
        canvas.text(weight, frame.left, y - 15, shorten(row.name, 44 - len(value)))
        canvas.text("label end", frame.right, y - 15, value)
    else:
        canvas.text(f"{weight} end", frame.left - 14, y + 4, shorten(row.name, 20))
        canvas.text("label", frame.right + 14, y - 2, value)
        canvas.text("note", frame.right + 14, y + 13, _permitted(row))


# ---------------------------------------------------------------- groups and calibration


def groups(name: str, rows: Sequence[GroupRow], *, metric: str, kind: str = "private") -> Markup:
    """Per group: the score without privacy (a ring) and with it (the marker of ``kind``), joined by a line."""
    text = "; ".join(_group_text(row) for row in rows)
    title = f"{metric} per group, with and without privacy"
    return _twice(name, lambda narrow: _groups(rows, kind=kind, narrow=narrow), title=title, description=text + ".")


def _group_text(row: GroupRow) -> str:
    before = "" if row.baseline is None else f", without privacy {decimal(row.baseline, digits=2)}"
    return f"{row.name}: {decimal(row.score, digits=2)}{before}"


def _groups(rows: Sequence[GroupRow], *, kind: str, narrow: bool) -> _Canvas:
    pitch = 46 if narrow else 32
    canvas = _Canvas(360 if narrow else 760, pitch * len(rows) + 40)
    values = [value for row in rows for value in (row.score, row.baseline) if value is not None]
    ticks = nice_ticks(min(values), max(values), most=4 if narrow else 7)
    left, right = (14, 346) if narrow else (210, 736)
    frame = _Frame(left, right, 6, canvas.height - 30, ticks[0], ticks[-1])
    for tick in ticks:
        canvas.line("grid", frame.x(tick), frame.top, frame.x(tick), frame.bottom)
        canvas.text("tick mid", frame.x(tick), frame.bottom + 18, f"{100 * tick:.{0 if ticks[1] - ticks[0] >= 0.0099 else 1}f}")
    for i, row in enumerate(rows):
        y = frame.top + pitch * (i + (0.72 if narrow else 0.5))
        spot = (frame.left - 8, y - 13) if narrow else (frame.left - 18, y + 4)
        canvas.text("label" if narrow else "label end", *spot, shorten(row.name, 44 if narrow else 25))
        if row.baseline is not None:
            canvas.line("join", frame.x(row.baseline), y, frame.x(row.score), y)
            canvas.marker("baseline", frame.x(row.baseline), y)
        canvas.marker(kind, frame.x(row.score), y, size=5)
    return canvas


def calibration(name: str, baseline: Sequence[CalibrationBin], private: Sequence[CalibrationBin]) -> Markup:
    """Predicted against observed: on the diagonal, a score of 30 % comes true 30 times in a hundred."""
    canvas = _Canvas(400, 292)
    across, up = _Frame(46, 392, 14, 236, 0.0, 1.0), _Frame(46, 392, 14, 236, 0.0, 1.0)
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        canvas.line("grid", across.left, up.y(tick), across.right, up.y(tick))
        canvas.text("tick end", across.left - 8, up.y(tick) + 4, f"{100 * tick:.0f}")
        canvas.text("tick mid", across.x(tick), up.bottom + 20, f"{100 * tick:.0f}")
    canvas.line("chance", across.left, up.bottom, across.right, up.top)
    canvas.text("note mid", (across.left + across.right) / 2, up.bottom + 46, "what the model said, in %  (upwards: what happened)")
    for kind, bins in (("baseline", baseline), ("private", private)):
        if bins:
            spots = " ".join(f"{across.x(b.predicted):.1f},{up.y(b.observed):.1f}" for b in bins)
            canvas.add("polyline", f"curve k-{kind}", points=spots)
        for b in bins:
            canvas.marker(kind, across.x(b.predicted), up.y(b.observed), size=4.5)
    text = "; ".join(f"said {percent(b.predicted)}, happened {percent(b.observed)}" for b in private)
    return canvas.svg(name, "How far scores can be read as probabilities", f"With privacy: {text}.")


def key(kind: str) -> Markup:
    """A marker on its own, or the line of a gate, for a legend."""
    canvas = _Canvas(16, 16)
    if kind == "gate":
        canvas.line("gate", 0, 8, 16, 8)
    else:
        canvas.marker(kind, 8, 8, size=5)
    head = '<svg class="key" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">'
    return Markup(head + "".join(canvas.parts) + "</svg>")  # noqa: S704 - made of markers only


def _twice(name: str, draw: Callable[[bool], _Canvas], *, title: str, description: str) -> Markup:
    wide = draw(False).svg(name, title, description, css="wide")
    return wide + draw(True).svg(f"{name}-n", title, description, css="narrow")
