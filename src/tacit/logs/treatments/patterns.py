"""What free text is searched for: patterns, and the places where a text itself says that a name follows.

Two engines of regular expressions read these: one for whole columns, one for a few texts at a time. They differ in what they call a space or a digit;
`spelt` writes both out, so that they find the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from tacit.logs.treatments.identities import COMMON
from tacit.logs.treatments.pseudonyms import WRITTEN
from tacit.logs.treatments.services import CLASSES, PROTOCOLS, SHARES, SPOKEN
from tacit.logs.wordlist import words

_SPACE = "\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_PIECES = re.compile(r"\\.|\[\^?|\]|[^\\\[\]]+", re.DOTALL)


_BORDER, _BORDER_HERE = r"(?-u:\b)", r"(?a:\b)"


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """The same pattern for one text at a time."""
    return re.compile(pattern.replace(_BORDER, _BORDER_HERE).replace(r"\z", r"\Z"))


def spelt(pattern: str) -> str:
    r"""For columns: a pattern whose ``\s``, ``\S`` and ``\d`` are written out, and after ``(?i)`` both cases of each ASCII letter outside of classes.

    ``\b`` stands between an ASCII letter, digit or underscore and anything else.

    >>> spelt(r"\d[x\d]") == "[0-9][x0-9]", spelt("(?i)a[bB]1")
    (True, '[aA][bB]1')
    """
    cases = pattern.startswith("(?i)")
    found, inside = [], False
    for piece in _PIECES.findall(pattern.removeprefix("(?i)")):
        chars = {r"\s": _SPACE, r"\d": "0-9", r"\S": f"^{_SPACE}"}.get(piece)
        if chars is not None:
            piece = chars if inside else f"[{chars}]"
        elif piece == r"\b":
            piece = _BORDER
        elif cases and not inside and piece[0] not in "\\[":
            piece = "".join(f"[{sign.lower()}{sign.upper()}]" if sign.isascii() and sign.isalpha() else sign for sign in piece)
        found.append(piece)
        inside = piece == "[" or piece == "[^" or (inside and piece != "]")
    return "".join(found)


_DIVIDERS = r"""\s"'<>()\[\]{},;|&=/\\^`!?*#"""
TOKENS = spelt(rf"[^{_DIVIDERS}]+|[{_DIVIDERS}]+")
"""What texts are cut into."""
_SECRETS = (
    r"(?i)((?:pass(?:word|wd|phrase)?|pwd|secret|api[_-]?key|access[_-]?key|client[_-]?secret|auth[_-]?token|token)[\"']?\s{0,3}[=:]\s{0,3}[\"']?)"
    r"[^\s\"'&;,]{2,}",
    r"(?i)((?:--?|/)(?:pass(?:word|wd)?|pwd|secret|api-?key|token)\s{1,3}[\"']?)[^\s\"'&;,]{2,}",
    r"(?i)((?:authorization:\s{0,3})?\b(?:bearer|basic)\s{1,3})[A-Za-z0-9._~+/=-]{8,}",
    r"((?:[a-z][a-z0-9+.-]{1,20})://)[^\s/@:]{1,64}:[^\s/@]{1,128}@",
    r"()\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}",
    r"()\bAKIA[0-9A-Z]{16}\b",
    r"(\s-[ks]\s{1,3})[A-Za-z0-9+/]{40,}={1,2}",
)
SECRETS = tuple(map(spelt, _SECRETS))
"""Passwords and tokens, with what stands before them."""
SIGNS_OF_SECRETS = ["pass", "pwd", "secret", "api", "access", "token", "bearer", "basic", "://", "eyj", "akia", " -k ", " -s "]
_HOMES = spelt(r"(?i)(?:[\\/](?:users|home|profiles|documents and settings)[\\/]{1,2}[^\\/\"'<>|:*?;,&=()\s]{1,64})")
_SPACED_HOMES = spelt(r"(?i)(?:[\\/](?:users|documents and settings)[\\/]{1,2}[^\\/\"'<>|:*?;,&=()\t\r\n]{1,64}[\\/])")
_SAID = spelt(
    r"(?i)(?:\b(?:user|username|user_name|acct|account|login|ruser|logname|for invalid user|invalid user|session opened for user|"
    r"session closed for user)[\"']?(?:\s{0,2}[=:][\"']?[^\s\"',;&|<>()=:]{2,64}|(?:\s{0,2}[=:]\s{1,2}|\s)[\"']?[^\s\"',;&|<>()=:]{2,64}=?))"
)
_LOGON = spelt(r"(?i)(?:\b(?:accepted|failed) \S{1,30} for (?:invalid user )?\S{1,64} from )")
_SHARE = r"(?:^|[^A-Za-z0-9_.:)$%~\u00c0-\u024f-]|[A-Za-z]{2}:)\\\\[A-Za-z0-9._-]{2,255}\\"
_REMOTE = spelt(
    r"(?i)(?:(?:/v:|(?:/node|/s|/server|-computername|--host|--hostname|--server)[:=\s])\s{0,2}[\"']?[A-Za-z][A-Za-z0-9._-]{2,255})"
)
_PEER = spelt(r"(?i)(?:(?:\brhost=|\bkrbtgt/|\bgetaddrinfo for |\bconnection from \S{1,64} \()[A-Za-z0-9][A-Za-z0-9._-]{2,252})")
_BEFORE, _NO_END = r"""(?:^|[\s"'=:,;(<>|])""", r"[A-Za-z0-9_({\[$/*+#%^-]?"
"""What may stand before a principal in a text; and what, where it follows the sign of a machine's account, shows that it is none."""
_CLASS, _WORD_CLASS = ("(?:" + "|".join(map(re.escape, names)) + ")" for names in (CLASSES, SPOKEN))
_SERVICE = spelt(rf"(?i){_BEFORE}{_CLASS}/[A-Za-z0-9][A-Za-z0-9._-]{{1,252}}")
_WORD_SERVICE = spelt(rf"(?i){_BEFORE}{_WORD_CLASS}/[A-Za-z0-9][A-Za-z0-9._-]{{1,252}}")
_WHOLE_SERVICE = spelt(rf"(?i)^{_WORD_CLASS}/[A-Za-z0-9][A-Za-z0-9._-]{{1,252}}(?:[:/@][A-Za-z0-9.:/@_-]{{1,300}})?\z")
_WHOLE_ACCOUNT = r"^[A-Za-z0-9][A-Za-z0-9_.-]{1,62}\$\z"
_LOUD_ACCOUNT = spelt(rf"{_BEFORE}[A-Z0-9][A-Z0-9-]{{2,18}}\${_NO_END}")
_DOMAIN_ACCOUNT = rf"(?:^|[^\\/A-Za-z0-9._-])[A-Za-z0-9.-]{{2,63}}\\[A-Za-z0-9][A-Za-z0-9._-]{{1,62}}\${_NO_END}"
_REALM_ACCOUNT = spelt(rf"{_BEFORE}[A-Za-z0-9][A-Za-z0-9_.-]{{1,62}}\$@[A-Za-z0-9][A-Za-z0-9._-]{{1,252}}")
_SOURCES = (".c", ".conf", ".css", ".go", ".h", ".html", ".java", ".js", ".json", ".md", ".php", ".pl", ".py", ".rb", ".rs", ".sh", ".yaml", ".yml")
FILES = (".bat", ".cmd", ".cpl", ".dll", ".exe", ".inf", ".msi", ".ocx", ".ps1", ".reg", ".sct", ".txt", ".vbs", ".xml")
"""What follows «/s» and ends so is a file that is run silently, and no machine."""
ACCOUNT = r"[A-Za-z0-9.-]{2,63}\\[A-Za-z0-9._$-]{2,64}"
_AFTER = re.compile(spelt(r"[\s=:\"']+"))
_WORDS = [f"{name}/" for name in SPOKEN]
_SLASHED = [slash + folder for slash in "/\\" for folder in ("users", "home", "profiles", "documents and settings")]
def _full_name(found: str) -> str:
    """The host of ``class/host`` with at least three labels."""
    name = found.rpartition("/")[2]
    return name if name.count(".") > 1 and not name.lower().endswith((*FILES, *_SOURCES)) and _named(name) else ""


