from __future__ import annotations

import errno
import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from tacit.errors import StorageError
from tacit.pilot.report import render_html, write_report
from tacit.pilot.results import PilotResult


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_page_and_its_json_twin_are_written(result: PilotResult, tmp_path: Path) -> None:
    paths = write_report(result, tmp_path / "new" / "folder")
    assert (paths.html.name, paths.json.name) == ("report.html", "report.json")
    assert paths.html.read_text(encoding="utf-8") == render_html(result)
    assert PilotResult.from_dict(json.loads(paths.json.read_text(encoding="utf-8"))) == result
    assert sorted(path.name for path in paths.html.parent.iterdir()) == ["report.html", "report.json"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_can_read_the_owners_version(result: PilotResult, tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        paths = write_report(result, tmp_path)
    finally:
        os.umask(before)
    assert mode(paths.html) == mode(paths.json) == 0o600


def test_a_file_that_everybody_could_read_is_not_kept_readable(result: PilotResult, tmp_path: Path) -> None:
    (tmp_path / "report.html").touch(0o644)
    write_report(result, tmp_path)
    assert mode(tmp_path / "report.html") == 0o600


def test_a_release_stands_beside_the_report_under_another_name(result: PilotResult, tmp_path: Path) -> None:
    write_report(result, tmp_path)
    paths = write_report(result, tmp_path, release=True)
    assert (paths.html.name, paths.json.name) == ("release.html", "release.json")
    assert mode(paths.html) == mode(paths.json) == 0o644
    assert "Owner-side" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert json.loads(paths.json.read_text(encoding="utf-8"))["released"] is True


@pytest.mark.parametrize("failing", ["fsync", "first rename", "chmod"])
def test_a_full_disk_leaves_what_was_there(result: PilotResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    write_report(result, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    calls: list[str] = []

    def fail(*_: object, **__: object) -> None:
        calls.append(failing)
        if failing == "first rename" or len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if failing == "fsync":
            patch.setattr("tacit.pilot.report.os.fsync", fail)
        else:
            patch.setattr(Path, "replace" if failing == "first rename" else "chmod", fail)
        with pytest.raises(StorageError, match="No space left on device"):
            write_report(replace(result, warnings=("another one",)), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_interruption_leaves_nothing_behind(result: PilotResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tacit.pilot.report.os.fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_report(result, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_a_clear_error(result: PilotResult, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(StorageError, match=r"Writing the report to .*taken failed \(File exists\); name a folder that may be written"):
        write_report(result, tmp_path / "taken")
