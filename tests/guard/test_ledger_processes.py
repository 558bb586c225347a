"""Several processes, killed ones, and a disk that is full: no charge is lost, nothing is answered uncharged, nobody overspends together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tacit
from tacit.crypto import SigningKey
from tacit.guard import Ledger, Plan

Run = Callable[..., Any]

SERVER = """
import json, os, random, resource, signal, sys, time
import pyarrow as pa
from tacit.errors import BudgetExceeded, Refused, StorageError
from tacit.guarantee import Budget, PrivacyUnit, Relation, Scope
from tacit.guard import Guard, Ledger, Limits, Plan, PlanStep, Policy, gdp_mu, plan_cost
from tacit.guard.accounting import gaussian_part
from tacit.guard.approvals import approve, propose
from tacit.questions import Batch, UnitCount

AUTH, BUDGET = Scope("auth"), Budget(1.0, 1e-6)

class Records:
    def batches(self, columns=None):
        yield Batch({"x": pa.array([1.0])}, 1)

def plan(share, run):
    '''A plan that takes this share of the budget.'''
    mu = gdp_mu(*gaussian_part(BUDGET)) * share**0.5
    return Plan("t", PrivacyUnit(), Relation.ADD_REMOVE, (PlanStep("count@1", 1, 1 / mu, 1, l0=1, l2=4096),), run=run)

def policy():
    limits = Limits(0, approval=arguments.get("approval", "automatic"))
    return Policy("auth", PrivacyUnit(), Relation.ADD_REMOVE, BUDGET, limits=limits)

def ledger():
    return Ledger.open(location, key=keyfile)

def guard():
    return Guard(Records(), policy=policy(), ledger=ledger())

def together(work, count):
    '''Run work(i) in that many processes that begin at one moment; what each returned.'''
    gate, pipes = os.pipe(), []
    for i in range(count):
        reply = os.pipe()
        if os.fork() == 0:
            try:
                os.close(gate[1])
                os.read(gate[0], 1)
                os.write(reply[1], json.dumps(work(i)).encode())
            except BaseException as error:
                os.write(reply[1], json.dumps(f"{type(error).__name__}: {error}").encode())
            finally:
                os._exit(0)
        os.close(reply[1])
        pipes.append(reply[0])
    time.sleep(0.05)
    os.close(gate[1])
    found = [json.loads(os.read(pipe, 1 << 16)) for pipe in pipes]
    for _ in range(count):
        os.wait()
    return found

