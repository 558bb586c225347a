from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.crypto import Share, split_secret
from tacit.crypto.shares import _SIGNS
from tacit.errors import StorageError, UsageError, VerificationError

SHARE = Share(bytes(range(8)), 2, 3, bytes(range(64)))
TEXT = SHARE.text


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=8, max_size=8), st.integers(2, 255), st.integers(1, 255), st.binary(min_size=1, max_size=200))
def test_every_share_reads_back(set_id: bytes, threshold: int, index: int, value: bytes) -> None:
    share = Share(set_id, threshold, index, value)
    assert Share.parse(share.text) == share


def test_the_printed_form_is_for_people() -> None:
    rows = TEXT.splitlines()
    assert [len(row) for row in rows[:-1]] == [24] * 7  # five groups of four
    assert all(len(group) == 4 for row in rows[:-1] for group in row.split(" "))
    assert not set(TEXT) & set("ILOU")


@pytest.mark.parametrize(
    "spelling",
    [
        TEXT.lower(), TEXT.replace("0", "O").replace("1", "l"), TEXT.replace(" ", ""), TEXT.replace("\n", " "), TEXT.replace(" ", "-"),
        "# a note\n" + TEXT + "\n# another\n\n", TEXT.replace("\n", "\r\n"), "\t" + TEXT.replace("\n", "\n\n"),
    ],
)
def test_it_is_read_however_it_is_typed(spelling: str) -> None:
    assert Share.parse(spelling) == SHARE


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(TEXT) - 1), st.sampled_from(_SIGNS))
def test_one_wrong_sign_is_found(place: int, sign: str) -> None:
    if TEXT[place] in (" ", "\n", sign):
        return
    row = TEXT[:place].count("\n") + 1
    # Ten bits tell of a wrong sign in a row; where they happen to agree, the checksum over all does.
    with pytest.raises(VerificationError, match=rf"Row {row} |rows are missing"):
        Share.parse(TEXT[:place] + sign + TEXT[place + 1 :])


def test_a_row_that_is_missing_swapped_or_of_another_share_is_found() -> None:
    rows, other = TEXT.splitlines(), split_secret(bytes(32))[0].text.splitlines()
    for wrong in (rows[:-1], rows[1:], [rows[1], rows[0], *rows[2:]], [*rows[:3], other[3], *rows[4:]], [*rows, rows[-1]], rows + rows):
        with pytest.raises(VerificationError, match=r"Row \d|rows are missing"):
            Share.parse("\n".join(wrong))


@pytest.mark.parametrize("text", ["", "#", "hello", "0", "00", "\0" * 22, "ü" * 22, "5" * 22, "A" * 200_000, "A" * 300_000, "\ud800" * 22])
def test_what_is_no_share_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(VerificationError) as refused:
        Share.parse(text)
    assert text not in str(refused.value) or len(text) < 3


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=120))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(VerificationError):
        Share.parse(text)


def test_a_share_on_disk_is_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "share.txt"
    SHARE.save(path, note="for the owner\nand nobody else")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("# share 3 of a secret; 2 different shares of set 0001020304050607 give it\n# for the owner\n# and nobody")
    assert Share.load(path) == SHARE
    with pytest.raises(UsageError, match="never overwritten"):
        SHARE.save(path)
    path.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        Share.load(path)
    with pytest.raises(StorageError):
        Share.load(tmp_path / "none")


def test_a_share_of_a_later_version_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.crypto.shares._VERSION", 2)
    later = SHARE.text
    monkeypatch.undo()
    with pytest.raises(VerificationError, match="version 1"):
        Share.parse(later)
