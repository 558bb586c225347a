r"""Texts in which a server has written signs as ``\xhh``."""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"((?:\\x[0-9A-Fa-f]{2})+)|\\(.)", re.DOTALL)
_UNSAFE = re.compile(r'[\x00-\x1f"\\\x7f]|[^\x00-\x7f]+')
_SHORT = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "v": "\v", "f": "\f", '"': '"', "\\": "\\"}
_LONG = {value: "\\" + name for name, value in _SHORT.items()}


def unquoted(text: str) -> str:
    r"""Read escapes as Apache and nginx write them; what is no UTF-8, or NUL, stays as it is written.

    >>> unquoted(r'J\xc3\xbcrgen \"x\" \xff'), unquoted(r"\x00") == r"\x00"
    ('Jürgen "x" \\xff', True)
    """
    return _ESCAPE.sub(_read, text) if "\\" in text else text


def quoted(text: str) -> str:
    r"""Write escapes as Apache does.

    >>> quoted('Jürgen "x"')
    'J\\xc3\\xbcrgen \\"x\\"'
    """
    return _UNSAFE.sub(_write, text)


def unescaped(text: str) -> str:
    r"""Read escapes as Zeek writes them: ``\xhh`` and a doubled backslash, nothing else.

    >>> unescaped(r"a\x09b\\c\n") == "a\tb" + r"\c\n"
    True
    """
    return _ESCAPE.sub(_read_few, text) if "\\" in text else text


def _read_few(found: re.Match[str]) -> str:
    return _read(found) if found[1] is not None or found[2] == "\\" else found[0]


def _read(found: re.Match[str]) -> str:
    run = found[1]
    if run is None:
        return _SHORT.get(found[2], found[0])
    try:
        value = bytes.fromhex(run.replace("\\x", "")).decode("utf-8")
    except UnicodeDecodeError:
        return run
    return run if "\0" in value else value


def _write(found: re.Match[str]) -> str:
    sign = found[0]
    return _LONG.get(sign) or "".join(f"\\x{byte:02x}" for byte in sign.encode("utf-8", "replace"))
