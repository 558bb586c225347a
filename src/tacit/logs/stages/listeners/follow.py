"""A file that others write to, read line by line as it grows, through rotations and crashes."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from tacit.errors import StorageError
from tacit.logs.formats import LineFormat
from tacit.logs.stages.delivery import Delivery
from tacit.logs.stages.listeners.base import Bounds, Door
from tacit.logs.stages.listeners.position import Checkpoint, Position
from tacit.logs.stages.listeners.trail import Trail
from tacit.logs.stages.metrics import Metrics

_LOG = logging.getLogger("tacit.logs.stages")
_BLOCK = 256 << 10
_LOOK = 5.0


class FollowListener:
    """The lines of a file, in order, each at least once.

    Guarantees:
        From the moment in which `start` has returned for the first time, nothing is lost that was in the file then or is written later, through
        crashes at any point and rotations of any number, but for what the table says. The place is stored after delivery: after a crash some lines
        may come twice, as the same bytes with the same ``tacit.id``. A last line without newline waits until it is complete.

    =======================================  =====================================================================================
    renamed, and a new file made             the old one is read to its end, and for ``linger`` seconds more; then the new one; what is
                                             written to the old one later is read when it is noticed, within seconds
    renamed more than once while stopped     every file beside it that is not known is read: see `Trail` for the names
    copied and cut to nothing                noticed by its beginning and by what was read last; the copy is read from where reading had been
    deleted, packed or moved to another      lost; counted as «file lost» if it was not read to its end
    folder before it was read
    cut without a copy                       what was not read is lost, counted as «file lost»
    written between copying and cutting      lost by the rotation itself, unless it was read in that moment; nobody can count it
    =======================================  =====================================================================================

    Args:
        path: of the file; it need not exist yet.
        delivery: that treats and delivers the lines.
        form: how they are written.
        state: folder of the checkpoint.
        metrics: where losses are counted.
        bounds: of a line.
    """

    poll = 0.2
    linger = 2.0

    def __init__(
        self, path: str | Path, delivery: Delivery, form: LineFormat, *, state: str | Path, metrics: Metrics, bounds: Bounds | None = None
    ) -> None:
        self.name = "follow"
        self._path = Path(path).absolute()
        self._longest = (bounds or Bounds()).longest
        self._door = Door(delivery, form, listener=self.name, metrics=metrics)
        self._checkpoint = Checkpoint(Path(state) / f"follow-{hashlib.sha256(os.fsencode(self._path)).hexdigest()[:16]}.json")
        self._trail = Trail(self._path)
        self._file: int | None = None
        self._at: Position | None = None
        self._quiet = self._looked = 0.0

    async def start(self) -> None:
        """See `Listener`. The first time, the place is stored: from then on rotated files are found."""
        try:
            self._checkpoint.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StorageError(f"Cannot make the folder {self._checkpoint.path.parent}: {error.strerror}. Name another for the state.") from error
        if not self._path.parent.is_dir():
            raise StorageError(f"Cannot follow {self._path}: its folder does not exist. Check the name.")
        known = self._checkpoint.load()
        if known is None:
            try:
                self._trail.begin()
            except OSError as error:
                raise StorageError(f"Cannot read {self._path}: {error.strerror}. Give Tacit the right to.") from error
            self._store()
        else:
            self._trail = Trail(self._path, known)

    async def run(self) -> None:
        """See `Listener`."""
        step: asyncio.Future[bool] | None = None
        try:
            while True:
                step = asyncio.ensure_future(self._tried())
                if not await asyncio.shield(step):
                    await asyncio.sleep(self.poll)
        finally:
            # A block that is on its way is delivered and its place stored before the end.
            if step is not None:
                await asyncio.wait([step])
            self._close()

    async def _tried(self) -> bool:
        try:
            return await self._step()
        except PermissionError as error:
            raise StorageError(f"Cannot read {self._path}: {error.strerror}. Give Tacit the right to.") from error
        except OSError as error:
            self._door.count("fault")
            _LOG.warning("follow cannot read on (%s); it is tried again", type(error).__name__)
            return False

    async def _step(self) -> bool:
        """Deliver a block, or go to another file; returns whether there was something to do."""
        if self._file is None and not await asyncio.to_thread(self._open):
            return False
        file = self._file
        if file is None:
            return False
        if await self._block(final=False):
            self._quiet = time.monotonic()
            return await self._looked_beside(_LOOK)
        if self._file is None:
            return True  # it was cut
        if self._trail.current(file):
            await self._looked_beside(self.linger)
            return self._file is None
        if time.monotonic() - self._quiet < self.linger:
            return False
        while await self._block(final=True):
            pass
        self._finish()
        return True

    # ---------------------------------------------------------------------------------------------- which file

    def _open(self) -> bool:
        """Open the file to read now, and store that it is known, so that a crash does not change the identifiers of its lines."""
        found, lost = self._trail.next()
        if lost:
            self._door.count("file lost", lost)
            _LOG.warning("follow cannot find the rest of what it was reading; it goes on with what is there")
        if found is None:
            return False
        self._file, self._at = found
        quiet = min(max(0.0, time.time() - os.fstat(self._file).st_mtime), self.linger)
        self._quiet, self._looked = time.monotonic() - quiet, time.monotonic()
        self._store()
        return True

    async def _looked_beside(self, pause: float) -> bool:
        """Now and then: leave the file for a while if one beside it has something unread."""
        if time.monotonic() - self._looked >= pause:
            self._looked = time.monotonic()
            if self._file is not None and self._trail.current(self._file) and await asyncio.to_thread(self._trail.waiting):
                self._close()
        return True

    def _finish(self) -> None:
        """The file was rotated, and is read to its end."""
        if self._file is not None and self._at is not None:
            self._trail.put(replace(self._at, done=True))
            self._store()
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    # ---------------------------------------------------------------------------------------------- what is in it

    async def _block(self, *, final: bool) -> bool:
        """Deliver whole lines and store the place; returns whether there were any. A file that was cut is closed."""
        file, at = self._file, self._at
        if file is None or at is None:
            return False
        read = await asyncio.to_thread(_read, file, at, self._longest, final)
        if read is None:
            self._close()
            return False
        if read.at.offset == at.offset:
            return False
        if read.lines:
            await self._door.deliver(read.lines, [f"{at.name}:{place}".encode() for place in read.places])
        self._at = read.at
        self._trail.put(read.at)
        self._store()
        return True

    def _store(self) -> None:
        self._checkpoint.store(self._trail.positions)
        self._door.checkpoint()


@dataclass(frozen=True)
class _Read:
    """Lines, the place of each in the file, and the place behind them."""

    lines: list[bytes]
    places: list[int]
    at: Position


def _read(file: int, at: Position, longest: int, final: bool) -> _Read | None:
    """Whole lines from a place; ``None`` if the file is no longer what it was. The last line of a file that is final needs no newline."""
    data = os.pread(file, _BLOCK, at.offset)
    size, cut = (data.find(b"\n") + 1 or len(data), b"\n" not in data and bool(data)) if at.cut else (data.rfind(b"\n") + 1, False)
    if not size and data:
        data += os.pread(file, max(0, longest + 1 - len(data)), at.offset + len(data))
        size = data.rfind(b"\n") + 1
        cut = not size and len(data) > longest
        if cut or (final and not size):
            size = len(data)
    after = at.at(file, at.offset + size, cut=cut)
    # What was read is of the file as it was only if the file is still the same afterwards.
    if not at.covers(file) or (at.offset == 0 and not after.starts(data)):
        return None
    lines, places = ([], []) if at.cut else _lines(data[:size], at.offset, longest)
    return _Read(lines, places, after)


def _lines(data: bytes, offset: int, longest: int) -> tuple[list[bytes], list[int]]:
    lines, places = [], []
    for line in data.split(b"\n"):
        if line.strip():
            lines.append(line[: longest + 1].rstrip(b"\r"))
            places.append(offset)
        offset += len(line) + 1
    return lines, places
