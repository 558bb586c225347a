"""Masked rounds with noise, three sites in processes of their own over mutual TLS on loopback: ``python -m benchmarks.workers.rounds FOLDER``.

Each line on standard input is ``MODEL ROUNDS``; each answer one JSON line with the seconds of every round and the bytes of one. The folder also gets
the certificates that the peer uses.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tacit.crypto import SigningKey
from tacit.domain import Category, Domain
from tacit.federation import MaskedFederation, Roster
from tacit.federation.certificates import ROOT, Address, Connection, issue, lay_out_coordinator, lay_out_site, new_authority, request
from tacit.federation.transports import WebSocketTransport
from tacit.guarantee import PrivacyUnit, Relation
from tacit.guard import Plan, PlanStep
from tacit.questions import Binning, CellSums, Frame, Partition
from tacit.questions.encoding import Target

SITES = ("one", "three", "two")
STEPS = 60


def laid_out(folder: Path) -> tuple[Roster, SigningKey, Address]:
    """A coordinator's and three sites' folders with keys, certificates and the signed roster."""
    key, keys = SigningKey.generate(), {name: SigningKey.generate() for name in SITES}
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = Address("127.0.0.1", probe.getsockname()[1])
    coordinator = folder / "coordinator"
    coordinator.mkdir(parents=True)
    new_authority(coordinator)
    lay_out_coordinator(coordinator, hosts=["127.0.0.1"], member=key.public)
    roster = Roster("rounds", key.public, {name: own.public for name, own in keys.items()}).signed_by("coordinator", key)
    for name, own in keys.items():
        roster = roster.signed_by(name, own)
    for name, own in keys.items():
        site = folder / name
        site.mkdir()
        own.save(site / "site.key")
        (site / "roster").write_bytes(roster.to_bytes())
        issued = issue(coordinator, request(site, name, member=own.public), name, member=own.public)
        lay_out_site(site, issued, root=(coordinator / ROOT).read_bytes(), connection=Connection(name, address, key.public))
    return roster, key, address


def question(model: str) -> CellSums:
    """Gradients of 16 cells of a column, with their Hessians (32 numbers), or of as many as make a million."""
    cells, copies = (16, 1) if model == "small" else (242, 2066)
    binning = Binning(Domain.of(c=Category(tuple(f"v{k}" for k in range(cells - 2)))), (np.arange(cells, dtype=np.uint8),))
    frame = Frame(Target("y", ("0", "1")), "logistic", binning)
    return CellSums(frame, frame.digest, (Partition.of_feature(0, cells),) * copies)


def conversation(federation: MaskedFederation, asked: CellSums, run: str) -> Any:
    """One plan with room for all rounds."""
    bounds = asked.bounds(Relation.ADD_REMOVE)
    step = PlanStep(asked.kind, STEPS, 20.0, asked.size, l0=bounds.l0, l2=bounds.l2)
    return federation.open(Plan("rounds", PrivacyUnit(), Relation.ADD_REMOVE, (step,), mechanism="skellam", run=run))


def spent(processes: list[subprocess.Popen[bytes]]) -> float:
    """CPU seconds of these processes so far."""
    fields = [Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split() for process in processes]
    return sum(int(found[11]) + int(found[12]) for found in fields) / os.sysconf("SC_CLK_TCK")


def main(folder: Path) -> None:
    """Answer until standard input ends."""
    roster, key, address = laid_out(folder)
    command = [sys.executable, "-m", "benchmarks.workers.round_site"]
    quiet = subprocess.DEVNULL
    sites = [subprocess.Popen([*command, str(folder / name)], env=dict(os.environ), stdin=quiet, stdout=quiet) for name in SITES]
    transport = WebSocketTransport(folder / "coordinator", roster.sites, listen=address, patience=120.0)
    try:
        federation = MaskedFederation(roster, key, transport, timeout=120.0)
        open_: dict[str, tuple[Any, CellSums, int]] = {}
        for line in sys.stdin:
            model, rounds = line.split()
            if model not in open_:
                open_[model] = (conversation(federation, question(model), model), question(model), 0)
            talk, asked, step = open_[model]
            seconds, cpu, theirs = [], time.process_time(), spent(sites)
            for number in range(step, step + int(rounds)):
                started = time.perf_counter()
                talk.ask(number, asked)
                seconds.append(time.perf_counter() - started)
            open_[model] = (talk, asked, step + int(rounds))
            report = talk.reports[-1]
            found = {"seconds": seconds, "size": asked.size, "bits": report.bits, "sent": report.sent, "received": report.received,
                     "cpu": (time.process_time() - cpu) / int(rounds), "site_cpu": (spent(sites) - theirs) / len(sites) / int(rounds)}  # fmt: skip
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()
    finally:
        transport.close()
        for process in sites:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
