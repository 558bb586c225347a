"""Syslog over TCP or TLS (RFC 5424, RFC 6587, RFC 5425): the message is the event's JSON text."""

from __future__ import annotations

import contextlib
import socket
import ssl
from datetime import UTC, datetime

from tacit.logs.stages.outlets.base import OutletError

_PRIORITY = 13 * 8 + 6  # log audit, informational
_MOST_UNREAD = 1 << 16


class SyslogOutlet:
    """Octet-counted messages over one connection.

    Guarantees:
        Less than the other outlets: plain syslog has no acknowledgement. A batch counts as delivered when the kernel has taken it, so what was in its
        buffers when the receiver died is lost. Use ``bulk``, ``hec`` or a file where that matters.

    Args:
        host: of the receiver.
        port: of the receiver.
        tls: if it speaks TLS.
        name: for metrics and messages.
        timeout: seconds for each step.
    """

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None = None, name: str = "syslog", timeout: float = 30.0) -> None:
        self.name, self._place, self._tls, self._timeout = name, (host, port), tls, timeout
        self._socket: socket.socket | None = None

    def deliver(self, texts: list[str]) -> None:
        """See `Outlet`."""
        head = f"<{_PRIORITY}>1 {datetime.now(UTC).isoformat(timespec='milliseconds').replace('+00:00', 'Z')} - tacit - event - "
        messages = [(head + text).encode() for text in texts]
        data = b"".join(b"%d %s" % (len(message), message) for message in messages)
        try:
            if self._socket is not None and _ended(self._socket):
                self.close()
            if self._socket is None:
                self._socket = self._connected()
            self._socket.sendall(data)
        except OSError as error:
            self.close()
            raise OutletError(f"no connection to {self._place[0]} ({type(error).__name__})") from None

    def close(self) -> None:
        """See `Outlet`."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        plain = socket.create_connection(self._place, timeout=self._timeout)
        if self._tls is None:
            return plain
        try:
            return self._tls.wrap_socket(plain, server_hostname=self._place[0])
        except OSError:
            plain.close()
            raise


def _ended(connection: socket.socket) -> bool:
    """Whether the receiver has closed: seen before a batch is sent into nothing."""
    timeout = connection.gettimeout()
    connection.settimeout(0)
    try:
        return connection.recv(_MOST_UNREAD) == b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(timeout)
