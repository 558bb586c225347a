"""Which files a log was written to, and which of them is to be read next."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from tacit.logs.stages.listeners.position import SPAN, Position

_PACKED = (".gz", ".zst", ".xz", ".bz2", ".lz4", ".zip", ".tmp")
_AFTER = re.compile(r"[.\-_](?:[0-9][\w.:+\-]*|old|bak)\Z", re.ASCII)
_BETWEEN = re.compile(r"[.\-_](?:19|20)[0-9]{2}[.\-_]?[01][0-9][\w.:+\-]*\Z", re.ASCII)
_AGAIN = 0.02


@dataclass(eq=False)
class _File:
    """An open file of the trail."""

    descriptor: int
    status: os.stat_result
    current: bool
    position: Position | None = None
    passed: bool = False

    @property
    def unread(self) -> bool:
        return not self.passed and self.status.st_size > (0 if self.position is None else self.position.offset)


class Trail:
    """The file at a path, and those beside it that it was rotated to.

    A file is known again by its number and its content, or by its content alone: so it is found after it was renamed, and so is the copy of one
    that was cut to nothing, any number of times.

    ===================================  =========================================================================================
    beside it and not known              it is read from its beginning, the oldest first, before the file at the path
    known, and longer than was read      it is read on: also if its writer was late
    a copy of what is still there        passed over; if what it is a copy of is cut later, it is read on
    a copy shorter than what was read    passed over: the rotation cut lines that came after it was copied, and that were read before
    known, unfinished, and nowhere       counted as lost
    ===================================  =========================================================================================

    Args:
        path: of the file that is written to; it need not exist.
        positions: of the files that are known.
    """

    def __init__(self, path: Path, positions: Iterable[Position] = ()) -> None:
        self._path = path
        self._known = {position.name: position for position in positions}

    @property
    def positions(self) -> list[Position]:
        """Of every file that is known."""
        return list(self._known.values())

    def put(self, position: Position) -> None:
        """Remember how far a file was read."""
        self._known[position.name] = position

    def begin(self) -> None:
        """The first time: what was rotated before is passed over, and the file is read from its beginning."""
        with ExitStack() as stack:
            for file in self._files(stack):
                self.put(Position.of(file.descriptor, 0 if file.current else file.status.st_size, done=not file.current))

    def current(self, descriptor: int) -> bool:
        """Whether an open file is the one at the path."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def waiting(self) -> bool:
        """Whether a file beside the path has something unread."""
        with ExitStack() as stack:
            files = self._files(stack)
            self._recognise(files)
            return any(file.unread for file in files if not file.current)

    def next(self) -> tuple[tuple[int, Position] | None, int]:
        """The file to read now, open, and its place; ``None`` if there is none. And how many unfinished ones are nowhere."""
        with ExitStack() as stack:
            files = self._files(stack)
            missing = self._recognise(files)
            if missing:  # a file that was being renamed just now may have been overlooked
                time.sleep(_AGAIN)
                files = self._files(stack)
                missing &= self._recognise(files)
            lost = sum(not self._known.pop(name).done for name in missing)
            for file in files:
                if file.unread or file.current:
                    position = file.position or Position.of(file.descriptor, 0)
                    position = replace(position, device=file.status.st_dev, inode=file.status.st_ino, done=False)
                    self.put(position)
                    return (os.dup(file.descriptor), position), lost
        return None, lost

    # ------------------------------------------------------------------------------------------------ what is known again

    def _recognise(self, files: list[_File]) -> set[str]:
        """Give files their positions; returns the names of positions that have no file."""
        free = dict(self._known)
        for file in files:
            self._assign(file, free, (one for one in free.values() if one.same_number(file.status)))
        for file in reversed(files):  # the file itself, if its number has changed, or the newest copy
            if file.position is None:
                self._assign(file, free, (one for one in free.values() if one.head))
        for file in reversed(files):
            if file.position is None and not file.current:
                self._pass_over(file, files, free)
        for file in files:
            one = file.position
            if one is not None and not file.current and not file.unread and not one.done and one.offset == file.status.st_size:
                self.put(one.at(file.descriptor, one.offset, done=True))
        return set(free)

    def _assign(self, file: _File, free: dict[str, Position], candidates: Iterator[Position]) -> None:
        found = next((one for one in candidates if one.covers(file.descriptor)), None)
        if found is not None:
            del free[found.name]
            file.position = found

    def _pass_over(self, file: _File, files: list[_File], free: dict[str, Position]) -> None:
        """Whether a file that is not known is a copy of what was read. Below a kilobyte none is taken for one: equal beginnings are no proof."""
        whole = Position.of(file.descriptor, file.status.st_size, done=True)
        if whole.head < SPAN:
            return
        for other in files:
            if other.position is not None and whole.covers(other.descriptor):
                file.passed = True
                if other.position.offset >= whole.offset:
                    self._keep(file, whole)
                return
        unfinished = (one for one in free.values() if not one.done and one.head == SPAN and whole.offset < one.offset)
        cut = next((one for one in unfinished if one.begins(file.descriptor)), None)
        if cut is not None:
            del free[cut.name], self._known[cut.name]
            self._keep(file, whole)

    def _keep(self, file: _File, whole: Position) -> None:
        self.put(whole)
        file.position = whole

    # ------------------------------------------------------------------------------------------------------ what is there

    def _files(self, stack: ExitStack) -> list[_File]:
        """All files of the trail, open, the oldest first and the one at the path last."""
        found = []
        for path in [*self._beside(), self._path]:
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except OSError as error:
                if path == self._path and not isinstance(error, FileNotFoundError):
                    raise
                continue
            stack.callback(os.close, descriptor)
            found.append(_File(descriptor, os.fstat(descriptor), current=path == self._path))
        # A file may have been renamed between listing and opening: then it is there twice, under both names.
        last = {(file.status.st_dev, file.status.st_ino): file for file in found}
        return [file for file in found if last[file.status.st_dev, file.status.st_ino] is file]

    def _beside(self) -> list[Path]:
        with os.scandir(self._path.parent) as entries:
            found = [Path(entry.path) for entry in entries if self._rotated(entry.name) and entry.is_file()]
        return sorted(found, key=_age)

    def _rotated(self, name: str) -> bool:
        """Whether a name is one that rotation gives: ``app.log.1``, ``app.log-20261126``, ``app-2026-11-26.log``, ``app.log.old``."""
        if name.endswith(_PACKED) or name == self._path.name:
            return False
        whole, stem, suffix = self._path.name, self._path.stem, self._path.suffix
        if name.startswith(whole) and _AFTER.match(name, len(whole)):
            return True
        return bool(suffix) and name.startswith(stem) and name.endswith(suffix) and bool(_BETWEEN.match(name[: -len(suffix)], len(stem)))


def _age(path: Path) -> tuple[int, int, str]:
    """By time; in the same moment, by the number behind the name, the highest first."""
    number = path.suffix[1:]
    try:
        return path.stat().st_mtime_ns, -int(number) if number.isdecimal() and len(number) < 6 else 0, path.name
    except OSError:
        return 0, 0, path.name
