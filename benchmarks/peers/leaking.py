"""What the peers of `logs.leak` share: which fields a careful script hashes, and the files that they read and write. The standard library alone."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

KEY = bytes(range(32))
NAMING = (
    ("user", "name"), ("user", "domain"), ("user", "email"), ("user", "id"), ("host", "name"), ("host", "ip"), ("host", "mac"), ("source", "ip"),
    ("source", "mac"), ("destination", "ip"), ("dns", "question", "name"), ("url", "domain"),
)  # fmt: skip
TEXTS = (
    ("process", "command_line"), ("process", "executable"), ("url", "full"), ("file", "path"), ("file", "name"), ("message",),
)  # fmt: skip


def hashed(text: str) -> str:
    return hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()[:20]


def treat(event: dict[str, Any], path: tuple[str, ...], change: Callable[[str], str]) -> None:
    """Change the text, or each text of a list, at a path, if there is one."""
    for key in path[:-1]:
        event = event.get(key)
        if not isinstance(event, dict):
            return
    value = event.get(path[-1])
    if isinstance(value, str):
        event[path[-1]] = change(value)
    elif isinstance(value, list):
        event[path[-1]] = [change(item) if isinstance(item, str) else item for item in value]


def contest(folder: Path, search: Callable[[str], str], *, name: str) -> dict[str, Any]:
    """Every event with its fields hashed and its texts searched; CPU seconds."""
    begun, count = time.process_time(), 0
    with (folder / "events.jsonl").open(encoding="utf-8") as source, (folder / f"{name}.jsonl").open("w", encoding="utf-8") as target:
        for line in source:
            event = json.loads(line)
            for path in NAMING:
                treat(event, path, hashed)
            for path in TEXTS:
                treat(event, path, search)
            target.write(json.dumps(event, ensure_ascii=False) + "\n")
            count += 1
    return {"events": count, "cpu_seconds": time.process_time() - begun}


_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")
_HOME = re.compile(r"(\\Users\\|/(?:home|Users)/)([^\\/\s\"']+)")


def patterns(text: str) -> str:
    """What a script searches texts for: e-mail addresses, IPv4 addresses, and home directories."""
    text = _EMAIL.sub(lambda found: hashed(found[0]), text)
    text = _ADDRESS.sub(lambda found: hashed(found[0]), text)
    return _HOME.sub(lambda found: found[1] + hashed(found[2]), text)
