from __future__ import annotations

import fcntl
import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.crypto import SealingKey, canonical_bytes, from_canonical, hexdigest
from tacit.errors import ConfigError, StorageError, TacitError, UsageError, VerificationError
from tacit.logs.keys import ALPHABET, EpochKey, Keyring, collision_chance, locking
from tacit.logs.treatments import Pseudonyms

THEN = datetime(2026, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
DAY = timedelta(days=1)
WORDS = "correct horse battery staple"


def masters(path: Path) -> list[bytes]:
    """What the file says are keys."""
    return [entry["master"] for entry in from_canonical(path.read_bytes().rstrip(b"\n"))["epochs"] if entry["master"] is not None]


def test_a_keyring_is_read_as_it_was_written_and_belongs_to_its_owner(path: Path) -> None:
    ring = Keyring.create(path, tenant="acme")
    again = Keyring.open(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (again.tenant, again.reveal_key, again.locked) == ("acme", None, False)
    assert again.active().secret("address") == ring.active().secret("address")
    assert len(ring.active().id) == 2
    assert set(ring.active().id) <= set(ALPHABET)
    ring.rotate(overlap=WEEK)
    assert path.stat().st_mode & 0o777 == 0o600
    assert repr(ring) == "Keyring(acme, 2 epochs)"


def test_tenants_epochs_and_purposes_have_nothing_in_common() -> None:
    master = bytes(32)
    secrets = {
        EpochKey(epoch, master, tenant=tenant).secret(purpose)
        for epoch in ("k7", "k8") for tenant in ("a", "b") for purpose in ("address", "pseudonym/user")
    }
    assert len(secrets) == 8
    assert EpochKey("k7", master, tenant="ak7").secret("x") != EpochKey("k7", master, tenant="a").secret("k7x")


def test_pseudonyms_of_two_tenants_never_match_even_with_one_master() -> None:
    made = [{Pseudonyms(EpochKey("k7", bytes(32), tenant=tenant), "user", "u").of(f"user{n}") for n in range(1_000)} for tenant in ("a", "b")]
    assert not made[0] & made[1]


# ------------------------------------------------------------------------------------------------------------------- time


def test_the_former_key_is_given_only_while_the_overlap_lasts(path: Path) -> None:
    ring = Keyring.create(path, tenant="acme", now=THEN)
    first = ring.active(THEN)
    assert ring.prior(THEN) is None
    second = ring.rotate(overlap=WEEK, now=THEN + WEEK)
    assert ring.active(THEN + WEEK).id == second
    prior = ring.prior(THEN + WEEK + 6 * DAY)
    assert prior is not None
    assert prior.secret("x") == first.secret("x")
    assert ring.prior(THEN + WEEK + WEEK) is None


def test_correlation_survives_a_rotation(path: Path) -> None:
    """What the pipeline attaches during the overlap is what it wrote before."""
    ring = Keyring.create(path, tenant="acme", now=THEN)
    before = Pseudonyms(ring.active(THEN), "user", "u").of("anna")
    ring.rotate(overlap=WEEK, now=THEN + WEEK)
    later = THEN + WEEK + DAY
    prior = ring.prior(later)
    assert prior is not None
    assert Pseudonyms(prior, "user", "u").of("anna") == before != Pseudonyms(ring.active(later), "user", "u").of("anna")


def test_an_overlap_of_nothing_attaches_nothing(path: Path) -> None:
    ring = Keyring.create(path, tenant="acme", now=THEN)
    ring.rotate(overlap=timedelta(), now=THEN + DAY)
    assert ring.prior(THEN + DAY) is None
    with pytest.raises(UsageError, match="no less than nothing"):
        ring.rotate(overlap=-DAY)


def test_the_key_is_that_of_the_time_also_when_the_clock_goes_back(path: Path) -> None:
    ring = Keyring.create(path, tenant="acme", now=THEN)
    first = ring.active(THEN).id
    second = ring.rotate(overlap=WEEK, now=THEN + WEEK)
    moments = (THEN + WEEK, THEN + WEEK - DAY, THEN, THEN - timedelta(minutes=4))
    assert [ring.active(moment).id for moment in moments] == [second, first, first, first]
    with pytest.raises(UsageError, match="clock"):
        ring.active(THEN - timedelta(minutes=6))
    with pytest.raises(UsageError, match="clock"):
        ring.rotate(overlap=WEEK, now=THEN + WEEK - DAY)
    assert ring.rotate(overlap=WEEK, now=THEN + WEEK) not in (first, second)  # the same instant is not before
    ring.destroy(first)
    with pytest.raises(UsageError, match="destroyed"):
        ring.active(THEN + DAY)
    with pytest.raises(UsageError, match="time zone"):
        ring.active(datetime(2026, 1, 1))


def test_times_in_other_zones_are_the_same_times(path: Path) -> None:
    from datetime import timezone

    east = timezone(timedelta(hours=9))
    ring = Keyring.create(path, tenant="acme", now=THEN.astimezone(east))
    ring.rotate(overlap=timedelta(microseconds=1_500_001), now=(THEN + DAY).astimezone(east))
    times = [(epoch.begun, epoch.overlap) for epoch in Keyring.open(path).epochs]
    assert times == [(THEN, timedelta()), (THEN + DAY, timedelta(microseconds=1_500_001))]


# ------------------------------------------------------------------------------------------------------------------- destroying


def test_a_destroyed_key_is_gone_from_the_file(path: Path) -> None:
    ring = Keyring.create(path, tenant="acme", now=THEN)
    first, (secret,) = ring.active().id, masters(path)
    ring.rotate(overlap=WEEK, now=THEN + DAY)
    assert secret in masters(path)
    ring.destroy(first)
    assert secret not in masters(path)
    assert len(masters(path)) == 1
    again = Keyring.open(path)
    assert [epoch.destroyed for epoch in again.epochs] == [True, False]
    assert again.prior(THEN + 2 * DAY) is None
    for _ in range(2):
        with pytest.raises(UsageError, match="was destroyed"):
            again.destroy(first)
    with pytest.raises(UsageError, match="in use"):
        again.destroy(again.active().id)
    assert len(Keyring.open(path).epochs) == 2


def test_an_epoch_that_is_not_there_is_not_repeated(path: Path) -> None:
    with pytest.raises(UsageError, match="not in this keyring") as refused:
        Keyring.create(path, tenant="acme").epoch("anna.keller")
    assert "anna" not in str(refused.value)


def test_names_of_epochs_are_used_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.logs.keys.keyring.ALPHABET", "23")
    ring = Keyring.create(path, tenant="acme", now=THEN)
    for day in range(1, 4):
        ring.rotate(overlap=DAY, now=THEN + day * DAY)
        ring.destroy(ring.epochs[-2].id)
    assert {epoch.id for epoch in ring.epochs} == {"22", "23", "32", "33"}
    with pytest.raises(UsageError, match="all 4 epochs"):
        ring.rotate(overlap=DAY, now=THEN + WEEK)
    assert len(Keyring.open(path).epochs) == 4


# ------------------------------------------------------------------------------------------------------------------- the file


def test_what_is_wrong_is_said(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="tacit logs keys init"):
        Keyring.open(path)
    with pytest.raises(StorageError, match="folder"):
        Keyring.create(tmp_path / "none" / "keys.json", tenant="acme")
    Keyring.create(path, tenant="acme", now=THEN)
    with pytest.raises(UsageError, match="exists"):
        Keyring.create(path, tenant="acme")
    for tenant in ("", "a b", "a" * 81, "a/b", "ä", "a\0b"):
        with pytest.raises(UsageError, match="tenant"):
            Keyring.create(tmp_path / "other", tenant=tenant)
    path.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        Keyring.open(path)


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b"\xff", b'{"version": 1, "tenant": "a", "epochs": []}', b"[" * 100_000, b"{" * 2_000_000])
def test_a_file_that_is_no_keyring_is_refused(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="damaged or something else"):
        Keyring.open(path)


