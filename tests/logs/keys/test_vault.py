from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.crypto import SealingKey
from tacit.errors import StorageError, UsageError, VerificationError
from tacit.logs.keys import Added, EpochKey, Keyring, Named, Recorder, Vault
from tacit.logs.keys.vault import LONGEST, _padded

Users = Callable[..., list[Named]]


def raw(vault: Vault, statement: str, *values: object, guarded: bool = True) -> list[tuple[object, ...]]:
    """What whoever may write the file can do, with the guards against accidents taken away or not."""
    connection = sqlite3.connect(vault.path, isolation_level=None)
    try:
        if not guarded:
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f"DROP TRIGGER {name}")
        return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


def files(vault: Vault) -> bytes:
    """Everything that is on the disk."""
    log = vault.path.with_name(vault.path.name + "-wal")
    return vault.path.read_bytes() + (log.read_bytes() if log.exists() else b"")


def identities(vault: Vault, private: SealingKey, entries: list[Named], key: EpochKey) -> list[str]:
    return [found.identity for entry in entries for found in vault.opened(entry.pseudonym, private, epochs={key.id: key})]


def test_what_went_in_comes_out_with_the_private_key_only(vault: Vault, ring: Keyring, private: SealingKey, users: Users) -> None:
    key = ring.active()
    entries = users(key, 300)
    assert vault.add(key, entries) == Added(300, 0, 0)
    assert identities(vault, private, entries, key) == [entry.identity for entry in entries]
    found = next(vault.opened(entries[0].pseudonym, private))
    assert (found.epoch, found.namespace, found.genuine) == (key.id, "user", None)
    assert next(vault.opened(entries[0].pseudonym, private, epochs={key.id: key})).genuine is True
    assert "first" not in repr(found)
    with pytest.raises(VerificationError, match="does not open"):
        next(vault.opened(entries[0].pseudonym, SealingKey.generate()))
    assert entries[0].pseudonym.encode() in files(vault)
    assert b"first.last" not in files(vault)
    assert stat.S_IMODE(vault.path.stat().st_mode) == 0o600


def test_adding_again_changes_nothing(vault: Vault, ring: Keyring, users: Users) -> None:
    key = ring.active()
    vault.add(key, users(key, 100))
    before = raw(vault, "SELECT * FROM identities"), raw(vault, "SELECT count(*) FROM batches")
    assert vault.add(key, users(key, 100)) == Added(0, 100, 0)
    assert (raw(vault, "SELECT * FROM identities"), raw(vault, "SELECT count(*) FROM batches")) == before
    assert vault.add(key, [*users(key, 101), *users(key, 50)]) == Added(1, 100, 0)
    assert vault.add(key, []) == Added(0, 0, 0)
    assert vault.counts() == {key.id: 101}


def test_what_is_there_already_stays_as_it_was_sealed(vault: Vault, ring: Keyring, private: SealingKey) -> None:
    key = ring.active()
    vault.add(key, [Named("user", "u-k7-1", "anna")])
    sealed = raw(vault, "SELECT sealed FROM identities")
    vault.add(key, [Named("user", "u-k7-1", "anna")])
    assert raw(vault, "SELECT sealed FROM identities") == sealed


def test_two_identities_with_one_pseudonym_are_both_kept(vault: Vault, ring: Keyring, private: SealingKey) -> None:
    key = ring.active()
    assert vault.add(key, [Named("mac", "00:50:56:11:22:33", f"00:50:56:00:00:0{n}") for n in (1, 2)]).new == 2
    assert sorted(found.identity for found in vault.opened("00:50:56:11:22:33", private)) == ["00:50:56:00:00:01", "00:50:56:00:00:02"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=[]), max_size=200), min_size=1, max_size=5))
def test_any_text_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    private, key = SealingKey.generate(), EpochKey.for_tests()
    vault = Vault.create(tmp_path_factory.mktemp("any") / "vault.db", public=private.public, tenant="acme")
    vault.add(key, [Named("id", f"x-{n}", text) for n, text in enumerate(texts)])
    for n, text in enumerate(texts):
        assert [(found.identity, found.genuine) for found in vault.opened(f"x-{n}", private, epochs={"k7": key})] == [(text, True)]


def test_lengths_and_order_tell_nothing(vault: Vault, ring: Keyring, users: Users) -> None:
    key = ring.active()
    names = ["a", "anna.keller", "x" * 60]
    vault.add(key, [*(Named("user", f"u-{n}", name) for n, name in enumerate(names)), *users(key, 500)])
    assert raw(vault, "SELECT DISTINCT length(sealed) FROM identities") == [(64 + 16,)]
    rows = raw(vault, "SELECT pseudonym FROM identities ORDER BY number")
    assert rows == sorted(rows)
    assert [len(_padded(b"x" * size)) for size in (0, 60, 61, 124, 125, 4092, LONGEST)] == [64, 64, 128, 128, 256, 4096, 16384]


