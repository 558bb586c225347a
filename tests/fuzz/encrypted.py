"""What atheris throws at everything encrypted that comes from outside: ``python tests/fuzz/encrypted.py NAME [options of libFuzzer]``.

Requests and contributions are signed by whom they should be, so that nothing stops at the signature: a client that was taken over writes what it
likes.
Nothing but a refusal may come of it, or an answer of the right size to a request that says what it should.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["tacit.encrypted", "tacit.web", "tacit.crypto.canonical"]):
    from tacit.encrypted import Client, EncryptedScorer, EncryptionKey, Evaluator, KeyHolder, PublicModel, SecretKey, SumPlan, Survey, contribute
    from tacit.encrypted.columns import DesignColumns
    from tacit.encrypted.envelope import sealed_request
    from tacit.encrypted.plan import choose
    from tacit.encrypted.serving import Clients, KeptMeter, Limits, application
    from tacit.encrypted.wire import Kind, parse, prefix_of
    from tacit.web import Tokens

import numpy as np

from tacit.crypto import SealingKey, SigningKey
from tacit.domain import Domain, Numeric
from tacit.encrypted import Terms, statistic
from tacit.encrypted.sums import _CONTRIBUTION, _signed
from tacit.errors import StorageError, TacitError
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.questions import Target

NAMES = ("encrypted-request", "encrypted-contribution", "encrypted-bytes", "encrypted-endpoint")
TOKEN = "fuzz-token-0123456789"  # noqa: S105 - of this program alone
WEIGHTS, BIAS = np.array([[3, -2, 1]], np.int64), np.zeros(1, np.int64)


class Scene:
    """A scorer with one client, an evaluator with one contributor, and an honest message of each."""

    def __init__(self) -> None:
        columns = DesignColumns(Domain.of(**{f"x{place}": Numeric(-1.0, 1.0) for place in range(3)}))
        plan = choose(WEIGHTS, columns.reach(WEIGHTS), name="throughput", packing="single")
        self.sealing = SealingKey.generate()
        self.public = PublicModel(columns, Target("y", ("0", "1")), plan, 1.0, 0.0, self.sealing.public)
        self.key = SecretKey.generate(plan.parameters)
        self.client = Client(self.public, self.key)
        self.meter = KeptMeter(Path(tempfile.mkdtemp()) / "spent.db", budget=None, owners={})
        self.scorer = EncryptedScorer(self.public, WEIGHTS, BIAS, sealing=self.sealing, meter=self.meter)
        self.clients = Clients(self.scorer, tokens=Tokens({"client": TOKEN}), keys={"client": self.key.public})
        self.request = self.client.request({f"x{place}": [0.5] for place in range(3)})
        message = parse(self.request, Kind.REQUEST)
        self.header, self.body = {name: item for name, item in message.header.items() if name != "session"}, bytes(message.body)
        self.sums = SumPlan("fuzz", 5, 100, 3, 2)
        self.holder, self.contributor, self.evaluators = SecretKey.generate(self.sums.parameters), SigningKey.generate(), SigningKey.generate()
        self.upload = contribute(self.sums, np.arange(5), who="a", key=self.holder.public, signing=self.contributor)
        self.honest = self._honest()

    def _honest(self) -> dict[Kind, bytes]:
        """One message of each kind, for the fuzzer to spoil."""
        evaluator = self.evaluator()
        evaluator._added = ["a", "b"]
        terms = Terms("fuzz", statistic("mean", self.public.columns.domain), Budget(1.0, 1e-5), (PrivacyUnit(), Relation.ADD_REMOVE), 2)
        survey, _ = Survey.make(terms, evaluator=self.evaluators.public, contributors={n: SigningKey.generate().public for n in "abc"})
        return {
            Kind.REQUEST: self.request, Kind.ANSWER: self.scorer.score(self.client.request({f"x{place}": [0.5] for place in range(3)})),
            Kind.MODEL: self.public.to_bytes(), Kind.PUBLIC_KEY: self.key.public.to_bytes(), Kind.SURVEY: survey.to_bytes(),
            Kind.CONTRIBUTION: self.upload, Kind.TOTAL: evaluator.total(),
        }  # fmt: skip

    def evaluator(self) -> Evaluator:
        return Evaluator(self.sums, key=self.holder.public, contributors={"a": self.contributor.public}, signing=self.evaluators)


SCENE = Scene()
FIELDS = ("model", "key", "number", "rows", "whole", "plan", "who", "parameters", "verify", "terms", "contributors", "evaluator", "session")


def value(given: atheris.FuzzedDataProvider, depth: int = 0) -> object:
    """Something of a kind that headers hold."""
    kind = given.ConsumeIntInRange(0, 7 if depth < 3 else 5)
    if kind == 0:
        return given.ConsumeBytes(given.ConsumeIntInRange(0, 80))
    if kind == 1:
        return given.PickValueInList([None, True, False, -1, 0, 1, 2, 2**31, 2**62, 2**63, 10**30, 0.5])
    if kind == 2:
        return given.PickValueInList(["a", "b", "", "throughput", "single", SCENE.public.id, SCENE.key.public.id, SCENE.sums.id])
    if kind == 3:
        return given.ConsumeUnicodeNoSurrogates(20)
    if kind in (4, 5):
        return given.ConsumeIntInRange(-4, 4_096)
    if kind == 6:
        return [value(given, depth + 1) for _ in range(given.ConsumeIntInRange(0, 4))]
    return {given.PickValueInList(list(FIELDS)): value(given, depth + 1) for _ in range(given.ConsumeIntInRange(0, 4))}


def spoiled(content: object, given: atheris.FuzzedDataProvider) -> object:
    """An honest header in which here and there something is another, is missing or is too much."""
    if given.ConsumeIntInRange(0, 5) == 0:
        return value(given)
    if isinstance(content, dict):
        found = {key: spoiled(item, given) for key, item in content.items() if given.ConsumeIntInRange(0, 15)}
        return found | ({given.PickValueInList(list(FIELDS)): value(given)} if not given.ConsumeIntInRange(0, 7) else {})
    return content


def words(honest: bytes, given: atheris.FuzzedDataProvider) -> bytes:
    """A body: the honest one, one of another length, or one with other words in it."""
    kind = given.ConsumeIntInRange(0, 3)
    if kind == 0:
        return honest[: given.ConsumeIntInRange(0, len(honest))]
    if kind == 1:
        return honest * given.ConsumeIntInRange(0, 3)
    if kind == 2:
        part = given.ConsumeBytes(64)
        place = given.ConsumeIntInRange(0, len(honest))
        return (honest[:place] + part + honest[place + len(part) :])[: len(honest)]
    return honest


def request(data: bytes) -> None:
    """A client that signs what it likes."""
    given = atheris.FuzzedDataProvider(data)
    header = dict(SCENE.header)
    number = given.ConsumeIntInRange(0, 1 << 40)
    header["number"] = number
    made = spoiled(header, given)
    header, body = made if isinstance(made, dict) else {"rows": made}, words(SCENE.body, given)
    message, _ = sealed_request(header, [body], scorer=SCENE.public.scorer, signing=SCENE.key.signing)
    try:
        answer = SCENE.scorer.score(message)
    except TacitError as error:
        if isinstance(error, StorageError):
            raise  # a request must not be able to look like a fault of the disk
        return
    plan = SCENE.public.plan
    found = parse(answer, Kind.ANSWER)
    assert len(body) == plan.request_bytes(header["rows"])
    assert found.header["number"] == header["number"]
    assert header["model"] == SCENE.public.id


def contribution(data: bytes) -> None:
    """A contributor that signs what it likes: the sum stays as it was, or grows by one contribution."""
    given = atheris.FuzzedDataProvider(data)
    honest = parse(SCENE.upload, Kind.CONTRIBUTION)
    made = spoiled(dict(honest.header), given)
    body = words(bytes(honest.body), given)
    prefix = prefix_of(Kind.CONTRIBUTION, made if isinstance(made, dict) else {"who": made}, len(body))
    evaluator = SCENE.evaluator()
    try:
        evaluator.add(b"".join([prefix, body, SCENE.contributor.sign(_signed(prefix, body), context=_CONTRIBUTION)]))
    except TacitError:
        assert evaluator.added == ()
        return
    assert evaluator.added == ("a",)
    assert len(body) == SCENE.sums.bytes


def strangers_bytes(data: bytes) -> None:
    """A stranger: heads are honest or not, and nothing is taken for what it is not."""
    readers: dict[Kind, Callable[[bytes], object]] = {
        Kind.REQUEST: SCENE.scorer.score, Kind.ANSWER: SCENE.client.open, Kind.MODEL: PublicModel.from_bytes,
        Kind.PUBLIC_KEY: EncryptionKey.from_bytes, Kind.SURVEY: Survey.from_bytes, Kind.CONTRIBUTION: SCENE.evaluator().add,
        Kind.TOTAL: lambda raw: KeyHolder(SCENE.holder, evaluator=SCENE.evaluators.public).open(SCENE.sums, raw),
    }  # fmt: skip
    given = atheris.FuzzedDataProvider(data)
    kind = given.PickValueInList(list(readers))
    if given.ConsumeBool():
        attempt = given.ConsumeBytes(1 << 13)
    else:
        honest = parse(SCENE.honest[kind], kind)
        made, body = spoiled(dict(honest.header), given), words(bytes(honest.body), given)
        attempt = prefix_of(kind, made if isinstance(made, dict) else {}, len(body)) + body + given.ConsumeBytes(80)
    try:
        readers[kind](attempt)
    except TacitError:
        return
    assert kind in (Kind.MODEL, Kind.PUBLIC_KEY, Kind.SURVEY), "a stranger was answered"


APP = application(SCENE.clients, limits=Limits(1 << 18, 1 << 20, rate=1 << 40))
STATUSES = {200, 400, 401, 403, 404, 405, 408, 409, 411, 413, 415, 429}


def endpoint(data: bytes) -> None:
    """Bytes over HTTP: one line of refusal, and no room that is not given back."""
    given = atheris.FuzzedDataProvider(data)
    token = given.PickValueInList([f"Bearer {TOKEN}", f"Bearer {TOKEN}", "Bearer x", f"Basic {TOKEN}", ""])
    packing = given.PickValueInList(["identity", "gzip", "deflate", "x-gzip", "br", ""])
    length = given.PickValueInList(["", "", "0", "1000000000", "10"])
    path = given.PickValueInList(["/v1/score", "/v1/score", "/v1/model", "/v1/about", "/metrics"])
    method = given.PickValueInList(["POST", "POST", "GET"])
    honest = SCENE.request[: given.ConsumeIntInRange(0, len(SCENE.request))] if given.ConsumeBool() else b""
    pieces = [honest, *(given.ConsumeBytes(given.ConsumeIntInRange(0, 2_000)) for _ in range(given.ConsumeIntInRange(0, 4)))]
    headers = [(b"authorization", token.encode()), (b"content-encoding", packing.encode()), (b"content-length", length.encode())]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(),
        "query_string": b"", "root_path": "", "scheme": "https", "headers": [pair for pair in headers if pair[1]],
        "client": ("127.0.0.1", 1), "server": ("vendor", 443),
    }  # fmt: skip
    status, body = asyncio.run(_asked(scope, pieces))
    assert status in STATUSES, f"{status} {body[:200]!r}"
    if status >= 400 and status not in (404, 405):
        assert set(json.loads(body)) == {"error", "reason", "do"}
    assert TOKEN.encode() not in body


async def _asked(scope: dict[str, object], pieces: list[bytes]) -> tuple[int, bytes]:
    waiting = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces] + [{"type": "http.request", "body": b""}]
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await APP(scope, receive, send)
    return int(str(sent[0]["status"])), b"".join(bytes(part.get("body", b"")) for part in sent[1:])


def main() -> None:
    targets = dict(zip(NAMES, (request, contribution, strangers_bytes, endpoint), strict=True))
    once = targets[sys.argv.pop(1)]
    atheris.Setup(sys.argv, once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