for line in sys.stdin:
    script, location, keyfile, arguments = json.loads(line)
    child = os.fork()
    if child == 0:
        try:
            exec(script, globals())
            answer = {"result": result}
        except BaseException as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    """One process that has imported everything and forks for each script: an interpreter of its own would cost seconds each time."""
    environment = {**os.environ, "PYTHONPATH": str(Path(tacit.__file__).parents[1]), "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


@pytest.fixture
def run(server: subprocess.Popen[str]) -> Run:
    """Run a script beside the server's definitions; its ``result``."""

    def ask(script: str, location: str, key: Path, **arguments: Any) -> Any:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps([script, location, str(key), arguments]) + "\n")
        server.stdin.flush()
        answer = json.loads(server.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["result"]

    return ask


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "signing.key"
    SigningKey.generate().save(path)
    return path


KILLING = """
answers = os.open(arguments["answers"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
size = lambda: os.fstat(answers).st_size

def work(seed):
    '''Open plans and answer each, until killed.'''
    owner = guard()
    for n in range(1 << 30):
        bought = plan(1e-5, f"{seed}.{n}")
        session = owner.open(bought)
        os.write(answers, f"{owner.last_charge.sequence} {bought.digest}\\n".encode())
        session.answer(0, UnitCount())

guard().size()
random.seed(arguments["seed"])
for seed in range(arguments["kills"]):
    before, child = size(), os.fork()
    if child == 0:
        work(seed)
    limit = time.monotonic() + 60
    while seed % 4 and size() == before and time.monotonic() < limit:
        time.sleep(0.0005)
    time.sleep(random.uniform(0, 0.04))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child must have been at work"
    ledger().verify()
result = 0
"""


def test_killed_at_any_instant_it_has_charged_whatever_it_answered(run: Run, location: str, key: Path, tmp_path: Path) -> None:
    answers, kills = tmp_path / "answers", 20
    run(KILLING, location, key, answers=str(answers), kills=kills, seed=os.getpid())
    ledger = Ledger.open(location, key=key)
    charged = {entry.sequence: entry.body["plan_digest"] for entry in ledger.entries(kind="charge")}
    lines = [line.split() for line in answers.read_text(encoding="utf-8").splitlines()]
    assert len(lines) >= kills // 2, "the test must have killed it between answers"
    for sequence, digest in lines:
        assert charged[int(sequence)] == digest, "answered, and not charged"
    found = ledger.verify()
    assert found.charges == len(charged) >= len(lines)
    assert found.charges <= len(lines) + kills + 1, "at most one charge is lost with each kill, and one paid for the count"


RACING = """
def work(i):
    '''Buy tenths of the budget until refused.'''
    book, bought = ledger(), 0
    while True:
        one = plan(1 / 10.5, f"{i}.{bought}")
        try:
            book.charge(AUTH, plan=one, cost=plan_cost(one), rule=policy().accounting)
        except BudgetExceeded:
            return bought
        bought += 1

ledger()
result = together(work, 3)
"""


def test_processes_cannot_overspend_together(run: Run, location: str, key: Path) -> None:
    bought = run(RACING, location, key)
    assert all(isinstance(number, int) for number in bought), bought
    assert sum(bought) == 10
    found = Ledger.open(location, key=key)
    assert found.verify().charges == 10
    assert [entry.sequence for entry in found.entries()] == list(range(1, 12))


BEGINNING = """
result = together(lambda i: ledger().id, 4)
"""


def test_processes_begin_a_ledger_once(run: Run, location: str, key: Path) -> None:
    found = run(BEGINNING, location, key)
    assert len(set(found)) == 1, found
    ledger = Ledger.open(location, key=key)
    assert ledger.id == found[0]
    assert ledger.verify().entries == 1


def test_processes_agree_on_one_key_for_a_new_file(run: Run, tmp_path: Path) -> None:
    found = run(BEGINNING, str(tmp_path / "new.db"), tmp_path / "new.key")
    assert len(set(found)) == 1, found
    assert Ledger.open(tmp_path / "new.db").writable


APPROVED = """
def work(i):
    '''Try to have the one approved plan answered.'''
    try:
        guard().open(plan(0.01, "r"))
    except Refused:
        return 0
    return 1

guard().size()
propose(ledger(), AUTH, plan(0.01, "r"))
approve(ledger(), AUTH, plan(0.01, "r").digest)
result = together(work, 3)
"""


def test_one_approval_is_good_for_one_charge_however_many_ask(run: Run, location: str, key: Path) -> None:
    found = run(APPROVED, location, key, approval="owner")
    assert sum(found) == 1, found
    assert Ledger.open(location, key=key).verify().charges == 2, "the count, and the approved plan"


LIMITED = """
owner, opened, message = guard(), 0, ""
owner.size()
folder = os.path.dirname(location)
grown = max(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))
resource.setrlimit(resource.RLIMIT_FSIZE, (grown + arguments["room"], resource.RLIM_INFINITY))
while not message and opened < 1000:
    try:
        owner.open(plan(1e-6, f"r{opened}"))
        opened += 1
    except StorageError as error:
        message = str(error)
result = [opened, message]
"""


@pytest.mark.parametrize("room", [0, 30_000])
def test_a_size_limit_refuses_the_charge_and_leaves_nothing_half_written(run: Run, tmp_path: Path, key: Path, room: int) -> None:
    """The limit of a process stands for a full disk: writes fail in the middle of a transaction."""
    path = tmp_path / "books" / "ledger.db"
    path.parent.mkdir()
    opened, message = run(LIMITED, str(path), key, room=room)
    assert "Nothing was written" in message
    ledger = Ledger.open(path, key=key)
    found = ledger.verify()
    runs = [Plan.from_dict(entry.body["plan"]).run for entry in ledger.entries(kind="charge")]
    assert runs == ["count:auth:all", *[f"r{n}" for n in range(opened)]], "every plan that was opened, and the count"
    ledger.record("note", next(iter(ledger.scopes())), {})
    assert ledger.verify().entries == found.entries + 1


EXPORTED = """
book = ledger()
for n in range(20):
    book.record("note", AUTH, {"text": "x" * 500})
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, resource.RLIM_INFINITY))
try:
    result = book.export(arguments["target"])
except StorageError as error:
    result = str(error)
"""


def test_an_export_that_does_not_fit_is_not_there_and_an_older_one_stays(run: Run, tmp_path: Path, key: Path) -> None:
    target = tmp_path / "export" / "out.jsonl"
    target.parent.mkdir()
    message = run(EXPORTED, str(tmp_path / "a.db"), key, target=str(target))
    assert "Nothing was written" in message
    assert not list(target.parent.iterdir())
    target.write_text("the last one\n", encoding="utf-8")
    assert "Nothing was written" in run(EXPORTED, str(tmp_path / "b.db"), key, target=str(target))
    assert [item.name for item in target.parent.iterdir()] == ["out.jsonl"]
    assert target.read_text(encoding="utf-8") == "the last one\n"
