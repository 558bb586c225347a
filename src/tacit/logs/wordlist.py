"""Word lists, as they are best read."""

from __future__ import annotations


def words(text: str) -> tuple[str, ...]:
    r"""The words of a text that divides them by commas; lines and spaces around a word do not count.

    >>> words("a, b c,\n d")
    ('a', 'b c', 'd')
    """
    return tuple(word.strip() for word in text.replace("\n", " ").split(",") if word.strip())
