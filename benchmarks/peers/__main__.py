"""Measure the peers alone and keep the answers: ``python -m benchmarks.peers adult nsl_kdd fraud [--only NAME ...] [--reuse]``."""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks.contest import PEERS, Failed, compete
from benchmarks.datasets import CASES
from benchmarks.environments import Unavailable


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), choices=list(CASES), metavar="CASE")
    parser.add_argument("--only", action="append", choices=[peer.name for peer in PEERS])
    parser.add_argument("--reuse", action="store_true", help="skip what is kept already")
    parser.add_argument("--seeds", type=int, default=None, help="at most so many seeds")
    options = parser.parse_args()
    for peer in (peer for peer in PEERS if not options.only or peer.name in options.only):
        for case in (CASES[name] for name in options.cases):
            for seed in peer.seeds[: options.seeds]:
                try:
                    scores, _ = compete(peer, case, seed, reuse=options.reuse)
                except (Failed, Unavailable) as error:
                    sys.stderr.write(f"{peer.name} {case.name} {seed}: {error}\n")
                    continue
                sys.stdout.write(json.dumps({"peer": peer.name, "case": case.name, "scores": [score.__dict__ for score in scores]}) + "\n")
                sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
