"""What a coordinator has asked and been told, on disk: one that was killed goes on where it was, and asks nothing twice in two ways.

A run is determined by its public name and the answers of the sites. Whoever runs it again with the same journal gets the old answers back, call by
call, and speaks to the sites only from the first call that was not finished; that call's requests are the same bytes as before, and a site answers
those with the bytes it sent before.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from tacit.errors import StorageError, UsageError
from tacit.federation.transports import Missing, Transport

_TABLES = """
CREATE TABLE IF NOT EXISTS calls (number INTEGER PRIMARY KEY, requests BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS replies (
    number INTEGER NOT NULL REFERENCES calls, site TEXT NOT NULL, data BLOB, reason TEXT, PRIMARY KEY (number, site)
) WITHOUT ROWID;
"""


class JournaledTransport:
    """A transport that remembers every finished call.

    The file holds what the coordinator has seen: masked vectors and shares, of which only sums can be opened. It is readable by its owner alone.

    Args:
        transport: what reaches the sites.
        path: the journal, one per run; made if it is not there.

    Raises:
        StorageError: if the file cannot be used.
    """

    def __init__(self, transport: Transport, path: Path) -> None:
        self._transport, self._path = transport, path
        self._number = 0
        self._stopped = False
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from error

    @property
    def sites(self) -> tuple[str, ...]:
        """The names of the sites."""
        return self._transport.sites

    @property
    def finished(self) -> int:
        """How many calls are in the journal."""
        return int(self._db.execute("SELECT count(*) FROM calls").fetchone()[0])

    def call(self, stage: str, messages: Mapping[str, bytes], *, timeout: float) -> dict[str, bytes | Missing]:
        """The answers of this call: out of the journal if it was finished before, else from the sites.

        After a call that was interrupted nothing more is sent, not even that the run is over: the sites keep what they need to go on.

        Raises:
            UsageError: if this call is not the one that the journal has in its place.
            StorageError: if the journal cannot be written; then the answers are not used.
        """
        if self._stopped:
            return {site: Missing("the coordinator was interrupted") for site in messages}
        requests, number = _digest(stage, messages), self._number
        self._number, self._stopped = self._number + 1, True
        replies = self._replies(number, requests, (stage, messages, timeout))
        self._stopped = False
        return replies

    def _replies(self, number: int, requests: bytes, asked: tuple[str, Mapping[str, bytes], float]) -> dict[str, bytes | Missing]:
        stage, messages, timeout = asked
        try:
            before = self._db.execute("SELECT requests FROM calls WHERE number = ?", (number,)).fetchone()
            if before is not None:
                return self._remembered(number, requests, bytes(before[0]))
            replies = self._transport.call(stage, messages, timeout=timeout)
            self._remember(number, requests, replies)
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return replies

    def _remembered(self, number: int, requests: bytes, before: bytes) -> dict[str, bytes | Missing]:
        if requests != before:
            raise UsageError(f"{self._path} is the journal of another run, or of other parameters: call {number} differs. Name another file.")
        rows = self._db.execute("SELECT site, data, reason FROM replies WHERE number = ?", (number,)).fetchall()
        return {site: Missing(reason) if data is None else bytes(data) for site, data, reason in rows}

    def _remember(self, number: int, requests: bytes, replies: Mapping[str, bytes | Missing]) -> None:
        rows = [
            (number, site, None, reply.reason) if isinstance(reply, Missing) else (number, site, reply, None) for site, reply in replies.items()
        ]
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute("INSERT INTO calls VALUES (?, ?)", (number, requests))
            self._db.executemany("INSERT INTO replies VALUES (?, ?, ?, ?)", rows)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _failed(self, error: Exception) -> StorageError:
        return StorageError(f"Cannot use the journal {self._path} ({type(error).__name__}). Check the folder and the disk, or name another file.")

    def close(self) -> None:
        """Close the journal and the transport."""
        self._db.close()
        self._transport.close()


def _digest(stage: str, messages: Mapping[str, bytes]) -> bytes:
    state = hashlib.sha256(b"tacit.journal\x00" + stage.encode())
    for site in sorted(messages):
        state.update(b"\x00" + site.encode() + b"\x00" + hashlib.sha256(messages[site]).digest())
    return state.digest()
