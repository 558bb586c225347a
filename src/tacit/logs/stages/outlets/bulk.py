"""Elasticsearch and OpenSearch, by their ``_bulk`` interface."""

from __future__ import annotations

import json
from typing import Any

from tacit.errors import ConfigError
from tacit.logs.stages.outlets.base import OutletError, divided
from tacit.logs.stages.outlets.wire import Wire

_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-+")


class BulkOutlet:
    """Indexes every event with its ``tacit.id`` as ``_id``: what is delivered twice is one document.

    Events go out with «create», which data streams demand; a document that is there already (409) counts as delivered.

    Args:
        wire: to the server.
        index: name of an index or a data stream.
        name: for metrics and messages.
    """

    def __init__(self, wire: Wire, *, index: str = "tacit", name: str = "bulk") -> None:
        if not index or not set(index) <= _NAME or index[0] in "_-+":
            raise ConfigError("Expected the outlet's index as small letters, digits, «.», «_», «-»; it begins with a letter or a digit.")
        self.name, self._wire, self._path = name, wire, f"/{index}/_bulk"

    def deliver(self, texts: list[str]) -> list[tuple[int, str]]:
        """See `Outlet`: the whole batch is delivered again if the server is too busy for some of it."""
        body = "".join(f"{_action(text)}\n{text}\n" for text in texts).encode()
        answer = self._wire.post(self._path, body, kind="application/x-ndjson")
        if answer.status == 413:
            return divided(texts, self.deliver, reason="413 too large")
        if answer.status != 200:
            raise OutletError(f"the server answered {answer.status} to a bulk request")
        try:
            found = json.loads(answer.body)
            if not found["errors"]:
                return []
            items = [next(iter(item.values())) for item in found["items"]]
            outcomes = [(int(item["status"]), _kind(item)) for item in items]
        except (ValueError, KeyError, TypeError, AttributeError, StopIteration):
            raise OutletError("the answer is not that of a bulk request") from None
        if len(outcomes) != len(texts):
            raise OutletError("the answer is not that of a bulk request")
        if any(status == 429 or status >= 500 for status, _ in outcomes):
            raise OutletError("the server has no room for some events")
        return [(place, f"{status} {kind}") for place, (status, kind) in enumerate(outcomes) if status >= 400 and status != 409]

    def close(self) -> None:
        """See `Outlet`."""
        self._wire.close()


def _action(text: str) -> str:
    """The line before a document. The identifier stands at its end, where the delivery has put it."""
    _, found, identifier = text[-48:].rpartition('"tacit.id":"')
    return f'{{"create":{{"_id":"{identifier[:-2]}"}}}}' if found else '{"create":{}}'


def _kind(item: dict[str, Any]) -> str:
    """The type of an error, which is a word of the server's; its reason may hold a value and is left out."""
    kind = str((item.get("error") or {}).get("type", ""))
    return kind if kind.replace("_", "").isalpha() and len(kind) < 60 else "error"
