from __future__ import annotations

import gzip
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacit.encrypted import Client, Compiled, Parameters, PublicModel, SecretKey
from tacit.encrypted.serving import KeptMeter, Limits
from tacit.encrypted.wire import Kind, prefix_of
from tacit.errors import BudgetExceeded, Replayed, StorageError, UsageError, WrongKey
from tacit.web import Tokens

from ..conftest import Patients
from ..test_messages import rewritten, secret_bytes
from .conftest import OTHER, TOKEN, Vendor

Start = Callable[..., Vendor]
KEPT: dict[str, Vendor] = {}


def refused(answer: Any, status: int, error: str) -> dict[str, str]:
    """A refusal has a name, one line of reason, and what to do; nothing else."""
    found: dict[str, str] = answer.json()
    assert (answer.status_code, found["error"]) == (status, error)
    assert set(found) == {"error", "reason", "do"}
    assert all(0 < len(text) < 300 and "\n" not in text for text in found.values())
    return found


def test_scores_are_those_of_the_model_in_the_clear(vendor: Start, patients: Patients) -> None:
    one = vendor()
    answer = one.post(one.client.request(patients.some(5)))
    assert answer.status_code == 200
    assert np.array_equal(one.client.open(answer.content), one.compiled.simulate(patients.some(5)))
    assert PublicModel.from_bytes(one.ask("GET", "/v1/model").content).id == one.compiled.public.id
    text = one.ask("GET", "/metrics").text
    assert "tacit_encrypted_records_total 5.0" in text
    assert "hospital" not in text
    assert one.ask("GET", "/health/live", token=None).json() == {"live": True}
    assert one.ask("GET", "/health/ready", token=None).status_code == 200


def test_requests_that_are_scored_at_once_get_their_own_answers(vendor: Start, patients: Patients, compiled: Compiled) -> None:
    one = vendor(budget=1_000, limits=Limits.of(compiled.plan, workers=4))
    records = [{name: values[place : place + 3] for name, values in patients.test.items()} for place in range(0, 24, 3)]
    requests = [one.client.request(some) for some in records]
    answers = [answer.content for answer in one.post_all(requests)]
    for answer, some in zip(answers, records, strict=True):
        assert np.array_equal(one.client.open(answer), compiled.simulate(some))
    assert one.meter.left("hospital") == 1_000 - 24


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/model"), ("GET", "/v1/about"), ("GET", "/metrics"), ("POST", "/v1/score")])
@pytest.mark.parametrize("token", [None, "wrong" * 8, ""])
def test_without_a_token_nothing_is_told(vendor: Start, method: str, path: str, token: str | None) -> None:
    one = vendor()
    answer = one.ask(method, path, token=token)
    refused(answer, 401, "Refused")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_paths_that_do_not_exist_and_interactive_pages_are_not_there(vendor: Start) -> None:
    one = vendor()
    assert {one.ask("GET", path).status_code for path in ("/", "/docs", "/openapi.json", "/v1/score/", "/v2/score")} == {404}
    assert one.ask("GET", "/v1/score").status_code == 405


def test_hostile_bodies_are_refused_by_name_and_cost_no_budget(vendor: Start, patients: Patients) -> None:
    one = vendor(budget=100)
    request = one.client.request(patients.some(1))
    stranger = Client(one.compiled.public, SecretKey.generate(one.compiled.plan.parameters)).request(patients.some(1))
    tampered = bytearray(request)
    tampered[-200] ^= 1
    cases = {
        "empty": (b"", 400, "MessageDamaged"), "cut": (request[:-1], 400, "MessageDamaged"), "longer": (request + b"x" * 300, 400, "MessageDamaged"),
        "text": (b"{}" * 40, 400, "MessageDamaged"), "another kind": (one.key.public.to_bytes(), 400, "MessageDamaged"),
        "changed": (bytes(tampered), 400, "SignatureInvalid"), "not admitted": (stranger, 403, "WrongKey"),
        "in the place of another": (rewritten(stranger, Kind.REQUEST, key=one.key.public.id), 400, "SignatureInvalid"),
        "another model": (rewritten(request, Kind.REQUEST, model="0" * 64), 409, "WrongModel"),
        "more rows than sent": (rewritten(request, Kind.REQUEST, rows=2), 400, "MessageDamaged"),
        "rows beyond all": (rewritten(request, Kind.REQUEST, rows=1 << 62), 400, "MessageDamaged"),
        "header that lies": (prefix_of(Kind.REQUEST, {"key": one.key.public.id, "rows": 1}, 1 << 29), 400, "MessageDamaged"),
    }
    for body, status, error in cases.values():
        refused(one.post(body), status, error)
    assert one.meter.left("hospital") == 100
    assert one.post(request).status_code == 200
    assert one.meter.left("hospital") == 99


