"""Where a vault keeps its rows: one SQLite file, appended to, durable when a call returns."""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from tacit.errors import StorageError, UsageError

FORMAT = "1"
_WAIT_SECONDS = 30
_TABLES = (
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE batches (id INTEGER PRIMARY KEY, epoch TEXT NOT NULL, ephemeral BLOB NOT NULL)",
    "CREATE TABLE identities (pseudonym TEXT NOT NULL, mark BLOB NOT NULL, namespace TEXT NOT NULL, batch INTEGER NOT NULL REFERENCES batches, "
    "number INTEGER NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (pseudonym, mark)) WITHOUT ROWID",
    "CREATE TABLE purges (epoch TEXT PRIMARY KEY, identities INTEGER NOT NULL) WITHOUT ROWID",
)
_GUARDED = ("about", "batches", "identities", "purges")


class Row(NamedTuple):
    """One sealed identity and where it was sealed."""

    pseudonym: str
    mark: bytes
    namespace: str
    number: int
    sealed: bytes
    epoch: str
    ephemeral: bytes


class VaultStore:
    """The rows of one file. Every call has a connection of its own, so that threads and forked processes may share an instance."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, about: dict[str, str]) -> None:
        """Make the file and its tables unless they are there already; what is there stays as it is."""
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StorageError(f"Cannot write the vault {self.path}: {error.strerror}. Check the folder.") from error
        with self._connected() as connection:
            _use_write_ahead_log(connection)
        with self._writing() as connection:
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                return
            for statement in (*_TABLES, *(_guard(table, verb) for table in _GUARDED for verb in ("UPDATE", "DELETE"))):
                connection.execute(statement)
            connection.executemany("INSERT INTO about VALUES (?, ?)", {**about, "format": FORMAT, "id": secrets.token_hex(16)}.items())

    def about(self) -> dict[str, str]:
        """What was said when it was made.

        Raises:
            UsageError: there is no vault.
            StorageError: it cannot be read, or is something else.
        """
        if not self.path.exists():
            raise UsageError(f"Expected a vault at {self.path}; there is none. Name another; the pipeline makes it when it first seals an identity.")
        with self._reading() as connection:
            found = dict(connection.execute("SELECT name, value FROM about"))
        if found.get("format") != FORMAT:
            raise StorageError(f"vault {self.path}: expected format {FORMAT}. Use the version of Tacit that wrote it.")
        return found

    def append(self, epoch: str, ephemeral: bytes, rows: Iterable[tuple[str, bytes, str, int, bytes]]) -> int:
        """Add (pseudonym, mark, namespace, number, sealed), each unless it is there; returns how many were new."""
        with self._writing() as connection:
            if connection.execute("SELECT 1 FROM purges WHERE epoch = ?", (epoch,)).fetchone():
                raise UsageError(f"The identities of epoch «{epoch}» were purged from this vault. Expected a later epoch; restart with the new key.")
            batch = connection.execute("INSERT INTO batches (epoch, ephemeral) VALUES (?, ?)", (epoch, ephemeral)).lastrowid
            before = connection.total_changes
            connection.executemany(f"INSERT OR IGNORE INTO identities VALUES (?, ?, ?, {batch}, ?, ?)", rows)  # noqa: S608
            new = connection.total_changes - before
            if not new:
                connection.execute("ROLLBACK")
            return new

    def find(self, pseudonym: str, epoch: str | None) -> list[Row]:
        """All identities of a pseudonym, in one epoch or in all."""
        query = (
            "SELECT pseudonym, mark, namespace, number, sealed, epoch, ephemeral FROM identities JOIN batches ON batch = id "
            "WHERE pseudonym = ?1 AND (?2 IS NULL OR epoch = ?2) ORDER BY epoch, namespace, mark"
        )
        with self._reading() as connection:
            return [Row(*found) for found in connection.execute(query, (pseudonym, epoch))]

    def counts(self) -> dict[str, int]:
        """Identities by epoch."""
        with self._reading() as connection:
            return dict(connection.execute("SELECT epoch, count(*) FROM identities JOIN batches ON batch = id GROUP BY epoch ORDER BY epoch"))

    def purge(self, epoch: str) -> int:
        """Delete what belongs to an epoch, and accept nothing more for it; returns how many identities that were."""
        with self._writing() as connection:
            for table in ("batches", "identities"):
                connection.execute(f"DROP TRIGGER {_guard_name(table, 'DELETE')}")
            gone = connection.execute("DELETE FROM identities WHERE batch IN (SELECT id FROM batches WHERE epoch = ?)", (epoch,)).rowcount
            connection.execute("DELETE FROM batches WHERE epoch = ?", (epoch,))
            for table in ("batches", "identities"):
                connection.execute(_guard(table, "DELETE"))
            connection.execute("INSERT OR IGNORE INTO purges VALUES (?, ?)", (epoch, gone))
        with self._connected() as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return gone

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._connected() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other writer overlaps; durable when the block ends, undone if it raises."""
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                if connection.in_transaction:
                    connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            uri = f"{self.path.absolute().as_uri()}?mode=rw"
            with closing(sqlite3.connect(uri, uri=True, timeout=_WAIT_SECONDS, isolation_level=None)) as connection:
                for setting in ("synchronous=FULL", "secure_delete=ON", "trusted_schema=OFF"):
                    connection.execute(f"PRAGMA {setting}")
                yield connection
        except sqlite3.Error as error:
            raise _explained(error, self.path) from error


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch a new file once; SQLite waits for locks, but not for this one, which several processes want when they begin together."""
    limit = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchall()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > limit:
                raise
            time.sleep(0.005)


def _guard_name(table: str, verb: str) -> str:
    return f"{table}_no_{verb.lower()}"


def _guard(table: str, verb: str) -> str:
    return f"CREATE TRIGGER {_guard_name(table, verb)} BEFORE {verb} ON {table} BEGIN SELECT RAISE(ABORT, 'append-only'); END"


_MESSAGES = (
    ("not a database", "the file is something else. Name another file"),
    ("no such table", "the file is something else. Name another file"),
    ("malformed", "the file is damaged. Restore a backup"),
    ("locked", f"another process has held it for more than {_WAIT_SECONDS} s. Try again when that one has finished"),
    ("full", "the disk is full. Nothing was written; free some space and try again"),
    ("readonly", "it cannot be written. Check the rights of the file and its folder"),
    ("unable to open", "it cannot be opened. Check that the folder exists and can be written"),
    ("disk i/o", "the disk failed to read or write. Nothing was written; check the disk and try again"),
    ("append-only", "entries cannot be changed or deleted"),
)


def _explained(error: sqlite3.Error, path: Path) -> StorageError:
    text = str(error).lower()
    for part, message in _MESSAGES:
        if part in text:
            return StorageError(f"vault {path}: {message}.")
    return StorageError(f"vault {path}: the database refused ({type(error).__name__}). Check the file and its folder.")
