"""NVFlare 2.9 as the engine: its cells carry the messages, over gRPC with both sides' certificates.

Of NVFlare only the cell network is used, the layer below its jobs: no job is submitted, no code travels, and neither its differential privacy nor its
encryption of models takes part. The folder is the one that `certificates` lays out, whose files have NVFlare's names.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from tacit.crypto import VerifyKey
from tacit.errors import MissingExtra, UsageError
from tacit.federation.certificates import CLIENT, CLIENT_KEY, ROOT, SERVER, SERVER_KEY, Address, read_connection
from tacit.federation.roster import COORDINATOR
from tacit.federation.transports import tls
from tacit.federation.transports.base import Handler, Missing
from tacit.federation.transports.frames import GARBLED, LARGEST, REFUSED, TIMEOUT, UNREACHABLE, is_stage, quiet
from tacit.federation.transports.outbound import SiteOptions

CHANNEL, SERVER_CELL = "tacit", "server"
PATIENCE = 8.0
_SLACK = 1 << 20
"""Beyond ``largest`` and this NVFlare ends the stream itself, and the site counts as late."""
_KEY, _BUDGET = "cn__", "tacit_timeout"
"""What names of NVFlare's own headers begin with, and the one header that is ours."""
_OUTCOMES = {
    "timeout": TIMEOUT, "service_unavailable": TIMEOUT, "process_exception": REFUSED, "msg_too_big": GARBLED,
    "target_unreachable": UNREACHABLE, "invalid_target": UNREACHABLE, "comm_error": UNREACHABLE,
}


class NVFlareTransport:
    """Runs the federation's root cell, and asks the sites' cells.

    A site that is not connected has ``patience`` seconds, once, to come; after that it is missing at once until it does. A question may be with a
    site while an earlier one is still being answered there; it waits its turn, at most as long as the call may take.

    Guarantees:
        NVFlare compares a site's name with its certificate's (CN) and does not look at the roster's key in it, as `WebSocketTransport` does; nor does
        a site compare the host's name. Messages carry their own signatures, so this opens no way to be believed, only to be connected.

    Args:
        folder: with ``rootCA.pem``, ``server.crt`` and ``server.key`` (`certificates.lay_out_coordinator`).
        members: the key of each site, by name: `Roster.sites`.
        listen: address and port.
        patience: seconds.
        largest: bytes of a message, in either direction.

    Raises:
        MissingExtra: without the extra «nvflare».
        ConfigError: the certificates cannot be used.
        UsageError: this process has, or had, one; NVFlare's cells leave traces behind.
    """

    def __init__(
        self, folder: Path, members: Mapping[str, VerifyKey], *, listen: Address, patience: float = PATIENCE, largest: int = LARGEST
    ) -> None:
        _require_extra(largest)
        tls.listening(folder)
        self._cells = {name: cell_of(name) for name in members}
        self._largest, self._absent = largest, {name: time.monotonic() + patience for name in members}
        credentials = {"ca_cert": str(folder / ROOT), "server_cert": str(folder / SERVER), "server_key": str(folder / SERVER_KEY)}
        self._cell = _cell(SERVER_CELL, listen, credentials, {cell: name for name, cell in self._cells.items()})
        self._open = True
        self._cell.core_cell.set_cell_disconnected_cb(self._lost)
        self._with: dict[str, set[Any]] = {cell: set() for cell in self._cells.values()}
        self._cell.start()

    @property
    def sites(self) -> tuple[str, ...]:
        """The names of the sites it can address, connected or not."""
        return tuple(sorted(self._cells))

    @property
    def connected(self) -> tuple[str, ...]:
        """The names of the sites that are connected now."""
        return tuple(sorted(name for name, cell in self._cells.items() if self._cell.core_cell.is_cell_connected(cell)))

    def call(self, stage: str, messages: Mapping[str, bytes], *, timeout: float) -> dict[str, bytes | Missing]:
        """See `Transport`.

        Raises:
            UsageError: for a name that cannot be a stage's, a message that is too large, or after `close`. Nothing was sent.
        """
        longest = max((len(message) for message in messages.values()), default=0)
        if not self._open or not is_stage(stage) or longest > self._largest:
            raise UsageError(
                f"Expected an open transport, a stage's name and messages of at most {self._largest:,} bytes; got {stage[:40]!r} and {longest:,}."
            )
        if not messages:
            return {}
        from nvflare.apis.signal import Signal

        signals = {name: Signal() for name in messages}
        pool = ThreadPoolExecutor(len(messages), thread_name_prefix="tacit-call")
        asked = {name: pool.submit(self._ask, name, stage, message, timeout, signals[name]) for name, message in messages.items()}
        wait(asked.values(), timeout)
        for signal in signals.values():
            signal.trigger("over")
        pool.shutdown(wait=False)
        return {name: self._outcome(name, future) for name, future in asked.items()}

    def close(self) -> None:
        """End the root cell; sites try to come back until they are stopped."""
        if self._open:
            self._open = False
            self._cell.core_cell.stop()

    def _ask(self, name: str, stage: str, message: bytes, timeout: float, signal: Any) -> bytes | Missing:
        from nvflare.fuel.f3.message import Message

        cell, end = self._cells.get(name), time.monotonic() + timeout
        if cell is None or not self._arrives(name, cell, end):
            return UNREACHABLE
        self._with[cell].add(signal)
        try:
            reply = self._cell.send_request(
                channel=CHANNEL, target=cell, topic=stage, request=Message({_BUDGET: timeout}, message), timeout=timeout, optional=True,
                abort_signal=signal,
            )
        finally:
            self._with[cell].discard(signal)
        return self._read(reply)

    def _arrives(self, name: str, cell: str, end: float) -> bool:
        """Whether the site is connected, or comes before its time is over."""
        while not self._cell.core_cell.is_cell_connected(cell):
            if time.monotonic() >= min(self._absent[name], end):
                return False
            time.sleep(0.02)
        self._absent[name] = time.monotonic() + PATIENCE
        return True

    def _lost(self, agent: Any) -> None:
        """Stop waiting for a site whose connection is gone."""
        for signal in tuple(self._with.get(agent.get_fqcn(), ())):
            signal.trigger("lost")

    def _read(self, reply: Any) -> bytes | Missing:
        how = reply.get_header(_KEY + "return_code")
        if how != "ok":
            return _OUTCOMES.get(how, REFUSED)
        message = reply.payload
        if not isinstance(message, bytes | bytearray | memoryview) or len(message) > self._largest:
            return GARBLED
        return bytes(message)

    def _outcome(self, name: str, future: Future[bytes | Missing]) -> bytes | Missing:
        found = TIMEOUT if not future.done() else UNREACHABLE if future.exception() is not None else future.result()
        gone = found == TIMEOUT and name not in self.connected
        return UNREACHABLE if gone else found


