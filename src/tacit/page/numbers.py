"""How numbers are written for people: the same on the page, in the terminal and in the recommendation's sentences."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal

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


def tenths(share: float) -> str:
    """A share in percent with one digit, for pairs whose difference is shown beside them.

    >>> tenths(0.885).replace(NBSP, " "), tenths(0.744).replace(NBSP, " ")
    ('88.5 %', '74.4 %')
    """
    return f"{100 * share:.1f}{NBSP}%"


def budget(epsilon: float | None) -> str:
    """An ε as people write it: three digits, rounded up, because an ε rounded down would promise too much.

    >>> budget(1.0), budget(0.1), budget(0.988375), budget(2.96949), budget(None)
    ('1', '0.1', '0.989', '2.97', 'none')
    """
    if epsilon is None:
        return "none"
    if not math.isfinite(epsilon) or epsilon <= 0:
        return f"{epsilon:g}"
    exact = Decimal(repr(float(epsilon)))
    rounded = exact.quantize(Decimal(1).scaleb(exact.adjusted() - 2), rounding=ROUND_CEILING)
    return _trim(f"{rounded:f}")


def chance(probability: float) -> str:
    """A small probability as «1 in so many»; the number is rounded down, so that the chance is never made smaller.

    >>> chance(1e-5), chance(2.5e-6), chance(0.3)
    ('1 in 100,000', '1 in 400,000', '1 in 3')
    """
    return f"1 in {math.floor(1 / probability + 1e-6):,}" if probability > 0 else "0"


def tie(text: str) -> str:
    """Keep «ε = 1» and «1 %» on one line.

    >>> tie("Use ε = 1 at 1 %.") == f"Use ε{NBSP}={NBSP}1 at 1{NBSP}%."
    True
    """
    return text.replace("ε = ", f"ε{NBSP}={NBSP}").replace(" %", f"{NBSP}%")


def _trim(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
