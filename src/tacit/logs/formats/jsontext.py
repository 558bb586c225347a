"""JSON texts of single values, by the library that the extra «logs» brings."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from tacit.errors import MissingExtra


@cache
def library() -> Any:
    """The library, imported once.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import orjson
    except ImportError:
        raise MissingExtra("logs", purpose="reading logs") from None
    return orjson


@cache
def json_writer() -> Callable[[Any], str]:
    """The function that writes a value as JSON, without spaces; whole numbers of any size.

    >>> list(map(json_writer(), (2**70, "ab", None)))
    ['1180591620717411303424', '"ab"', 'null']
    """
    dumps = library().dumps

    def write(value: Any) -> str:
        return str(value) if type(value) is int else dumps(value).decode()

    return write
