"""From many listeners to the outlets: gathered, treated once, held durably, and only then acknowledged.

While one batch is treated and written, what further connections bring gathers and becomes the next batch (group commit), so that one disk
synchronisation or one request serves many of them.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from tacit.errors import StorageError, TacitError, UsageError
from tacit.logs.anonymise import Anonymiser
from tacit.logs.formats import LineFormat, with_member
from tacit.logs.stages.metrics import Metrics
from tacit.logs.stages.outlets.base import Outlet
from tacit.logs.stages.running import DeadLetters
from tacit.logs.stages.submissions import IDENTIFIER, Batch, Receipt, Together, Work, read

_LOG = logging.getLogger("tacit.logs.stages")
_PER_LINE = 64
_BATCH_BYTES = 8 << 20
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 15.0
_T = TypeVar("_T")
_Texts = tuple[Batch, list[str], list[int], Counter[str]]


class Busy(TacitError):
    """The queue is full. Nothing was taken; try again later, and read nothing more until then."""


class Closed(Busy):
    """The pipeline is being closed. What was not acknowledged is to be sent again."""


@dataclass(frozen=True)
class Limits:
    """How much a pipeline takes at once.

    Args:
        most_bytes: of lines that were taken and not yet answered for; beyond that `Delivery.submit` raises `Busy`.
        most_events: after which a batch is closed; one submission is never divided.
        longest_wait: seconds that a first line waits for company, where none gathered while the batch before it was delivered.
    """

    most_bytes: int = 64 << 20
    most_events: int = 1024
    longest_wait: float = 0.001


class Delivery:
    """One thread that treats what all listeners bring and hands it to the outlets.

    Guarantees:
        *At least once.* A future is resolved only when every outlet holds the events durably and every refused line is durably in the dead letters.
        Whoever sends again what was not acknowledged loses nothing, also if this process is killed at any point. With ``ids`` every event has a
        ``tacit.id``: 24 hexadecimal digits of HMAC-SHA256 under the epoch's key over the record's mark and its line; ``-1``, ``-2`` ... for those
        that are equal in both within one submission. A mark is what a listener knows a record by apart from its bytes, and what is the same when
        the record comes again: so what came twice is recognised, and equal lines of two records are not taken for one.

        *Bounded.* Never more than ``limits.most_bytes`` of lines wait (each counts for 64 bytes more than it has).

        *Fail closed.* While the key cannot be read, nothing is treated and nothing acknowledged.

    ===========================================  ==================================================================================
    an outlet fails                              tried again after .1, .2, .4 ... 15 seconds, for ever; the queue fills; `Busy`
    an outlet says it will never take an event   the line goes to the dead letters
    treating raises                              the batch is divided until the one line is found; it goes to the dead letters
    the caller cancels the future                dropped if it has not begun; else it is delivered all the same
    ===========================================  ==================================================================================

    Args:
        anonymiser: of the policy and the key; or a function that gives it for each batch, so that a key can change meanwhile.
        outlets: all of them get every event.
        dead: where lines go that cannot be treated.
        limits: how much is taken at once.
        metrics: where it is counted.
        ids: whether events carry ``tacit.id``.
    """

    def __init__(
        self, anonymiser: Anonymiser | Callable[[], Anonymiser], outlets: Sequence[Outlet], *, dead: DeadLetters, limits: Limits | None = None,
        metrics: Metrics | None = None, ids: bool = True,
    ) -> None:
        if not outlets:
            raise UsageError("Expected at least one outlet; got none.")
        self.limits = limits or Limits()
        self.metrics = Metrics() if metrics is None else metrics
        self._current: Callable[[], Anonymiser] = (lambda: anonymiser) if isinstance(anonymiser, Anonymiser) else anonymiser
        self._outlets, self._dead, self._ids = list(outlets), dead, ids
        self._queue: deque[Work] = deque()
        self._changed = threading.Condition()
        self._waiting = 0
        self._closing = False
        self._gone = threading.Event()
        self._failing: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="tacit-delivery", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Bytes that were taken and not yet answered for."""
        return self._waiting

    @property
    def failing(self) -> tuple[str, ...]:
        """Names of what does not work at the moment and is tried again: outlets, «dead letters», «keys»."""
        return tuple(sorted(self._failing))

    @property
    def ready(self) -> bool:
        """Whether everything works and more is taken."""
        return not self._failing and not self._closing and self._waiting < self.limits.most_bytes and self._thread.is_alive()

    def submit(
        self, lines: Sequence[bytes], form: LineFormat, *, listener: str = "other", marks: Sequence[bytes] | None = None
    ) -> Future[Receipt]:
        """Take lines, if there is room; may be called from any thread, and never waits.

        Args:
            lines: without their newlines; they must not change afterwards.
            form: how they are written.
            listener: its name, for the metrics.
            marks: for each line what tells it from an equal one and is the same when it is sent again: a place in a file, an offset, the sender's
                own identifier. Without them equal lines have equal identifiers.

        Returns:
            Resolved when everything is durable. Cancelled, it is dropped if it has not begun yet.

        Raises:
            Busy: the queue is full: try again later.
            Closed: the pipeline is being closed.
            UsageError: this can never be taken; divide it.
        """
        size = sum(map(len, lines)) + _PER_LINE * len(lines)
        if size > self.limits.most_bytes:
            raise UsageError(f"Expected a submission of at most {self.limits.most_bytes:,} bytes; got {size:,}. Divide it.")
        work = Work(lines, form, size, marks)
        with self._changed:
            if self._closing:
                raise Closed("The pipeline is being closed. Send this again later.")
            if self._waiting + size > self.limits.most_bytes:
                self.metrics.busy(listener)
                raise Busy(f"The queue of {self.limits.most_bytes:,} bytes is full. Send this again later.")
            self._waiting += size
            self._queue.append(work)
            self._changed.notify_all()
        self.metrics.read(listener, events=len(lines), size=size - _PER_LINE * len(lines))
        work.future.add_done_callback(lambda future: self._left(work, future))
        return work.future

    def close(self, *, timeout: float = 30.0) -> bool:
        """Take nothing more, deliver what waits, and stop; returns whether everything was delivered.

        What is not delivered in time gets `Closed`: its sender was not told that it arrived, and sends it again.

        Args:
            timeout: seconds to go on trying.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        self._gone.set()
        self._thread.join()
        with self._changed:
            left, self._queue = list(self._queue), deque()
        for work in left:
            if work.future.set_running_or_notify_cancel():
                work.future.set_exception(Closed("The pipeline was closed before this was delivered. Send it again."))
        return not left and not self._failing

    def _left(self, work: Work, future: Future[Receipt]) -> None:
        with self._changed:
            self._waiting -= work.size
            if future.cancelled() and work in self._queue:
                self._queue.remove(work)

    # ---------------------------------------------------------------------------------------------- the thread

    def _work(self) -> None:
        while works := self._gathered():
            try:
                self._batch(works)
            except Closed as closed:
                for work in works:
                    work.future.set_exception(closed)
                return
            except Exception as error:
                # What the library does is guarded in `_parsed`; this is a fault of ours. Nothing is acknowledged, and the thread lives on.
                _LOG.error("a batch failed with %s; it was not acknowledged", type(error).__name__)
                for work in works:
                    if not work.future.done():
                        work.future.set_exception(StorageError("A fault of Tacit's own. Nothing was acknowledged; send it again."))
            self.metrics.queue(self._waiting)

    def _gathered(self) -> list[Work]:
        """Submissions for one batch; none at the end."""
        with self._changed:
            alone = not self._queue
            while not self._queue:
                if self._closing:
                    return []
                self._changed.wait()
            begun = time.monotonic() - (0 if alone else self.limits.longest_wait)  # what gathered meanwhile has waited already
            while not self._enough() and (left := begun + self.limits.longest_wait - time.monotonic()) > 0:
                self._changed.wait(left)
            works: list[Work] = []
            events = size = 0
            while self._queue and events < self.limits.most_events and size < _BATCH_BYTES:
                work = self._queue.popleft()
                if work.future.set_running_or_notify_cancel():
                    works.append(work)
                    events += len(work.lines)
                    size += work.size
            waits = bool(self._queue)
            self.metrics.queue(self._waiting)
        return works or (self._gathered() if waits or not self._closing else [])

    def _enough(self) -> bool:
        return self._closing or sum(len(work.lines) for work in self._queue) >= self.limits.most_events

    def _batch(self, works: list[Work]) -> None:
        began = time.monotonic()
        anonymiser = self._persistently("keys", self._current)
        batch, treated, places, unknown = self._compiled(anonymiser, works) or self._parsed(anonymiser, works)
        texts = self._numbered(anonymiser, treated, places, batch) if self._ids else treated
        self.metrics.treated(time.monotonic() - began, events=len(batch.places), unknown=unknown)
        rejected: set[int] = set()
        for outlet in self._outlets if texts else ():
            for place, reason in self._delivered(outlet, texts):
                if place not in rejected:
                    rejected.add(place)
                    batch.refuse(places[place], reason)
        for number, place in enumerate(places):
            if number not in rejected:
                batch.works[place].written += 1
        self._buried(works)
        self.metrics.answered(time.monotonic() - began, written=len(texts) - len(rejected))
        for work in works:
            work.future.set_result(Receipt(work.written, tuple(work.refused)))

    def _compiled(self, anonymiser: Anonymiser, works: list[Work]) -> _Texts | None:
        """What `_parsed` gives, of lines of JSON that compiled code reads; nothing where that cannot be."""
        lines = Together.of(works, own=self._ids) if anonymiser.compiled else None
        if lines is None:
            return None
        try:
            treated = anonymiser.texts(lines)
        except Exception:
            anonymiser.restart()
            return None  # the other way finds the event that is to blame
        batch = lines.batch()
        for place, reason in treated.refused:
            batch.refuse(place, reason)
        return batch, treated.events, treated.places, treated.unknown

    def _parsed(self, anonymiser: Anonymiser, works: list[Work]) -> _Texts:
        """The batch, JSON texts, the place of each in it, and the fields left out; what cannot be treated is noted with its submission."""
        batch = read(works, own=self._ids)
        texts: list[str] = []
        places: list[int] = []
        unknown: Counter[str] = Counter()
        pieces = [range(len(batch.events))] if batch.events else []
        while pieces:
            piece = pieces.pop()
            try:
                treated = anonymiser.texts(batch.events[piece.start : piece.stop])
            except StorageError:
                self._persistently("vault", anonymiser.keep)  # nothing is wrong with the events: they wait, and so do senders
                pieces.append(piece)
                continue
            except Exception as error:
                if len(piece) > 1:
                    middle = (piece.start + piece.stop) // 2
                    pieces += [range(middle, piece.stop), range(piece.start, middle)]
                else:
                    batch.refuse(piece.start, f"could not be treated ({type(error).__name__})")
                continue
            texts += treated.events
            places += [piece.start + place for place in treated.places]
            unknown.update(treated.unknown)
            for place, reason in treated.refused:
                batch.refuse(piece.start + place, reason)
        return batch, texts, places, unknown

    def _numbered(self, anonymiser: Anonymiser, texts: list[str], places: list[int], batch: Batch) -> list[str]:
        """The texts with ``tacit.id``."""
        key = anonymiser.tools.key.secret("event-id")
        works, lines, seen, found = batch.works, batch.places, dict[tuple[int, bytes], int](), list[str]()
        digest, sha256 = hmac.digest, hashlib.sha256
        for text, place in zip(texts, places, strict=True):
            work, line = works[place], lines[place]
            mark = b"" if work.marks is None else work.marks[line]
            content = b"%b%b%b" % (len(mark).to_bytes(4, "big"), mark, work.lines[line])
            identifier = digest(key, content, sha256).hex()[:24]
            number = seen.get((id(work), content), 0)
            seen[id(work), content] = number + 1
            found.append(with_member(text, IDENTIFIER, f'"{identifier}-{number}"' if number else f'"{identifier}"'))
        return found

    def _delivered(self, outlet: Outlet, texts: list[str]) -> Sequence[tuple[int, str]]:
        began = time.monotonic()
        rejected = self._persistently(outlet.name, lambda: outlet.deliver(texts))
        self.metrics.delivered(outlet.name, time.monotonic() - began)
        return [(place, f"{outlet.name} does not take it: {reason}") for place, reason in rejected or ()]

    def _buried(self, works: list[Work]) -> None:
        """Everything refused, in the dead letters, durably."""
        reasons: Counter[str] = Counter()
        for work in works:
            work.refused.sort()
            reasons.update(reason for _, reason in work.refused)

        def bury() -> None:
            for work in works:
                for place, reason in work.refused:
                    self._dead.add(work.lines[place], line=place + 1, reason=reason)
            self._dead.flush()

        if reasons:
            self._persistently("dead letters", bury)
            self.metrics.refused(reasons)

    def _persistently(self, name: str, action: Callable[[], _T]) -> _T:
        """The result of what may fail for a while; tried until it works or the pipeline is closed."""
        pause = _FIRST_PAUSE
        while True:
            try:
                done = action()
            except (TacitError, OSError) as error:
                what = str(error) if isinstance(error, TacitError) else type(error).__name__
            except Exception as error:
                what = type(error).__name__  # a library's own words may hold what it was given
            else:
                if name in self._failing:
                    self._failing.discard(name)
                    _LOG.warning("%s works again", name)
                return done
            self._failing.add(name)
            self.metrics.failed(name)
            _LOG.warning("%s failed: %s; it is tried again in %.1f seconds", name, what, pause)
            if self._gone.wait(pause * (1 + secrets.randbelow(256) / 1024)):
                raise Closed("The pipeline was closed before this was delivered. Send it again.")
            pause = min(2 * pause, _LONGEST_PAUSE)

