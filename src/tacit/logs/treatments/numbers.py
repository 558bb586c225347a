"""Identifiers that keep their form: hardware addresses, Windows security identifiers, numbers."""

from __future__ import annotations

import re

from tacit.logs.treatments.pseudonyms import Key, Note, Pseudonyms

_MAC = re.compile(r"([0-9A-Fa-f]{2})([:-]?)([0-9A-Fa-f]{2})\2([0-9A-Fa-f]{2})\2([0-9A-Fa-f]{2})\2([0-9A-Fa-f]{2})\2([0-9A-Fa-f]{2})")
_CISCO = re.compile(r"([0-9A-Fa-f]{4})\.([0-9A-Fa-f]{4})\.([0-9A-Fa-f]{4})")
_SID = re.compile(r"(?i)S-1-5-21-(\d{1,10}-\d{1,10}-\d{1,10})(?:-(\d{1,10}))?")
_AZURE_SID = re.compile(r"(?i)S-1-12-1-(\d{1,10}-\d{1,10}-\d{1,10}-\d{1,10})")
_BUILT_IN = 1_000


class Numbers:
    """Pseudonyms that look like what they stand for. They carry no epoch.

    >>> from tacit.logs.keys import EpochKey
    >>> numbers = Numbers(EpochKey.for_tests())
    >>> numbers.mac("00:50:56:ab:cd:ef")[:9], numbers.sid("S-1-5-18"), numbers.sid("S-1-5-21-1-2-3-500")[-4:]
    ('00:50:56:', 'S-1-5-18', '-500')
    """

    def __init__(self, key: Key, *, note: Note | None = None) -> None:
        self._note = note
        self._macs, self._sids = Pseudonyms(key, "mac", "m"), Pseudonyms(key, "sid", "s")
        self._ids, self._values = Pseudonyms(key, "id", "x", note=note), Pseudonyms(key, "number", "x")

    def identifier(self, value: str | int | float) -> str | int:
        """Of any other identifier: a whole number stays one (positive, 53 bits); everything else becomes a text."""
        if isinstance(value, int) and not isinstance(value, bool):
            return int(self._noted("number", str(value), str(self._values.number(str(value), 53))))
        return self._ids.of(str(value))

    def mac(self, text: str) -> str:
        """A hardware address: the vendor (first half) stays, as do broadcast and multicast; what is no such address becomes an identifier."""
        found = _MAC.fullmatch(text)
        cisco = None if found else _CISCO.fullmatch(text)
        if found is None and cisco is None:
            return text if text in ("", "-") else self._ids.of(text.lower())
        digits = re.sub(r"[^0-9a-f]", "", text.lower())
        if int(digits[:2], 16) & 1 or digits == "0" * 12:
            return text
        hidden = digits[:6] + f"{self._macs.number(digits, 24):06x}"
        if text.upper() == text:
            hidden = hidden.upper()
        if cisco:
            return self._noted("mac", text, ".".join(hidden[place : place + 4] for place in (0, 4, 8)))
        return self._noted("mac", text, (found.group(2) if found else "").join(hidden[place : place + 2] for place in range(0, 12, 2)))

    def sid(self, text: str) -> str:
        """A security identifier: well-known ones, and the relative ones of built-in accounts and groups, stay."""
        found = _SID.fullmatch(text)
        if found:
            relative = "" if found.group(2) is None else f"-{self._relative(text, found.group(2))}"
            return self._noted("sid", text, f"S-1-5-21-{self._authority(found.group(1), 3)}{relative}")
        azure = _AZURE_SID.fullmatch(text)
        if azure:
            return self._noted("sid", text, "S-1-12-1-" + self._authority(azure.group(1), 4))
        return text if re.fullmatch(r"(?i)S-1-\d+(-\d+){0,3}|-|", text) else self._ids.of(text.lower())

    def _noted(self, namespace: str, text: str, pseudonym: str) -> str:
        if self._note is not None and pseudonym != text:
            self._note(namespace, pseudonym, text)
        return pseudonym

    def _authority(self, text: str, parts: int) -> str:
        digest = self._sids.digest(text)
        return "-".join(str(int.from_bytes(digest[4 * place : 4 * place + 4], "big")) for place in range(parts))

    def _relative(self, text: str, relative: str) -> str:
        return relative if int(relative) < _BUILT_IN else str(_BUILT_IN + self._sids.number(text.upper(), 31))

