"""Logs that can be analysed but not read: so far, prefix-preserving pseudonyms of addresses."""

from __future__ import annotations

import ipaddress
import json

import numpy as np

from benchmarks.contest import Failed, run, workplace
from benchmarks.environments import CRYPTOPAN, Unavailable
from benchmarks.result import Check, Incomplete, Measured, Options, Row

ADDRESSES = 5_000
FASTER = 80.0


def cryptopan(_options: Options) -> Measured:
    """The same addresses under the same key, IPv4 and IPv6; how fast per address, texts to texts."""
    rng = np.random.default_rng(0)
    fours = [str(ipaddress.IPv4Address(int(value))) for value in rng.integers(0, 1 << 32, ADDRESSES, dtype=np.uint64)]
    sixes = [str(ipaddress.IPv6Address(rng.bytes(16))) for _ in range(ADDRESSES // 10)]
    equal, times = [], {}
    try:
        for name, addresses in (("IPv4", fours), ("IPv6", sixes)):
            with workplace() as folder:
                (folder / "addresses.json").write_text(json.dumps({"key": bytes(range(32)).hex(), "addresses": addresses}), encoding="utf-8")
                ours = json.loads(run("benchmarks.workers.cryptopan", [str(folder)]))
                theirs = json.loads(run("benchmarks.peers.cryptopan", [str(folder)], CRYPTOPAN))
            equal.append(sum(a == str(ipaddress.ip_address(b)) for a, b in zip(ours["addresses"], theirs["addresses"], strict=True)) / len(addresses))
            times[name] = {"ours": ours["cpu_each"], "ours_of_many": ours["cpu_each_of_many"], "theirs": theirs["cpu_seconds"] / len(addresses)}
    except (Failed, Unavailable) as error:
        raise Incomplete(str(error)) from error
    ratio = times["IPv4"]["theirs"] / times["IPv4"]["ours_of_many"]
    checks = (
        Check(f"share of {ADDRESSES:,} IPv4 addresses with the same pseudonym", equal[0], 1.0),
        Check(f"share of {ADDRESSES // 10:,} IPv6 addresses with the same pseudonym", equal[1], 1.0),
        Check("times as fast as yacryptopan, CPU per IPv4 address", ratio, FASTER),
    )
    ours, theirs = 1 / times["IPv4"]["ours_of_many"], 1 / times["IPv4"]["theirs"]
    return Measured(ours, "IPv4 addresses per CPU second", "yacryptopan", theirs, checks, {"cpu_each": times})


ROWS = (Row("logs.cryptopan", "Prefix-preserving pseudonyms of addresses against yacryptopan", cryptopan),)
