"""yacryptopan, one address after the other: ``python -m benchmarks.peers.cryptopan FOLDER``. Prints pseudonyms and CPU seconds as one JSON line."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from yacryptopan import CryptoPAn


def main(arguments: list[str]) -> int:
    job = json.loads((Path(arguments[0]) / "addresses.json").read_text(encoding="utf-8"))
    peer = CryptoPAn(bytes.fromhex(job["key"]))
    before = time.process_time()
    found = [peer.anonymize(text) for text in job["addresses"]]
    sys.stdout.write(json.dumps({"addresses": found, "cpu_seconds": time.process_time() - before}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
