"""The desk on the network: HTTPS from the standard library, one short question per connection, nothing logged and nothing else served."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tacit.errors import ConfigError, UsageError
from tacit.federation.certificates import SERVER, SERVER_KEY, Address
from tacit.federation.enrolment import LONGEST, reply

_PATIENCE = 15.0
_MOST = 64


class DeskServer:
    """Listens until `close`.

    Args:
        handle: a path and a body in, a status and an answer out.
        folder: with ``server.crt`` and ``server.key``.
        listen: address and port.

    Raises:
        ConfigError: if certificate or key cannot be used.
        UsageError: if it cannot listen there.
    """

    def __init__(self, handle: Callable[[str, bytes], tuple[int, bytes]], folder: Path, *, listen: Address) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_cert_chain(folder / SERVER, folder / SERVER_KEY, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror or "they do not fit"
            raise ConfigError(f"Cannot use {SERVER} and {SERVER_KEY} in {folder} ({reason}). Restore the folder.") from None
        try:
            self._server = _Server((listen.host, listen.port), _handler(handle, context))
        except OSError as error:
            raise UsageError(f"Cannot listen on {listen}: {os.strerror(error.errno or 0)}. Name another with --listen.") from error
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="tacit-desk", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; questions that have begun are answered."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    """No more threads than there can be sites; those that answer when it closes, finish."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = _MOST

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        import socket

        self.address_family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        self._free = threading.BoundedSemaphore(_MOST)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Drop whoever comes while all threads are taken."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection, from its handshake on."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: whoever breaks off a connection is no error of ours, and addresses are not logged."""


def _handler(handle: Callable[[str, bytes], tuple[int, bytes]], context: ssl.SSLContext) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """One question."""

        timeout = _PATIENCE
        server_version, sys_version = "tacit", ""

        def setup(self) -> None:
            """The handshake, in this connection's own thread, so that a half-open one keeps nobody waiting."""
            self.request.settimeout(_PATIENCE)
            self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()

        def finish(self) -> None:
            """End TLS, and the connection with it."""
            super().finish()
            self.request.close()

        def do_GET(self) -> None:
            """A question without content."""
            self._answer(b"")

        def do_POST(self) -> None:
            """A question with content."""
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > LONGEST:
                self._send(413, reply(error="Expected content of at most 1 MiB."))
                return
            self._answer(self.rfile.read(int(length)))

        def _answer(self, body: bytes) -> None:
            self._send(*handle(self.path, body))

        def _send(self, status: int, data: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    return Handler
