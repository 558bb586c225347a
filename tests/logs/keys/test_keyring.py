from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tacit.errors import ConfigError, StorageError, UsageError
from tacit.logs.keys import ALPHABET, EpochKey, Keyring, collision_chance

THEN = datetime(2026, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_a_keyring_is_read_as_it_was_written_and_belongs_to_its_owner(path: Path) -> None:
    ring = Keyring.create(path, tenant="acme")
    again = Keyring.open(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert again.tenant == "acme"
    assert again.active().secret("address") == ring.active().secret("address")
    assert len(ring.active().id) == 2
    assert set(ring.active().id) <= set(ALPHABET)


def test_tenants_epochs_and_purposes_have_nothing_in_common() -> None:
    master = bytes(32)
    secrets = {
        EpochKey(epoch, master, tenant=tenant).secret(purpose)
        for epoch in ("k7", "k8") for tenant in ("a", "b") for purpose in ("address", "pseudonym/user")
    }
    assert len(secrets) == 8


def test_the_former_key_is_given_only_while_the_overlap_lasts(path: Path) -> None:
    ring = Keyring.create(path, tenant="acme", now=THEN)
    first = ring.active()
    assert ring.prior(THEN) is None
    second = ring.rotate(overlap=WEEK, now=THEN + WEEK)
    assert ring.active().id == second
    prior = ring.prior(THEN + WEEK + timedelta(days=6))
    assert prior is not None
    assert prior.secret("x") == first.secret("x")
    assert ring.prior(THEN + WEEK + WEEK) is None


def test_a_destroyed_key_is_gone_from_the_file(path: Path) -> None:
    ring = Keyring.create(path, tenant="acme", now=THEN)
    first = ring.active().id
    secret = ring._masters[first].hex()
    assert secret in path.read_text()
    ring.rotate(overlap=WEEK, now=THEN + timedelta(days=1))
    ring.destroy(first)
    assert secret not in path.read_text()
    again = Keyring.open(path)
    assert again.prior(THEN + timedelta(days=2)) is None
    with pytest.raises(UsageError, match="was destroyed"):
        again.epoch(first)
    with pytest.raises(UsageError, match="in use"):
        again.destroy(again.active().id)


def test_what_is_wrong_is_said(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="tacit logs keys init"):
        Keyring.open(path)
    ring = Keyring.create(path, tenant="acme", now=THEN)
    with pytest.raises(UsageError, match="exists"):
        Keyring.create(path, tenant="acme")
    with pytest.raises(UsageError, match="tenant"):
        Keyring.create(tmp_path / "other", tenant="a b")
    with pytest.raises(UsageError, match="clock"):
        ring.rotate(overlap=WEEK, now=THEN - WEEK)
    path.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        Keyring.open(path)
    path.chmod(0o600)
    for text in ("", "{}", '{"version": 1, "tenant": "a", "epochs": []}', "[1]", path.read_text()[:-20]):
        path.write_text(text)
        with pytest.raises(ConfigError, match="damaged"):
            Keyring.open(path)


def test_two_rotations_at_once_do_not_lose_a_key(path: Path) -> None:
    Keyring.create(path, tenant="acme", now=THEN)
    one, two = Keyring.open(path), Keyring.open(path)
    first, second = one.rotate(overlap=WEEK, now=THEN + WEEK), two.rotate(overlap=WEEK, now=THEN + 2 * WEEK)
    assert [epoch.id for epoch in Keyring.open(path).epochs][1:] == [first, second]


def test_a_key_does_not_show_itself(path: Path) -> None:
    key = Keyring.create(path, tenant="acme").active()
    assert repr(key) == f"EpochKey({key.id})"
    with pytest.raises(UsageError):
        pickle.dumps(key)


@pytest.mark.parametrize(("values", "bits", "low", "high"), [(300, 16, 0.49, 0.51)])
def test_the_chance_of_a_collision_is_the_birthday_bound(values: int, bits: int, low: float, high: float) -> None:
    assert collision_chance(2) == pytest.approx(2**-80)
    # The same formula with fewer bits is the known figure: 300 people and 65,536 days.
    scaled = collision_chance(int(values * 2 ** ((80 - bits) / 2)))
    assert low < scaled < high
    assert collision_chance(0) == collision_chance(1) == 0
