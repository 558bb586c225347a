"""What a server starts from, in one folder, and what it must not forget.

=================  ==============================================================================
``public``         the public model: hand it out
``weights``        the model as integers, mode 0600
``sealing.pem``    the scorer's key, mode 0600
``clients/``       ``NAME.pub``: public keys of those who may ask, put there after comparing fingerprints
``spent.db``       records scored for each client, and the newest request of each key
=================  ==============================================================================
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tacit.crypto import SealingKey, digest
from tacit.crypto.key_files import create_key_file
from tacit.encrypted.compiling import Compiled
from tacit.encrypted.keys import EncryptionKey
from tacit.encrypted.meter import Meter
from tacit.encrypted.parameters import Parameters
from tacit.encrypted.plan import choose
from tacit.encrypted.public import PublicModel
from tacit.encrypted.quantise import Quantised
from tacit.encrypted.wire import MOST_BODY, MOST_HEADER, Kind, field, parse, prefix_of
from tacit.errors import DataError, MessageDamaged, StorageError, UsageError, WrongKey

PUBLIC, WEIGHTS, SEALING, CLIENTS, SPENT = "public", "weights", "sealing.pem", "clients", "spent.db"
_ENDING, _DOMAIN = ".pub", "tacit.encrypted.weights"


def save_compiled(compiled: Compiled, folder: str | Path) -> None:
    """Write a compiled model to a new folder.

    Raises:
        UsageError: the folder holds a compiled model already.
        StorageError: it cannot be written.
    """
    place, own = Path(folder), compiled._quantised
    body = own.weights.astype("<i8").tobytes() + own.bias.astype("<i8").tobytes()
    header = {"model": compiled.public.id, "error": float(own.error), "digest": digest(body, domain=_DOMAIN)}
    if (place / PUBLIC).exists():
        raise UsageError(f"The folder {place} holds a compiled model. Expected a new folder; clients of the old one would be refused")
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        (place / CLIENTS).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StorageError(f"Cannot make the folder {place}: {error.strerror}. Name another") from error
    compiled._sealing.save(place / SEALING)
    create_key_file(place / WEIGHTS, prefix_of(Kind.WEIGHTS, header, len(body)) + body, mode=0o600)
    create_key_file(place / PUBLIC, compiled.public.to_bytes(), mode=0o644)


def load_compiled(folder: str | Path) -> Compiled:
    """The compiled model that `save_compiled` wrote.

    Raises:
        StorageError: a file cannot be read.
        UsageError: others may read the scorer's key.
        MessageDamaged: a file is cut short, or files do not belong together.
    """
    place = Path(folder)
    public, message = load_public(place / PUBLIC), parse(_read(place / WEIGHTS), Kind.WEIGHTS)
    sealing, plan = SealingKey.load(place / SEALING), public.plan
    words = plan.outputs * (plan.columns + 1)
    whole = len(message.body) == 8 * words and field(message.header, "digest", bytes) == digest(bytes(message.body), domain=_DOMAIN)
    if field(message.header, "model", str) != public.id or sealing.public != public.scorer or not whole or message.seal:
        raise _apart(place)
    numbers = np.frombuffer(message.body, "<i8").astype(np.int64)
    weights, bias = numbers[: -plan.outputs].reshape(plan.outputs, plan.columns), numbers[-plan.outputs :]
    quantised = Quantised(public.columns, weights, bias, public.unit, field(message.header, "error", float))
    if choose(weights, quantised.span, name=plan.name, packing=plan.packing) != plan:
        raise _apart(place)
    return Compiled(public, quantised, sealing)


def load_public(path: str | Path) -> PublicModel:
    """The public model of a file.

    Raises:
        StorageError: it cannot be read.
        MessageDamaged: it is none.
    """
    return PublicModel.from_bytes(_read(Path(path)))


def load_clients(folder: str | Path, parameters: Parameters) -> dict[str, EncryptionKey]:
    """Public keys of a folder by the name of their file, ``NAME.pub``.

    Raises:
        StorageError: the folder or a file cannot be read.
        DataError: a file holds no public key, or one for another model.
    """
    place, found = Path(folder), {}
    if not place.is_dir():
        raise StorageError(f"Cannot read the clients in {place}. Expected a folder of public keys, NAME{_ENDING}; make it, or name another")
    for path in sorted(place.glob(f"*{_ENDING}")):
        try:
            key = EncryptionKey.from_bytes(_read(path))
        except MessageDamaged as error:
            raise DataError(f"{path}: {error}") from None
        if key.parameters != parameters:
            raise DataError(f"{path} is a key for another model. Its owner makes one with: tacit encrypt keygen PUBLIC")
        found[path.name.removesuffix(_ENDING)] = key
    return found


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BODY + MOST_HEADER)
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}. Expected a readable file; check the path") from error
    return data


def _apart(place: Path) -> MessageDamaged:
    return MessageDamaged(f"Expected files in {place} that belong together; at least one was changed or is of another model. Compile again")


class KeptMeter(Meter):
    """A meter that remembers across restarts, in SQLite; every charge is on disk before the answer is computed.

    A budget belongs to a client, whatever number of keys it has. Requests that are older than the newest one of their key before a restart are
    refused.

    Args:
        path: of the database; made if it is not there.
        budget: records that each client may have scored; ``None`` for any number.
        owners: name of the client by key.

    Raises:
        StorageError: it cannot be used.
    """

    def __init__(self, path: str | Path, *, budget: int | None, owners: Mapping[str, str]) -> None:
        super().__init__(budget)
        self._owners = dict(owners)
        try:
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2)
        except sqlite3.Error as error:
            raise _unusable(path, error) from error
        try:
            self._database.executescript(
                "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                "CREATE TABLE IF NOT EXISTS spent (client TEXT PRIMARY KEY, records INTEGER NOT NULL);"
                "CREATE TABLE IF NOT EXISTS newest (key TEXT PRIMARY KEY, number INTEGER NOT NULL);"
                "BEGIN IMMEDIATE; COMMIT;"
            )
            self._scored = dict(self._database.execute("SELECT client, records FROM spent").fetchall())
            self._floors = dict(self._database.execute("SELECT key, number FROM newest").fetchall())
        except sqlite3.Error as error:
            self._database.close()
            raise _unusable(path, error) from error

    def payer(self, key: str) -> str:
        """The client whose key it is.

        Raises:
            WrongKey: it is nobody's any more.
        """
        owner = self._owners.get(key)
        if owner is None:
            raise WrongKey("The request comes from a key that is not admitted any more. Ask the model's owner")
        return owner

    def owned_by(self, owners: Mapping[str, str]) -> None:
        """Other clients from now on; what was spent stays with its client, and old requests with their key."""
        self._owners = dict(owners)

    def left(self, client: str) -> int | None:
        """Records that a client may still have scored."""
        return None if self.budget is None else max(0, self.budget - self._scored.get(client, 0))

    def floor(self, key: str) -> int:
        """The newest request before this process began."""
        return int(self._floors.get(key, -1))

    def keep(self, payer: str, key: str, *, number: int, records: int) -> None:
        """Write both in one transaction.

        Raises:
            StorageError: the disk refuses; the request is not answered.
        """
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("INSERT OR REPLACE INTO spent VALUES (?, ?)", (payer, records))
            self._database.execute("INSERT OR REPLACE INTO newest VALUES (?, ?)", (key, max(number, self.floor(key))))
            self._database.execute("COMMIT")
        except (sqlite3.Error, OverflowError) as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            reason = f"Cannot note what was asked ({type(error).__name__}); nothing was answered"
            raise StorageError(f"{reason}. Check the disk, then ask again") from error

    def close(self) -> None:
        """Let the database go."""
        self._database.close()


def _unusable(path: str | Path, error: sqlite3.Error) -> StorageError:
    reason = f"Cannot use {path} ({type(error).__name__}). Expected a database that this service alone writes"
    return StorageError(f"{reason}; stop the other one, or name another folder")