def test_a_key_is_of_no_use_with_the_token_of_another(vendor: Start, patients: Patients) -> None:
    one = vendor()
    request = one.client.request(patients.some(1))
    refused(one.post(request, token=OTHER), 403, "WrongKey")
    assert one.post(request).status_code == 200


def test_a_replay_is_refused(vendor: Start, patients: Patients) -> None:
    one = vendor()
    request = one.client.request(patients.some(1))
    assert one.post(request).status_code == 200
    assert "answered once" in refused(one.post(request), 409, "Replayed")["do"]


def test_a_budget_ends_and_holds_after_a_restart(vendor: Start, patients: Patients) -> None:
    one = vendor(budget=3)
    kept = one.client.request(patients.some(1))
    assert one.post(one.client.request(patients.some(2))).status_code == 200
    refused(one.post(one.client.request(patients.some(2))), 403, "BudgetExceeded")
    one.meter.close()
    again = vendor(budget=3, key=one.key)
    assert again.ask("GET", "/v1/about").json()["left"] == 1
    refused(again.post(kept), 409, "Replayed")
    assert again.post(again.client.request(patients.some(1))).status_code == 200
    refused(again.post(again.client.request(patients.some(1))), 403, "BudgetExceeded")


def test_a_rate_is_held_for_each_client(vendor: Start, compiled: Compiled) -> None:
    one = vendor(limits=Limits.of(compiled.plan, rate=3))
    for _ in range(3):
        refused(one.post(b"no request at all"), 400, "MessageDamaged")
    answer = one.post(b"no request at all")
    refused(answer, 429, "Refused")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    refused(one.post(b"no request at all", token=OTHER), 400, "MessageDamaged")


def test_sizes_are_bounded_packed_or_not(vendor: Start, compiled: Compiled) -> None:
    limits = Limits.of(compiled.plan, most_body=1 << 20)
    one = vendor(limits=limits)
    assert refused(one.post(bytes((1 << 20) + 1)), 413, "Refused")["do"].startswith("send fewer")
    bomb = gzip.compress(bytes(64 << 20))
    assert len(bomb) < 1 << 17
    refused(one.post(bomb, headers={"Content-Encoding": "gzip"}), 413, "Refused")
    refused(one.post(b"x", headers={"Content-Encoding": "br"}), 415, "Refused")
    with pytest.raises(UsageError, match="one block"):
        Limits.of(compiled.plan, most_body=1000)


def test_a_disk_that_refuses_answers_nothing_and_is_told(vendor: Start, patients: Patients, monkeypatch: pytest.MonkeyPatch) -> None:
    one = vendor(budget=10)

    def full(self: KeptMeter, *_: Any, **more: Any) -> None:
        raise StorageError("Cannot note what was asked (OperationalError); nothing was answered")

    with monkeypatch.context() as patched:
        patched.setattr(KeptMeter, "keep", full)
        request = one.client.request(patients.some(1))
        refused(one.post(request), 503, "StorageError")
        assert one.ask("GET", "/health/ready", token=None).status_code == 503
    assert one.meter.left("hospital") == 10
    assert one.post(request).status_code == 200
    assert one.ask("GET", "/health/ready", token=None).status_code == 200


