"""Keys of pseudonyms: one keyring per tenant, one key per epoch, an overlap after each rotation, and who is behind a pseudonym under dual control."""

from __future__ import annotations

from tacit.logs.keys.epochs import ALPHABET, BITS, Epoch, EpochKey, collision_chance
from tacit.logs.keys.keyring import Keyring
from tacit.logs.keys.locking import Passphrase
from tacit.logs.keys.revealing import reveal
from tacit.logs.keys.vault import Added, Named, Opened, Recorder, Vault

__all__ = [
    "ALPHABET", "BITS", "Added", "Epoch", "EpochKey", "Keyring", "Named", "Opened", "Passphrase", "Recorder", "Vault", "collision_chance", "reveal",
]
