"""Names of people and machines from a directory, for the commands that look for them in logs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tacit.errors import StorageError, UsageError

if TYPE_CHECKING:
    from tacit.logs.anonymise import Anonymiser

_KINDS = ("user", "email", "host")


def _read(path: Path) -> tuple[tuple[str, ...], Iterator[tuple[str, str]]]:
    """The kinds of names that a directory can hold, and each name with its kind, in order."""
    import csv

    try:
        rows = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise StorageError(f"Cannot read the directory {path}: {error.strerror}. Check the name.") from error
    except UnicodeDecodeError:
        raise UsageError(f"Expected the directory {path} as UTF-8 text.") from None
    heads = [head.strip().lower() for head in rows[0].split(",")] if rows else []
    kinds = _KINDS if set(heads) & set(_KINDS) else ("user",)
    records = csv.DictReader(rows[1:], fieldnames=heads) if kinds == _KINDS else ({"user": row} for row in rows)
    names = ((kind, (record.get(kind) or "").strip()) for record in records for kind in kinds)
    return kinds, ((kind, name) for kind, name in names if name)


def directory_of(path: Path) -> dict[str, set[str]]:
    """Names by kind: a user per line, or a CSV with columns that say what they are.

    Raises:
        StorageError: it cannot be read.
        UsageError: it is no text.
    """
    kinds, names = _read(path)
    found: dict[str, set[str]] = {kind: set() for kind in kinds}
    for kind, name in names:
        found[kind].add(name)
    return found


def know(anonymiser: Anonymiser, path: Path) -> None:
    """Enter the names of a directory into an anonymiser's dictionary; see `directory_of`."""
    for kind, name in _read(path)[1]:
        if kind == "host":
            anonymiser.know(hosts=[name])
        else:
            anonymiser.know(users=[name])
