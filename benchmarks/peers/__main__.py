"""Measure the peers alone and keep the answers: ``python -m benchmarks.peers [CASE ...] [--only NAME ...] [--reuse]``."""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks.contest import PEERS, Failed, compete
from benchmarks.datasets import CASES, MissingData
from benchmarks.environments import Unavailable


def _case(name: str) -> str:
    if name not in CASES:  # `choices` would refuse the empty list, too
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(CASES)}; got {name!r}")
    return name


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("cases", nargs="*", type=_case, metavar="CASE", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--only", action="append", choices=[peer.name for peer in PEERS])
    parser.add_argument("--reuse", action="store_true", help="skip what is kept already")
    parser.add_argument("--seeds", type=int, default=None, help="at most so many seeds")
    options = parser.parse_args()
    for peer in (peer for peer in PEERS if not options.only or peer.name in options.only):
        for case in (CASES[name] for name in options.cases or CASES):
            for seed in peer.seeds[: options.seeds]:
                try:
                    scores, _ = compete(peer, case, seed, reuse=options.reuse)
                except (Failed, MissingData, Unavailable) as error:
                    sys.stderr.write(f"{peer.name} {case.name} {seed}: {error}\n")
                    continue
                sys.stdout.write(json.dumps({"peer": peer.name, "case": case.name, "scores": [score.__dict__ for score in scores]}) + "\n")
                sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
