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


def with_member(text: str, name: str, value: str) -> str:
    """The text of an object with one more member, whose value is a JSON text too.

    >>> with_member("{}", "a", "1"), with_member('{"b":2}', "a", "1")
    ('{"a":1}', '{"b":2,"a":1}')
    """
    return f'{text[:-1]}{"," if len(text) > 2 else ""}"{name}":{value}}}'


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
