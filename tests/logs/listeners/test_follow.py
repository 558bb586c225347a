"""Files that grow, are rotated and cut, while the reader is killed: nothing is lost, and what comes twice is known by its identifier."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tacit.errors import DataError, StorageError
from tacit.logs.stages.listeners import FollowListener

from .conftest import Apart, Here, record, wait_for


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FollowListener, "poll", 0.02)
    monkeypatch.setattr(FollowListener, "linger", 0.2)


def append(path: Path, numbers: range, end: bytes = b"\n") -> None:
    with path.open("ab") as file:
        file.write(b"".join(record(number) + end for number in numbers))


def follow(path: Path) -> str:
    return f"follow:{path}"


def begun(here: Callable[..., Here], path: Path) -> Here:
    """A pipeline that follows a file and has delivered its first ten records."""
    append(path, range(10))
    running = here(follow(path))
    wait_for(lambda: len(running.outlet.texts) == 10)
    return running


def test_lines_as_they_come_and_a_partial_one_waits(here: Callable[..., Here], tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    running = here(follow(path))
    append(path, range(10))
    wait_for(lambda: running.outlet.numbers == list(range(10)))
    with path.open("ab") as file:
        file.write(record(10)[:7])
        file.flush()
        time.sleep(0.3)
        assert len(running.outlet.texts) == 10
        file.write(record(10)[7:] + b"\r\n\n\n")
    wait_for(lambda: running.outlet.numbers == list(range(11)))
    assert running.dead() == []


def test_reading_goes_on_where_it_was(here: Callable[..., Here], tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    running = begun(here, path)
    running.close()
    append(path, range(10, 20))
    again = here(follow(path))
    wait_for(lambda: again.outlet.numbers == list(range(10, 20)))


def test_renamed_while_running_with_a_late_writer(here: Callable[..., Here], tmp_path: Path) -> None:
    path, old = tmp_path / "app.log", tmp_path / "app.log.1"
    running = begun(here, path)
    with path.open("ab") as late:
        path.rename(old)
        append(path, range(20, 30))
        late.write(b"".join(record(number) + b"\n" for number in range(10, 19)) + record(19))  # and no newline at the end
    wait_for(lambda: running.outlet.numbers == list(range(30)))


def test_renamed_many_times_while_stopped(here: Callable[..., Here], tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    running = begun(here, path)
    running.close()
    append(path, range(10, 20))
    for number in (20, 30, 40):
        for age in (2, 1):
            if (older := tmp_path / f"app.log.{age}").exists():
                older.rename(tmp_path / f"app.log.{age + 1}")
        path.rename(tmp_path / "app.log.1")
        time.sleep(0.02)
        append(path, range(number, number + 10))
    (tmp_path / "app.log.lock").write_bytes(b"no log")
    again = here(follow(path))
    wait_for(lambda: len(again.outlet.texts) == 40)
    assert again.outlet.numbers == list(range(10, 50))
    assert again.happened("file lost") == 0
    assert again.dead() == []


@pytest.mark.parametrize("stopped", [False, True])
def test_copied_and_cut(here: Callable[..., Here], tmp_path: Path, stopped: bool) -> None:
    path, copy = tmp_path / "app.log", tmp_path / "app.log.1"
    append(path, range(100))
    running = here(follow(path))
    wait_for(lambda: len(running.outlet.texts) == 100)
    running.close()
    if not stopped:
        running = here(follow(path))
        time.sleep(0.1)
    else:
        append(path, range(100, 110))
    shutil.copyfile(path, copy)
    with path.open("r+b") as file:
        file.truncate(0)
    append(path, range(110, 120))
    if stopped:
        running = here(follow(path))
        wait_for(lambda: running.outlet.numbers == list(range(100, 120)))
    else:
        wait_for(lambda: running.outlet.numbers == list(range(110, 120)))
    assert running.happened("file lost") == 0


def test_cut_and_grown_beyond_the_old_place_is_noticed(here: Callable[..., Here], tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    running = begun(here, path)
    running.close()
    with path.open("r+b") as file:
        file.truncate(0)
    append(path, range(1000, 1100))
    again = here(follow(path))
    wait_for(lambda: again.outlet.numbers == list(range(1000, 1100)))
    assert again.happened("file lost") == 1


def test_an_endless_line_is_refused_once_and_passed_over_after_a_restart_too(here: Callable[..., Here], tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    with path.open("ab") as file:
        file.write(b"x" * (40 << 20))
    running = here(follow(path))
    wait_for(lambda: len(running.dead()) == 1)
    time.sleep(0.3)
    running.close()
    with path.open("ab") as file:
        file.write(b"x" * (5 << 20) + b"\n")
    append(path, range(3))
    again = here(follow(path))
    wait_for(lambda: again.outlet.numbers == [0, 1, 2])
    assert len(again.dead()) == 1


def test_what_is_wrong_is_said(here: Callable[..., Here], tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="folder does not exist"):
        here(follow(tmp_path / "none" / "app.log"))
    path = tmp_path / "app.log"
    append(path, range(1))
    running = here(follow(path))
    wait_for(lambda: len(running.outlet.texts) == 1)
    running.close()
    checkpoint = next((tmp_path / "state").glob("follow-*.json"))
    checkpoint.write_bytes(b"{")
    with pytest.raises(DataError, match="damaged"):
        here(follow(path))


# ----------------------------------------------------------------------------------------------- rotations that nobody saw


def rotate(path: Path, *, copying: bool = False) -> None:
    """As logrotate does, keeping everything."""
    for older in sorted(path.parent.glob(path.name + ".*"), key=lambda one: -int(one.suffix[1:])):
        older.rename(path.with_name(f"{path.name}.{int(older.suffix[1:]) + 1}"))
    first = path.with_name(path.name + ".1")
    if copying:
        shutil.copyfile(path, first)
        with path.open("r+b") as file:
            file.truncate(0)
    else:
        path.rename(first)
        path.touch()


@pytest.mark.parametrize("copying", [False, True])
def test_rotated_after_the_start_and_before_anything_was_read(here: Callable[..., Here], tmp_path: Path, copying: bool) -> None:
    path = tmp_path / "app.log"
    append(path, range(0))
    here(follow(path)).close()
    for number in range(0, 30, 10):
        append(path, range(number, number + 10))
        rotate(path, copying=copying)
    append(path, range(30, 40))
    again = here(follow(path))
    wait_for(lambda: len(again.outlet.texts) >= 40)
    assert sorted(again.outlet.numbers) == list(range(40))
    assert again.happened("file lost") == 0


def test_what_was_rotated_before_the_first_start_is_passed_over(here: Callable[..., Here], tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    append(path, range(10))
    rotate(path)
    append(path, range(10, 20))
    running = here(follow(path))
    wait_for(lambda: len(running.outlet.texts) >= 10)
    rotate(path)
    append(path, range(20, 30))
    wait_for(lambda: len(running.outlet.texts) >= 20)
    assert running.outlet.numbers == list(range(10, 30))


@pytest.mark.parametrize("copying", [False, True])
def test_rotated_many_times_while_the_outlet_fails(here: Callable[..., Here], tmp_path: Path, copying: bool) -> None:
    path = tmp_path / "app.log"
    running = begun(here, path)
    running.outlet.fails = True
    for number in range(10, 50, 10):
        append(path, range(number, number + 10))
        time.sleep(0.1)
        rotate(path, copying=copying)
    append(path, range(50, 60))
    running.outlet.fails = False
    wait_for(lambda: len(running.outlet.texts) >= 60)
    assert sorted(running.outlet.numbers) == list(range(60))
    assert running.happened("file lost") == 0


def test_files_of_one_moment_and_of_the_past_are_all_read(here: Callable[..., Here], tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    begun(here, path).close()
    for number in (10, 20, 30):
        append(path, range(number, number + 10))
        rotate(path)
    for file in tmp_path.glob("app.log.*"):
        os.utime(file, ns=(10**18, 10**18))
    again = here(follow(path))
    wait_for(lambda: len(again.outlet.texts) >= 30)
    assert again.outlet.numbers == list(range(10, 40))


def test_one_file_is_deleted_before_it_was_read_and_the_later_ones_are_read(here: Callable[..., Here], tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    begun(here, path).close()
    for number in (10, 20, 30):
        append(path, range(number, number + 10))
        rotate(path)
    (tmp_path / "app.log.3").unlink()
    again = here(follow(path))
    wait_for(lambda: len(again.outlet.texts) >= 20)
    assert again.outlet.numbers == list(range(20, 40))
    assert again.happened("file lost") == 1


def test_a_writer_that_is_very_late(here: Callable[..., Here], tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    running = begun(here, path)
    with path.open("ab") as late:
        rotate(path)
        append(path, range(20, 30))
        wait_for(lambda: len(running.outlet.texts) == 20)
        late.write(b"".join(record(number) + b"\n" for number in range(10, 20)))
    wait_for(lambda: len(running.outlet.texts) >= 30)
    append(path, range(30, 40))
    wait_for(lambda: len(running.outlet.texts) >= 40)
    assert sorted(running.outlet.numbers) == list(range(40))


def test_a_copy_that_somebody_keeps_is_not_read_again(here: Callable[..., Here], tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    append(path, range(100))
    running = here(follow(path))
    wait_for(lambda: len(running.outlet.texts) == 100)
    shutil.copyfile(path, tmp_path / "app.log.bak")
    time.sleep(0.5)
    append(path, range(100, 200))
    wait_for(lambda: len(running.outlet.texts) >= 200)
    path.rename(tmp_path / "app.log-20261126")
    append(path, range(200, 210))
    wait_for(lambda: len(running.outlet.texts) >= 210)
    assert running.outlet.numbers == list(range(210))


def test_read_further_than_it_was_copied(here: Callable[..., Here], tmp_path: Path) -> None:
    """What comes between copying and cutting, and was read in that moment: the copy is not read again."""
    path = tmp_path / "app.log"
    append(path, range(100))
    running = here(follow(path))
    wait_for(lambda: len(running.outlet.texts) == 100)
    running.close()
    whole = path.read_bytes()
    path.with_name("app.log.1").write_bytes(whole[: len(whole) - 500])
    path.write_bytes(b"")
    append(path, range(100, 110))
    again = here(follow(path))
    wait_for(lambda: len(again.outlet.texts) >= 10)
    assert again.outlet.numbers == list(range(100, 110))
    assert again.happened("file lost") == 0


@pytest.mark.parametrize("name", ["app-2026-11-26.log", "app-20261126-101500.log", "app.log.2026-11-26T10", "app.log.old"])
def test_names_that_rotation_gives(here: Callable[..., Here], tmp_path: Path, name: str) -> None:
    path = tmp_path / "app.log"
    begun(here, path).close()
    rotate(path)
    append(path, range(10, 20))
    path.rename(tmp_path / name)
    append(path, range(20, 30))
    append(tmp_path / "app-2.log", range(90, 99))
    append(tmp_path / "app.logic", range(90, 99))
    again = here(follow(path))
    wait_for(lambda: len(again.outlet.texts) >= 20)
    assert again.outlet.numbers == list(range(10, 30))


def test_equal_lines_of_a_file_have_different_identifiers(here: Callable[..., Here], tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    append(path, range(1))
    running = here(follow(path))
    wait_for(lambda: len(running.outlet.texts) == 1)
    append(path, range(1))
    wait_for(lambda: len(running.outlet.texts) == 2)
    rotate(path)
    append(path, range(1))
    wait_for(lambda: len(running.outlet.texts) == 3)
    assert len({json.loads(text)["tacit.id"] for text in running.outlet.texts}) == 3


@pytest.mark.slow
@pytest.mark.parametrize("rotating", ["never", "renaming", "copying", "both"])
def test_killed_at_random_places_nothing_is_lost(apart: Callable[..., Apart], tmp_path: Path, rotating: str) -> None:
    """Kills and rotations at places that differ from run to run; the first kill comes before anything can have been delivered."""
    chance, path = random.Random(), tmp_path / "app.log"
    running, written = apart(follow(path)), 0
    append(path, range(0))

    def write() -> None:
        nonlocal written
        size = chance.randrange(1, 400)
        append(path, range(written, written + size))
        written += size
        if rotating != "never" and chance.random() < 0.1:
            rotate(path, copying=rotating == "copying" or (rotating == "both" and chance.random() < 0.5))

    for round_ in range(5):
        running.start()
        until = time.monotonic() + (chance.uniform(0.3, 1.5) if round_ else 0)
        while time.monotonic() < until:
            write()
            time.sleep(chance.uniform(0, 0.02))
        running.kill()
        for _ in range(20):
            write()
    running.start()
    wait_for(lambda: len(running.numbers()) >= written, 60)
    assert set(running.numbers()) == set(range(written))
    found: dict[int, set[str]] = {}
    for event in running.events():
        found.setdefault(event["n"], set()).add(event["tacit.id"])
    assert all(len(ids) == 1 for ids in found.values())
