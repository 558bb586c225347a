from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tacit.crypto import SealingKey
from tacit.logs.keys import EpochKey, Keyring, Named, Vault, locking
from tacit.logs.treatments import Pseudonyms


@pytest.fixture(autouse=True)
def cheap_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """scrypt as it is, with a cost that tests can pay."""
    monkeypatch.setattr(locking, "_N", 1 << 8)
    monkeypatch.delenv(locking.VARIABLE, raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def private() -> SealingKey:
    return SealingKey.generate()


@pytest.fixture
def ring(path: Path, private: SealingKey) -> Keyring:
    return Keyring.create(path, tenant="acme", reveal=private.public)


@pytest.fixture
def vault(ring: Keyring, tmp_path: Path) -> Vault:
    return Vault.of(tmp_path / "vault.db", ring)


@pytest.fixture
def users() -> Callable[..., list[Named]]:
    """Pseudonyms as the pipeline makes them, of made-up users."""

    def made(key: EpochKey, count: int, *, start: int = 0) -> list[Named]:
        names = Pseudonyms(key, "user", "u")
        return [Named("user", names.of(f"first.last{n}"), f"first.last{n}") for n in range(start, start + count)]

    return made
