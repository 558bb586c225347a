"""Bodies of requests, unpacked and bounded: one by itself, and all that are held at once."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tacit.errors import TacitError

if TYPE_CHECKING:
    from starlette.requests import Request

_SECONDS = 60.0
LARGE = 1 << 18
"""Bytes beyond which a body is worked on beside the loop that serves everybody."""


class BodyError(TacitError):
    """A body cannot be taken; ``status`` is what HTTP calls it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Held:
    """The bytes of one request, counted together with those of all others until they are given back."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies, self.size = bodies, 0

    def grow(self, size: int) -> None:
        """Hold more.

        Raises:
            BodyError: there is no room: 413 for this request, 429 for all of them.
        """
        if self.size + size > self._bodies.most_body:
            raise BodyError(413, f"the body has more than {self._bodies.most_body:,} bytes; send less at once")
        if self._bodies.held + size > self._bodies.most_held:
            raise BodyError(429, "too many bodies at once; send this again later")
        self.size += size
        self._bodies.held += size


class Bodies:
    """What all requests hold at once.

    Args:
        most_body: bytes of a body, unpacked.
        most_held: bytes of all of them.
    """

    def __init__(self, *, most_body: int, most_held: int) -> None:
        self.most_body, self.most_held, self.held = most_body, most_held, 0

    @contextmanager
    def room(self) -> Iterator[Held]:
        """For one request."""
        held = Held(self)
        try:
            yield held
        finally:
            self.held -= held.size

    async def read(self, request: Request, held: Held) -> bytes:
        """The body, unpacked if it says it is packed by gzip or deflate.

        Raises:
            BodyError: it is too large, too slow, damaged, or packed otherwise; or the sender has gone.
        """
        from starlette.requests import ClientDisconnect

        packing = request.headers.get("content-encoding", "identity").strip().lower()
        if packing not in ("identity", "gzip", "x-gzip", "deflate"):
            raise BodyError(415, "the body is packed in a way that is not known here; use gzip")
        pieces = []
        try:
            async with asyncio.timeout(_SECONDS):
                async for piece in request.stream():
                    held.grow(len(piece))
                    pieces.append(piece)
        except TimeoutError:
            raise BodyError(408, f"the body took longer than {_SECONDS:.0f} seconds") from None
        except ClientDisconnect:
            raise BodyError(400, "the sender has gone") from None
        body = b"".join(pieces)
        if packing == "identity" or not body:
            return body
        if len(body) <= LARGE:
            return unpacked(body, held, gzip="gzip" in packing)
        return await asyncio.to_thread(unpacked, body, held, gzip="gzip" in packing)


def unpacked(body: bytes, held: Held, *, gzip: bool) -> bytes:
    """What a packed body holds, a piece at a time, so that a small body never becomes a large one unnoticed.

    Raises:
        BodyError: it is damaged, cut off, or too large when unpacked.
    """
    pieces: list[bytes] = []
    while body:
        unpacker = zlib.decompressobj(31 if gzip else 15)
        while not unpacker.eof:
            try:
                piece = unpacker.decompress(body, 1 << 20)
            except zlib.error:
                raise BodyError(400, "the packed body is damaged") from None
            body = unpacker.unconsumed_tail
            if not piece and not body and not unpacker.eof:
                raise BodyError(400, "the packed body is cut off")
            held.grow(len(piece))
            pieces.append(piece)
        body = unpacker.unused_data
    return b"".join(pieces)
