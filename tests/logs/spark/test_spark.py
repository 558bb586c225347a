"""The batch function on a cluster: what comes out is byte for byte what one machine makes of the same lines, also when a machine dies."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from tacit.errors import ConfigError, UsageError, VerificationError
from tacit.logs import spark
from tacit.logs.keys import EpochKey, Keyring
from tacit.logs.policies import SourcePolicy
from tacit.logs.spark import SparkJob
from tacit.logs.spec import SimulationSpec
from tacit.logs.telemetry import Telemetry, TelemetrySpec

_RULES = "{version: 1, source: s, format: FORMAT, time: t, unit: u, fields: {a: keep, u: user, m: scrub, x: TREATMENT}}"
_NOISED = "{treatment: randomise, epsilon: 1, low: 0, high: 9}"
_PARTS = 8
_PATIENCE = 240


def _policy(treatment: str = "keep", form: str = "json") -> SourcePolicy:
    return SourcePolicy.parse(_RULES.replace("TREATMENT", treatment).replace("FORMAT", form))


def _ring(folder: Path, name: str = "keys.json") -> tuple[Keyring, Path]:
    return Keyring.create(folder / name, tenant="acme"), folder / name


def _batches(lines: list[bytes]) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pydict({"line": pa.array(lines[begin : begin + 3], pa.binary())}) for begin in range(0, len(lines), 3)]


@pytest.mark.parametrize(("policy", "said"), [
    (_policy(_NOISED), "randomise"), (_policy("{treatment: suppress, units: 3}"), "suppress"), (_policy(form="zeek"), "header"),
    (_policy(form="csv"), "header"),
])
def test_what_cannot_be_done_in_parts_is_refused(tmp_path: Path, policy: SourcePolicy, said: str) -> None:
    ring, path = _ring(tmp_path)
    with pytest.raises(UsageError, match=said):
        SparkJob.of(policy, ring, keys=path)


def test_what_travels_holds_no_key(tmp_path: Path) -> None:
    ring, path = _ring(tmp_path)
    job = SparkJob.of(_policy(), ring, keys=path)
    stored = json.loads(path.read_bytes())
    assert "master" in stored["epochs"][0]
    assert str(stored["epochs"][0]["master"]) not in repr(job)
    names = {"anna.keller": "u-k7-0123456789abcdef0123"}
    sealed = spark._sealed(names, ring.active())
    assert b"anna" not in sealed
    assert spark._opened(sealed, ring.active()) == names
    with pytest.raises(VerificationError):
        spark._opened(sealed, EpochKey.for_tests())


def test_a_worker_with_another_key_stops(tmp_path: Path) -> None:
    ring, path = _ring(tmp_path)
    other, elsewhere = _ring(tmp_path, "other.json")
    job = SparkJob.of(_policy(), ring, keys=path)
    foreign = SparkJob(job.policy, str(elsewhere), other.active().id, job.fingerprint)
    with pytest.raises(ConfigError, match="another key"):
        list(spark._guarded(spark._treated, foreign, spark._sealed({}, ring.active()), []))


def test_a_part_is_treated_as_a_file_is(tmp_path: Path) -> None:
    ring, path = _ring(tmp_path)
    job = SparkJob.of(_policy(), ring, keys=path)
    lines = [b'{"a": 1, "u": "anna", "m": "by Anna", "b": 2}', b"", b"{", b"\xff", b'{"m": "anna"}\r']
    sealed = spark._sealed({}, ring.active())
    rows = [row for batch in spark._guarded(spark._treated, job, sealed, _batches(lines)) for row in batch.to_pylist()]
    events = [json.loads(row["value"]) for row in rows if row["kind"] == "event"]
    dead = [json.loads(row["value"]) for row in rows if row["kind"] == "dead"]
    assert [event.get("a") for event in events] == [1, None]
    assert events[0]["m"] == f"by {events[0]['u']}"
    assert events[1]["m"] == events[0]["u"]
    assert dead == [{"reason": "not JSON", "record": "{"}, {"reason": "not UTF-8", "record_base64": "/w=="}]
    (tally,) = (json.loads(row["value"]) for row in rows if row["kind"] == "tally")
    assert tally == {"read": 5, "written": 2, "refused": {"not JSON": 1, "not UTF-8": 1}, "unknown": {"b": 1}}


def test_a_fault_on_a_worker_tells_no_value(tmp_path: Path) -> None:
    ring, path = _ring(tmp_path)
    job = SparkJob.of(_policy(), ring, keys=path)

    def broken(*_: object) -> Iterator[pa.RecordBatch]:
        raise KeyError("anna.keller")
        yield

    with pytest.raises(RuntimeError, match=r"internal fault \(KeyError\)") as caught:
        list(spark._guarded(broken, job, b"", []))
    assert "anna" not in str(caught.value)
    assert caught.value.__suppress_context__


class Cluster:
    """A master and two workers of one core each, started as an operator would."""

    def __init__(self, folder: Path) -> None:
        import pyspark

        self._script = Path(pyspark.__file__).parent / "bin" / "spark-class"
        self._folder, self._port = folder, _free()
        self.master = f"spark://127.0.0.1:{self._port}"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        web = ("--webui-port", str(_free()))
        self._run("master.Master", "--host", "127.0.0.1", "--port", str(self._port), *web)
        _until(lambda: _open(self._port))
        for name in ("one", "two"):
            place = ("--webui-port", str(_free()), "--work-dir", str(self._folder / name))
            self._run("worker.Worker", "--host", "127.0.0.1", "--cores", "1", "--memory", "1g", *place, self.master)

    def kill_worker(self) -> None:
        """The machine is gone: the worker and the executor that it has started."""
        os.killpg(self.processes[-1].pid, signal.SIGKILL)

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            process.wait(60)

    def _run(self, kind: str, *arguments: str) -> None:
        command = [str(self._script), f"org.apache.spark.deploy.{kind}", *arguments]
        with (self._folder / f"{len(self.processes)}.log").open("wb") as log:
            self.processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=_environment(), start_new_session=True))

    def machines(self) -> set[str]:
        """Workers that have run a part of something."""
        return {name for name in ("one", "two") if any((self._folder / name).glob("app-*"))}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("needs pyspark: pip install 'tacit[spark]'")
    if shutil.which("java") is None:
        pytest.skip("needs Java 17 or later")
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events with two damaged lines in the middle, a keyring, a directory, and what one machine makes of them."""
    place = tmp_path_factory.mktemp("events")
    enterprise = SimulationSpec(users=300, days=1, hosts=600, intrusions=2, seed=5, events_per_user_day=40.0)
    Telemetry(TelemetrySpec(enterprise, 6_000)).write_ndjson(place / "in")
    lines = (place / "in").read_bytes().splitlines()
    (place / "in").write_bytes(b"\n".join([*lines[:3_000], b'{"broken', b"\xff\xfe", *lines[3_000:]]) + b"\n")
    (place / "people.csv").write_text("user\nviktor.falk\n")
    _tacit(place, "keys", "init", "--keys", "keys.json", "--tenant", "acme")
    _tacit(place, "anonymise", "in", *_COMMON, "--output", "one.jsonl", "--learn-everywhere")
    return place


