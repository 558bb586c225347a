"""Word lists, as they are best read."""

from __future__ import annotations


def words(text: str) -> tuple[str, ...]:
    r"""The words of a text that divides them by commas; how many spaces or line breaks stand around or within a word does not count.

    >>> words("a, b c,\n d\n e")
    ('a', 'b c', 'd e')
    """
    return tuple(" ".join(word.split()) for word in text.split(",") if word.strip())