def test_any_changed_or_missing_byte_is_found(path: Path) -> None:
    Keyring.create(path, tenant="acme", reveal=SealingKey.generate().public)
    whole = path.read_bytes()
    for place in range(len(whole) - 1):
        for wrong in (whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :], whole[:place]):
            path.write_bytes(wrong)
            with pytest.raises(ConfigError):
                Keyring.open(path)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2}, {"kind": "x"}, {"epochs": []}, {"epochs": [1]}, {"extra": 1}, {"tenant": 1.5, "epochs": None}, {"lock": {"n": 2**60}},
        {"epochs": [{"id": "k7", "begun": "2026-01-01", "overlap": 0, "master": None}]},
        {"epochs": [{"id": "k7", "begun": "2026-01-01T00:00:00+00:00", "overlap": 0, "master": b"short"}]},
        {"epochs": [{"id": name, "begun": "2026-01-01T00:00:00+00:00", "overlap": 0, "master": bytes(32)} for name in ("k7", "k7")]},
        {"epochs": [{"id": f"k{9 - day}", "begun": f"2026-01-0{day}T00:00:00+00:00", "overlap": 0, "master": bytes(32)} for day in (2, 1)]},
        {"epochs": [{"id": "k7", "begun": "2026-01-01T00:00:00", "overlap": 0, "master": bytes(32)}]},
        {"epochs": [{"id": "k7", "begun": "2026-01-01T00:00:00+00:00", "overlap": 10**30, "master": bytes(32)}]},
    ],
)
def test_a_file_that_is_whole_and_makes_no_sense_is_refused(path: Path, change: dict[str, object]) -> None:
    Keyring.create(path, tenant="acme")
    fields = from_canonical(path.read_bytes().rstrip(b"\n"))
    del fields["digest"]
    fields |= change
    path.write_bytes(canonical_bytes(fields | {"digest": hexdigest(fields, domain="tacit.logs.keyring")}))
    with pytest.raises(ConfigError):
        Keyring.open(path)


