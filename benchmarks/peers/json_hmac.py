"""What a careful engineer writes in an afternoon: ``json`` and ``hmac`` per field, three regular expressions over free text.

``python -m benchmarks.peers.json_hmac EVENTS OUT COUNT``
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

KEY = bytes(range(32))
FIELDS = (
    ("user", "name"), ("user", "email"), ("user", "id"), ("host", "name"), ("host", "ip"), ("host", "mac"), ("source", "ip"), ("source", "mac"),
    ("destination", "ip"), ("destination", "domain"), ("url", "full"), ("url", "domain"), ("file", "path"), ("process", "executable"),
)
TEXTS = (("process", "command_line"),)
PERSON = re.compile(r"(?i)(users[\\/]|user[=: ])([A-Za-z0-9._-]+)")
ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")
EMAIL = re.compile(r"[\w.+-]+@[\w.-]+")


def hidden(text: str) -> str:
    return hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()[:20]


def scrubbed(text: str) -> str:
    text = PERSON.sub(lambda found: found[1] + hidden(found[2]), text)
    text = ADDRESS.sub(lambda found: hidden(found[0]), text)
    return EMAIL.sub(lambda found: hidden(found[0]), text)


def treat(event: dict[str, Any]) -> None:
    for outer, inner in FIELDS:
        value = event.get(outer)
        if isinstance(value, dict) and inner in value:
            one = value[inner]
            value[inner] = hidden(one) if isinstance(one, str) else [hidden(item) for item in one]
    for outer, inner in TEXTS:
        value = event.get(outer)
        if isinstance(value, dict) and inner in value:
            value[inner] = scrubbed(value[inner])
    if "message" in event:
        event["message"] = scrubbed(event["message"])


def main(arguments: list[str]) -> int:
    source, target, count = arguments
    begin, done = time.process_time(), 0
    with Path(source).open(encoding="utf-8") as lines, Path(target).open("w", encoding="utf-8") as out:
        for line in islice(lines, int(count)):
            event = json.loads(line)
            treat(event)
            out.write(json.dumps(event) + "\n")
            done += 1
    sys.stdout.write(json.dumps({"events": done, "cpu_seconds": time.process_time() - begin}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
