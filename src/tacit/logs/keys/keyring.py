"""The keys of one tenant's pseudonyms: an epoch each, with an overlap after every rotation.

A pseudonym carries its epoch, so that it is known later which key made it. Everything else is derived from the epoch's master by HKDF (RFC 5869),
bound to tenant, epoch and purpose: two tenants, two epochs and two purposes have nothing in common.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

from tacit.errors import ConfigError, StorageError, UsageError
from tacit.replacing import replacing

ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"
"""What an epoch's two characters are made of: none that looks like another."""

_VERSION = 1
_MASTER = 32
_LARGEST = 1 << 20
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class EpochKey:
    """The key of one epoch. It never shows itself: not in ``repr``, not through pickle.

    >>> key = EpochKey.for_tests()
    >>> key, len(key.secret("address")), key.secret("address") == key.secret("pseudonym/user")
    (EpochKey(k7), 32, False)
    """

    __slots__ = ("_master", "_tenant", "id")

    def __init__(self, identifier: str, master: bytes, *, tenant: str) -> None:
        self.id = identifier
        self._master, self._tenant = master, tenant

    @classmethod
    def for_tests(cls) -> EpochKey:
        """A key that everybody knows, for tests and examples; it protects nothing."""
        return cls("k7", bytes(range(_MASTER)), tenant="tests")

    def secret(self, purpose: str) -> bytes:
        """32 bytes for one purpose."""
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        info = b"\0".join(part.encode() for part in ("tacit.logs", self._tenant, self.id, purpose))
        return HKDF(SHA256(), 32, salt=None, info=info).derive(self._master)

    def __reduce__(self) -> NoReturn:
        raise UsageError("A key was to be copied or pickled. Expected it to stay where it is; pass the path of its keyring instead")

    def __repr__(self) -> str:
        return f"EpochKey({self.id})"


@dataclass(frozen=True)
class Epoch:
    """When a key was in use; ``destroyed`` keys cannot be used again."""

    id: str
    begun: datetime
    overlap: timedelta
    """How long after its beginning the key before it is still attached."""
    destroyed: bool = False


