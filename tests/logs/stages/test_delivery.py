"""Group commit, back-pressure, and that nothing is acknowledged before it is held."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from tacit.errors import StorageError, UsageError
from tacit.logs.anonymise import Anonymiser
from tacit.logs.formats import JsonLines
from tacit.logs.keys import EpochKey, Recorder
from tacit.logs.policies import SourcePolicy
from tacit.logs.stages import Busy, Closed, DeadLetters, Delivery, Limits
from tacit.logs.stages.outlets import OutletError

POLICY = SourcePolicy.parse("{version: 1, source: web, format: json, fields: {user: user, n: keep}}")
FORM = JsonLines("json")


class Held:
    """An outlet in memory that can be told to fail, to refuse, or to wait."""

    def __init__(self, name: str = "held") -> None:
        self.name = name
        self.batches: list[list[str]] = []
        self.open = threading.Event()
        self.open.set()
        self.fail = 0
        self.never: set[int] = set()

    def deliver(self, texts: list[str]) -> list[tuple[int, str]]:
        self.open.wait(30)
        if self.fail:
            self.fail -= 1
            raise OutletError("the disk is full")
        self.batches.append(texts)
        return [(place, "too old") for place, text in enumerate(texts) if json.loads(text).get("n") in self.never]

    def close(self) -> None:
        self.open.set()

    @property
    def events(self) -> list[dict[str, object]]:
        return [json.loads(text) for batch in self.batches for text in batch]


@pytest.fixture
def dead(tmp_path: Path) -> Iterator[DeadLetters]:
    with DeadLetters(tmp_path / "dead.jsonl") as letters:
        yield letters


@pytest.fixture
def make(dead: DeadLetters) -> Iterator[Callable[..., Delivery]]:
    made: list[Delivery] = []

    def build(*outlets: Held, limits: Limits | None = None, ids: bool = True) -> Delivery:
        made.append(Delivery(Anonymiser(POLICY, EpochKey.for_tests()), outlets, dead=dead, limits=limits, ids=ids))
        return made[-1]

    yield build
    for delivery in made:
        delivery.close(timeout=0.1)


def lines(*numbers: int) -> list[bytes]:
    return [b'{"user":"anna","n":%d}' % number for number in numbers]


def test_lines_are_treated_written_and_numbered(make: Callable[..., Delivery]) -> None:
    held = Held()
    receipt = make(held).submit(lines(1, 2), FORM).result(10)
    assert (receipt.written, receipt.refused) == (2, ())
    assert [event["n"] for event in held.events] == [1, 2]
    assert all(str(event["user"]).startswith("u-k7-") and len(str(event["tacit.id"])) == 24 for event in held.events)


class Full:
    """A vault on a disk that is full for a while."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.pending: set[str] = set()
        self.kept: set[str] = set()

    def note(self, namespace: str, pseudonym: str, identity: str) -> None:
        self.pending.add(identity)

    def flush(self) -> int:
        if self.pending and self.times:
            self.times -= 1
            raise StorageError("the disk is full")
        self.kept |= self.pending
        self.pending = set()
        return 0


@pytest.mark.parametrize("times", [1, 3])
def test_what_the_vault_cannot_take_waits_and_is_no_dead_letter(dead: DeadLetters, tmp_path: Path, times: int) -> None:
    held, vault = Held(), Full(times)
    delivery = Delivery(Anonymiser(POLICY, EpochKey.for_tests(), recorder=cast(Recorder, vault)), [held], dead=dead)
    receipt = delivery.submit(lines(1, 2, 3), FORM).result(20)
    delivery.close(timeout=5)
    assert (receipt.written, receipt.refused) == (3, ())
    assert vault.kept == {"anna"}
    assert vault.times == 0
    assert [event["n"] for event in held.events] == [1, 2, 3]
    assert not (tmp_path / "dead.jsonl").exists()


