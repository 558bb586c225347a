"""The time windows in which a budget renews: their public names, and when each ends.

>>> window_name("month", date(2026, 11, 3)), window_end("2026-11")
('2026-11', datetime.date(2026, 12, 1))
>>> window_name("week", date(2026, 11, 3)), window_end("2026-W45")
('2026-W45', datetime.date(2026, 11, 9))
"""

from __future__ import annotations

import re
from datetime import date, timedelta

from tacit.errors import UsageError

BUDGET_WINDOWS = ("all", "month", "week", "day")
UNIT_WINDOWS = ("hour", "day", "week", "month")
_INSIDE = {"day": {"hour", "day"}, "week": {"hour", "day", "week"}, "month": {"hour", "day", "month"}, "all": set(UNIT_WINDOWS)}


def window_name(kind: str, at: date) -> str:
    """The window of ``kind`` that contains the day ``at``: «all», «2026-11», «2026-W45» (ISO 8601 week) or «2026-11-03»."""
    if kind == "all":
        return "all"
    if kind == "month":
        return f"{at:%Y-%m}"
    if kind == "day":
        return at.isoformat()
    if kind == "week":
        year, week, _ = at.isocalendar()
        return f"{year:04d}-W{week:02d}"
    raise UsageError(f"Expected a budget window out of {', '.join(BUDGET_WINDOWS)}; got {kind!r}.")


def window_start(name: str) -> date | None:
    """The first day of the window, or ``None`` if it never began."""
    if match := re.fullmatch(r"(\d{4})-(\d\d)", name):
        return date(int(match[1]), int(match[2]), 1)
    if match := re.fullmatch(r"(\d{4})-W(\d\d)", name):
        return date.fromisocalendar(int(match[1]), int(match[2]), 1)
    return date.fromisoformat(name) if re.fullmatch(r"\d{4}-\d\d-\d\d", name) else None


def window_end(name: str) -> date | None:
    """The first day after the window, or ``None`` if it never ends."""
    if match := re.fullmatch(r"(\d{4})-(\d\d)", name):
        year, month = int(match[1]), int(match[2])
        return date(year + month // 12, month % 12 + 1, 1)
    if match := re.fullmatch(r"(\d{4})-W(\d\d)", name):
        return date.fromisocalendar(int(match[1]), int(match[2]), 1) + timedelta(days=7)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", name):
        return date.fromisoformat(name) + timedelta(days=1)
    return None


def nests(unit_window: str, budget_window: str) -> bool:
    """Whether no unit window can lie in two budget windows (a week can lie in two months)."""
    return unit_window in _INSIDE[budget_window]
