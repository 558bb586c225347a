"""The ledger: append-only, chained, signed; whatever was changed is found and located; nothing is charged on top of a broken one."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dp_accounting
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.crypto import SigningKey, VerifyKey, canonical_bytes
from tacit.errors import (
    BudgetExceeded,
    LedgerCorrupted,
    PolicyViolation,
    Refused,
    RollbackDetected,
    SignatureInvalid,
    StorageError,
    UsageError,
)
from tacit.guarantee import Budget, PrivacyUnit, Relation, Scope
from tacit.guard import ledger_store
from tacit.guard.accounting import Cost, plan_cost
from tacit.guard.filters import Filter
from tacit.guard.ledger import Ledger
from tacit.guard.ledger_entry import NO_DIGEST, Row, encode_body
from tacit.guard.ledger_store import Store
from tacit.guard.plan import Plan, PlanStep

AUTH, DNS = Scope("auth"), Scope("dns", "2026-11")
RULE = Filter(Budget(1.0, 1e-6))
COLUMNS = ("time", "kind", "dataset", "window", "body", "previous", "digest", "signature")


def plan(noise: float = 20.0, run: str = "r", **changes: Any) -> Plan:
    given_: dict[str, Any] = {"unit": PrivacyUnit(), "relation": Relation.ADD_REMOVE, "selection_delta": 0.0, **changes}
    step = PlanStep("cells@1", 1, noise, 64)
    return Plan("train a detector", given_["unit"], given_["relation"], (step,), selection_delta=given_["selection_delta"], run=run)


def charge(ledger: Ledger, noise: float = 20.0, scope: Scope = AUTH, **changes: Any) -> Any:
    bought = plan(noise, **changes)
    return ledger.charge(scope, plan=bought, cost=plan_cost(bought), rule=RULE)


def fill(ledger: Ledger) -> Ledger:
    """Seven entries: the first, charges on two scopes, and evidence."""
    charge(ledger)
    ledger.record("attack.result", AUTH, {"tpr": 0.013, "bound": 0.027})
    charge(ledger, scope=DNS, run="s")
    charge(ledger, 40.0, run="t")
    ledger.record("note", DNS, {"text": "«Zürich» ✓"})
    charge(ledger, 50.0, run="u")
    return ledger


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Path:
    """A filled ledger without its triggers, in one file, to be copied and changed."""
    path = tmp_path_factory.mktemp("pattern") / "ledger.db"
    fill(Ledger.open(path, key=key))
    with sqlite3.connect(path, isolation_level=None) as raw:
        raw.execute("DROP TRIGGER tacit_ledger_no_update")
        raw.execute("DROP TRIGGER tacit_ledger_no_delete")
        raw.execute("PRAGMA journal_mode=DELETE")
    raw.close()
    return path


def changed(pattern: Path, *statements: tuple[str, tuple[Any, ...]]) -> Path:
    path = pattern.with_name("changed.db")
    for old in pattern.parent.glob("changed.db*"):
        old.unlink()
    shutil.copyfile(pattern, path)
    raw = sqlite3.connect(path, isolation_level=None)
    for statement, values in statements:
        raw.execute(statement, values)
    raw.close()
    return path


def located(path: Path, key: SigningKey) -> int | None:
    """Where `verify` finds the change; opening may find one in the first entry."""
    with pytest.raises(LedgerCorrupted) as caught:
        Ledger.open(path, key=key).verify()
    assert "\n" not in str(caught.value)
    return caught.value.sequence


# --------------------------------------------------------------------------------------------------------------- what it keeps


def test_entries_come_back_as_they_were_written(location: str, key: SigningKey) -> None:
    ledger = fill(Ledger.open(location, key=key))
    again = Ledger.open(location, key=key)
    entries = list(again.entries())
    assert [entry.sequence for entry in entries] == list(range(1, 8))
    assert [entry.kind for entry in entries] == ["genesis", "charge", "attack.result", "charge", "charge", "note", "charge"]
    assert entries[5].body == {"text": "«Zürich» ✓"}
    assert [entry.previous for entry in entries] == [NO_DIGEST, *[entry.digest for entry in entries[:-1]]]
    assert again.head == entries[-1].digest == ledger.head
    assert again.id == ledger.id
    found = again.verify(head=entries[3].digest)
    assert (found.entries, found.charges, found.head, found.public_key) == (7, 4, again.head, key.public.hex)
    assert [entry.sequence for entry in again.entries(AUTH, "charge")] == [2, 5, 7]
    assert again.scopes() == [AUTH, DNS]
    assert [entry.sequence for entry in again.find("note", DNS)] == [6]


def test_a_charge_says_what_was_bought_and_what_it_cost(location: str, key: SigningKey) -> None:
    ledger = Ledger.open(location, key=key)
    charge(ledger)
    entry = charge(ledger, 30.0, run="s")
    body = next(iter(ledger.entries(kind="charge"))).body
    assert Plan.from_dict(body["plan"]) == plan()
    assert body["plan_digest"] == plan().digest
    assert Cost.from_dict(body["cost"]) == plan_cost(plan())
    costs = [plan_cost(plan()), plan_cost(plan(30.0))]
    assert entry.body["epsilon_after"] == RULE.epsilon(costs)
    assert ledger.costs(AUTH) == costs
    assert ledger.spent(AUTH) == RULE.spent(costs)
    with pytest.raises(UsageError, match="there are none"):
        ledger.spent(Scope("other"))


def test_an_export_can_be_checked_without_the_ledger(pattern: Path, key: SigningKey, tmp_path: Path) -> None:
    ledger = Ledger.open(pattern, key=key)
    assert ledger.export(tmp_path / "out.jsonl") == 7
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    public = VerifyKey.from_hex(lines[0]["body"]["public_key"])
    for line in lines:
        row = Row(**{**line, "body": canonical_bytes(line["body"]), "signature": bytes.fromhex(line["signature"])})
        assert row.open(public).to_dict() == line
    assert [line["digest"] for line in lines][:-1] == [line["previous"] for line in lines][1:]
    assert sorted(item.name for item in tmp_path.iterdir()) == ["out.jsonl"]


def test_many_entries_are_read_a_page_at_a_time(tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_store, "_PAGE", 3)
    ledger = fill(Ledger.open(tmp_path / "l.db", key=key))
    assert [entry.sequence for entry in ledger.entries()] == list(range(1, 8))
    assert ledger.verify().entries == 7
    assert len(ledger.costs(AUTH)) == 3


# ------------------------------------------------------------------------------------ whatever was changed is found and located

EDITS = st.tuples(st.integers(1, 7), st.sampled_from(COLUMNS), st.integers(0, 10_000), st.integers(1, 255))


@settings(max_examples=150)
@given(EDITS)
def test_any_changed_byte_of_an_entry_is_found_and_located(pattern: Path, key: SigningKey, edit: tuple[int, str, int, int]) -> None:
    sequence, column, place, mask = edit
    raw = sqlite3.connect(pattern)
    (value,) = raw.execute(f'SELECT CAST("{column}" AS BLOB) FROM tacit_ledger WHERE sequence = ?', (sequence,)).fetchone()
    raw.close()
    content = bytearray(value or b"\x00")  # the first entry has no data set
    content[place % len(content)] ^= mask
    kind = "BLOB" if column in ("body", "signature") else "TEXT"
    statement = (f'UPDATE tacit_ledger SET "{column}" = CAST(? AS {kind}) WHERE sequence = ?', (bytes(content), sequence))
    path = changed(pattern, statement)
    assert located(path, key) == sequence


@settings(max_examples=25)
@given(st.integers(1, 7), st.sampled_from(COLUMNS), st.sampled_from([b"", "", "x", b"\xff", 5, 0.5, "\x00"]))
def test_a_value_of_another_type_is_found_and_located(pattern: Path, key: SigningKey, sequence: int, column: str, value: Any) -> None:
    raw = sqlite3.connect(pattern)
    (before,) = raw.execute(f'SELECT "{column}" FROM tacit_ledger WHERE sequence = ?', (sequence,)).fetchone()
    raw.close()
    path = changed(pattern, (f'UPDATE tacit_ledger SET "{column}" = ? WHERE sequence = ?', (value, sequence)))
    if before != value:
        assert located(path, key) == sequence


@pytest.mark.parametrize("sequence", range(1, 8))
@pytest.mark.parametrize("to", [-3, 0, 8, 99, 1 << 40])
def test_a_changed_number_is_found_and_located(pattern: Path, key: SigningKey, sequence: int, to: int) -> None:
    path = changed(pattern, ("UPDATE tacit_ledger SET sequence = ? WHERE sequence = ?", (to, sequence)))
    assert located(path, key) in (sequence, to)


@pytest.mark.parametrize("sequence", range(1, 7))
def test_a_removed_entry_is_found_and_located(pattern: Path, key: SigningKey, sequence: int) -> None:
    assert located(changed(pattern, ("DELETE FROM tacit_ledger WHERE sequence = ?", (sequence,))), key) == sequence


def test_a_removed_entry_whose_place_was_filled_is_found(pattern: Path, key: SigningKey) -> None:
    """Numbers without a gap do not help: the chain does not fit, and the number is part of what was signed."""
    path = changed(
        pattern, ("DELETE FROM tacit_ledger WHERE sequence = 3", ()),
        *[("UPDATE tacit_ledger SET sequence = sequence - 1 WHERE sequence = ?", (n,)) for n in (4, 5, 6, 7)],
    )
    assert located(path, key) == 3


@pytest.mark.parametrize(("first", "second"), [(2, 3), (2, 5), (5, 7), (1, 2)])
def test_reordered_entries_are_found(pattern: Path, key: SigningKey, first: int, second: int) -> None:
    swap = "UPDATE tacit_ledger SET sequence = ? WHERE sequence = ?"
    assert located(changed(pattern, (swap, (100, first)), (swap, (first, second)), (swap, (second, 100))), key) == first


def test_an_entry_that_was_added_again_is_found(pattern: Path, key: SigningKey) -> None:
    names = "time, kind, dataset, window, body, previous, digest, signature"
    copy = (f"INSERT INTO tacit_ledger (sequence, {names}) SELECT 8, {names} FROM tacit_ledger WHERE sequence = 3", ())
    assert located(changed(pattern, copy), key) == 8


def test_an_entry_that_somebody_else_signed_is_found(pattern: Path, key: SigningKey) -> None:
    """Everything about it is right but the key: a forger can compute digests, and cannot sign."""
    head = Ledger.open(pattern, key=key).head
    body = encode_body("note", {"text": "all is well"})
    forged = Row(8, "2026-11-25T00:00:00.000Z", "note", "auth", "all", body, head).seal(SigningKey.generate())
    path = changed(pattern)
    store = Store(path)
    with store.writing() as connection:
        store.append(connection, forged)
    assert located(path, key) == 8


def test_a_digest_that_was_computed_anew_does_not_help_without_the_key(pattern: Path, key: SigningKey) -> None:
    store = Store(pattern)
    with store.reading() as connection:
        rows = list(store.rows(connection))
    cheaper = rows[6].seal(SigningKey.generate())
    statement = "UPDATE tacit_ledger SET body = ?, digest = ?, signature = ? WHERE sequence = 7"
    path = changed(pattern, (statement, (cheaper.body, cheaper.digest, cheaper.signature)))
    assert located(path, key) == 7


def test_entries_of_two_histories_do_not_fit_together(pattern: Path, key: SigningKey, tmp_path: Path) -> None:
    """Both histories are rightly signed and numbered; only the chain tells that the last entry follows another one."""
    histories = [tmp_path / name for name in ("one.db", "two.db")]
    for path in histories:
        shutil.copyfile(pattern, path)
        ledger = Ledger.open(path, key=key)
        charge(ledger, 90.0, run=path.name)
        ledger.record("note", AUTH, {"text": path.name})
    first, second = (sqlite3.connect(path, isolation_level=None) for path in histories)
    (last,) = second.execute("SELECT * FROM tacit_ledger WHERE sequence = 9").fetchall()
    first.execute("DELETE FROM tacit_ledger WHERE sequence = 9")
    first.execute(f"INSERT INTO tacit_ledger VALUES ({','.join('?' * len(last))})", last)
    for connection in (first, second):
        connection.close()
    assert located(histories[0], key) == 9
    with pytest.raises(LedgerCorrupted):
        charge(Ledger.open(histories[0], key=key), 90.0, run="new")


def test_the_first_of_several_changes_is_named(pattern: Path, key: SigningKey) -> None:
    path = changed(pattern, *[("UPDATE tacit_ledger SET kind = 'x' WHERE sequence = ?", (n,)) for n in (6, 4)])
    assert located(path, key) == 4


def test_an_empty_table_is_no_ledger(pattern: Path, key: SigningKey) -> None:
    with pytest.raises(LedgerCorrupted, match="first entry is missing"):
        Ledger.open(changed(pattern, ("DELETE FROM tacit_ledger", ())), key=key)


def test_a_damaged_file_says_so(pattern: Path, key: SigningKey) -> None:
    path = changed(pattern)
    content = bytearray(path.read_bytes())
    content[4096 : 4096 + 64] = b"\xff" * 64
    content[-4096:] = b"\x5a" * 4096
    path.write_bytes(bytes(content))
    with pytest.raises((LedgerCorrupted, StorageError)):
        Ledger.open(path, key=key).verify()


# ------------------------------------------------------------------------------------------- nothing is added to what is broken


@pytest.mark.parametrize("statement", [
    "UPDATE tacit_ledger SET body = x'00' WHERE sequence = 2",
    "UPDATE tacit_ledger SET body = x'00' WHERE sequence = 3",
    "UPDATE tacit_ledger SET dataset = 'other' WHERE sequence = 2",
    "UPDATE tacit_ledger SET window = '2026-10' WHERE sequence = 5",
    "UPDATE tacit_ledger SET kind = 'note' WHERE sequence = 5",
    "DELETE FROM tacit_ledger WHERE sequence = 2",
    "DELETE FROM tacit_ledger WHERE sequence = 6",
    "UPDATE tacit_ledger SET sequence = 9 WHERE sequence = 7",
])
def test_nothing_is_charged_on_top_of_a_changed_ledger(pattern: Path, key: SigningKey, statement: str) -> None:
    """Also if the change hides a charge from its scope: that would be budget for nothing."""
    path = changed(pattern, (statement, ()))
    ledger = Ledger.open(path, key=key)
    raw = sqlite3.connect(path)
    count = "SELECT COUNT(*) FROM tacit_ledger"
    before = raw.execute(count).fetchone()
    for attempt in (lambda: charge(ledger, run="new"), lambda: ledger.require_room(AUTH, plan=plan(), cost=plan_cost(plan()), rule=RULE)):
        with pytest.raises(LedgerCorrupted):
            attempt()
    assert raw.execute(count).fetchone() == before
    raw.close()


def test_a_change_is_found_by_a_process_that_has_read_the_ledger_before(pattern: Path, key: SigningKey) -> None:
    path = changed(pattern)
    ledger = Ledger.open(path, key=key)
    charge(ledger, 90.0, run="before")
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("UPDATE tacit_ledger SET dataset = 'other', digest = ? WHERE sequence = 5", ("0" * 64,))
    raw.close()
    with pytest.raises(LedgerCorrupted) as caught:
        charge(ledger, 90.0, run="after")
    assert caught.value.sequence == 5


def test_nothing_is_exported_from_a_changed_ledger(pattern: Path, key: SigningKey, tmp_path: Path) -> None:
    path = changed(pattern, ("UPDATE tacit_ledger SET kind = 'x' WHERE sequence = 6", ()))
    with pytest.raises(LedgerCorrupted):
        Ledger.open(path, key=key).export(tmp_path / "out.jsonl")
    assert not list(tmp_path.iterdir())


def test_the_database_itself_refuses_changes(location: str, key: SigningKey) -> None:
    ledger = fill(Ledger.open(location, key=key))
    for statement in ("UPDATE tacit_ledger SET kind = 'x' WHERE sequence = 3", "DELETE FROM tacit_ledger WHERE sequence = 7"):
        with pytest.raises(StorageError, match="cannot be changed or deleted"), ledger._store.writing() as connection:
            connection.exec_driver_sql(statement)
    assert ledger.verify().entries == 7


@pytest.mark.integration
@pytest.mark.parametrize(("sequence", "change"), [
    (2, "dataset = 'other'"), (3, "body = decode('00', 'hex')"), (5, "signature = decode('00', 'hex')"), (6, "\"window\" = 'all'"), (1, "time = ''"),
    (7, "previous = repeat('0', 64)"), (4, "kind = 'note'"), (5, "digest = repeat('0', 64)"),
])
def test_a_change_on_a_server_is_found_and_located(postgres: str, key: SigningKey, sequence: int, change: str) -> None:
    """Whoever owns the table can switch its guards off; the chain and the signatures remain."""
    with fill(Ledger.open(postgres, key=key))._store.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE tacit_ledger DISABLE TRIGGER ALL")
        connection.exec_driver_sql(f"UPDATE tacit_ledger SET {change} WHERE sequence = {sequence}")
    with pytest.raises(LedgerCorrupted) as caught:
        Ledger.open(postgres, key=key).verify()
    assert caught.value.sequence == sequence
    if sequence > 1:
        with pytest.raises(LedgerCorrupted):
            charge(Ledger.open(postgres, key=key), run="new")


@pytest.mark.integration
def test_a_table_on_a_server_cannot_be_emptied(postgres: str, key: SigningKey) -> None:
    ledger = fill(Ledger.open(postgres, key=key))
    with pytest.raises(StorageError, match="cannot be changed or deleted"), ledger._store.writing() as connection:
        connection.exec_driver_sql("TRUNCATE tacit_ledger")


# ------------------------------------------------------------------------------------------------------------------- rollback


def test_entries_cut_off_at_the_end_are_found_against_a_head(pattern: Path, key: SigningKey) -> None:
    head = Ledger.open(pattern, key=key).head
    short = Ledger.open(changed(pattern, ("DELETE FROM tacit_ledger WHERE sequence > 5", ())), key=key)
    assert short.verify().entries == 5
    with pytest.raises(RollbackDetected, match="whole up to entry 5"):
        short.verify(head=head)


def test_a_ledger_that_went_on_differently_is_found_against_a_head(pattern: Path, key: SigningKey) -> None:
    """An older copy that was written to again has another entry 7, rightly signed."""
    head = Ledger.open(pattern, key=key).head
    fork = Ledger.open(changed(pattern, ("DELETE FROM tacit_ledger WHERE sequence > 6", ())), key=key)
    charge(fork, 60.0, run="fork")
    assert fork.verify().entries == 7
    with pytest.raises(RollbackDetected):
        fork.verify(head=head)


def test_every_head_it_ever_had_is_found_again(pattern: Path, key: SigningKey) -> None:
    ledger = Ledger.open(pattern, key=key)
    for entry in ledger.entries():
        assert ledger.verify(head=f" {entry.digest.upper()}\n").entries == 7


@pytest.mark.parametrize("head", ["", "abc", "g" * 64, "0" * 63, "0" * 65])
def test_a_head_that_is_none_is_refused(pattern: Path, key: SigningKey, head: str) -> None:
    with pytest.raises(UsageError, match="64 hexadecimal"):
        Ledger.open(pattern, key=key).verify(head=head)


def test_a_whole_ledger_written_anew_has_another_key(tmp_path: Path, key: SigningKey) -> None:
    head = fill(Ledger.open(tmp_path / "a.db", key=key)).head
    (tmp_path / "a.db").unlink()
    fill(Ledger.open(tmp_path / "a.db", key=SigningKey.generate()))
    with pytest.raises(SignatureInvalid, match="signing key"):
        Ledger.open(tmp_path / "a.db", key=key)
    with pytest.raises(RollbackDetected):
        Ledger.open(tmp_path / "a.db").verify(head=head)


# ----------------------------------------------------------------------------------------------------------------------- keys


def test_a_key_is_made_beside_a_new_file_and_found_again(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "x.db")
    assert (tmp_path / "x.key").stat().st_mode & 0o777 == 0o600
    again = Ledger.open(tmp_path / "x.db")
    assert again.writable
    assert again.public_key == ledger.public_key
    again.record("note", AUTH, {})
    other = Ledger.open(tmp_path / "y.key")
    assert other.writable
    assert (tmp_path / "y.key.key").exists()


def test_without_its_key_a_ledger_can_be_read_and_not_written(tmp_path: Path) -> None:
    head = fill(Ledger.open(tmp_path / "x.db")).head
    (tmp_path / "x.key").unlink()
    ledger = Ledger.open(tmp_path / "x.db")
    assert not ledger.writable
    assert ledger.verify(head=head).entries == 7
    for attempt in (lambda: charge(ledger), lambda: ledger.record("note", AUTH, {}), lambda: ledger.signing_key):
        with pytest.raises(StorageError, match=r"signing key is not here.*\[ledger\] key"):
            attempt()
    assert not (tmp_path / "x.key").exists()


def test_the_wrong_key_and_one_that_others_can_read_are_refused(tmp_path: Path) -> None:
    Ledger.open(tmp_path / "x.db")
    SigningKey.generate().save(tmp_path / "other.key")
    with pytest.raises(SignatureInvalid):
        Ledger.open(tmp_path / "x.db", key=tmp_path / "other.key")
    with pytest.raises(StorageError):
        Ledger.open(tmp_path / "x.db", key=tmp_path / "absent.key")
    (tmp_path / "x.key").chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        Ledger.open(tmp_path / "x.db")


# ------------------------------------------------------------------------------------------------------- where it lies, and not


def test_nothing_is_begun_where_that_was_not_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is none"):
        Ledger.open(tmp_path / "x.db", create=False)
    assert not list(tmp_path.iterdir())
    assert not Ledger.exists(tmp_path / "x.db")
    Ledger.open(tmp_path / "x.db")
    assert Ledger.exists(tmp_path / "x.db")


def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a ledger, but a page of text that is long enough to be taken for one" * 20, encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(StorageError, match="something else"):
        Ledger.open(path)
    assert path.read_bytes() == before


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="folder"):
        Ledger.open(tmp_path / "absent" / "x.db", key=SigningKey.generate())


@pytest.mark.parametrize("location", ["mysql://h/d", "http://h/d", "://"])
def test_another_kind_of_database_is_refused(location: str) -> None:
    with pytest.raises(UsageError, match="Expected a ledger"):
        Ledger.open(location)


def test_a_server_that_is_not_there_is_an_error_without_its_password() -> None:
    with pytest.raises(StorageError, match="server") as caught:
        Ledger.open("postgresql://owner:secret-word@127.0.0.1:1/none", key=SigningKey.generate())
    assert "secret-word" not in str(caught.value)


@pytest.mark.integration
def test_a_servers_ledger_needs_a_key_by_name(postgres: str, key: SigningKey) -> None:
    with pytest.raises(UsageError, match="signing key for a ledger on a server"):
        Ledger.open(postgres)
    Ledger.open(postgres, key=key)
    assert not Ledger.open(postgres).writable


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_store, "WAIT_SECONDS", 1)


def test_a_locked_ledger_says_so_and_works_again_afterwards(impatient: None, location: str, key: SigningKey) -> None:
    ledger, other = Ledger.open(location, key=key), Store(location)
    with other.writing(), pytest.raises(StorageError, match="another process has held it"):
        charge(ledger)
    assert ledger.verify().entries == 1
    charge(ledger)
    assert ledger.verify().charges == 1


class Contended:
    """A cursor on a file whose journal others are switching: SQLite says so at once instead of waiting."""

    def __init__(self, failures: int, message: str = "database is locked") -> None:
        self.failures, self.message, self.asked = failures, message, 0

    def execute(self, statement: str) -> None:
        assert statement == "PRAGMA journal_mode=WAL"
        self.asked += 1
        if self.asked <= self.failures:
            raise sqlite3.OperationalError(self.message)


def test_processes_that_begin_together_wait_for_the_switch_of_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    patient: Any = Contended(3)
    ledger_store._use_write_ahead_log(patient)
    assert patient.asked == 4
    broken: Any = Contended(3, "disk I/O error")
    with pytest.raises(sqlite3.OperationalError, match="disk"):
        ledger_store._use_write_ahead_log(broken)
    assert broken.asked == 1
    monkeypatch.setattr(ledger_store, "WAIT_SECONDS", 0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        ledger_store._use_write_ahead_log(Contended(10_000))  # type: ignore[arg-type]


@pytest.fixture
def nearly_full(tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    prepare = ledger_store._prepare_sqlite

    def prepare_small(connection: Any, record: object) -> None:
        prepare(connection, record)
        connection.execute("PRAGMA max_page_count=18").fetchone()

    monkeypatch.setattr(ledger_store, "_prepare_sqlite", prepare_small)
    yield Ledger.open(tmp_path / "small.db", key=key)
    monkeypatch.undo()


def test_a_full_disk_refuses_the_charge_and_leaves_the_ledger_as_it_was(nearly_full: Ledger, key: SigningKey, tmp_path: Path) -> None:
    done = 0
    with pytest.raises(StorageError, match=r"full\. Nothing was written"):  # noqa: PT012
        while True:
            charge(nearly_full, 200.0, run=f"r{done}")
            done += 1
    assert done > 2
    assert nearly_full.verify().charges == done
    assert len(nearly_full.costs(AUTH)) == done
    with pytest.raises(StorageError, match="full"):
        nearly_full.record("note", AUTH, {"text": "x" * 4000})
    assert Ledger.open(tmp_path / "small.db", key=key).verify().charges == done


# ----------------------------------------------------------------------------------------------------------- what it refuses


def test_a_refused_charge_leaves_nothing(location: str, key: SigningKey) -> None:
    ledger = Ledger.open(location, key=key)
    charge(ledger, 6.0)
    before = ledger.head
    with pytest.raises(BudgetExceeded):
        charge(ledger, 6.0, run="s")
    assert ledger.head == before
    assert ledger.verify().entries == 2


def test_a_refusal_says_what_it_costs_what_is_left_and_until_when() -> None:
    ledger = Ledger.ephemeral()
    scope = Scope("auth", "2026-11")
    charge(ledger, 6.0, scope)
    with pytest.raises(BudgetExceeded) as caught:
        charge(ledger, 6.0, scope, run="s")
    price, left = RULE.epsilon([plan_cost(plan(6.0))]), RULE.left([plan_cost(plan(6.0))])
    message = str(caught.value)
    assert message.startswith("refused: this plan costs epsilon=")
    assert message.endswith("is left until 2026-12-01. Lower --budget, or ask the owner to extend it (tacit policy).")
    shown_price, shown_left = (float(message.split(mark)[1].split()[0]) for mark in ("epsilon=", "; "))
    assert price <= shown_price <= price * 1.02, "rounded up"
    assert left * 0.98 <= shown_left <= left, "rounded down"


def test_a_date_that_was_given_is_said_instead_of_the_windows_end() -> None:
    with pytest.raises(BudgetExceeded, match="until 2030-01-02"):
        Ledger.ephemeral().charge(AUTH, plan=plan(0.1), cost=plan_cost(plan(0.1)), rule=RULE, until=date(2030, 1, 2))


def test_a_plan_that_selects_too_freely_is_told_so() -> None:
    with pytest.raises(BudgetExceeded, match="selection_delta"):
        charge(Ledger.ephemeral(), selection_delta=0.5e-6)


def test_one_scope_knows_one_unit_and_one_relation() -> None:
    ledger = Ledger.ephemeral()
    charge(ledger)
    for changes in ({"unit": PrivacyUnit("user", "user")}, {"relation": Relation.REPLACE}):
        with pytest.raises(PolicyViolation, match="cannot be added"):
            charge(ledger, run="s", **changes)
        charge(ledger, scope=Scope(f"other {next(iter(changes))}"), **changes)
    assert ledger.verify().charges == 3


def test_budgets_of_scopes_are_separate() -> None:
    ledger = Ledger.ephemeral()
    for scope in (Scope("auth", "2026-10"), Scope("auth", "2026-11"), Scope("dns", "2026-11")):
        charge(ledger, 6.0, scope)
        with pytest.raises(BudgetExceeded):
            charge(ledger, 6.0, scope, run="s")


def test_a_cost_that_nobody_accounts_for_is_not_charged() -> None:
    ledger = Ledger.ephemeral()
    for event in (dp_accounting.UnsupportedDpEvent(), dp_accounting.NonPrivateDpEvent()):
        with pytest.raises(Refused, match="unknown event"):
            ledger.charge(AUTH, plan=plan(), cost=Cost(event, None), rule=RULE)
        with pytest.raises(Refused, match="unknown event"):
            ledger.charge(AUTH, plan=plan(), cost=Cost(event, 1e-9), rule=RULE)
    assert ledger.verify().entries == 1


@pytest.mark.parametrize(("kind", "body", "message"), [
    ("charge", {}, "written by the ledger itself"), ("genesis", {}, "written by the ledger itself"), ("Note", {}, "small letters"), ("", {}, "small"),
    ("a\n", {}, "small letters"), ("note", {"x": float("nan")}, "finite"), ("note", {"x": object()}, "Cannot encode"),
    ("note", {"x": "a" * (1 << 20)}, "Store its digest instead"), ("note", {"x": "\ud800"}, "Unicode"),
])
def test_evidence_that_cannot_be_kept_is_refused(kind: str, body: dict[str, Any], message: str) -> None:
    ledger = Ledger.ephemeral()
    with pytest.raises(UsageError, match=message):
        ledger.record(kind, AUTH, body)
    assert ledger.verify().entries == 1