class Keyring:
    """The epochs of one tenant, in a file that nobody else can read.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> ring = Keyring.create(folder / "keys.json", tenant="acme")
    >>> first = ring.active().id
    >>> ring.rotate(overlap=timedelta(days=2)) != first, ring.prior().id == first
    (True, True)
    """

    def __init__(self, path: Path, *, tenant: str, epochs: tuple[Epoch, ...], masters: dict[str, bytes]) -> None:
        self._path, self.tenant, self.epochs, self._masters = path, tenant, epochs, masters

    def __repr__(self) -> str:
        return f"Keyring({self.tenant}, {len(self.epochs)} epochs)"

    @classmethod
    def create(cls, path: str | Path, *, tenant: str, now: datetime | None = None) -> Keyring:
        """A new keyring with one epoch; an existing file is never replaced.

        Raises:
            UsageError: the file exists, or the tenant's name is no name.
            StorageError: it cannot be written.
        """
        target = Path(path)
        if not tenant or len(tenant) > 80 or not set(tenant) <= _NAME:
            raise UsageError("Expected the tenant's name as up to 80 letters, digits, «.», «_», «-».")
        if target.exists():
            raise UsageError(f"The keyring {target} exists. Expected a new name; add an epoch to the old one with: tacit logs keys rotate")
        ring = cls(target, tenant=tenant, epochs=(), masters={})
        ring._add(_now(now), timedelta())
        ring._save()
        return ring

    @classmethod
    def open(cls, path: str | Path) -> Keyring:
        """Read a keyring.

        Raises:
            UsageError: others may read it.
            ConfigError: it is no keyring.
            StorageError: it cannot be read.
        """
        target = Path(path)
        try:
            with target.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read(_LARGEST)
        except OSError as error:
            raise StorageError(f"Cannot read the keyring {target}: {error.strerror}. Make one with: tacit logs keys init --keys {target}") from error
        if os.name == "posix" and mode & 0o077:
            raise UsageError(f"Others may read the keyring {target} (mode {mode & 0o777:04o}). Expected 0600; run: chmod 600 {target}")
        try:
            return cls._read(target, json.loads(content))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ConfigError(f"Expected a keyring of version {_VERSION} in {target}; the file is damaged or something else.") from None

    @classmethod
    def _read(cls, path: Path, data: dict[str, Any]) -> Keyring:
        if data["version"] != _VERSION:
            raise ValueError
        epochs = tuple(
            Epoch(entry["id"], datetime.fromisoformat(entry["begun"]), timedelta(seconds=entry["overlap"]), entry["master"] is None)
            for entry in data["epochs"]
        )
        masters = {entry["id"]: bytes.fromhex(entry["master"]) for entry in data["epochs"] if entry["master"] is not None}
        if not epochs or any(len(master) != _MASTER for master in masters.values()) or len({epoch.id for epoch in epochs}) != len(epochs):
            raise ValueError
        return cls(path, tenant=data["tenant"], epochs=epochs, masters=masters)

    def epoch(self, identifier: str) -> EpochKey:
        """The key of an epoch.

        Raises:
            UsageError: there is none of that name, or it was destroyed.
        """
        if identifier not in self._masters:
            gone = any(epoch.id == identifier for epoch in self.epochs)
            what = "was destroyed" if gone else "is not in this keyring"
            raise UsageError(f"The key of epoch «{identifier}» {what}; it holds {', '.join(self._masters)}.")
        return EpochKey(identifier, self._masters[identifier], tenant=self.tenant)

    def active(self) -> EpochKey:
        """The newest key.

        Raises:
            UsageError: it was destroyed.
        """
        return self.epoch(self.epochs[-1].id)

    def prior(self, now: datetime | None = None) -> EpochKey | None:
        """The key before the newest while the overlap lasts, so that events can carry both pseudonyms; else ``None``."""
        newest = self.epochs[-1]
        if len(self.epochs) < 2 or self.epochs[-2].destroyed or _now(now) >= newest.begun + newest.overlap:
            return None
        return self.epoch(self.epochs[-2].id)

    def rotate(self, *, overlap: timedelta, now: datetime | None = None) -> str:
        """Begin a new epoch, and return its name.

        Raises:
            UsageError: the clock stands before the last rotation, the overlap is negative, or somebody else is rotating.
        """
        if overlap < timedelta():
            raise UsageError("Expected an overlap of no less than nothing.")
        with self._alone():
            moment = _now(now)
            if moment < self.epochs[-1].begun:
                raise UsageError(f"The clock says {moment:%Y-%m-%d %H:%M}, before the last rotation. Expected it to go forward; set it right first.")
            self._add(moment, overlap)
            self._save()
        return self.epochs[-1].id

    def destroy(self, identifier: str) -> None:
        """Take the key of an epoch out of the file for good: its pseudonyms can no longer be recomputed with this file.

        Copies in backups, snapshots and worn cells of a solid-state disk are not reached from here; whoever needs the key to be gone deletes those
        too.

        Raises:
            UsageError: there is no such key, or it is the newest.
        """
        with self._alone():
            self.epoch(identifier)
            if identifier == self.epochs[-1].id:
                raise UsageError(f"Epoch «{identifier}» is in use. Expected an earlier one; rotate first: tacit logs keys rotate")
            del self._masters[identifier]
            self.epochs = tuple(replace(epoch, destroyed=epoch.destroyed or epoch.id == identifier) for epoch in self.epochs)
            self._save()

    def _add(self, moment: datetime, overlap: timedelta) -> None:
        taken = {epoch.id for epoch in self.epochs}
        if len(taken) >= len(ALPHABET) ** 2 // 2:
            raise UsageError("This keyring has had too many epochs; make a new one: tacit logs keys init")
        identifier = next(name for name in iter(_identifier, "") if name not in taken)
        self._masters[identifier] = secrets.token_bytes(_MASTER)
        self.epochs = (*self.epochs, Epoch(identifier, moment, overlap))

    def _save(self) -> None:
        epochs = [
            {
                "id": epoch.id, "begun": epoch.begun.isoformat(), "overlap": epoch.overlap.total_seconds(),
                "master": None if epoch.destroyed else self._masters[epoch.id].hex(),
            }
            for epoch in self.epochs
        ]
        with replacing(self._path) as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(json.dumps({"version": _VERSION, "tenant": self.tenant, "epochs": epochs}, indent=1).encode())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else changes the file meanwhile, and it still holds what was read."""
        try:
            with self._path.with_name(f".{self._path.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fresh = Keyring.open(self._path)
                self.epochs, self._masters = fresh.epochs, fresh._masters
                yield
        except BlockingIOError:
            raise UsageError(f"Somebody else is changing the keyring {self._path}. Expected to be alone; try again.") from None


def collision_chance(distinct: int) -> float:
    """How likely any two of so many different values share a pseudonym of 80 bits (birthday bound).

    >>> f"{collision_chance(10**9):.0e}"
    '4e-07'
    """
    return -math.expm1(-distinct * (distinct - 1) / 2 / 2**80)


def _identifier() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(2))


def _now(now: datetime | None) -> datetime:
    return datetime.now(UTC) if now is None else now