def serve_nvflare(handler: Handler, folder: Path, *, options: SiteOptions | None = None) -> None:
    """As `serve`, to a coordinator with an `NVFlareTransport`: answer until ``options.stop`` is set; ``heartbeat`` is NVFlare's own.

    The connection is outbound. A certificate that the coordinator refuses shows only in NVFlare's log, and as a site that never connects.

    Raises:
        MissingExtra: without the extra «nvflare».
        ConfigError: the certificates or ``connection.json`` cannot be used.
        UsageError: there is such a cell in this process already.
    """
    options = options or SiteOptions()
    _require_extra(options.largest)
    way = read_connection(folder)
    tls.connecting(folder)
    credentials = {"ca_cert": str(folder / ROOT), "client_cert": str(folder / CLIENT), "client_key": str(folder / CLIENT_KEY)}
    cell = _cell(cell_of(way.name), way.address, credentials, {SERVER_CELL: COORDINATOR})
    cell.register_request_cb(channel=CHANNEL, topic="*", cb=_Site(handler, options).answer)
    cell.core_cell.set_cell_connected_cb(lambda agent: options.report(f"connected to {way.address}"))
    cell.core_cell.set_cell_disconnected_cb(lambda agent: options.report(f"not connected to {way.address}; trying again"))
    cell.start()
    try:
        options.stop.wait()
    finally:
        cell.core_cell.stop()


class _Site:
    """One question at a time, and none whose time is over."""

    def __init__(self, handler: Handler, options: SiteOptions) -> None:
        self._handler, self._options, self._turn = handler, options, threading.Lock()

    def answer(self, request: Any) -> Any:
        """The reply to a message of a cell. What the handler raises stays at the site."""
        from nvflare.fuel.f3.cellnet.utils import make_reply

        stage, budget, message = request.get_header(_KEY + "topic"), request.get_header(_BUDGET), request.payload
        known = isinstance(stage, str) and is_stage(stage) and isinstance(budget, int | float) and 0 < budget <= threading.TIMEOUT_MAX
        if request.get_header(_KEY + "origin") != SERVER_CELL or not known or not isinstance(message, bytes | bytearray | memoryview):
            return make_reply("invalid_request")
        if len(message) > self._options.largest:
            return make_reply("msg_too_big")
        if not self._turn.acquire(timeout=budget):
            return make_reply("service_unavailable")
        try:
            answer = self._handler.handle(stage, bytes(message))
        except Exception as error:
            self._options.report(f"could not answer «{stage}»: {type(error).__name__}")
            return make_reply("process_exception")
        finally:
            self._turn.release()
        return make_reply("ok", body=answer) if len(answer) <= self._options.largest else make_reply("msg_too_big")


def cell_of(name: str) -> str:
    """The name of a site's cell. Dots divide generations of cells, so a site's stand as «~»."""
    return "site-" + name.replace(".", "~")


def _cell(name: str, address: Address, credentials: dict[str, str], identities: dict[str, str]) -> Any:
    from nvflare.fuel.f3.cellnet.cell import Cell

    try:
        return Cell(fqcn=name, root_url=f"grpc://{address}", secure=True, credentials=credentials, auth_identity_map=identities)
    except ValueError as error:
        raise UsageError(f"This process has, or had, an NVFlare cell «{name}», or cannot have one for {address}. Begin a new process.") from error


def _require_extra(largest: int) -> None:
    try:
        import nvflare.fuel.f3.cellnet.cell  # noqa: F401
    except ImportError:
        raise MissingExtra("nvflare", purpose="NVFlare as the engine of a federation") from None
    quiet("nvflare")
    os.environ.setdefault("NVFLARE_STREAMING_MAX_BLOB_SIZE", str(largest + _SLACK))
