from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import combinations
from pathlib import Path

import pytest

from tacit.crypto import SealingKey, Share, split_secret
from tacit.errors import Refused, StorageError, UsageError, VerificationError
from tacit.guarantee import Scope
from tacit.guard import Entry, Ledger
from tacit.logs.keys import EpochKey, Keyring, Named, Vault, reveal
from tacit.logs.keys.revealing import MOST

Users = Callable[..., list[Named]]
REASON = "case 2026-117, approved by the works council"


@pytest.fixture
def ledger() -> Ledger:
    return Ledger.ephemeral()


@pytest.fixture
def shares(private: SealingKey) -> list[Share]:
    return private.split()


@pytest.fixture
def entries(vault: Vault, ring: Keyring, users: Users) -> list[Named]:
    made = users(ring.active(), 5)
    vault.add(ring.active(), made)
    return made


def noted(ledger: Ledger) -> list[Entry]:
    return [entry for entry in ledger.entries() if entry.kind.startswith("reveal")]


def test_two_of_three_holders_and_a_reason_reveal(
    vault: Vault, ring: Keyring, entries: list[Named], shares: list[Share], ledger: Ledger
) -> None:
    for pair in combinations(shares, 2):
        found = reveal(vault, [entries[0].pseudonym, entries[3].pseudonym], shares=pair, reason=REASON, ledger=ledger, keyring=ring)
        assert [(one.pseudonym, one.identity, one.genuine) for one in found] == [(*entries[place][1:], True) for place in (0, 3)]
    assert [entry.body["shares"] for entry in noted(ledger)] == [[1, 2], [1, 3], [2, 3]]
    entry = noted(ledger)[0]
    assert (entry.kind, entry.scope) == ("reveal", Scope("acme"))
    assert entry.body == {
        "vault": vault.id, "reveal_key": vault.public.hex, "reason": REASON, "shares": [1, 2], "share_sets": [shares[0].set_id.hex()],
        "pseudonyms": [entries[0].pseudonym, entries[3].pseudonym],
    }
    assert ledger.verify().entries == 4
    assert "first.last" not in str([entry.to_dict() for entry in ledger.entries()])


