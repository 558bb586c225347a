"""How numbers are written for people: the same on the page, in the terminal and in the recommendation's sentences."""

from __future__ import annotations

import math

NBSP = "\u00a0"


def percent(share: float) -> str:
    """A share in percent, with as many digits as a reader can use.

    >>> [percent(x).replace(NBSP, " ") for x in (0.913, 0.0132, 0.00084, 0.9996, 0.0, 1.0)]
    ['91 %', '1.3 %', '0.08 %', '99.96 %', '0 %', '100 %']
    """
    return f"{of_hundred(share)}{NBSP}%"


def of_hundred(share: float) -> str:
    """How many of a hundred.

    >>> [of_hundred(x) for x in (0.913, 0.0132, 0.995, -0.021, 0.1)]
    ['91', '1.3', '99.5', '-2.1', '10']
    """
    value = 100 * share
    edge = min(abs(value), abs(100 - value))
    if edge < 1e-9 or 9.95 <= abs(value) <= 98.95:
        return f"{value:.0f}"
    return _trim(f"{value:.2f}") if edge < 0.1 else _trim(f"{value:.1f}")


def points(difference: float) -> str:
    """A difference of two shares in percentage points.

    >>> points(0.021), points(-0.004), points(0.0)
    ('2.1', '−0.4', '0')
    """
    return _trim(f"{100 * difference:.1f}").replace("-", "−") if abs(difference) >= 5e-4 else "0"


def decimal(value: float, *, digits: int = 3) -> str:
    """A plain decimal; more digits near one, where AUCs differ.

    >>> decimal(0.9127), decimal(0.99951), decimal(1.0)
    ('0.913', '0.9995', '1.000')
    """
    if 0.9985 < value < 1:
        digits = max(digits, 4)
    return f"{value:.{digits}f}"


def quantity(value: float) -> str:
    """A quantity with about three significant digits and thousands separated.

    >>> [quantity(x) for x in (0.0, 0.4312, 12.34, 128.4, 23456.7)]
    ['0', '0.43', '12.3', '128', '23,457']
    """
    if value == 0:
        return "0"
    digits = max(0, min(3, (1 if abs(value) < 1 else 2) - math.floor(math.log10(abs(value)))))
    return f"{value:,.{digits}f}"


def budget(epsilon: float | None) -> str:
    """An ε as people write it.

    >>> budget(1.0), budget(0.1), budget(None)
    ('1', '0.1', 'none')
    """
    return "none" if epsilon is None else f"{epsilon:g}"


def _trim(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