def _loud_name(found: str) -> str:
    """The host of ``class/host``; without dots it must have no small letter."""
    name = found.rpartition("/")[2]
    return name if ("." in name or name.upper() == name) and not name.lower().endswith(_SOURCES) and _named(name) else ""


def _whole_name(found: str) -> str:
    name = re.split(r"[:/@]", found, maxsplit=2)[1]
    return name if _named(name) else ""


def _account(found: str) -> str:
    """The machine of ``NAME$``, whatever stands before it."""
    name = re.split(r"[\s\"'=:,;(<>|\\]", found)[-1]
    return name[:-1] if name.endswith("$") and name.lower() not in SHARES and _named(name[:-1]) else ""


def _domain_of_account(found: str) -> str:
    return re.split(r"[^A-Za-z0-9.-]", found.rpartition("\\")[0])[-1] if _account(found) else ""


def _named(name: str) -> bool:
    return any(map(str.isalpha, name)) and name.lower() not in PROTOCOLS


Announced = tuple[tuple[str, list[str], Callable[[str], str]], ...]
"""Where texts say that a name follows: pattern, signs that it may match, and how the name is read."""
PEOPLE: Announced = (
    (_HOMES, _SLASHED, lambda found: re.split(r"[\\/]+", found)[-1]),
    (_SPACED_HOMES, _SLASHED, lambda found: re.split(r"[\\/]+", found.rstrip("\\/"))[-1]),
    (_SAID, ["user", "acct", "account", "login", "logname"], lambda found: _AFTER.split(found)[-1]),
    (_LOGON, ["accepted ", "failed "], lambda found: found.split()[-2]),
)
MACHINES: Announced = (
    (_SHARE, ["\\\\"], lambda found: found.rstrip("\\").rpartition("\\")[2]),
    (_REMOTE, ["/node", "/v", "/s", "computername", "host", "server"], lambda found: _AFTER.split(found)[-1]),
    (_WORD_SERVICE, _WORDS, _loud_name),
    (_WHOLE_SERVICE, _WORDS, _whole_name),
    (_WHOLE_ACCOUNT, ["$"], _account),
    (_LOUD_ACCOUNT, ["$"], _account),
    (_DOMAIN_ACCOUNT, ["$"], _account),
    (_DOMAIN_ACCOUNT, ["$"], _domain_of_account),
    (_REALM_ACCOUNT, ["$@"], lambda found: _account(found.partition("@")[0])),
)
PEERS: Announced = (
    (_PEER, ["rhost=", "krbtgt/", "getaddrinfo for ", "connection from "], lambda found: re.split(r"[=(/ ]", found)[-1]),
    (_SERVICE, [f"{name}/" for name in CLASSES], lambda found: name if _named(name := found.rpartition("/")[2]) else ""),
    (_WORD_SERVICE, _WORDS, _full_name),
    (_REALM_ACCOUNT, ["$@"], lambda found: found.rpartition("@")[2]),
)
"""The same for machines that a text says are one, whatever they are called."""
_SPOKEN = frozenset(
    words("for, from, is, was, has, not, the, and, with, logged, authentication, unknown, name, to, in, on, of, session, by, at, id, opened, closed")
)