def test_a_fault_of_ours_says_nothing_but_its_kind(
    vendor: Start, patients: Patients, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = vendor()

    def broken(body: bytes) -> bytes:
        raise RuntimeError(f"a detail: {body[:20]!r}")

    monkeypatch.setattr(one.scorer, "score", broken)
    refused(one.post(one.client.request(patients.some(1))), 500, "Fault")
    assert "RuntimeError" in caplog.text
    assert "detail" not in caplog.text


def test_logs_and_metrics_hold_nothing_of_a_message(vendor: Start, patients: Patients, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    one = vendor(budget=1)
    record = {name: [777.123457] for name in patients.domain.names}
    request = one.client.request(record)
    answers = [one.post(request), one.post(request), one.post(request[:200]), one.post(one.client.request(record))]
    margin = float(one.client.open(answers[0].content)[0, 0])
    shown = (caplog.text + one.ask("GET", "/metrics").text + "".join(answer.text for answer in answers[1:])).encode()
    pieces = [request[place : place + 12] for place in range(700, len(request) - 12, 997)] + secret_bytes(one.key)
    assert not any(piece in shown or piece.hex().encode() in shown for piece in pieces)
    assert all(len(piece) >= 12 for piece in pieces)
    assert one.key.public.id.encode() not in shown
    assert b"777.12" not in shown
    assert f"{margin:.5f}".encode() not in shown


def test_clients_come_and_go_while_it_runs(vendor: Start, patients: Patients) -> None:
    one = vendor(budget=3)
    assert one.post(one.client.request(patients.some(2))).status_code == 200
    late = SecretKey.generate(one.compiled.plan.parameters)
    theirs = Client(one.compiled.public, late)
    refused(one.post(theirs.request(patients.some(1)), token=OTHER), 403, "WrongKey")
    third = "third-token-0123456789abcdef"
    one.clients.replace(tokens=Tokens({"other": OTHER, "third": third}), keys={"other": late.public})
    answer = one.post(theirs.request(patients.some(1)), token=OTHER)
    assert theirs.open(answer.content).shape == (1, 1)
    refused(one.post(one.client.request(patients.some(1))), 401, "Refused")
    refused(one.post(one.client.request(patients.some(1)), token=third), 403, "WrongKey")
    with pytest.raises(WrongKey):
        one.scorer.score(one.client.request(patients.some(1)))
    with pytest.raises(WrongKey):
        one.meter.charge(one.key.public.id, number=1 << 40, rows=1)
    both = Tokens({"hospital": TOKEN, "other": OTHER})
    for keys in ({"hospital": one.key.public, "nobody": late.public}, {"hospital": SecretKey.generate(Parameters(4096, (54, 55), 12)).public}):
        with pytest.raises(UsageError):
            one.clients.replace(tokens=both, keys=keys)
    refused(one.post(one.client.request(patients.some(1))), 401, "Refused")
    one.clients.replace(tokens=both, keys={"hospital": one.key.public, "other": late.public})
    refused(one.post(one.client.request(patients.some(2))), 403, "BudgetExceeded")
    assert one.post(one.client.request(patients.some(1))).status_code == 200


def test_a_meter_keeps_a_client_with_two_keys_to_one_budget(tmp_path: Any) -> None:
    meter = KeptMeter(tmp_path / "spent.db", budget=5, owners={"a": "hospital", "b": "hospital", "c": "clinic"})
    meter.charge("a", number=7, rows=3)
    with pytest.raises(BudgetExceeded):
        meter.charge("b", number=1, rows=3)
    meter.charge("b", number=1, rows=2)
    meter.charge("c", number=1, rows=5)
    with pytest.raises(StorageError, match="alone"):
        KeptMeter(tmp_path / "spent.db", budget=5, owners={})
    meter.close()
    again = KeptMeter(tmp_path / "spent.db", budget=50, owners={"a": "hospital"})
    assert (again.left("hospital"), again.left("clinic"), again.left("new")) == (45, 45, 50)
    for number in (7, 6, -5):
        with pytest.raises(Replayed):
            again.charge("a", number=number, rows=1)
    with pytest.raises(StorageError):
        again.charge("a", number=1 << 70, rows=1)
    again.charge("a", number=8, rows=1)
    again.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_bytes_get_anything_but_a_clean_refusal(vendor: Start, compiled: Compiled, patients: Patients, data: st.DataObject) -> None:
    one = KEPT.get("one") or KEPT.setdefault("one", vendor(limits=Limits.of(compiled.plan, rate=100_000)))
    request = one.client.request(patients.some(1))
    begin = data.draw(st.integers(0, min(len(request), 900)))
    middle = data.draw(st.binary(max_size=40))
    end = begin + data.draw(st.sampled_from([0, len(middle), 100]))
    body = request[:begin] + middle + request[end:]
    answer = one.post(body)
    if body == request:
        assert answer.status_code == 200
    else:
        assert answer.status_code in (400, 403, 409)
        refused(answer, answer.status_code, answer.json()["error"])