def test_equal_lines_have_equal_ids_and_those_of_one_submission_a_number(make: Callable[..., Delivery]) -> None:
    held = Held()
    delivery = make(held)
    for _ in range(2):
        delivery.submit(lines(1, 1, 2), FORM).result(10)
    ids = [str(event["tacit.id"]) for event in held.events]
    assert ids[:3] == ids[3:]
    assert ids[1] == ids[0] + "-1"
    assert ids[2][:24] != ids[0]


def test_marks_keep_equal_lines_apart_and_make_repetitions_equal(make: Callable[..., Delivery]) -> None:
    held = Held()
    delivery = make(held)
    line = b'{"user":"anna"}'
    for marks in ([b"a:0", b"a:16"], [b"a:16", b"a:32"], [b"a:0", b"a:0"]):
        delivery.submit([line] * 2, FORM, marks=marks).result(10)
    delivery.submit([line], FORM).result(10)
    ids = [str(event["tacit.id"]) for event in held.events]
    assert ids[1] == ids[2]
    assert ids[0] == ids[4]
    assert ids[5] == ids[0] + "-1"
    assert len(set(ids)) == 5


def test_an_id_of_the_sender_does_not_pass(dead: DeadLetters) -> None:
    held = Held()
    policy = SourcePolicy.parse('{version: 1, source: web, format: json, fields: {"**": keep}}')
    delivery = Delivery(Anonymiser(policy, EpochKey.for_tests()), [held], dead=dead)
    delivery.submit([b'{"tacit.id":"forged"}'], FORM).result(10)
    delivery.close()
    assert "forged" not in held.batches[0][0]
    assert len(str(held.events[0]["tacit.id"])) == 24


def test_damaged_lines_are_put_aside_before_the_answer(make: Callable[..., Delivery], tmp_path: Path) -> None:
    held = Held()
    receipt = make(held).submit([b"{", *lines(1), b"\xff", b"[]"], FORM).result(10)
    assert receipt.written == 1
    assert receipt.refused == ((0, "not JSON"), (2, "not UTF-8"), (3, "not an object"))
    letters = [json.loads(line) for line in (tmp_path / "dead.jsonl").read_text().splitlines()]
    assert [(letter["line"], letter["reason"]) for letter in letters] == [(1, "not JSON"), (3, "not UTF-8"), (4, "not an object")]


def test_nothing_is_acknowledged_while_one_of_two_outlets_fails(make: Callable[..., Delivery]) -> None:
    good, bad = Held("good"), Held("bad")
    bad.fail = 2
    delivery = make(good, bad)
    future = delivery.submit(lines(1), FORM)
    time.sleep(0.05)
    assert not future.done()
    assert delivery.failing == ("bad",)
    assert not delivery.ready
    assert future.result(10).written == 1
    assert len(good.batches) == len(bad.batches) == 1, "the outlet that has the events does not get them again"
    assert delivery.ready
    assert b'tacit_outlet_errors_total{outlet="bad"} 2.0' in delivery.metrics.text()


def test_what_an_outlet_never_takes_is_refused(make: Callable[..., Delivery], tmp_path: Path) -> None:
    held = Held()
    held.never = {2}
    receipt = make(held).submit(lines(1, 2, 3), FORM).result(10)
    assert receipt.written == 2
    assert receipt.refused == ((1, "held does not take it: too old"),)
    assert json.loads((tmp_path / "dead.jsonl").read_text())["record"] == '{"user":"anna","n":2}'