def test_a_change_that_cannot_be_written_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Keyring.create(path, tenant="acme", now=THEN)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError):
        ring.rotate(overlap=WEEK, now=THEN + WEEK)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert len(ring.epochs) == 1
    assert ring.rotate(overlap=WEEK, now=THEN + WEEK) == Keyring.open(path).epochs[-1].id


def test_two_rotations_one_after_the_other_do_not_lose_a_key(path: Path) -> None:
    Keyring.create(path, tenant="acme", now=THEN)
    one, two = Keyring.open(path), Keyring.open(path)
    first, second = one.rotate(overlap=WEEK, now=THEN + WEEK), two.rotate(overlap=WEEK, now=THEN + 2 * WEEK)
    assert [epoch.id for epoch in Keyring.open(path).epochs][1:] == [first, second]


def test_rotations_at_once_are_told_so_and_lose_nothing(path: Path) -> None:
    Keyring.create(path, tenant="acme", now=THEN)

    def rotate(_: int) -> str | None:
        try:
            return Keyring.open(path).rotate(overlap=WEEK)
        except UsageError as error:
            refusals.append(str(error))
            return None

    refusals: list[str] = []
    with ThreadPoolExecutor(8) as pool:
        made = [name for name in pool.map(rotate, range(40)) if name]
    assert made
    assert all("Somebody else" in refusal for refusal in refusals)
    assert sorted(made) == sorted(epoch.id for epoch in Keyring.open(path).epochs[1:])


