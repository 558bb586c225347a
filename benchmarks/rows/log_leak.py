"""How many identities are readable after anonymisation: rich events, whose every mention is known, with and without a directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.contest import Failed, run, workplace
from benchmarks.environments import PRESIDIO, Unavailable
from benchmarks.result import Check, Incomplete, Measured, Options, Row
from tacit.logs import SimulationSpec
from tacit.logs.leaks import residuals
from tacit.logs.telemetry import Telemetry, TelemetrySpec

EVENTS, SLOW = 20_000, 2_000
"""Events for all, and for Presidio with a directory, whose list of words takes it long."""
NOWHERE = 0.002
"""Share of identities that no field holds and no text announces as a name: without a directory nothing can know them."""


def leak(_options: Options) -> Measured:
    """The same events through all; the share of identities mentioned anywhere that is still readable in any encoding."""
    try:
        with workplace() as folder:
            identities = _write(folder, EVENTS)
            found = {
                "tacit": _measured(folder, "tacit", identities, run("benchmarks.workers.leaks", [str(folder)])),
                "tacit-directory": _measured(
                    folder, "tacit-directory", identities, run("benchmarks.workers.leaks", [str(folder), "people.json"])
                ),
                "hmac": _measured(folder, "hmac", identities, run("benchmarks.peers.leak_hmac", [str(folder)])),
                "presidio": _measured(folder, "presidio", identities, run("benchmarks.peers.leak_presidio", [str(folder)], PRESIDIO)),
            }
        with workplace() as folder:
            few = _write(folder, SLOW)
            answer = run("benchmarks.peers.leak_presidio", [str(folder), "people.txt"], PRESIDIO)
            found["presidio-directory"] = _measured(folder, "presidio-directory", few, answer)
    except (Failed, Unavailable) as error:
        raise Incomplete(str(error)) from error
    ours, best = found["tacit-directory"], min(found["presidio"]["share"], found["hmac"]["share"])
    checks = (
        Check(f"identities readable of {ours['known']:,}, with a directory", ours["readable"], 0, at_least=False),
        Check("share of identities readable, without a directory", found["tacit"]["share"], NOWHERE, at_least=False),
        Check("share of identities readable that the better peer leaves, without a directory", best, 0.05, decides=False),
        Check("share of identities readable that Presidio leaves, with a directory", found["presidio-directory"]["share"], 0.0, decides=False),
    )
    details = {
        "contestants": found, "events": EVENTS, "events_of_presidio_with_a_directory": SLOW,
        "notes": "Peers hash the same fields that our policy does, and search the texts. Readable: as a whole word in plain, in any case, in "
        "percent-encoding, base64, hexadecimal or UTF-16. "
        "What proves little (common words), and addresses that are pseudonyms of others are counted apart.",
    }
    return Measured(ours["share"], "share of identities readable", "Presidio on texts, fields hashed", found["presidio"]["share"], checks, details)


def _write(folder: Path, events: int) -> dict[str, frozenset[str]]:
    """The events, and a directory of everybody in them."""
    spec = TelemetrySpec(SimulationSpec(users=1_000, days=1, hosts=1_500, intrusions=10, seed=5, events_per_user_day=38.0), events)
    identities = Telemetry(spec).write_ndjson(folder / "events.jsonl").identities
    people = {kind: sorted(identities[kind]) for kind in ("user", "email", "host", "fqdn")}
    (folder / "people.json").write_text(json.dumps(people), encoding="utf-8")
    (folder / "people.txt").write_text("\n".join(name for names in people.values() for name in names), encoding="utf-8")
    return identities


def _measured(folder: Path, name: str, identities: dict[str, frozenset[str]], answer: str) -> dict[str, Any]:
    written = folder / f"{name}.written"
    pseudonyms = json.loads(written.read_text(encoding="utf-8")) if written.exists() else []
    found = residuals(folder / f"{name}.jsonl", identities, pseudonyms=pseudonyms)
    said = json.loads(answer)
    known = sum(found.known.values())
    forms = {form: sum(kinds[form] for kinds in found.forms.values()) for form in next(iter(found.forms.values()))}
    return {
        "known": known, "readable": found.total, "share": found.total / known, "by_kind": found.readable,
        "forms": {form: count for form, count in forms.items() if count}, "prove_little": sum(found.ambiguous.values()),
        "pseudonyms_of_others": sum(found.coincidental.values()), "events_per_cpu_second": said["events"] / said["cpu_seconds"], **said,
    }  # fmt: skip


ROWS = (Row("logs.leak", "identities readable after anonymisation, against Presidio and a script", leak),)