IPV4 = re.compile(spelt(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\d|\.\d)"))
FORMS = re.compile(spelt(
    r"(?P<email>[A-Za-z0-9._%+\-\u0080-\U0010ffff]{1,64}@[A-Za-z0-9.\-\u0080-\U0010ffff]{1,253})"
    r"|(?P<four>(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\d|\.\d))"
    r"|(?P<mac>(?<![0-9A-Fa-f:-])[0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}"
    r"(?![0-9A-Fa-f:-]))"
    r"|(?P<cisco>(?<![0-9A-Za-z.])[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}(?![0-9A-Za-z.]))"
    r"|(?P<sid>[Ss]-1-(?:5-21|12-1)(?:-\d{1,10}){3,5})"
    r"|(?P<six>::ffff:\d{1,3}(?:\.\d{1,3}){3}|(?<![0-9A-Za-z])[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]{0,64}:[0-9A-Fa-f]{0,4}(?![0-9A-Za-z]))"
    r"|(?P<card>(?<![0-9A-Za-z-])\d{4}-?\d{4}-?\d{4}-?\d{1,7}(?![0-9A-Za-z-]))"
    r"|(?P<host>(?<![A-Za-z0-9_.-])[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})+)"
))
"""Everything that is recognised by how it is written, in one pass."""
FORM = re.compile(spelt(
    r"[@%]|[A-Za-z0-9]\.[A-Za-z]|[0-9A-Fa-f][:-][0-9A-Fa-f]{2}[:-]|:.*:|\d\.\d|[0-9a-fA-F]{4}\.[0-9a-fA-F]{4}|[sS]-1-|\d{12}|\d{4}-\d{4}-"
))
"""What a token must hold to be recognised by how it is written."""


def free(low: str) -> bool:
    """Whether a word that stands where a name is expected may be one."""
    if not low or low in COMMON or low in _SPOKEN or low in SHARES or low.isdigit() or "%" in low or "*" in low:
        return False
    return WRITTEN.match(low) is None and IPV4.fullmatch(low) is None


def announced(column: Any, kinds: Announced) -> Iterator[str]:
    """What the texts of a column say is a name."""
    for pattern, signs, read in kinds:
        some = column.filter(column.str.contains_any(signs, ascii_case_insensitive=True))
        yield from map(read, extracted(some, pattern) if len(some) else ())


def announced_in(texts: Sequence[str], lowered: Sequence[str], kinds: Announced) -> Iterator[str]:
    """The same for a few texts, which are given in lower case too."""
    for pattern, signs, read in kinds:
        form = compiled(pattern)
        for text, low in zip(texts, lowered, strict=True):
            if any(map(low.__contains__, signs)):
                yield from map(read, form.findall(text))


def extracted(column: Any, pattern: str) -> Sequence[str]:
    """All different matches of a pattern in a column."""
    found: list[str] = column.str.extract_all(pattern).explode(empty_as_null=False).drop_nulls().unique(maintain_order=True).to_list()
    return found
