"""Where entries are kept: SQLite or PostgreSQL, appended under one lock, durable when a transaction returns."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool, StaticPool

from tacit.errors import LedgerCorrupted, MissingExtra, StorageError, UsageError
from tacit.guard.ledger_entry import Row

WAIT_SECONDS = 30
_PAGE = 500
_metadata = sa.MetaData()
_entries = sa.Table(
    "tacit_ledger", _metadata,
    sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("time", sa.String(32), nullable=False),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("dataset", sa.String(80), nullable=False),
    sa.Column("window", sa.String(32), nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("previous", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("signature", sa.LargeBinary, nullable=False),
    sa.Index("tacit_ledger_scope", "dataset", "window", "kind"),
)
_SQLITE_GUARDS = tuple(
    f"CREATE TRIGGER IF NOT EXISTS tacit_ledger_no_{verb.lower()} BEFORE {verb} ON tacit_ledger BEGIN SELECT RAISE(ABORT, 'append-only'); END"
    for verb in ("UPDATE", "DELETE")
)


_POSTGRES_GUARDS = (
    "CREATE OR REPLACE FUNCTION tacit_ledger_no_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''append-only''; END'",
    "DROP TRIGGER IF EXISTS tacit_ledger_no_change ON tacit_ledger",
    "CREATE TRIGGER tacit_ledger_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON tacit_ledger EXECUTE FUNCTION tacit_ledger_no_change()",
)


class Store:
    """Rows of one ledger. ``location`` is a path or a database URL; it appears in messages without its password."""

    def __init__(self, location: str | Path) -> None:
        self.url = _parse(location)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.name = self.url.database or "memory" if self.is_sqlite else self.url.render_as_string(hide_password=True)
        self._engine = _engine(self.url)

    @property
    def path(self) -> Path | None:
        """The database file, if it is one."""
        return Path(self.url.database) if self.is_sqlite and self.url.database else None

    def exists(self) -> bool:
        """Whether there is anything to read."""
        if self.path is not None and not self.path.exists():
            return False
        with self.reading() as connection:
            return sa.inspect(connection).has_table(_entries.name)

    def create(self, connection: Connection) -> None:
        """Create the table, which refuses changes; does nothing if it is there."""
        _metadata.create_all(connection)
        for statement in _SQLITE_GUARDS if self.is_sqlite else _POSTGRES_GUARDS:
            connection.exec_driver_sql(statement)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection; every statement sees what is committed by then."""
        with self._translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that no other writer overlaps; committed durably when the block ends, undone if it raises."""
        with self._translated(), self._engine.connect() as connection:
            # Read committed, whatever the server's default is: what is read after the lock must see what was committed before it.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if self.is_sqlite else "BEGIN ISOLATION LEVEL READ COMMITTED")
            try:
                if not self.is_sqlite:
                    self._lock(connection)
                yield connection
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                _rollback(connection)
                raise

    def _lock(self, connection: Connection) -> None:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(8387232510)")
        if sa.inspect(connection).has_table(_entries.name):
            connection.exec_driver_sql("LOCK TABLE tacit_ledger IN EXCLUSIVE MODE")

    def append(self, connection: Connection, row: Row) -> None:
        """Add one row inside a `writing` block."""
        connection.execute(_entries.insert().values({name: getattr(row, name) for name in row.__slots__}))

    def last(self, connection: Connection) -> Row | None:
        """The newest row."""
        found = connection.execute(sa.select(_entries).order_by(_entries.c.sequence.desc()).limit(1)).first()
        return None if found is None else _row(found)

    def digests(self, connection: Connection) -> list[tuple[int, str]]:
        """(sequence, digest) of every row, in order."""
        query = sa.select(_entries.c.sequence, _entries.c.digest).order_by(_entries.c.sequence)
        return [(int(sequence), str(digest)) for sequence, digest in connection.execute(query)]

    def rows(self, connection: Connection, equal: Mapping[str, str] = MappingProxyType({}), *, after: int | None = None) -> Iterator[Row]:
        """The rows whose columns equal these, in order, a page at a time."""
        while True:
            query = sa.select(_entries).order_by(_entries.c.sequence).limit(_PAGE)
            if after is not None:
                query = query.where(_entries.c.sequence > after)
            for column, value in equal.items():
                query = query.where(_entries.c[column] == value)
            page = connection.execute(query).all()
            for found in page:
                after = int(found.sequence)
                yield _row(found)
            if len(page) < _PAGE:
                return

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise _explain(error, self.name) from error


def _row(found: Any) -> Row:
    values = dict(found._mapping)
    for name in ("body", "signature"):
        if not isinstance(values[name], bytes):
            raise LedgerCorrupted(f"ledger entry {found.sequence}: {name} is not in the form Tacit writes.", sequence=int(found.sequence))
    return Row(**values)


def _rollback(connection: Connection) -> None:
    try:
        connection.exec_driver_sql("ROLLBACK")
    except DBAPIError:  # the transaction is gone already: a lost connection or a full disk has undone it
        connection.invalidate()


def _parse(location: str | Path) -> URL:
    if isinstance(location, Path) or "://" not in location:
        return URL.create("sqlite", database=str(location))
    try:
        url = make_url(location)
    except ArgumentError as error:
        raise UsageError("Expected a ledger as a file name or a URL such as postgresql://user@host/database.") from error
    if url.get_backend_name() == "sqlite":
        return url
    if url.get_backend_name() != "postgresql":
        raise UsageError(f"Expected a ledger on SQLite or PostgreSQL; got «{url.get_backend_name()}».")
    return url.set(drivername="postgresql+psycopg")


def _engine(url: URL) -> sa.Engine:
    if url.get_backend_name() == "sqlite":
        pool = NullPool if url.database else StaticPool
        arguments: dict[str, Any] = {"timeout": WAIT_SECONDS, "check_same_thread": False}
        engine = sa.create_engine(url, poolclass=pool, isolation_level="AUTOCOMMIT", connect_args=arguments)
        sa.event.listen(engine, "connect", _prepare_sqlite)
        return engine
    try:
        engine = sa.create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": WAIT_SECONDS})
    except (ImportError, NoSuchModuleError) as error:
        raise MissingExtra("postgres", purpose="A ledger on PostgreSQL") from error
    sa.event.listen(engine, "connect", _prepare_postgres)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Bytes that are no UTF-8 must reach the check of the entry that holds them, which says where they are.
    connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    cursor = connection.cursor()
    _use_write_ahead_log(cursor)
    for setting in ("synchronous=FULL", "trusted_schema=OFF"):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _use_write_ahead_log(cursor: sqlite3.Cursor) -> None:
    """Switch a new file once; SQLite waits for locks, but not for this one, which several processes want when they begin together."""
    limit = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > limit:
                raise
            time.sleep(0.005)


def _prepare_postgres(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("SET synchronous_commit = on")
    cursor.execute(f"SET lock_timeout = '{WAIT_SECONDS}s'")
    cursor.close()


_MESSAGES = (
    ("not a database", "it is not a ledger: the file is something else. Name another file"),
    ("locked", f"another process has held it for more than {WAIT_SECONDS} s. Try again when that one has finished"),
    ("lock timeout", f"another process has held it for more than {WAIT_SECONDS} s. Try again when that one has finished"),
    ("full", "the disk is full. Nothing was written; free some space and try again"),
    ("readonly", "it cannot be written. Check the permissions of the file and its folder"),
    ("unable to open", "it cannot be opened. Check that the folder exists and can be written"),
    ("disk i/o", "the disk failed to read or write (or a size limit was reached). Nothing was written; check the disk and try again"),
    ("append-only", "entries cannot be changed or deleted"),
    ("connection", "the database server cannot be reached. Check the URL and that the server runs"),
)


def _explain(error: DBAPIError, name: str) -> StorageError | LedgerCorrupted:
    text = str(error.orig).lower()
    if "malformed" in text or "corrupt" in text:
        return LedgerCorrupted(f"ledger {name}: the database file is damaged. Restore a backup, then `tacit ledger verify --head`.")
    for part, message in _MESSAGES:
        if part in text:
            return StorageError(f"ledger {name}: {message}.")
    return StorageError(f"ledger {name}: the database refused ({type(error.orig).__name__}). Check the URL, the rights and the server's log.")
