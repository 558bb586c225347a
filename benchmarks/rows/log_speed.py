"""How fast logs are anonymised: files in one go, and events as they come; against scripts and daemons that hide less."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.contest import Failed, NotBuilt, run, workplace
from benchmarks.environments import Unavailable
from benchmarks.result import Check, Incomplete, Measured, Options, Row
from tacit.logs.telemetry import Telemetry, TelemetrySpec

EVENTS, PEER_EVENTS, STREAM_EVENTS = 1_000_000, 200_000, 200_000
LINES_RATIO, PARQUET_RATIO, STREAM_RATIO, MMANON_RATIO, SYSLOG_NG_RATIO = 2.8, 4.5, 1.7, 1.0, 2.0
LATENCY_MS, FLAT, MEMORY = 50.0, 1.1, 2 << 30


def batch(_options: Options) -> Measured:
    """A million events: JSON lines to JSON lines, and to Parquet."""
    with workplace() as folder:
        source = folder / "events.ndjson"
        Telemetry(TelemetrySpec.million(seed=1)).write_ndjson(source)
        script = _peer(folder, source, "json_hmac")
        lines, parquet = _ours(folder, source, "lines"), _ours(folder, source, "parquet")
        plain = _ours(folder, source, "plain") if lines["compiled"] else lines
        mmanon, hashed = _peer(folder, source, "rsyslog_mmanon", must=False), _peer(folder, source, "syslog_ng", must=False)
    checks = [
        Check("JSON lines: times as fast as json and hmac", _rate(lines) / _rate(script), LINES_RATIO),
        Check("Parquet: times as fast as json and hmac", _rate(parquet) / _rate(script), PARQUET_RATIO),
        Check("CPU per event, second half of the million over the first", lines["second_half_over_first"], FLAT, at_least=False),
        Check("bytes of memory at a million events, JSON lines", lines["peak_bytes"], MEMORY, at_least=False),
        Check("bytes of memory at a million events, Parquet", parquet["peak_bytes"], MEMORY, at_least=False),
    ]
    if mmanon:
        checks.append(Check("JSON lines: times as fast as rsyslog with mmanon (addresses only)", _rate(lines) / _rate(mmanon), MMANON_RATIO))
    if hashed:
        checks.append(Check("JSON lines: times as fast as syslog-ng (hashed fields only)", _rate(lines) / _rate(hashed), SYSLOG_NG_RATIO))
    details = {
        "lines": lines, "without_the_compiled_reader": plain, "parquet": parquet, "json_hmac": script,
        "rsyslog_mmanon": mmanon or "not installed", "syslog_ng": hashed or "not installed",
        "notes": "Events of some 640 bytes, half of the URLs and command lines new. The script leaves names in free text; mmanon replaces "
        "addresses only, syslog-ng hashes fields and leaves texts and lists. Lines are read by the compiled reader where "
        "tacit-kernel is installed, for JSON lines and for Parquet. "
        "Of what Parquet takes then, an eighth is writing the file, a quarter compiled code that reads lines and fills columns; the most is what "
        "texts and addresses that are new become.",
    }
    return Measured(_rate(lines), "events per CPU second", "json and hmac, a script", _rate(script), tuple(checks), details)


def stream(_options: Options) -> Measured:
    """As many as have come, at most 256 at a time, written at once; and how long one waits at half load, in the core and over ``_bulk``."""
    with workplace() as folder:
        source = folder / "events.ndjson"
        Telemetry(TelemetrySpec.million(seed=1)).write_ndjson(source)
        served = _answer("benchmarks.workers.log_bulk", [str(source)])
        _first(source, STREAM_EVENTS)
        script, ours = _peer(folder, source, "json_hmac"), _ours(folder, source, "stream")
        latency = _ours(folder, source, "latency", str(_rate(ours) / 2))
    checks = (
        Check("times as fast as json and hmac", _rate(ours) / _rate(script), STREAM_RATIO),
        Check("milliseconds within which 99 of 100 events are done, half load", latency["p99_ms"], LATENCY_MS, at_least=False),
        Check("milliseconds within which 99 of 100 events are acknowledged over _bulk, half load", served["half_load"]["p99_ms"], LATENCY_MS,
              at_least=False),
    )
    details = {"ours": ours, "latency": latency, "served": served, "json_hmac": script}
    return Measured(_rate(ours), "events per CPU second", "json and hmac, a script", _rate(script), checks, details)


def _ours(folder: Path, source: Path, way: str, *more: str) -> dict[str, Any]:
    return _answer("benchmarks.workers.log_batch", [str(source), str(folder / "ours"), way, *more])


def _peer(folder: Path, source: Path, name: str, *, must: bool = True) -> dict[str, Any]:
    try:
        return _answer(f"benchmarks.peers.{name}", [str(source), str(folder / name), str(PEER_EVENTS)])
    except NotBuilt as error:
        if must:
            raise Incomplete(str(error)) from error
        return {}


def _answer(module: str, arguments: list[str]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(run(module, arguments))
    except (Failed, Unavailable) as error:
        raise Incomplete(str(error)) from error
    return found


def _rate(measured: dict[str, Any]) -> float:
    return float(measured["events"] / measured["cpu_seconds"])


def _first(path: Path, lines: int) -> None:
    """Keep the first lines of a file."""
    with path.open("rb+") as file:
        for _ in range(lines):
            file.readline()
        file.truncate(file.tell())


ROWS = (
    Row("logs.batch", "events anonymised from a file, against json and hmac, rsyslog's mmanon and syslog-ng", batch),
    Row("logs.stream", "events anonymised as they come, against json and hmac; latency at half load", stream),
)
