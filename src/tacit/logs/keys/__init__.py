"""Keys of pseudonyms: one keyring per tenant, one key per epoch, an overlap after each rotation."""

from __future__ import annotations

from tacit.logs.keys.keyring import ALPHABET, Epoch, EpochKey, Keyring, collision_chance

__all__ = ["ALPHABET", "Epoch", "EpochKey", "Keyring", "collision_chance"]
