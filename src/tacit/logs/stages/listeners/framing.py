"""Bytes of a connection cut into records: syslog over TCP (RFC 6587) and RELP. No I/O, bounded memory, nothing hostile is collected."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from tacit.errors import TacitError

_OCTETS = re.compile(rb"[1-9][0-9]{0,8} ")
_DIGITS = re.compile(rb"[0-9]+")
_MOST_DIGITS = 9
_HEAD = re.compile(rb"([0-9]{1,9}) ([A-Za-z]{1,32}) ([0-9]{1,9})([ \n])")
_LONGEST_HEAD = 9 + 1 + 32 + 1 + 9 + 1
_LONGEST_OPEN = 64 << 10


class Malformed(TacitError):
    """What came is not of the protocol, and nobody can say where it would go on. The connection is to be closed."""


@dataclass(frozen=True)
class Item:
    """One thing that a sender said.

    Args:
        line: a record, or nothing.
        number: of the transaction that is to be answered, where the protocol has one.
        reply: what to answer when everything before is answered, for things that are no record.
        last: whether the connection ends with it.
    """

    line: bytes | None = None
    number: int = 0
    reply: bytes = b""
    last: bool = False


class Dialect(Protocol):
    """A protocol over a connection."""

    acknowledges: bool

    def feed(self, data: bytes) -> Iterator[Item]:
        """What is complete with these bytes.

        Raises:
            Malformed: after everything that was complete before.
        """

    def end(self) -> Iterator[Item]:
        """What the end of the connection completes."""

    @property
    def waiting(self) -> bool:
        """Whether something has begun and is not complete."""

    def answer(self, item: Item, refused: str | None) -> bytes:
        """What to answer to a record that is durable, or refused for this reason."""


class SyslogStream:
    """Syslog over TCP: octet counting or one record per line, whichever the connection begins with (RFC 6587, section 3.4).

    >>> [item.line for item in SyslogStream().feed(b"5 <1>ab6 <1>abc")]
    [b'<1>ab', b'<1>abc']
    >>> [item.line for item in SyslogStream().feed(b"<1>ab" + bytes([10]) + b"<1>abc")]
    [b'<1>ab']

    A record of more than ``longest`` bytes is given as its first ``longest + 1``; the rest is passed over and never held.
    """

    acknowledges = False

    def __init__(self, longest: int = 1 << 20) -> None:
        self._longest = longest
        self._held = bytearray()
        self._counted: bool | None = None
        self._left = 0
        self._cut = False

    @property
    def waiting(self) -> bool:
        """See `Dialect`."""
        return bool(self._held) or self._left > 0 or self._cut

    def feed(self, data: bytes) -> Iterator[Item]:
        """See `Dialect`."""
        if self._counted is None:
            self._held += data
            self._counted = _is_counted(self._held)
            if self._counted is None:
                return
            data = bytes(self._held)
            self._held.clear()
        for line in self._octets(data) if self._counted else self._lines(data):
            if line := line.rstrip(b"\r\n"):
                yield Item(line)

    def end(self) -> Iterator[Item]:
        """See `Dialect`: a last line needs no newline; a counted record that is too short is not given."""
        if self._held and not self._counted and (line := bytes(self._held).rstrip(b"\r\n")):
            self._held.clear()
            yield Item(line)

    def answer(self, item: Item, refused: str | None) -> bytes:
        """See `Dialect`: this protocol knows no answer."""
        return b""

    def _lines(self, data: bytes) -> Iterator[bytes]:
        pieces = data.split(b"\n")
        last = pieces.pop()
        for piece in pieces:
            if self._cut:
                self._cut = False
            else:
                yield (bytes(self._held) + piece)[: self._longest + 1]
            self._held.clear()
        if not self._cut:
            self._held += last
            if len(self._held) > self._longest:
                yield bytes(self._held[: self._longest + 1])
                self._held.clear()
                self._cut = True

    def _octets(self, data: bytes) -> Iterator[bytes]:
        place = 0
        while place < len(data):
            if not self._left:
                place = self._length(data, place)
                continue
            piece = data[place : place + self._left]
            place += len(piece)
            self._left -= len(piece)
            self._held += piece[: self._longest + 1 - len(self._held)]
            if not self._left:
                yield bytes(self._held)
                self._held.clear()

    def _length(self, data: bytes, place: int) -> int:
        """Read on in the count of a record; returns where its content begins, or the end of the data."""
        if not self._held and data[place] in b"\r\n":
            return place + 1
        end = data.find(b" ", place, place + _MOST_DIGITS + 1)
        stop = end if end >= 0 else min(len(data), place + _MOST_DIGITS + 1)
        self._held += data[place:stop]
        if not _DIGITS.fullmatch(self._held or b"0") or len(self._held) > _MOST_DIGITS:
            raise Malformed("a count of octets that is none")
        if end < 0:
            return stop
        self._left = int(self._held or b"0")
        self._held.clear()
        if not self._left:
            raise Malformed("a count of octets that is none")
        return end + 1


class RelpStream:
    """RELP, version 0: the server's side of a session.

    A record is answered with ``200 OK`` when it is durable, with ``500`` when it was put aside in the dead letters.
    """

    acknowledges = True

    def __init__(self, longest: int = 1 << 20) -> None:
        self._longest = longest
        self._head = bytearray()
        self._held = bytearray()
        self._frame: tuple[int, bytes, int] | None = None
        self._left = 0
        self._open = False
        self._closed = False

    @property
    def waiting(self) -> bool:
        """See `Dialect`; a session that was never opened is waiting too."""
        return bool(self._head) or self._frame is not None or not self._open

    def feed(self, data: bytes) -> Iterator[Item]:
        """See `Dialect`."""
        place = 0
        while place < len(data) and not self._closed:
            if self._frame is None:
                place = self._header(data, place)
                continue
            piece = data[place : place + self._left]
            place += len(piece)
            self._left -= len(piece)
            self._held += piece[: max(0, self._longest + 1 - len(self._held))]
            if self._left == 0:
                yield from self._complete()

    def end(self) -> Iterator[Item]:
        """See `Dialect`: what is not complete was never acknowledged and is sent again."""
        return iter(())

    def answer(self, item: Item, refused: str | None) -> bytes:
        """See `Dialect`."""
        return _response(item.number, b"200 OK" if refused is None else b"500 refused: " + refused.encode("ascii", "replace")[:200])

    def _header(self, data: bytes, place: int) -> int:
        """Read on in the header of a frame; returns where its content begins, or the end of the data."""
        piece = data[place : place + _LONGEST_HEAD - len(self._head)]
        before = len(self._head)
        self._head += piece
        found = _HEAD.match(self._head)
        if found is None:
            if len(self._head) >= _LONGEST_HEAD or self._head.count(b" ") > 2 or b"\n" in self._head:
                raise Malformed("a header that RELP does not know")
            return place + len(piece)
        number, command, length = int(found[1]), found[2].lower(), int(found[3])
        if found[4] == b"\n" and length:
            raise Malformed("a header that RELP does not know")
        if command != b"syslog" and length > _LONGEST_OPEN:
            raise Malformed("a command that is too long")
        self._frame = number, command, length
        # What ends the header is the space before the data or, where there are none, the newline that ends the frame.
        end = found.end() - (1 if found[4] == b"\n" else 0)
        self._left = length + 1
        self._head.clear()
        return place + end - before

    def _complete(self) -> Iterator[Item]:
        number, command, length = self._frame or (0, b"", 0)
        content = bytes(self._held)
        self._frame = None
        self._held.clear()
        if length <= self._longest:
            if content[-1:] != b"\n":
                raise Malformed("a frame that does not end where it says")
            content = content[:-1]
        if command == b"open" and not self._open:
            self._open = True
            yield Item(number=number, reply=_opened(number, content))
        elif command == b"syslog" and self._open:
            yield Item(content.rstrip(b"\r\n"), number)
        elif command == b"close" and self._open:
            self._closed = True
            yield Item(number=number, reply=_response(number, b"") + b"0 serverclose 0\n", last=True)
        else:
            raise Malformed("a command that is not expected here")


def _is_counted(held: bytearray) -> bool | None:
    """Whether a connection that begins so counts octets; nothing while that is open."""
    if _OCTETS.match(held):
        return True
    if len(held) > _MOST_DIGITS and held[: _MOST_DIGITS + 1].isdigit() and held[:1] != b"0":
        raise Malformed("a count of octets that is none")
    return None if not held or (held.isdigit() and held[:1] != b"0") else False


def _opened(number: int, offers: bytes) -> bytes:
    named = dict(line.partition(b"=")[::2] for line in offers.split(b"\n") if line)
    if named.get(b"relp_version", b"0").strip() not in (b"0", b"1"):
        raise Malformed("a version that is not spoken here")
    commands = named.get(b"commands", b"syslog").replace(b" ", b"").split(b",")
    if b"syslog" not in commands:
        raise Malformed("a sender that does not offer syslog")
    return _response(number, b"200 OK\nrelp_version=0\nrelp_software=tacit\ncommands=syslog")


def _response(number: int, content: bytes) -> bytes:
    return b"%d rsp %d%s\n" % (number, len(content), b" " + content if content else b"")
