"""The keys of one tenant's pseudonyms: an epoch each, with an overlap after every rotation, in a file that nobody else can read.

A pseudonym carries its epoch, so that it is known later which key made it. Everything else is derived from the epoch's master (`EpochKey.secret`).
The file is canonical text (`tacit.crypto.canonical_bytes`) with a version and a digest of itself: a flipped bit is an error, not another pseudonym.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from pathlib import Path
from typing import Any

from tacit.crypto import SealedTo, canonical_bytes, from_canonical, hexdigest
from tacit.errors import ConfigError, StorageError, UsageError, VerificationError
from tacit.logs.keys.epochs import ALPHABET, MASTER_BYTES, Epoch, EpochKey
from tacit.logs.keys.locking import Lock, Passphrase, asked, require_lock
from tacit.replacing import replacing

_KIND, _VERSION = "tacit.logs.keyring", 1
_LARGEST = 1 << 20
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_EARLY = timedelta(minutes=5)
_FIELDS = {"kind", "version", "tenant", "reveal", "lock", "epochs"}


@dataclass
class _Content:
    """What a file holds."""

    tenant: str
    epochs: tuple[Epoch, ...]
    masters: dict[str, bytes]
    reveal: bytes | None
    lock: Lock | None


class Keyring:
    """The epochs of one tenant.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> ring = Keyring.create(folder / "keys.json", tenant="acme")
    >>> first = ring.active().id
    >>> ring.rotate(overlap=timedelta(days=2)) != first, ring.prior().id == first
    (True, True)

    ==========================================  ===================================================================================
    two processes rotate at once                one waits its turn or is told so; no key is lost
    the file changes while a pipeline runs      `refresh` reads it again
    the clock goes back before a rotation       the key of that time is used; a new rotation is refused
    the clock stands before the first epoch     refused, beyond five minutes
    the file was changed, cut or is another     `ConfigError`
    others may read the file                    `UsageError`
    ==========================================  ===================================================================================
    """

    def __init__(self, path: Path, content: _Content, seen: tuple[int, ...] = ()) -> None:
        self._path, self._content, self._seen = path, content, seen

    def __repr__(self) -> str:
        return f"Keyring({self.tenant}, {len(self.epochs)} epochs)"

    @classmethod
    def create(
        cls, path: str | Path, *, tenant: str, passphrase: str | None = None, reveal: SealedTo | None = None, now: datetime | None = None
    ) -> Keyring:
        """A new keyring with one epoch; an existing file is never replaced.

        Args:
            path: of the file; mode 0600.
            tenant: whose logs these are.
            passphrase: wraps the masters, if given.
            reveal: what identities are sealed to, if they shall be revealed at all.
            now: when the first epoch begins.

        Raises:
            UsageError: the file exists, the tenant's name is no name, or the passphrase is too short.
            StorageError: it cannot be written.
        """
        target = Path(path)
        if not tenant or len(tenant) > 80 or not set(tenant) <= _NAME:
            raise UsageError("Expected the tenant's name as up to 80 letters, digits, «.», «_», «-».")
        lock = None if passphrase is None else Lock.make(passphrase)
        ring = cls(target, _Content(tenant, (), {}, None if reveal is None else reveal.raw, lock))
        ring._add(_now(now), timedelta())
        with _locked(target):
            if target.exists():
                raise UsageError(f"The keyring {target} exists. Expected a new name; add an epoch to the old one with: tacit logs keys rotate")
            ring._save()
        return ring

    @classmethod
    def open(cls, path: str | Path, *, passphrase: Passphrase = None) -> Keyring:
        """Read a keyring.

        Args:
            path: of the file.
            passphrase: if the keyring is locked: the words, or what asks for them. Without, the variable TACIT_PASSPHRASE.

        Raises:
            UsageError: others may read it, or it is locked and no passphrase was given.
            VerificationError: the passphrase is wrong.
            ConfigError: it is no keyring, or damaged.
            StorageError: it cannot be read.
        """
        target = Path(path)
        content, seen = _read(target, passphrase, None)
        return cls(target, content, seen)

    def refresh(self) -> bool:
        """Read the file again if it has changed, and say whether it had: call it between batches, it costs one look at the folder.

        Raises:
            UsageError: others may read it.
            ConfigError: it is no longer a keyring of this tenant.
            StorageError: it cannot be read.
        """
        try:
            if _sight(self._path.stat()) == self._seen:
                return False
        except OSError as error:
            raise _unreadable(self._path, error) from error
        self._reread()
        return True

    @property
    def tenant(self) -> str:
        """Whose logs these are."""
        return self._content.tenant

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        """All epochs, the oldest first."""
        return self._content.epochs

    @property
    def locked(self) -> bool:
        """Whether a passphrase wraps the keys."""
        return self._content.lock is not None

    @property
    def reveal_key(self) -> SealedTo | None:
        """What identities are sealed to; without it nobody can ask who a pseudonym is."""
        return None if self._content.reveal is None else SealedTo.from_bytes(self._content.reveal)

    def epoch(self, identifier: str) -> EpochKey:
        """The key of an epoch.

        Raises:
            UsageError: there is none of that name, or it was destroyed.
        """
        masters = self._content.masters
        if identifier not in masters:
            gone = any(epoch.id == identifier for epoch in self.epochs)
            what = f"epoch «{identifier}» was destroyed" if gone else "this epoch is not in this keyring"
            raise UsageError(f"The key of {what}; it holds {', '.join(masters)}.")
        return EpochKey(identifier, masters[identifier], tenant=self.tenant)

    def active(self, now: datetime | None = None) -> EpochKey:
        """The key of this time: the newest that has begun.

        Raises:
            UsageError: the clock stands before the first epoch, or at one whose key was destroyed.
        """
        return self.epoch(self.epochs[self._place(_now(now))].id)

    def prior(self, now: datetime | None = None) -> EpochKey | None:
        """The key before the active one while the overlap lasts, so that events can carry both pseudonyms; else ``None``.

        Only the one before: after two rotations within one overlap the oldest is no longer attached.

        Raises:
            UsageError: the clock stands before the first epoch.
        """
        moment = _now(now)
        place = self._place(moment)
        newest = self.epochs[place]
        if place == 0 or self.epochs[place - 1].destroyed or moment >= newest.begun + newest.overlap:
            return None
        return self.epoch(self.epochs[place - 1].id)

    def rotate(self, *, overlap: timedelta, now: datetime | None = None) -> str:
        """Begin a new epoch, and return its name.

        Records of the overlap carry both pseudonyms, and so link them for whoever keeps those records. A rotation that shall cut has no overlap.

        Raises:
            UsageError: the clock stands before the last rotation, the overlap is negative, or somebody else is changing the file.
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
        """Take the key of an epoch out of the file for good: its pseudonyms can no longer be recomputed, nor guesses tested, with this file.

        Guarantees:
            The file that is there afterwards does not contain the key. The blocks of the old file are given back to the file system, not overwritten:
            on a solid-state disk, or a file system that copies or has snapshots, overwriting would not reach them. Backups, snapshots, the swap of
            machines that used the key, and processes that still hold it are not reached from here. Whoever needs the key to be gone encrypts the
            disk and the backups, deletes those, and restarts the pipeline. The vault's identities are another matter: `Vault.purge`.

        Raises:
            UsageError: there is no such key, it is the newest, or somebody else is changing the file.
        """
        with self._alone():
            self.epoch(identifier)
            if identifier == self.epochs[-1].id:
                raise UsageError(f"Epoch «{identifier}» is in use. Expected an earlier one; rotate first: tacit logs keys rotate")
            del self._content.masters[identifier]
            self._content.epochs = tuple(replace(epoch, destroyed=epoch.destroyed or epoch.id == identifier) for epoch in self.epochs)
            self._save()

    def _place(self, moment: datetime) -> int:
        if moment < self.epochs[0].begun - _EARLY:
            raise UsageError(f"The clock says {moment:%Y-%m-%d %H:%M}, before the first epoch of this keyring. Set the clock right first.")
        return max(place for place, epoch in enumerate(self.epochs) if place == 0 or epoch.begun <= moment)

    def _add(self, moment: datetime, overlap: timedelta) -> None:
        free = sorted({"".join(pair) for pair in product(ALPHABET, repeat=2)} - {epoch.id for epoch in self.epochs})
        if not free:
            raise UsageError(f"This keyring has had all {len(ALPHABET) ** 2} epochs there are names for; make a new one: tacit logs keys init")
        identifier = secrets.choice(free)
        self._content.masters[identifier] = secrets.token_bytes(MASTER_BYTES)
        self._content.epochs = (*self.epochs, Epoch(identifier, moment, overlap))

    def _save(self) -> None:
        with replacing(self._path) as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(_written(self._content))
            file.flush()
            self._seen = _sight(os.fstat(file.fileno()))

    def _reread(self) -> None:
        content, seen = _read(self._path, None, self._content.lock)
        if content.tenant != self.tenant:
            raise ConfigError(f"Expected the keyring of the same tenant in {self._path}; it was replaced by another's.")
        self._content, self._seen = content, seen

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else changes the file meanwhile, what is there now has been read, and a failure changes nothing."""
        with _locked(self._path):
            self._reread()
            before = replace(self._content, masters=dict(self._content.masters))
            try:
                yield
            except BaseException:
                self._content = before
                raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        lock = path.with_name(f".{path.name}.lock").open("w")
    except OSError as error:
        raise StorageError(f"Cannot lock the keyring {path}: {error.strerror}. Expected a folder that can be written; nothing changed.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"Somebody else is changing the keyring {path}. Expected to be alone; try again.") from None
        yield


def _read(path: Path, passphrase: Passphrase, lock: Lock | None) -> tuple[_Content, tuple[int, ...]]:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(_LARGEST)
    except OSError as error:
        raise _unreadable(path, error) from error
    if os.name == "posix" and status.st_mode & 0o077:
        raise UsageError(f"Others may read the keyring {path} (mode {status.st_mode & 0o777:04o}). Expected 0600; run: chmod 600 {path}")
    try:
        return _content(_checked(data), path, passphrase, lock), _sight(status)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise ConfigError(f"Expected a keyring of version {_VERSION} in {path}; the file is damaged or something else. Restore it.") from None


def _unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"Cannot read the keyring {path}: {error.strerror}. Make one with: tacit logs keys init --tenant NAME --keys {path}")


def _sight(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _written(content: _Content) -> bytes:
    data = {
        "kind": _KIND, "version": _VERSION, "tenant": content.tenant, "reveal": content.reveal,
        "lock": None if content.lock is None else content.lock.parameters,
        "epochs": [_epoch_to_dict(content, epoch) for epoch in content.epochs],
    }
    return canonical_bytes(data | {"digest": hexdigest(data, domain=_KIND)}) + b"\n"


def _checked(data: bytes) -> dict[str, Any]:
    """The fields of a file, if it is whole; else ``ValueError``."""
    try:
        fields = from_canonical(data.removesuffix(b"\n"))
    except VerificationError:
        raise ValueError("not canonical") from None
    sealed = fields.pop("digest")
    if fields.keys() != _FIELDS or fields["kind"] != _KIND or fields["version"] != _VERSION or sealed != hexdigest(fields, domain=_KIND):
        raise ValueError("not whole")
    return dict(fields)


def _content(fields: dict[str, Any], path: Path, passphrase: Passphrase, lock: Lock | None) -> _Content:
    if fields["lock"] is None:
        lock = None
    elif lock is None or lock.parameters != fields["lock"]:
        require_lock(fields["lock"])
        lock = Lock.open(fields["lock"], asked(passphrase, path))
    tenant, masters = fields["tenant"], {}
    epochs = tuple(
        Epoch(entry["id"], datetime.fromisoformat(entry["begun"]), timedelta(microseconds=entry["overlap"]), entry["master"] is None)
        for entry in fields["epochs"]
    )
    for entry in fields["epochs"]:
        if entry["master"] is not None:
            masters[entry["id"]] = entry["master"] if lock is None else lock.opened(entry["master"], bound=_bound(tenant, entry["id"]))
    if not isinstance(tenant, str) or not epochs or epochs[-1].destroyed or len({epoch.id for epoch in epochs}) != len(epochs):
        raise ValueError("nobody's, no epochs, or the same twice")
    if epochs[0].begun.tzinfo is None or any(after.begun < before.begun for before, after in pairwise(epochs)):
        raise ValueError("epochs out of order")
    if any(len(master) != MASTER_BYTES for master in masters.values()):
        raise ValueError("no keys")
    return _Content(tenant, epochs, masters, fields["reveal"], lock)


def _epoch_to_dict(content: _Content, epoch: Epoch) -> dict[str, Any]:
    master = None if epoch.destroyed else content.masters[epoch.id]
    if master is not None and content.lock is not None:
        master = content.lock.closed(master, bound=_bound(content.tenant, epoch.id))
    overlap = epoch.overlap // timedelta(microseconds=1)
    return {"id": epoch.id, "begun": epoch.begun.isoformat(), "overlap": overlap, "master": master}


def _bound(tenant: str, identifier: str) -> bytes:
    return f"{_KIND}/{tenant}/{identifier}".encode()


def _now(now: datetime | None) -> datetime:
    if now is None:
        return datetime.now(UTC)
    if now.tzinfo is None:
        raise UsageError("Expected now= with a time zone, such as datetime.now(UTC).")
    return now.astimezone(UTC)
