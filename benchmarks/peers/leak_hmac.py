"""A script of json and hmac, with patterns for texts: ``python -m benchmarks.peers.leak_hmac FOLDER``. Prints CPU seconds as one JSON line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.peers.leaking import contest, patterns

if __name__ == "__main__":
    sys.stdout.write(json.dumps(contest(Path(sys.argv[1]), patterns, name="hmac")) + "\n")