def test_a_full_queue_refuses_at_once_and_takes_again_later(make: Callable[..., Delivery]) -> None:
    held = Held()
    held.open.clear()
    delivery = make(held, limits=Limits(most_bytes=1_000))
    taken = [delivery.submit(lines(number), FORM) for number in range(1_000 // (len(lines(0)[0]) + 64))]
    with pytest.raises(Busy):
        delivery.submit(lines(1), FORM)
    assert 0 < delivery.waiting <= 1_000
    held.open.set()
    for future in taken:
        future.result(10)
    assert delivery.submit(lines(1), FORM).result(10).written == 1
    assert delivery.waiting == 0
    with pytest.raises(UsageError, match="Divide"):
        delivery.submit([b"x" * 1_000], FORM)


def test_what_gathers_meanwhile_is_one_batch(make: Callable[..., Delivery]) -> None:
    held = Held()
    held.open.clear()
    delivery = make(held)
    first = delivery.submit(lines(0), FORM)
    time.sleep(0.1)
    rest = [delivery.submit(lines(number), FORM) for number in range(1, 50)]
    held.open.set()
    assert all(future.result(10).written == 1 for future in (first, *rest))
    assert [len(batch) for batch in held.batches] == [1, 49]


def test_what_was_cancelled_before_it_began_is_dropped_and_frees_room(make: Callable[..., Delivery]) -> None:
    held = Held()
    held.open.clear()
    delivery = make(held)
    first = delivery.submit(lines(0), FORM)
    time.sleep(0.1)
    second = delivery.submit(lines(1), FORM)
    before = delivery.waiting
    assert second.cancel()
    assert delivery.waiting == before // 2
    assert not first.cancel(), "what has begun is delivered"
    held.open.set()
    assert first.result(10).written == 1
    assert delivery.submit(lines(2), FORM).result(10).written == 1
    assert [event["n"] for event in held.events] == [0, 2]


def test_closing_delivers_what_waits(make: Callable[..., Delivery]) -> None:
    held = Held()
    delivery = make(held)
    futures = [delivery.submit(lines(number), FORM) for number in range(20)]
    assert delivery.close()
    assert sum(future.result(0).written for future in futures) == 20
    with pytest.raises(Closed):
        delivery.submit(lines(1), FORM)


def test_closing_with_a_dead_outlet_acknowledges_nothing(make: Callable[..., Delivery]) -> None:
    held = Held()
    held.fail = 10**9
    delivery = make(held)
    first = delivery.submit(lines(1), FORM)
    time.sleep(0.05)
    second = delivery.submit(lines(2), FORM)
    assert not delivery.close(timeout=0.2)
    for future in (first, second):
        with pytest.raises(Closed):
            future.result(0)


def test_one_event_that_cannot_be_treated_does_not_hold_up_the_others(make: Callable[..., Delivery], monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    delivery = make(held)
    real = Anonymiser.texts

    def breaks(self: Anonymiser, events: list[dict[str, object]]) -> object:
        if any(event["n"] == 7 for event in events):
            raise RecursionError("anna is in this message")
        return real(self, events)

    monkeypatch.setattr(Anonymiser, "texts", breaks)
    receipt = delivery.submit(lines(*range(20)), FORM).result(10)
    assert receipt.written == 19
    assert receipt.refused == ((7, "could not be treated (RecursionError)"),)
    assert sorted(event["n"] for event in held.events) == [n for n in range(20) if n != 7]


def test_without_the_key_nothing_passes(dead: DeadLetters) -> None:
    held, ready = Held(), threading.Event()

    def current() -> Anonymiser:
        if not ready.is_set():
            raise UsageError("others may read the keyring")
        return Anonymiser(POLICY, EpochKey.for_tests())

    delivery = Delivery(current, [held], dead=dead)
    future = delivery.submit(lines(1), FORM)
    time.sleep(0.05)
    assert delivery.failing == ("keys",)
    ready.set()
    assert future.result(10).written == 1
    assert delivery.close()


def test_many_threads(make: Callable[..., Delivery]) -> None:
    held = Held()
    delivery = make(held)
    done: list[int] = []

    def send(thread: int) -> None:
        done.extend(delivery.submit(lines(1000 * thread + n), FORM).result(20).written for n in range(50))

    threads = [threading.Thread(target=send, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done) == 400
    assert sorted(event["n"] for event in held.events) == [1000 * thread + n for thread in range(8) for n in range(50)]
    assert len(held.batches) < 400


def test_reasons_in_the_metrics_are_bounded_and_hold_no_value(make: Callable[..., Delivery]) -> None:
    delivery = make(Held())
    delivery.metrics.refused({f"reason {n}": 1 for n in range(200)})
    delivery.submit([b"anna"], FORM).result(10)
    text = delivery.metrics.text().decode()
    assert text.count("tacit_events_refused_total{") == 51
    assert "anna" not in text
