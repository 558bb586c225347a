"""HTTP to a server, over one connection that is kept, with certificates checked; no message of it holds what was sent."""

from __future__ import annotations

import base64
import gzip
import http.client
from dataclasses import dataclass
from urllib.parse import urlsplit

from tacit.errors import ConfigError
from tacit.logs.stages.outlets.base import OutletError
from tacit.web import context_for

_LARGEST = 64 << 20


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    body: bytes


class Wire:
    """One server.

    Args:
        url: ``http://`` or ``https://``, with a path if the server has one.
        authorization: value of the header, if it wants one.
        ca: file of the authorities that are trusted instead of the system's.
        timeout: seconds for each step of a request.

    Raises:
        ConfigError: it is no such URL, or there is a password in it.
    """

    def __init__(self, url: str, *, authorization: str | None = None, ca: str | None = None, timeout: float = 30.0) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise ConfigError("Expected an outlet's URL such as https://siem.example:9200/.")
        if parts.username is not None or parts.password is not None:
            raise ConfigError("Expected an outlet's URL without a password: everybody on this machine sees command lines. Put it into a file.")
        self._host, self._port, self._base = parts.hostname, port, parts.path.rstrip("/")
        self._headers = {"Content-Encoding": "gzip"} | ({"Authorization": authorization} if authorization else {})
        self._timeout = timeout
        self._tls = context_for(ca) if parts.scheme == "https" else None
        self._connection: http.client.HTTPConnection | None = None

    def post(self, path: str, body: bytes, *, kind: str) -> Answer:
        """Send, packed, and read the answer.

        Raises:
            OutletError: the server cannot be reached, or says 429 or 5xx or that the credentials are wrong.
        """
        fresh = self._connection is None
        try:
            answer = self._once(path, body, kind)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if fresh:
                raise OutletError(f"no answer from {self._host} ({type(error).__name__})") from None
            return self.post(path, body, kind=kind)  # a kept connection that the server has closed meanwhile
        if answer.status in (401, 403, 404, 408, 429) or answer.status >= 500:
            self.close()
            raise OutletError(f"{self._host} answered {answer.status}")
        return answer

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _once(self, path: str, body: bytes, kind: str) -> Answer:
        if self._connection is None:
            if self._tls is None:
                self._connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
            else:
                self._connection = http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)
        self._connection.request("POST", self._base + path, gzip.compress(body, 1), self._headers | {"Content-Type": kind})
        response = self._connection.getresponse()
        content = response.read(_LARGEST)
        if response.will_close:
            self.close()
        return Answer(response.status, content)


def basic(user: str, password: str) -> str:
    """The header of user and password (RFC 7617).

    >>> basic("a", "b")
    'Basic YTpi'
    """
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