def test_the_entry_is_there_before_the_answer(
    vault: Vault, entries: list[Named], shares: list[Share], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    opened, record = Vault.opened, ledger.record

    def watched_open(*arguments: object, **options: object) -> object:
        order.append("opened")
        return opened(*arguments, **options)  # type: ignore[arg-type]

    def watched_record(*arguments: object) -> object:
        order.append("recorded")
        return record(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Vault, "opened", watched_open)
    monkeypatch.setattr(ledger, "record", watched_record)
    reveal(vault, [entries[0].pseudonym], shares=shares[:2], reason=REASON, ledger=ledger)
    assert order == ["recorded", "opened"]


def test_nothing_is_opened_if_it_cannot_be_noted(
    vault: Vault, entries: list[Named], shares: list[Share], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Ledger.open(tmp_path / "ledger.db")
    (tmp_path / "ledger.key").unlink()
    for ledger in (Ledger.open(tmp_path / "ledger.db"), Ledger.ephemeral()):
        if ledger.writable:
            monkeypatch.setattr(ledger, "record", failing)
        monkeypatch.setattr(Vault, "opened", lambda *_, **__: pytest.fail("opened"))
        with pytest.raises(StorageError):
            reveal(vault, [entries[0].pseudonym], shares=shares[:2], reason=REASON, ledger=ledger)


def failing(*_: object) -> None:
    raise StorageError("the disk is full")


def wrong_shares(shares: list[Share]) -> list[tuple[list[Share], str]]:
    other = SealingKey.generate().split()
    forged = replace(shares[0], value=bytes([shares[0].value[0] ^ 1]) + shares[0].value[1:])
    return [
        ([], "got none"), (shares[:1], "Expected 2 different shares"), ([shares[0], shares[0]], "twice"),
        ([shares[0], other[1]], "not made together"), ([forged, shares[1]], "changed"),
        ([forged, *shares[1:]], "changed"), (other[:2], "the vault is sealed to"),
        (split_secret(b"something else")[:2], "something else"), ([replace(shares[0], index=2), shares[2]], "changed"),
    ]


def test_wrong_shares_are_refused_and_noted(vault: Vault, entries: list[Named], shares: list[Share], ledger: Ledger) -> None:
    for number, (wrong, why) in enumerate(wrong_shares(shares), start=1):
        with pytest.raises(Refused, match=why) as refused:
            reveal(vault, [entries[0].pseudonym], shares=wrong, reason=REASON, ledger=ledger)
        entry = noted(ledger)[-1]
        assert len(noted(ledger)) == number
        assert entry.kind == "reveal.refused"
        assert why in entry.body["refusal"]
        assert f"Entry {entry.sequence} " in str(refused.value)
        assert entry.body["shares"] == sorted({share.index for share in wrong})
        assert entry.body["pseudonyms"] == [entries[0].pseudonym]
        assert "first.last" not in str(refused.value) + str(entry.body)
    ledger.verify()


@pytest.mark.parametrize(
    "reason", ["", "   ", "too short", "x" * 501, "two lines\nof reasons", "1234567890123", "\x1b[2J escape codes", "nul \0 inside it"]
)
def test_a_missing_or_odd_reason_is_refused_and_noted(
    vault: Vault, entries: list[Named], shares: list[Share], ledger: Ledger, reason: str
) -> None:
    with pytest.raises(Refused, match="Expected a reason"):
        reveal(vault, [entries[0].pseudonym], shares=shares[:2], reason=reason, ledger=ledger)
    assert len(noted(ledger)[-1].body["reason"]) <= 500


def test_an_unknown_pseudonym_refuses_the_whole_question_and_is_not_repeated(
    vault: Vault, entries: list[Named], shares: list[Share], ledger: Ledger
) -> None:
    well_formed = "u-k7-" + "0" * 20
    for unknown in ("anna.keller", "\ud800", "x" * 10_000, "", "k7/" + entries[0].pseudonym[:-1], well_formed):
        with pytest.raises(Refused, match=r"pseudonym 2 of 2") as refused:
            reveal(vault, [entries[0].pseudonym, unknown], shares=shares[:2], reason=REASON, ledger=ledger)
        body = noted(ledger)[-1].body
        assert body["pseudonyms"] == [entries[0].pseudonym, *([unknown] if unknown == well_formed else [])]
        assert body["others"] == (unknown != well_formed)
        assert "anna" not in str(refused.value) + str(body)


def test_wrong_shares_do_not_tell_what_the_vault_knows(vault: Vault, entries: list[Named], shares: list[Share], ledger: Ledger) -> None:
    answers = []
    for name in (entries[0].pseudonym, "u-k7-" + "0" * 20):
        with pytest.raises(Refused) as refused:
            reveal(vault, [name], shares=shares[:1], reason=REASON, ledger=ledger)
        answers.append(str(refused.value).partition("Entry")[0])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("count", [0, MOST + 1])
def test_a_question_has_bounds(vault: Vault, entries: list[Named], shares: list[Share], ledger: Ledger, count: int) -> None:
    with pytest.raises(Refused, match="1 to 100"):
        reveal(vault, [f"u-k7-{n:020x}" for n in range(count)], shares=shares[:2], reason=REASON, ledger=ledger)
    assert len(noted(ledger)[-1].body["pseudonyms"]) == min(count, MOST)


def test_a_text_stands_for_the_pseudonyms_in_it(vault: Vault, ring: Keyring, entries: list[Named], shares: list[Share], ledger: Ledger) -> None:
    one, two = entries[0], entries[1]
    asked = [f"{one.pseudonym}@{two.pseudonym}.com", one.pseudonym]
    assert [found.identity for found in reveal(vault, asked, shares=shares[1:], reason=REASON, ledger=ledger)] == [one.identity, two.identity]


def test_an_address_in_two_epochs_needs_its_epoch(vault: Vault, ring: Keyring, shares: list[Share], ledger: Ledger) -> None:
    first = ring.active()
    vault.add(first, [Named("address", "10.3.7.1", "192.0.2.1")])
    options = {"shares": shares[:2], "reason": REASON, "ledger": ledger, "keyring": ring}
    assert [found.identity for found in reveal(vault, ["10.3.7.1"], **options)] == ["192.0.2.1"]  # type: ignore[arg-type]
    ring.rotate(overlap=timedelta())
    second = ring.active()
    vault.add(second, [Named("address", "10.3.7.1", "192.0.2.99")])
    with pytest.raises(Refused, match=f"{second.id}/ before it|{first.id}/ before it"):
        reveal(vault, ["10.3.7.1"], **options)  # type: ignore[arg-type]
    found = reveal(vault, [f"{first.id}/10.3.7.1", f"{second.id}/10.3.7.1"], **options)  # type: ignore[arg-type]
    assert [(one.epoch, one.identity, one.genuine) for one in found] == [(first.id, "192.0.2.1", True), (second.id, "192.0.2.99", True)]
    assert noted(ledger)[-1].body["pseudonyms"] == [f"{first.id}/10.3.7.1", f"{second.id}/10.3.7.1"]
    with pytest.raises(Refused, match="does not know"):
        reveal(vault, ["zz/10.3.7.1"], **options)  # type: ignore[arg-type]


def test_what_is_not_genuine_or_cannot_be_told_says_so(vault: Vault, ring: Keyring, shares: list[Share], ledger: Ledger) -> None:
    key = ring.active()
    vault.add(EpochKey(key.id, bytes(32), tenant="acme"), [Named("user", "u-forged", "somebody else")])
    options = {"shares": shares[:2], "reason": REASON, "ledger": ledger}
    assert [one.genuine for one in reveal(vault, ["u-forged"], keyring=ring, **options)] == [False]  # type: ignore[arg-type]
    assert [one.genuine for one in reveal(vault, ["u-forged"], **options)] == [None]  # type: ignore[arg-type]
    ring.rotate(overlap=timedelta())
    ring.destroy(key.id)
    assert [one.genuine for one in reveal(vault, ["u-forged"], keyring=ring, **options)] == [None]  # type: ignore[arg-type]


def test_after_a_purge_nobody_is_revealed(vault: Vault, ring: Keyring, entries: list[Named], shares: list[Share], ledger: Ledger) -> None:
    epoch = ring.active().id
    ring.rotate(overlap=timedelta())
    ring.destroy(epoch)
    assert reveal(vault, [entries[0].pseudonym], shares=shares[:2], reason=REASON, ledger=ledger)
    vault.purge(epoch)
    with pytest.raises(Refused, match="purged"):
        reveal(vault, [entries[0].pseudonym], shares=shares[:2], reason=REASON, ledger=ledger)


def test_another_tenants_keyring_is_an_error_and_no_attempt(
    vault: Vault, entries: list[Named], shares: list[Share], ledger: Ledger, tmp_path: Path
) -> None:
    other = Keyring.create(tmp_path / "other.json", tenant="other")
    with pytest.raises(UsageError, match="another tenant"):
        reveal(vault, [entries[0].pseudonym], shares=shares[:2], reason=REASON, ledger=ledger, keyring=other)
    assert not noted(ledger)


def test_a_damaged_entry_is_noted_as_asked_and_shows_nothing(
    vault: Vault, entries: list[Named], shares: list[Share], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = vault._store.find
    monkeypatch.setattr(vault._store, "find", lambda *arguments: [row._replace(sealed=bytes(80)) for row in find(*arguments)])
    with pytest.raises(VerificationError, match="does not open"):
        reveal(vault, [entries[0].pseudonym], shares=shares[:2], reason=REASON, ledger=ledger)
    assert noted(ledger)[-1].kind == "reveal"


def test_three_of_five_holders(ring: Keyring, vault: Vault, entries: list[Named], private: SealingKey, ledger: Ledger) -> None:
    shares = private.split(shares=5, threshold=3)
    assert reveal(vault, [entries[0].pseudonym], shares=shares[2:], reason=REASON, ledger=ledger)[0].identity == entries[0].identity
    with pytest.raises(Refused, match="Expected 3"):
        reveal(vault, [entries[0].pseudonym], shares=shares[:2], reason=REASON, ledger=ledger)