def test_what_is_too_long_is_counted_and_not_kept(vault: Vault, ring: Keyring) -> None:
    entries = [Named("id", f"x-{n}", "a" * size) for n, size in enumerate((LONGEST, LONGEST + 1, 10_000_000))]
    assert vault.add(ring.active(), entries) == Added(1, 0, 2)


@pytest.mark.parametrize(
    ("namespace", "pseudonym"),
    [
        ("", "u"), ("User", "u"), ("user name", "u"), ("u" * 33, "u"), ("user\n", "u"), ("user", ""), ("user", "a b"), ("user", "ä"), ("user", "\0"),
        ("user", "x" * 513), ("user", "u\n"), ("user", "\ud800"),
    ],
)
def test_what_is_no_pseudonym_is_refused_and_not_repeated(vault: Vault, ring: Keyring, namespace: str, pseudonym: str) -> None:
    with pytest.raises(UsageError, match="printable ASCII") as refused:
        vault.add(ring.active(), [Named("user", "u-fine", "anna"), Named(namespace, pseudonym, "anna.keller")])
    assert "anna" not in str(refused.value)
    assert vault.counts() == {}
    assert pseudonym not in vault


# ------------------------------------------------------------------------------------------------------------------- hostile writers


def test_an_entry_that_was_changed_or_moved_does_not_open(vault: Vault, ring: Keyring, private: SealingKey) -> None:
    key = ring.active()
    vault.add(key, [Named("user", "u-anna", "anna"), Named("host", "u-bert", "bert")])
    changes = [
        "UPDATE identities SET pseudonym = 'u-other'", "UPDATE identities SET namespace = 'mac'", "UPDATE identities SET number = number + 1",
        "UPDATE identities SET mark = randomblob(16)", "UPDATE identities SET sealed = randomblob(80)", "UPDATE identities SET sealed = 'text'",
        "UPDATE identities SET number = 'text'", "UPDATE batches SET ephemeral = randomblob(32)", "UPDATE batches SET ephemeral = x'00'",
        "UPDATE batches SET epoch = 'zz'",
    ]
    whole = vault.path.read_bytes()
    for change in changes:
        if "pseudonym" in change:
            raw(vault, "DELETE FROM identities WHERE pseudonym = 'u-bert'", guarded=False)
        raw(vault, change, guarded=False)
        with pytest.raises(VerificationError, match="does not open"):
            list(vault.opened("u-other" if "pseudonym" in change else "u-anna", private))
        raw(vault, "PRAGMA wal_checkpoint(TRUNCATE)")
        vault.path.write_bytes(whole)
    assert [found.identity for found in vault.opened("u-anna", private)] == ["anna"]


def test_a_false_entry_of_somebody_without_the_epochs_key_shows(vault: Vault, ring: Keyring, private: SealingKey) -> None:
    key = ring.active()
    vault.add(key, [Named("user", "u-anna", "anna")])
    forger = EpochKey(key.id, bytes(32), tenant="acme")
    vault.add(forger, [Named("user", "u-anna", "somebody else")])
    found = {one.identity: one.genuine for one in vault.opened("u-anna", private, epochs={key.id: key})}
    assert found == {"anna": True, "somebody else": False}


def test_entries_of_another_tenant_do_not_open(ring: Keyring, private: SealingKey, tmp_path: Path) -> None:
    other = Vault.create(tmp_path / "other.db", public=private.public, tenant="other")
    other.add(ring.active(), [Named("user", "u-anna", "anna")])
    raw(other, "UPDATE about SET value = 'acme' WHERE name = 'tenant'", guarded=False)
    with pytest.raises(VerificationError):
        list(Vault.open(other.path).opened("u-anna", private))


def test_entries_cannot_be_changed_or_deleted_by_accident(vault: Vault, ring: Keyring, users: Users) -> None:
    vault.add(ring.active(), users(ring.active(), 3))
    for table, column in (("identities", "mark"), ("batches", "epoch"), ("about", "value")):
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = 1"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                raw(vault, statement)


# ------------------------------------------------------------------------------------------------------------------- whose it is


def test_a_vault_belongs_to_one_tenant_and_one_key(vault: Vault, ring: Keyring, tmp_path: Path) -> None:
    again = Vault.of(vault.path, ring)
    assert (again.id, again.tenant, again.public) == (vault.id, "acme", ring.reveal_key)
    assert Vault.open(vault.path).id == vault.id
    assert ring.reveal_key is not None
    with pytest.raises(UsageError, match="another tenant"):
        Vault.create(vault.path, public=ring.reveal_key, tenant="other")
    with pytest.raises(UsageError, match="sealed to the key"):
        Vault.create(vault.path, public=SealingKey.generate().public, tenant="acme")
    with pytest.raises(UsageError, match="no reveal key"):
        Vault.of(tmp_path / "none.db", Keyring.create(tmp_path / "bare.json", tenant="acme"))
    assert repr(vault) == "Vault(acme)"


