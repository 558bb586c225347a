"""One share of a secret, and the form of it that a person can print, keep in a safe and type again."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from tacit.crypto.digests import digest
from tacit.crypto.key_files import create_key_file, read_key_file
from tacit.errors import UsageError, VerificationError

SET_BYTES = 8
_VERSION = 1
_CHECKSUM = 4
_HEAD = 1 + SET_BYTES + 2
_RFC4648, _SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_WRITE, _READ = str.maketrans(_RFC4648, _SIGNS), str.maketrans(_SIGNS, _RFC4648)
_MISREAD = str.maketrans("OIL", "011", " \t\r\n-")
_GROUP, _GROUPS, _CHECK = 4, 5, 2
_ROW = _GROUP * _GROUPS - _CHECK
_LONGEST_TEXT = 1 << 18


@dataclass(frozen=True, slots=True)
class Share:
    """One of several shares of a secret; `split_secret` makes them, `combine_shares` puts them together. It never shows its value.

    Args:
        set_id: 8 random bytes, the same for all shares that were made together.
        threshold: how many of them give the secret.
        index: which one this is, from 1.
        value: what must stay with its holder.
    """

    set_id: bytes
    threshold: int
    index: int
    value: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.set_id) != SET_BYTES or not 2 <= self.threshold <= 255 or not 1 <= self.index <= 255:
            raise UsageError(f"Expected a share with a set of {SET_BYTES} bytes, a threshold from 2 and a number from 1; make one with split_secret")

    @property
    def text(self) -> str:
        """The share as rows of five groups of four signs: digits and capital letters without I, L, O and U (Crockford's base32).

        The last two signs of a row tell whether it was typed well, a checksum over all whether the rows belong together.
        """
        data = bytes([_VERSION]) + self.set_id + bytes([self.threshold, self.index]) + self.value
        signs = _signs(data + digest(data, domain="tacit.share")[:_CHECKSUM])
        rows = [signs[start : start + _ROW] for start in range(0, len(signs), _ROW)]
        return "\n".join(_grouped(row + _row_check(number, row)) for number, row in enumerate(rows))

    @classmethod
    def parse(cls, text: str) -> Share:
        """Read what `text` wrote, however it is spaced and in small letters too; lines that begin with ``#`` are left out.

        O is read as zero, I and L as one.

        Raises:
            VerificationError: with the row, if it was not typed as it was printed; or if the text is no share.
        """
        if len(text) > _LONGEST_TEXT:
            raise VerificationError("Expected a share, got something much longer; pass one share at a time")
        plain = "".join(line for line in text.splitlines() if not line.lstrip().startswith("#")).upper().translate(_MISREAD)
        wide = _ROW + _CHECK
        rows = [plain[start : start + wide] for start in range(0, len(plain), wide)]
        for number, row in enumerate(rows):
            if set(row) - set(_SIGNS) or row[-_CHECK:] != _row_check(number, row[:-_CHECK]):
                raise VerificationError(f"Row {number + 1} of the share was not typed as it was printed. Compare its {wide} signs with the paper")
        return cls._read("".join(row[:-_CHECK] for row in rows))

    @classmethod
    def _read(cls, signs: str) -> Share:
        try:
            data = base64.b32decode(signs.translate(_READ) + "=" * (-len(signs) % 8))
        except binascii.Error:
            data = b""
        content, checksum = data[:-_CHECKSUM], data[-_CHECKSUM:]
        if len(content) <= _HEAD or digest(content, domain="tacit.share")[:_CHECKSUM] != checksum or _signs(data) != signs:
            raise VerificationError("Expected a share as it was printed, every row of it, in order; rows are missing or belong to another share")
        if content[0] != _VERSION or content[_HEAD - 2] < 2 or content[_HEAD - 1] < 1:
            raise VerificationError(f"Expected a share of version {_VERSION}; use the version of Tacit that made it")
        return cls(content[1 : 1 + SET_BYTES], content[_HEAD - 2], content[_HEAD - 1], content[_HEAD:])

    def save(self, path: str | os.PathLike[str], *, note: str = "") -> None:
        """Write the share and a note about it, mode 0600, all or nothing; an existing file is never replaced.

        Raises:
            UsageError: the file exists.
            StorageError: it cannot be written.
        """
        head = [f"share {self.index} of a secret; {self.threshold} different shares of set {self.set_id.hex()} give it", *note.splitlines()]
        text = "".join(f"# {line}\n" for line in head) + self.text + "\n"
        create_key_file(Path(path), text.encode("utf-8"), mode=0o600)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Share:
        """Read a file that `save` wrote, or that somebody typed.

        Raises:
            StorageError: it cannot be read.
            UsageError: others may read it.
            VerificationError: it holds no share, or not as it was printed.
        """
        return cls.parse(read_key_file(Path(path), private=True).decode("utf-8", "replace"))

    def __reduce__(self) -> NoReturn:
        raise UsageError("A share was to be copied or pickled. Expected it to stay with its holder; pass the path of its file instead")


def _signs(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").rstrip("=").translate(_WRITE)


def _grouped(row: str) -> str:
    return " ".join(row[start : start + _GROUP] for start in range(0, len(row), _GROUP))


def _row_check(number: int, row: str) -> str:
    """Two signs, ten bits: a slip of the pen passes once in a thousand, and the checksum over all finds that."""
    value = int.from_bytes(hashlib.sha256(b"tacit.share.row/%d/" % number + row.encode("utf-8")).digest()[:2], "big")
    return _SIGNS[value >> 11] + _SIGNS[(value >> 6) & 31]