_COMMON = ("--policy", "pack:ecs", "--keys", "keys.json", "--directory", "people.csv")


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kill", [False, True], ids=["", "a machine dies"])
def test_a_cluster_makes_what_one_machine_makes(cluster: Cluster, folder: Path, tmp_path: Path, kill: bool) -> None:
    log, ui = tmp_path / "log", _free()
    log.mkdir()
    size = (folder / "in").stat().st_size
    settings = {
        "spark.sql.files.maxPartitionBytes": str(size // _PARTS), "spark.sql.files.openCostInBytes": "0", "spark.executor.memory": "512m",
        "spark.eventLog.enabled": "true", "spark.eventLog.dir": log.as_uri(), "spark.eventLog.compress": "false", "spark.ui.port": str(ui),
        "spark.sql.files.minPartitionNum": str(_PARTS),
    }
    arguments = ["in", *_COMMON, "--output", str(tmp_path / "out"), "--master", cluster.master]
    with _running(folder, "spark", *arguments, *(word for pair in settings.items() for word in ("--conf", "=".join(pair)))) as process:
        if kill:
            _until(lambda: _tasks_done(ui) > 2 * _PARTS + 1 or process.poll() is not None)
            assert process.poll() is None, "the job was over before the machine died"
            cluster.kill_worker()
        told = process.communicate(timeout=_PATIENCE)[1].decode()
    assert process.returncode == 0, told
    assert _parts(tmp_path / "out") == (folder / "one.jsonl").read_bytes()
    single = [json.loads(line) for line in (folder / "one.jsonl.dead-letters.jsonl").read_bytes().splitlines()]
    letters = [json.loads(line) for line in _parts(tmp_path / "out.dead-letters").splitlines()]
    assert letters == [{name: value for name, value in letter.items() if name != "line"} for letter in single]
    assert "6,002 lines read, 6,000 records written" in told
    assert cluster.machines() == {"one", "two"}
    assert (tmp_path / "out.dead-letters").stat().st_mode & 0o077 == 0
    _assert_silent(log, folder)


def _assert_silent(log: Path, folder: Path) -> None:
    """Spark's own log of the job, from which its pages are made too, holds neither a key nor anybody's name."""
    text = b"".join(path.read_bytes() for path in log.rglob("*") if path.is_file())
    assert b"SparkListenerTaskEnd" in text
    events = map(json.loads, (line for line in (folder / "in").read_bytes().splitlines()[:3_000]))
    users = {name for event in events if len(name := event.get("user", {}).get("name", "")) > 6}
    assert len(users) > 100
    assert not [name for name in users if name.encode() in text]
    assert str(json.loads((folder / "keys.json").read_bytes())["epochs"][0]["master"]).encode() not in text


def _parts(folder: Path) -> bytes:
    assert (folder / "_SUCCESS").exists()
    return b"".join(path.read_bytes() for path in sorted(folder.glob("part-*")))


def _environment() -> dict[str, str]:
    source = str(Path(spark.__file__).parents[2])
    own = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m", "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": source}
    return os.environ | own | {"PYTHONWARNINGS": "ignore"}


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tacit", "logs", *arguments]


def _tacit(folder: Path, *arguments: str) -> None:
    subprocess.run(_command(*arguments), cwd=folder, check=True, capture_output=True, env=_environment())


@contextmanager
def _running(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(_command(*arguments), cwd=folder, env=_environment(), start_new_session=True, **pipes)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)


def _tasks_done(port: int) -> int:
    """Tasks that have ended, as Spark's page says."""
    try:
        (application, *_) = _page(port, "applications")
        return sum(stage["numCompleteTasks"] for stage in _page(port, f"applications/{application['id']}/stages"))
    except (OSError, ValueError):
        return 0


def _page(port: int, path: str) -> list[dict[str, object]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}", timeout=5) as answer:
        found: list[dict[str, object]] = json.load(answer)
        return found


def _free() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
