"""A client's way to a scoring server: HTTPS with the server's name checked, a token, and every refusal as the error that it is."""

from __future__ import annotations

import http.client
import json
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from tacit.encrypted.client import Client
from tacit.encrypted.public import PublicModel
from tacit.encrypted.serving.app import BINARY, ENVELOPE
from tacit.encrypted.serving.refusals import error_of
from tacit.encrypted.wire import MOST_BODY, MOST_HEADER
from tacit.errors import ConfigError, DataError, MessageDamaged, Refused, StorageError, WrongModel
from tacit.models.base import as_columns
from tacit.web import context_for

_TIMEOUT = 120.0
_MINUTE, _SMALL = 61.0, 1 << 16


@dataclass
class Traffic:
    """What was sent and received, in bytes of messages."""

    requests: int = 0
    sent: int = 0
    received: int = 0


class Remote:
    """One scoring server.

    Args:
        url: ``https://``; ``http://`` for this machine only.
        token: the client's secret.
        ca: file of the authorities that are trusted instead of the system's.

    Raises:
        ConfigError: it is no such URL, or the authorities cannot be read.
    """

    def __init__(self, url: str, *, token: str, ca: str | None = None) -> None:
        parts = urlsplit(url)
        own = parts.hostname in ("127.0.0.1", "localhost", "::1")
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.username is not None:
            raise ConfigError("Expected a URL such as https://scores.example:8443, without a password in it.")
        if parts.scheme == "http" and not own:
            raise ConfigError("Expected https://: anybody on the way could take the token from http://. Ask the server's owner for TLS.")
        if not token.isascii() or not token.isprintable():
            raise ConfigError("Expected a token of printable ASCII characters. Ask the server's owner for one.")
        self.traffic, self._sent, self._kept = Traffic(), deque[float](), False
        self._base, self._headers = parts.path.rstrip("/"), {"Authorization": f"Bearer {token}"}
        self._host, context = parts.hostname, context_for(ca) if parts.scheme == "https" else None
        try:
            self._connection = (
                http.client.HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT) if context is None
                else http.client.HTTPSConnection(parts.hostname, parts.port, timeout=_TIMEOUT, context=context)
            )
        except ValueError:
            raise ConfigError("Expected a URL such as https://scores.example:8443, with a port that is a number.") from None

    def model(self, *, fingerprint: str | None = None) -> PublicModel:
        """The server's public model.

        Raises:
            WrongModel: it has another fingerprint than expected.
            MessageDamaged: it is none.
            Refused, StorageError: the server does not give it, or cannot be reached.
        """
        found = PublicModel.from_bytes(self._asked("GET", "/v1/model", None, MOST_HEADER + _SMALL))
        if fingerprint is not None and found.fingerprint != fingerprint:
            raise WrongModel(f"Expected a model with the fingerprint {fingerprint}, the server has {found.fingerprint}. Ask its owner which is right")
        return found

    def about(self) -> dict[str, Any]:
        """What the server says of itself and of this client: ``most_body``, ``rate``, ``left`` and others.

        Raises:
            MessageDamaged: it says nothing of the kind.
        """
        try:
            found = json.loads(self._asked("GET", "/v1/about", None, _SMALL))
            if isinstance(found, dict) and type(found["most_body"]) is type(found["rate"]) is int and found["rate"] > 0:
                return found
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise MessageDamaged("Expected a scoring server's description of itself. Check the URL")

    def margins(self, client: Client, data: Any) -> NDArray[np.float64]:
        """Score records of any number, in as few requests as the server takes: ``[rows, outputs]``, decrypted here.

        Raises:
            DataError: there are no records.
            TacitError: what the server refuses, as the error that it names; see `tacit.encrypted.EncryptedScorer.score`.
        """
        columns, rows = as_columns(data, client.model.columns.domain)
        if not rows:
            raise DataError("Expected at least one record to score")
        about = self.about()
        step, rate = self._rows(client, about["most_body"]), about["rate"]
        parts = [{name: column.slice(begin, step) for name, column in columns.items()} for begin in range(0, rows, step)]
        found = []
        for part in parts:
            request = client.request(part)
            self._pace(rate)
            found.append(client.open(self.score(request)))
        return np.concatenate(found)

    def _pace(self, rate: int) -> None:
        """Wait until another request is within the server's rate."""
        while len(self._sent) >= rate:
            time.sleep(max(0.0, self._sent.popleft() + _MINUTE - time.monotonic()))
        self._sent.append(time.monotonic())

    def _rows(self, client: Client, most: int) -> int:
        """Records of one request."""
        plan = client.model.plan
        blocks = (min(most, MOST_BODY) - ENVELOPE) // plan.request_bytes(plan.records)
        if blocks < 1:
            raise Refused(f"The server takes {most:,} bytes, and one block of records has {plan.request_bytes(plan.records):,}. Ask its owner")
        return min(blocks * plan.records, client.most_rows)

    def score(self, request: bytes) -> bytes:
        """The server's answer to one request."""
        self.traffic.requests += 1
        self.traffic.sent += len(request)
        answer = self._asked("POST", "/v1/score", request, MOST_BODY + _SMALL)
        self.traffic.received += len(answer)
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
        self._kept = False

    def _response(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> http.client.HTTPResponse:
        try:
            self._connection.request(method, path, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            if self._kept:
                raise  # else a refusal may have come before all of the body was sent
        return self._connection.getresponse()

    def _asked(self, method: str, path: str, body: bytes | None, most: int) -> bytes:
        headers = self._headers | ({"Content-Type": BINARY} if body is not None else {})
        try:
            response = self._response(method, self._base + path, body, headers)
            content = response.read(most + 1)
        except (OSError, http.client.HTTPException) as error:
            kept = self._kept
            self.close()
            if kept:  # closed by the server meanwhile; a request that was answered all the same is refused as a replay
                return self._asked(method, path, body, most)
            reason = getattr(error, "verify_message", None) or type(error).__name__
            raise StorageError(f"No answer from {self._host} ({reason}). Check the address, the network and --ca") from None
        self._kept = not response.will_close
        if response.status != 200:
            self.close()
            _raise(response.status, content[:_SMALL])
        if len(content) > most:
            self.close()
            raise MessageDamaged(f"Expected an answer of at most {most:,} bytes. Check the URL")
        return content


def _raise(status: int, content: bytes) -> NoReturn:
    """The error that a server named; nothing of what it says is taken on trust but its length."""
    name, reason = "", f"the server answered {status}"
    with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
        found = json.loads(content)
        name, told, advice = str(found["error"])[:40], str(found["reason"])[:300].rstrip(" ."), str(found["do"])[:200]
        reason = "".join(character if character.isprintable() else " " for character in f"{told} ({status}): {advice}")
    raise error_of(name, reason)
