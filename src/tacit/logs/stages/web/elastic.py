"""Elasticsearch's ``_bulk``: what a request asks, and the answer in the form its clients read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tacit.logs.formats.jsontext import library
from tacit.web import BodyError

VERSION = "9.2.0"
"""Whose interface is spoken. Some shippers refuse servers that are older than they are."""

HEADERS = {"X-Elastic-Product": "Elasticsearch"}
_SHARDS = {"total": 1, "successful": 1, "failed": 0}
_PLAIN = re.compile(r"[\w.+\-]{1,255}\Z")


@dataclass(frozen=True)
class Item:
    """One action of a request.

    Args:
        action: index, create, update or delete.
        index: its name, as the sender gave it.
        id: likewise, if there was one.
        line: place of its document among the lines that are submitted; ``None`` if the action is not done here.
    """

    action: str
    index: str
    id: str | None
    line: int | None


def info() -> dict[str, Any]:
    """What ``GET /`` says."""
    return {
        "name": "tacit", "cluster_name": "tacit", "cluster_uuid": "tacit",
        "version": {"number": VERSION, "build_flavor": "default", "build_type": "tar", "lucene_version": "10.3.0",
                    "minimum_wire_compatibility_version": "8.19.0", "minimum_index_compatibility_version": "8.0.0"},
        "tagline": "Tacit takes events, and gives them on without names.",
    }


def parsed(body: bytes, index: str | None) -> tuple[list[Item], list[bytes]]:
    '''The actions of a bulk request, and the documents to be treated.

    >>> parsed(b"""{"index":{"_id":"1"}}
    ... {"a":1}
    ... {"delete":{"_id":"2"}}
    ... """, "logs")
    ([Item(action='index', index='logs', id='1', line=0), Item(action='delete', index='logs', id='2', line=None)], [b'{"a":1}'])

    Args:
        body: lines, an action each and the document after it.
        index: of the address, for actions without one.

    Raises:
        BodyError: it is no bulk request; nothing of it was taken.
    '''
    json = library()
    load, error = json.loads, json.JSONDecodeError
    items: list[Item] = []
    documents: list[bytes] = []
    remembered: dict[bytes, tuple[str, str, str | None]] = {}
    lines = iter(body.split(b"\n"))
    for line in lines:
        if not line or line == b"\r":
            continue
        head = remembered.get(line)
        if head is None:
            try:
                head = _head(load(line), index)
            except (error, ValueError, TypeError, AttributeError):
                raise BodyError(400, f"Malformed action/metadata line of action {len(items) + 1}: expected index, create, update or delete") from None
            if len(remembered) < 100:
                remembered[line] = head
        action, name, identifier = head
        if action == "delete":
            items.append(Item(action, name, identifier, None))
            continue
        document = next(lines, b"")
        if not document or document == b"\r":
            raise BodyError(400, f"Validation Failed: action {len(items) + 1} has no document")
        items.append(Item(action, name, identifier, None if action == "update" else len(documents)))
        if action != "update":
            documents.append(document)
    if not items:
        raise BodyError(400, "request body is required")
    return items, documents


def _head(found: Any, index: str | None) -> tuple[str, str, str | None]:
    """Action, index and identifier of an action's line."""
    ((action, about),) = found.items()
    if action not in ("index", "create", "update", "delete") or type(about) is not dict:
        raise ValueError
    identifier = about.get("_id")
    return action, str(about.get("_index", index) or "tacit"), None if identifier is None else str(identifier)


def answered(items: list[Item], refused: Mapping[int, str], *, took: int, prefix: str) -> bytes:
    """The answer to a bulk request.

    Args:
        items: its actions.
        refused: reasons, by the place of the line.
        took: milliseconds.
        prefix: of the identifiers of documents that came without one.
    """
    found = []
    for number, item in enumerate(items):
        body: dict[str, Any] = {"_index": item.index, "_id": item.id or f"{prefix}{number}"}
        if item.line is None:
            body |= {"status": 400, "error": {
                "type": "illegal_argument_exception", "reason": f"«{item.action}» is not possible here: events are passed on, not kept"}}
        elif item.line in refused:
            body |= {"status": 400, "error": {"type": "document_parsing_exception", "reason": refused[item.line]}}
        else:
            body |= {"_version": 1, "result": "created", "_shards": _SHARDS, "_seq_no": number, "_primary_term": 1, "status": 201}
        found.append({item.action: body})
    errors = bool(refused) or any(item.line is None for item in items)
    return bytes(library().dumps({"took": took, "errors": errors, "items": found}))


def failed(status: int, reason: str) -> bytes:
    """An error of a whole request."""
    kinds = {401: "security_exception", 403: "security_exception", 413: "content_too_long_exception", 429: "es_rejected_execution_exception",
             503: "unavailable_shards_exception", 500: "exception"}
    cause = {"type": kinds.get(status, "illegal_argument_exception"), "reason": reason}
    return bytes(library().dumps({"error": {"root_cause": [cause], **cause}, "status": status}))


def acceptable(index: str) -> bool:
    """Whether a name from an address can be that of an index."""
    return bool(_PLAIN.match(index)) and not index.startswith("_")
