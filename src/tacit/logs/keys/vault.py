"""The vault: which identity a pseudonym stands for, sealed so that the pipeline that writes it cannot read it.

The pipeline holds the epoch's key and the *public* reveal key. Identities are sealed to that key (`tacit.crypto.SealedTo`); the private one exists
only in shares, in several hands. `tacit.logs.keys.reveal` puts it together for one question and notes that in the ledger.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tacit.crypto import SealedTo, SealingKey
from tacit.errors import UsageError, VerificationError
from tacit.logs.keys.epochs import EpochKey
from tacit.logs.keys.keyring import Keyring
from tacit.logs.keys.vault_store import Row, VaultStore

LONGEST = 16_380
"""Bytes of the longest identity that is kept."""

_CONTEXT = "tacit.logs.vault"
_LENGTH, _SMALLEST = 4, 64
_MARK = 16
_NAMESPACE = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")
_PSEUDONYM = re.compile(r"[!-~]{1,512}\Z")
_MOST_PENDING, _MOST_REMEMBERED = 50_000, 200_000


class Named(NamedTuple):
    """A pseudonym and what it stands for, on the way into the vault."""

    namespace: str
    pseudonym: str
    identity: str


@dataclass(frozen=True, slots=True)
class Added:
    """What became of the entries of one call.

    Args:
        new: were not in the vault yet.
        known: were.
        too_long: were not kept, because the identity has more than 16,380 bytes; such a pseudonym cannot be revealed.
    """

    new: int
    known: int
    too_long: int


@dataclass(frozen=True, slots=True)
class Opened:
    """Who or what a pseudonym stands for.

    Args:
        pseudonym: which was asked about.
        epoch: whose key made it.
        namespace: what kind of thing it names.
        identity: in the clear; not shown by ``repr``.
        genuine: whether a pipeline with the epoch's key put it there; ``None`` if that key was not at hand to tell.
    """

    pseudonym: str
    epoch: str
    namespace: str
    identity: str = field(repr=False)
    genuine: bool | None


class Vault:
    """Pseudonyms with sealed identities: append-only, adding twice changes nothing.

    >>> import tempfile
    >>> key, epoch = SealingKey.generate(), EpochKey.for_tests()
    >>> vault = Vault.create(Path(tempfile.mkdtemp()) / "vault.db", public=key.public, tenant="acme")
    >>> vault.add(epoch, [Named("user", "u-k7-0f3a", "anna.keller")])
    Added(new=1, known=0, too_long=0)
    >>> [(found.identity, found.genuine) for found in vault.opened("u-k7-0f3a", key, epochs={"k7": epoch})]
    [('anna.keller', True)]

    Guarantees:
        Who has the file learns which pseudonyms there are, of which kind and epoch, in which batch they came (not in which order within it), and the
        length of an identity up to the next power of two from 64 bytes; nothing else without the private key. An entry that was changed, or moved to
        another pseudonym, namespace, epoch or tenant, does not open. Who can write the file and has no epoch key can add false entries, which a
        reveal with the keyring shows as not genuine, and can remove entries, which nothing shows.
    """

    def __init__(self, path: Path) -> None:
        self._store = VaultStore(path)
        about = self._store.about()
        self.path, self.id, self.tenant = path, about["id"], about["tenant"]
        self.public = SealedTo.from_hex(about["public"])
        """What identities are sealed to."""

    def __repr__(self) -> str:
        return f"Vault({self.tenant})"

    @classmethod
    def create(cls, path: str | Path, *, public: SealedTo, tenant: str) -> Vault:
        """Open the vault of a tenant, and make it if there is none.

        Raises:
            UsageError: there is one of another tenant or another key.
            StorageError: it cannot be written, or the file is something else.
        """
        VaultStore(Path(path)).begin({"public": public.hex, "tenant": tenant})
        vault = cls(Path(path))
        if vault.tenant != tenant:
            raise UsageError(f"The vault {path} is that of another tenant. Expected one vault for each; name another file.")
        if vault.public != public:
            raise UsageError(
                f"The vault {path} is sealed to the key {vault.public.fingerprint}, not to {public.fingerprint}. Name another file for the new key."
            )
        return vault

    @classmethod
    def of(cls, path: str | Path, ring: Keyring) -> Vault:
        """`create`, for the tenant and the reveal key of a keyring.

        Raises:
            UsageError: the keyring has no reveal key, or the vault is another's.
            StorageError: it cannot be written, or the file is something else.
        """
        if ring.reveal_key is None:
            raise UsageError("This keyring has no reveal key to seal identities to. Make a keyring with one: tacit logs keys init --shares-dir DIR")
        return cls.create(path, public=ring.reveal_key, tenant=ring.tenant)

    @classmethod
    def open(cls, path: str | Path) -> Vault:
        """Open a vault that is there.

        Raises:
            UsageError: there is none.
            StorageError: it cannot be read, or the file is something else.
        """
        return cls(Path(path))

    def add(self, key: EpochKey, entries: Iterable[Named]) -> Added:
        """Seal identities and keep them, durable on return. Call it before what carries the pseudonyms leaves.

        All entries of a call are one batch with an ephemeral key of its own, in the order of their pseudonyms, not in the order they came.

        Raises:
            UsageError: a namespace or pseudonym has a form that none has, or the epoch was purged.
            StorageError: they cannot be written; then none was.
        """
        secret, prefix, found, too_long = key.secret("vault"), f"{self.tenant}\0{key.id}\0", {}, 0
        for namespace, pseudonym, identity in entries:
            if not (_NAMESPACE.match(namespace) and _PSEUDONYM.match(pseudonym)):
                raise UsageError("Expected a namespace of small letters, and a pseudonym of up to 512 printable ASCII signs.")
            plain = identity.encode("utf-8", "surrogatepass")
            if len(plain) > LONGEST:
                too_long += 1
                continue
            bound = f"{prefix}{namespace}\0{pseudonym}\0".encode()
            mark = hmac.digest(secret, bound + plain, "sha256")[:_MARK]
            found[pseudonym, mark] = (namespace, bound + mark, _padded(plain))
        if not found:
            return Added(0, 0, too_long)
        places = sorted(found)
        bounds = [found[place][1] for place in places]
        batch = self.public.seal_many([found[place][2] for place in places], context=_CONTEXT, bound=bounds)
        rows = ((*place, found[place][0], number, box) for number, (place, box) in enumerate(zip(places, batch.boxes, strict=True)))
        new = self._store.append(key.id, batch.ephemeral, rows)
        return Added(new, len(places) - new, too_long)

    def __contains__(self, pseudonym: str) -> bool:
        return bool(self._rows(pseudonym))

    def epochs_of(self, pseudonym: str) -> list[str]:
        """In which epochs a pseudonym is known: one that carries its epoch in at most one, an address perhaps in several."""
        return list(dict.fromkeys(row.epoch for row in self._rows(pseudonym)))

    def counts(self) -> dict[str, int]:
        """How many identities there are, by epoch."""
        return self._store.counts()

    def opened(self, pseudonym: str, private: SealingKey, *, epoch: str | None = None, epochs: dict[str, EpochKey] | None = None) -> Iterator[Opened]:
        """The identities of a pseudonym: one, unless two collided. Not noted anywhere: `reveal` is what notes it.

        Args:
            pseudonym: as it stands in the output.
            private: the key that identities were sealed to.
            epoch: only this one.
            epochs: keys by epoch, to tell whether entries are genuine.

        Raises:
            VerificationError: an entry was changed, or sealed to another key.
            StorageError: the vault cannot be read.
        """
        for row in self._rows(pseudonym, epoch):
            yield self._open(row, private, (epochs or {}).get(row.epoch))

    def _rows(self, pseudonym: str, epoch: str | None = None) -> list[Row]:
        return self._store.find(pseudonym, epoch) if _PSEUDONYM.match(pseudonym) else []

    def _open(self, row: Row, private: SealingKey, key: EpochKey | None) -> Opened:
        bound = f"{self.tenant}\0{row.epoch}\0{row.namespace}\0{row.pseudonym}\0".encode()
        try:
            padded = private.opener(row.ephemeral, context=_CONTEXT).open(row.number, row.sealed, bound=bound + row.mark)
        except (VerificationError, TypeError, AttributeError):
            raise VerificationError("An entry of the vault does not open: it was changed, or sealed to another key. Restore the vault.") from None
        plain = padded[_LENGTH : _LENGTH + int.from_bytes(padded[:_LENGTH], "big")]
        genuine = None if key is None else hmac.compare_digest(hmac.digest(key.secret("vault"), bound + plain, "sha256")[:_MARK], row.mark)
        return Opened(row.pseudonym, row.epoch, row.namespace, plain.decode("utf-8", "surrogatepass"), genuine)

    def purge(self, epoch: str) -> int:
        """Delete the identities of an epoch, and refuse to add any for it from now on; returns how many there were.

        Guarantees:
            They are overwritten in the database file (SQLite's ``secure_delete``), and its write-ahead log is emptied. Backups, snapshots and worn
            cells of a solid-state disk are not reached; what is in them is still sealed.

        Raises:
            StorageError: it cannot be done; then nothing was.
        """
        return self._store.purge(epoch)


class Recorder:
    """Gathers what a pipeline names, and puts it into the vault a batch at a time.

    >>> import tempfile
    >>> vault = Vault.create(Path(tempfile.mkdtemp()) / "vault.db", public=SealingKey.generate().public, tenant="acme")
    >>> recorder = Recorder(vault, EpochKey.for_tests())
    >>> for _ in range(3):
    ...     recorder.note("user", "u-k7-0f3a", "anna.keller")
    >>> recorder.flush(), recorder.flush()
    (1, 0)

    Call `flush` before the output of a batch leaves: then whatever is out there can be revealed. Memory is bounded: at 50,000 pending entries it
    flushes by itself, and it remembers at most 200,000 that it has put away. Threads have one each.
    """

    def __init__(self, vault: Vault, key: EpochKey) -> None:
        self._vault, self._key = vault, key
        self._pending: set[Named] = set()
        self._kept: set[Named] = set()

    def note(self, namespace: str, pseudonym: str, identity: str) -> None:
        """A pseudonym was given to an identity."""
        entry = Named(namespace, pseudonym, identity)
        if entry not in self._kept:
            self._pending.add(entry)
            if len(self._pending) >= _MOST_PENDING:
                self.flush()

    def flush(self) -> int:
        """Put away what is pending, durable on return; returns how many were new to the vault.

        Raises:
            UsageError: the epoch was purged.
            StorageError: it cannot be written; it is still pending.
        """
        if not self._pending:
            return 0
        added = self._vault.add(self._key, self._pending)
        if len(self._kept) + len(self._pending) > _MOST_REMEMBERED:
            self._kept.clear()
        self._kept |= self._pending
        self._pending = set()
        return added.new


def _padded(plain: bytes) -> bytes:
    """Behind its length, filled up to a power of two: lengths would tell names apart."""
    whole = _LENGTH + len(plain)
    size = _SMALLEST if whole <= _SMALLEST else 1 << (whole - 1).bit_length()
    return len(plain).to_bytes(_LENGTH, "big") + plain.ljust(size - _LENGTH, b"\0")
