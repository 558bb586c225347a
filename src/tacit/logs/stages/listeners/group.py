"""Listeners together, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from tacit.errors import StorageError, TacitError
from tacit.logs.stages.delivery import Closed
from tacit.logs.stages.listeners.base import Listener

_POLL = 0.05
_LOG = logging.getLogger("tacit.logs.stages")


class Listeners:
    """Runs listeners until `stop`. Stop them before the delivery is closed, so that what they have read is delivered and answered.

    Args:
        listeners: to run.
        failed: called once, from the thread, when a listener cannot go on; all of them stop then. The pipeline should end: a listener that is
            silently absent would lose events.
        titles: what people call them.
    """

    def __init__(
        self, listeners: Sequence[Listener], *, failed: Callable[[TacitError], None] | None = None, titles: Sequence[str] = ()
    ) -> None:
        self.listeners, self._titles = list(listeners), list(titles)
        self._failed = failed
        self._started: Future[None] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._until: float | None = None
        self.fault: TacitError | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="tacit-listeners", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether all of them listen."""
        return self._started.done() and self._thread.is_alive() and not self._stopping

    def start(self) -> None:
        """Begin to listen everywhere, or nowhere.

        Raises:
            TacitError: what the first listener that cannot begin says.
        """
        self._thread.start()
        self._started.result()

    def __str__(self) -> str:
        return ", ".join(self._titles or [listener.name for listener in self.listeners])

    async def serve(self) -> None:
        """Wait until they end, by `stop` or since one cannot go on.

        Raises:
            TacitError: what that one says.
        """
        while self._thread.is_alive():
            await asyncio.sleep(_POLL)
            if self._until is not None and time.monotonic() > self._until:
                return
        if self.fault is not None:
            raise self.fault

    def stop(self, *, timeout: float = 30.0) -> None:
        """Take nothing new, hand in and answer what was read; after the timeout, `serve` and `join` leave the rest unanswered.

        Args:
            timeout: seconds to wait for the receipts.
        """
        self._until = time.monotonic() + timeout
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._cancel)

    def join(self) -> None:
        """Wait for the end after `stop`."""
        self._thread.join(None if self._until is None else max(0.0, self._until - time.monotonic()))

    def _cancel(self) -> None:
        self._stopping = True
        for task in self._tasks:
            task.cancel()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            for listener in self.listeners:
                await listener.start()
        except Exception as error:
            self._started.set_exception(error)
            return
        self._tasks = [asyncio.create_task(listener.run(), name=listener.name) for listener in self.listeners]
        self._started.set_result(None)
        if self._tasks:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        self.fault = None if self._stopping else self._fault()
        self._cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.fault is not None and self._failed is not None:
            self._failed(self.fault)

    def _fault(self) -> TacitError | None:
        for task in self._tasks:
            error = task.exception() if task.done() and not task.cancelled() else None
            if isinstance(error, Closed):
                return None
            if isinstance(error, TacitError):
                return error
            if error is not None:
                _LOG.error("the listener %s failed with %s", task.get_name(), type(error).__name__)
                return StorageError(f"The listener «{task.get_name()}» failed ({type(error).__name__}). "
                                    "Nothing unacknowledged was lost; start Tacit again.")
        return None
