"""The web side, listening: a port that is known to be free, TLS, and no log of what is asked."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tacit.errors import ConfigError, MissingExtra, UsageError

if TYPE_CHECKING:
    from fastapi import FastAPI


class WebServer:
    """One listener for HTTP or HTTPS.

    Args:
        app: a FastAPI application.
        host: address to listen on.
        port: likewise; 0 takes a free one.
        tls: files of certificate and key, as PEM.
        connections: at most so many at once; further ones get 503.

    Raises:
        UsageError: the port is taken or may not be used.
        ConfigError: certificate or key cannot be used.
        MissingExtra: uvicorn is not installed.
    """

    def __init__(self, app: FastAPI, host: str, port: int, *, tls: tuple[Path, Path] | None = None, connections: int = 1_000) -> None:
        try:
            import uvicorn
        except ImportError:
            raise MissingExtra("serve", purpose="listening for HTTP") from None
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        files: dict[str, Any] = {}
        if tls is not None:
            _check(*tls)
            files = {"ssl_certfile": str(tls[0]), "ssl_keyfile": str(tls[1])}
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, date_header=True, proxy_headers=False, lifespan="off",
            limit_concurrency=connections, timeout_keep_alive=75, timeout_graceful_shutdown=35, **files,
        )
        self._server = _Quiet.of(uvicorn.Server)(config)
        self._socket = bound(host, port)
        self._scheme, self._host = "http" if tls is None else "https", host

    def __str__(self) -> str:
        return f"{self._scheme}://{f'[{self._host}]' if ':' in self._host else self._host}:{self.port}"

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    async def serve(self) -> None:
        """Answer until `stop`; requests that have begun are finished."""
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """Take no further connections."""
        self._server.should_exit = True

    def close(self) -> None:
        """Free the port."""
        self._socket.close()


class _Quiet:
    """Leaves signals to the command that runs all listeners."""

    @staticmethod
    def of(server: type[Any]) -> type[Any]:
        @contextlib.contextmanager
        def nothing(self: Any) -> Iterator[None]:
            yield

        return type("Server", (server,), {"capture_signals": nothing})


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens on a free port.

    Raises:
        UsageError: the port is taken, or the address is not one of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        made = socket.create_server((host, port), family=family, backlog=1024)
        # Connections inherit it; asyncio sets it only where a socket names its protocol. Without it the end of an answer waits 40 ms for the
        # acknowledgement of its beginning.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made
    except OSError as error:
        raise UsageError(f"Cannot listen on {host}:{port}: {error.strerror or 'no such address'}. Name another address or port.") from error


def _check(certificate: Path, key: Path) -> None:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"Cannot use the certificate {certificate} with the key {key} ({error.strerror or 'they do not fit'}). "
            "Expected both as PEM, the key without a passphrase."
        ) from None
