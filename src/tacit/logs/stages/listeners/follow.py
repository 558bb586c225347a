"""A file that others write to, read line by line as it grows, through rotations and crashes."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import time
from pathlib import Path

from tacit.errors import StorageError
from tacit.logs.formats import LineFormat
from tacit.logs.stages.delivery import Delivery
from tacit.logs.stages.listeners.base import Bounds, Door
from tacit.logs.stages.listeners.position import Checkpoint, Position
from tacit.logs.stages.metrics import Metrics

_LOG = logging.getLogger("tacit.logs.stages")
_BLOCK = 256 << 10
_PACKED = (".gz", ".zst", ".xz", ".bz2", ".tmp")
_ROTATED = re.compile(r"[.\-_](?:[0-9][\w.:+\-]*|old|bak)\Z", re.ASCII)


class FollowListener:
    """The lines of a file, in order, each at least once.

    Guarantees:
        The place is stored after delivery: after a crash at any point reading goes on at the last stored place, so that nothing is lost and some
        lines may come twice, as the same bytes. A last line without newline waits until it is complete.

    =======================================  =====================================================================================
    renamed, and a new file made             the old one is read to its end, and for ``linger`` seconds more; then the new one
    renamed more than once while stopped     the files between are found beside it by name (``app.log.1``, ``app.log-2026...``) and age
    copied and cut to nothing                noticed by size or beginning; the copy beside it is read from where reading had been
    renamed and packed before it was read    lost, and counted as «file lost»
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
        self._file: int | None = None
        self._at: Position | None = None
        self._quiet = 0.0

    async def start(self) -> None:
        """See `Listener`."""
        try:
            self._checkpoint.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StorageError(f"Cannot make the folder {self._checkpoint.path.parent}: {error.strerror}. Name another for the state.") from error
        self._at = self._checkpoint.load()
        if not self._path.parent.is_dir():
            raise StorageError(f"Cannot follow {self._path}: its folder does not exist. Check the name.")

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
        """Deliver a block, or go to the next file; returns whether there was something to do."""
        if self._file is None and not self._opened():
            return False
        file, at = self._file, self._at
        if file is None or at is None:
            return False
        if not at.same_content(file):
            await self._cut_short(at)
            return True
        if await self._block(final=False):
            self._quiet = time.monotonic()
            return True
        if not self._rotated(file) or time.monotonic() - self._quiet < self.linger:
            return False
        while await self._block(final=True):
            pass
        self._next()
        return True

    # ---------------------------------------------------------------------------------------------- which file

    def _opened(self) -> bool:
        """Open where reading goes on: the file of the checkpoint wherever it is now, or the first to come."""
        at = self._at
        if at is None:
            return self._begin(self._path)
        for path in self._numbered(at.inode):
            if self._take(path, at):
                return True
        if (copy := self._copy(at)) is not None and self._take(copy, at, number=False):
            return True
        if not self._path.exists():
            return False
        self._lost()
        return self._begin(self._path)

    def _numbered(self, inode: int) -> list[Path]:
        """Files of the folder with this number."""
        with os.scandir(self._path.parent) as entries:
            return [Path(entry.path) for entry in entries if entry.inode() == inode]

    def _begin(self, path: Path) -> bool:
        try:
            self._file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        self._at, self._quiet = Position.of(self._file, 0), time.monotonic()
        return True

    def _take(self, path: Path, at: Position, *, number: bool = True) -> bool:
        """Open a file if it is the one of a position."""
        try:
            file = os.open(path, os.O_RDONLY)
        except OSError:
            return False
        if at.same_file(file) if number else at.same_content(file):
            self._file, self._at, self._quiet = file, Position.of(file, at.offset, cut=at.cut), time.monotonic()
            return True
        os.close(file)
        return False

    def _copy(self, at: Position) -> Path | None:
        """What a file was copied to before it was cut short."""
        if at.head == 0:
            return None
        for path in reversed(self._beside()):
            try:
                file = os.open(path, os.O_RDONLY)
            except OSError:
                continue
            try:
                if at.same_content(file):
                    return path
            finally:
                os.close(file)
        return None

    def _beside(self, since: int = 0) -> list[Path]:
        """Files that this one was rotated to and that were written to after a time, the oldest first."""
        with os.scandir(self._path.parent) as entries:
            named = (entry for entry in entries if entry.name.startswith(self._path.name))
            found = [Path(entry.path) for entry in named if _ROTATED.match(entry.name, len(self._path.name))]
        return sorted((path for path in found if path.suffix not in _PACKED and path.is_file() and _age(path) > since), key=_age)

    def _rotated(self, file: int) -> bool:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return bool(self._beside(os.fstat(file).st_mtime_ns))
        return not os.path.samestat(status, os.fstat(file))

    async def _cut_short(self, at: Position) -> None:
        """The file was cut to nothing: read on in its copy, then from its beginning."""
        self._close()
        copy = self._copy(at)
        if copy is None or not self._take(copy, at, number=False):
            self._lost()
        else:
            while await self._block(final=True):
                pass
            self._close()
        if not self._begin(self._path):
            self._at = None
        elif self._at is not None:
            self._store(self._at)

    def _next(self) -> None:
        """Go on with what was written after the file that is open."""
        later = [] if self._file is None else self._beside(os.fstat(self._file).st_mtime_ns)
        self._close()
        if not any(self._begin(path) for path in [*later, self._path]):
            self._at = None
        elif self._at is not None:
            self._store(self._at)

    def _lost(self) -> None:
        self._door.count("file lost")
        _LOG.warning("follow cannot find the rest of what it was reading; it goes on at the beginning of the file")

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    # ---------------------------------------------------------------------------------------------- what is in it

    async def _block(self, *, final: bool) -> bool:
        """Deliver whole lines and store the place; returns whether there were any."""
        file, at = self._file, self._at
        if file is None or at is None:
            return False
        lines, size, cut = await asyncio.to_thread(_lines, file, at, self._longest, final)
        if not size:
            return False
        if lines:
            await self._door.deliver(lines)
        self._at = Position.of(file, at.offset + size, cut=cut)
        self._store(self._at)
        return True

    def _store(self, position: Position) -> None:
        self._checkpoint.store(position)
        self._door.checkpoint()


def _lines(file: int, at: Position, longest: int, final: bool) -> tuple[list[bytes], int, bool]:
    """Whole lines from a place, how many bytes they take, and whether that ends inside a line that is too long.

    The last line of a file that is final needs no newline.
    """
    data = os.pread(file, _BLOCK, at.offset)
    if at.cut:
        end = data.find(b"\n") + 1
        return [], end or len(data), bool(data) and not end
    end = data.rfind(b"\n")
    if end < 0 and len(data) <= longest:
        data += os.pread(file, longest + 1 - len(data), at.offset + len(data))
        end = data.rfind(b"\n")
    cut = end < 0 and len(data) > longest
    if end < 0 and not cut and not final:
        return [], 0, False
    whole = data if end < 0 else data[:end]
    lines = [line[: longest + 1].rstrip(b"\r") for line in whole.split(b"\n") if line.strip()]
    return lines, len(data) if end < 0 else end + 1, cut


def _age(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