def test_what_is_no_vault_is_refused(tmp_path: Path, private: SealingKey) -> None:
    with pytest.raises(UsageError, match="there is none"):
        Vault.open(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(StorageError, match="Check the folder"):
        Vault.create(tmp_path / "none" / "vault.db", public=private.public, tenant="acme")
    text = tmp_path / "text"
    text.write_text("not a database, and long enough to be sure of that" * 100)
    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE x (y)").connection.close()
    for path in (text, other):
        with pytest.raises(StorageError, match="something else"):
            Vault.open(path)
        with pytest.raises(StorageError, match="something else"):
            Vault.create(path, public=private.public, tenant="acme")
    later = Vault.create(tmp_path / "later.db", public=private.public, tenant="acme")
    raw(later, "UPDATE about SET value = '2' WHERE name = 'format'", guarded=False)
    with pytest.raises(StorageError, match="format 1"):
        Vault.open(later.path)


def test_a_file_that_was_just_made_becomes_a_vault(tmp_path: Path, private: SealingKey) -> None:
    """As if a process had been killed between the two."""
    (tmp_path / "vault.db").touch()
    assert Vault.create(tmp_path / "vault.db", public=private.public, tenant="acme").counts() == {}


def test_several_processes_add_at_once(ring: Keyring, tmp_path: Path, private: SealingKey, users: Users) -> None:
    key = ring.active()
    entries = users(key, 1_000)

    def add(worker: int) -> int:
        return Vault.of(tmp_path / "vault.db", ring).add(key, entries[worker * 50 : worker * 50 + 500]).new

    with ThreadPoolExecutor(8) as pool:
        new = sum(pool.map(add, range(11)))
    assert new == 1_000
    assert Vault.of(tmp_path / "vault.db", ring).counts() == {key.id: 1_000}


def test_a_failure_leaves_nothing_half_added(vault: Vault, ring: Keyring, users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ring.active()
    raw(vault, "CREATE TRIGGER full BEFORE INSERT ON identities WHEN NEW.number = 7 BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    with pytest.raises(StorageError, match="disk is full"):
        vault.add(key, users(key, 20))
    assert vault.counts() == {}
    assert raw(vault, "SELECT count(*) FROM batches") == [(0,)]


# ------------------------------------------------------------------------------------------------------------------- purging


def test_a_purged_epoch_is_gone_and_stays_gone(vault: Vault, ring: Keyring, private: SealingKey, users: Users) -> None:
    old = ring.active()
    vault.add(old, users(old, 400))
    sealed = [bytes(row[0]) for row in raw(vault, "SELECT sealed FROM identities LIMIT 50")]  # type: ignore[call-overload]
    assert all(box in files(vault) for box in sealed)
    ring.rotate(overlap=timedelta())
    new = ring.active()
    vault.add(new, users(new, 10))
    ring.destroy(old.id)
    assert vault.purge(old.id) == 400
    assert vault.counts() == {new.id: 10}
    assert not any(box in files(vault) for box in sealed)
    assert users(old, 1)[0].pseudonym.encode() not in files(vault)
    with pytest.raises(UsageError, match="purged"):
        vault.add(old, users(old, 1))
    assert vault.purge(old.id) == 0
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        raw(vault, "DELETE FROM identities")
    assert identities(vault, private, users(new, 10), new) == [f"first.last{n}" for n in range(10)]


# ------------------------------------------------------------------------------------------------------------------- recorder


def test_a_recorder_puts_away_what_is_new(vault: Vault, ring: Keyring, users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ring.active()
    recorder = Recorder(vault, key)
    calls: list[int] = []
    add = vault.add
    monkeypatch.setattr(vault, "add", lambda key, entries: calls.append(len(entries)) or add(key, entries))
    for _ in range(3):
        for entry in users(key, 100):
            recorder.note(*entry)
    assert recorder.flush() == 100
    for entry in users(key, 110):
        recorder.note(*entry)
    assert recorder.flush() == 10
    assert recorder.flush() == 0
    assert calls == [100, 10]


def test_a_recorder_has_bounds_and_loses_nothing_to_a_failure(vault: Vault, ring: Keyring, users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.logs.keys.vault._MOST_PENDING", 50)
    monkeypatch.setattr("tacit.logs.keys.vault._MOST_REMEMBERED", 120)
    key = ring.active()
    recorder = Recorder(vault, key)
    for entry in users(key, 230):
        recorder.note(*entry)
        assert len(recorder._pending) < 50
        assert len(recorder._kept) <= 120
    assert vault.counts() == {key.id: 200}
    add = vault.add

    def failing(*_: object) -> Added:
        raise StorageError("the disk is full")

    monkeypatch.setattr(vault, "add", failing)
    with pytest.raises(StorageError):
        recorder.flush()
    monkeypatch.setattr(vault, "add", add)
    assert recorder.flush() == 30
    assert vault.counts() == {key.id: 230}
