"""Regular expressions without backtracking: a text cannot make one run long."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from tacit.errors import MissingExtra
from tacit.logs.content.tree import Regex

UNKNOWN = "a regular expression that looks around or back, which RE2 does not do"


@lru_cache(maxsize=4_096)
def compiled(value: Regex) -> Callable[[str], Any]:
    """The search of a regular expression.

    >>> compiled(Regex("a+b$", "i"))("xAAB") is not None
    True

    Raises:
        MissingExtra: RE2, which pySigma brings along, is not installed.
        ValueError: RE2 does not know it.
    """
    try:
        re2 = importlib.import_module("re2")
    except ImportError:
        raise MissingExtra("logs", purpose="regular expressions of Sigma rules") from None
    options = re2.Options()
    options.log_errors = False
    prefix = f"(?{value.flags})" if value.flags else ""
    try:
        search: Callable[[str], Any] = re2.compile(prefix + value.pattern, options).search
    except re2.error as error:
        raise ValueError(UNKNOWN) from error
    return search