def test_whoever_holds_the_lock_is_waited_for_by_nobody(path: Path) -> None:
    ring = Keyring.create(path, tenant="acme")
    with path.with_name(".keys.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for change in (lambda: ring.rotate(overlap=WEEK), lambda: ring.destroy(ring.epochs[0].id)):
            with pytest.raises(UsageError, match="Somebody else"):
                change()
    ring.rotate(overlap=WEEK)


def test_a_running_pipeline_sees_a_rotation(path: Path) -> None:
    ring = Keyring.create(path, tenant="acme")
    running = Keyring.open(path)
    assert not ring.refresh()
    assert not running.refresh()
    ring.rotate(overlap=WEEK)
    assert not ring.refresh()
    assert running.refresh()
    assert not running.refresh()
    assert running.active().id == ring.active().id
    path.unlink()
    with pytest.raises(StorageError):
        running.refresh()
    Keyring.create(path, tenant="other")
    with pytest.raises(ConfigError, match="same tenant"):
        running.refresh()
    assert running.tenant == "acme"


# ------------------------------------------------------------------------------------------------------------------- passphrase


def test_a_passphrase_wraps_the_keys(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Keyring.create(path, tenant="acme", passphrase=WORDS, now=THEN)
    secret = ring.active().secret("x")
    assert ring.locked
    assert ring._content.masters[ring.active().id] not in path.read_bytes()
    with pytest.raises(UsageError, match="TACIT_PASSPHRASE"):
        Keyring.open(path)
    for wrong in (WORDS + " ", "", "wrong horse battery staple"):
        with pytest.raises(VerificationError, match="does not open"):
            Keyring.open(path, passphrase=wrong)
    assert Keyring.open(path, passphrase=WORDS).active().secret("x") == secret
    assert Keyring.open(path, passphrase=lambda: WORDS).active().secret("x") == secret
    monkeypatch.setenv("TACIT_PASSPHRASE", WORDS)
    again = Keyring.open(path)
    again.rotate(overlap=WEEK, now=THEN + WEEK)
    assert ring.refresh()  # without asking again
    assert ring.active().secret("x") == again.active().secret("x")
    assert all(len(box) == 12 + 32 + 16 for box in masters(path))
    assert len({box[:12] for box in masters(path)}) == 2


def test_a_short_passphrase_is_refused_and_writes_nothing(path: Path) -> None:
    with pytest.raises(UsageError, match="12 characters"):
        Keyring.create(path, tenant="acme", passphrase="x" * 11)
    assert not path.exists()


def test_wrapped_keys_do_not_move_between_epochs(path: Path) -> None:
    Keyring.create(path, tenant="acme", passphrase=WORDS, now=THEN).rotate(overlap=WEEK, now=THEN + WEEK)
    fields = from_canonical(path.read_bytes().rstrip(b"\n"))
    del fields["digest"]
    one, two = fields["epochs"]
    one["master"], two["master"] = two["master"], one["master"]
    path.write_bytes(canonical_bytes(fields | {"digest": hexdigest(fields, domain="tacit.logs.keyring")}))
    with pytest.raises(VerificationError, match="does not open"):
        Keyring.open(path, passphrase=WORDS)


def test_the_cost_of_a_guess_is_what_is_recommended_and_a_file_cannot_ask_for_any() -> None:
    import importlib.util

    spec = importlib.util.find_spec("tacit.logs.keys.locking")
    assert spec is not None
    assert spec.origin is not None
    assert "_N, _R, _P = 1 << 17, 8, 1" in Path(spec.origin).read_text(encoding="utf-8")
    lock = locking.Lock.make(WORDS)
    for change in ({"n": 1 << 21}, {"n": 3}, {"n": True}, {"r": 9}, {"p": 0}, {"p": 17}, {"kdf": "md5"}, {"salt": b""}, {"salt": "x"}, {"more": 1}):
        with pytest.raises((ValueError, TypeError)):
            locking.Lock.open(lock.parameters | change, WORDS)
    assert repr(lock) == "Lock(scrypt)"


# ------------------------------------------------------------------------------------------------------------------- keys


def test_a_key_does_not_show_itself(path: Path) -> None:
    key = Keyring.create(path, tenant="acme").active()
    assert repr(key) == f"EpochKey({key.id})"
    with pytest.raises(UsageError):
        pickle.dumps(key)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_file_is_read_or_refused(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "keys.json"
        target.write_bytes(content)
        target.chmod(0o600)
        with pytest.raises(TacitError):
            Keyring.open(target)


# ------------------------------------------------------------------------------------------------------------------- collisions


def test_the_chance_of_a_collision_is_the_birthday_bound() -> None:
    assert collision_chance(2) == pytest.approx(2**-80)
    assert collision_chance(0) == collision_chance(1) == 0
    assert collision_chance(10**9) == pytest.approx(10**18 / 2**81, rel=1e-6)
    assert collision_chance(10**14) > 0.99
    assert collision_chance(300, bits=16) == pytest.approx(1 - np.prod(1 - np.arange(300) / 2**16), abs=2e-3)
    for wrong in ({"distinct": -1}, {"distinct": 1, "bits": 0}):
        with pytest.raises(UsageError):
            collision_chance(**wrong)


def test_pseudonyms_collide_as_often_as_the_bound_says() -> None:
    """500 sets of 300 names, cut to 16 bits; the chance per set is .495, so 247.5 sets on average with a deviation of 11.2."""
    names = Pseudonyms(EpochKey.for_tests(), "user", "u")
    collided = sum(len({names.number(f"{run}/{name}", 16) for name in range(300)}) < 300 for run in range(500))
    expected, deviation = 500 * collision_chance(300, bits=16), (500 * 0.25) ** 0.5
    assert abs(collided - expected) < 6.2 * deviation
    assert abs(collided - 500 * collision_chance(300, bits=17)) > 6.2 * deviation / 2  # one bit less would be seen
    assert all(a != b for a, b in combinations([names.of(str(n)) for n in range(100)], 2))
