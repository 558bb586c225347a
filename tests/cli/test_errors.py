"""Whatever goes wrong ends in one clear line, exit code 2 or 3, nothing half-written, and nothing charged that was not answered."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tacit.guard import Ledger

from .conftest import Done, Tacit, events, policy, write

TRAIN = ("--target", "label", "--positive", "bad", "--budget", "1", "--drop", "user")


def charges(place: Path) -> int:
    path = place / "tacit-ledger.db"
    return len(list(Ledger.open(path, create=False).entries(kind="charge"))) if path.exists() else 0


def is_one_line(done: Done) -> bool:
    return len(done.err.strip().splitlines()) == 1 and "Traceback" not in done.err


def broken(place: Path) -> dict[str, tuple[tuple[object, ...], str]]:
    """Inputs that cannot be used: the arguments, and what the message says."""
    whole = write(place / "whole.parquet", events()).read_bytes()
    (place / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (place / "latin.csv").write_bytes("user,bytes,label\nmüller,1,bad\n".encode("latin-1"))
    (place / "empty.csv").write_text("")
    (place / "ragged.csv").write_text("user,bytes,label\na,1,bad\nb,2\n")
    (place / "cut.csv.gz").write_bytes(gzip.compress(b"user,bytes,label\n" + b"a,1,bad\n" * 9_000)[:-20])
    return {
        "no file": (("train", "absent.parquet", *TRAIN), "there is none"),
        "wrong column": (("train", "whole.parquet", "--target", "lable", "--budget", "1"), "Did you mean «label»"),
        "wrong column to drop": (("train", "whole.parquet", "--target", "label", "--budget", "1", "--drop", "usr"), "Did you mean «user»"),
        "truncated Parquet": (("train", "cut.parquet", *TRAIN), "damaged or cut off"),
        "not UTF-8": (("train", "latin.csv", *TRAIN), "Expected UTF-8 text"),
        "empty": (("train", "empty.csv", *TRAIN), "the file is empty"),
        "ragged": (("train", "ragged.csv", *TRAIN), "line 3 has 2"),
        "cut gzip": (("train", "cut.csv.gz", *TRAIN), "complete gzip"),
        "no policy": (("train", "whole.parquet", *TRAIN, "--policy", "absent.toml"), "tacit init"),
        "no folder": (("train", "whole.parquet", *TRAIN, "--output", "nowhere/model.tacit"), "Expected a folder"),
        "no budget": (("train", "whole.parquet", "--target", "label", "--budget", "-1"), "Expected epsilon=-1.0 > 0"),
        "no model": (("score", "absent.tacit", "whole.parquet"), "Expected a model"),
        "no ledger": (("ledger", "verify", "--ledger", "absent.db"), "there is none"),
        "both ways": (("account", "--noise", "1", "--epsilon", "1"), "either --noise or --epsilon"),
        "pilot without target": (("pilot", "--data", "whole.parquet"), "Expected --target"),
        "pilot with a constant target": (("pilot", "--data", "whole.parquet", "--target", "constant"), "no «constant»"),
        "pilot with bad budgets": (("pilot", "--budgets", "1,x"), "separated by commas"),
        "pilot with a huge budget": (("pilot", "--budgets", "99"), "at most 15"),
        "pilot with an odd number of shadows": (("pilot", "--shadows", "5", "--data", "hospital"), "even number of shadows"),
        "pilot with a unit of the simulated": (("pilot", "--unit", "user"), "together with a file"),
        "pilot with a window and no time": (("pilot", "--data", "whole.parquet", "--target", "label", "--unit", "user", "--window", "day"), "--time"),
        "unknown option": (("pilot", "--budgte", "1"), "No such option"),
    }


def test_bad_input_is_named_and_costs_nothing(tacit: Tacit, place: Path) -> None:
    policy(place)
    for name, (arguments, message) in broken(place).items():
        done = tacit(*arguments)
        assert done.code == 2, (name, done)
        assert message in done.err, (name, done.err)
        assert charges(place) == 0, name
        assert not (place / "model.tacit").exists(), name
        assert not list(place.glob(".*.tmp")), name


@pytest.mark.parametrize("values", [["good"] * 500, [None] * 500], ids=["one class", "no labels"])
def test_a_target_that_cannot_be_learned(tacit: Tacit, place: Path, values: list[str | None]) -> None:
    policy(place)
    table = events(500).set_column(4, "label", pa.array(values, pa.string()))
    write(place / "events.parquet", table)
    piloted = tacit("pilot", "--data", "events.parquet", "--target", "label")
    assert piloted.code == 2
    assert "at least two values" in piloted.err
    # Training finds the classes by a charged question: it may cost, and says so, but leaves no model.
    done = tacit("train", "events.parquet", "--target", "label", "--budget", "1")
    assert done.code == 2
    assert "at least two classes" in done.err
    assert not (place / "model.tacit").exists()


def test_a_spent_budget_refuses_and_says_what_is_left(tacit: Tacit, place: Path) -> None:
    policy(place, epsilon=1.3)
    write(place / "events.parquet", events())
    assert tacit("train", "events.parquet", *TRAIN).code == 0
    before, model = charges(place), (place / "model.tacit").read_bytes()
    done = tacit("train", "events.parquet", *TRAIN)
    assert done.code == 3
    assert is_one_line(done)
    assert done.err.startswith("refused: this plan costs epsilon=")
    assert "is left" in done.err
    assert charges(place) == before
    assert (place / "model.tacit").read_bytes() == model


def test_too_few_units_are_not_answered_about(tacit: Tacit, place: Path) -> None:
    path = policy(place)
    path.write_text(path.read_text().replace("minimum_units = 50", "minimum_units = 100000"))
    write(place / "events.parquet", events(500))
    done = tacit("train", "events.parquet", *TRAIN)
    assert done.code == 3
    assert "at least 100000" in done.err
    assert charges(place) == 1  # the noised count, which the refusal rests on


def test_a_model_is_not_opened_by_a_wrong_key_or_ledger(tacit: Tacit, place: Path) -> None:
    policy(place)
    write(place / "events.parquet", events())
    assert tacit("train", "events.parquet", *TRAIN).code == 0
    assert tacit("model", "verify", "model.tacit", "--key", "ab" * 32).code == 3
    policy(place, name="other")
    Ledger.open(place / "other.db")
    assert tacit("model", "verify", "model.tacit", "--ledger", "other.db").code == 3
    content = bytearray((place / "model.tacit").read_bytes())
    content[-5] ^= 1
    (place / "changed.tacit").write_bytes(bytes(content))
    assert tacit("score", "changed.tacit", "events.parquet").code == 3


LIMIT = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"


@pytest.mark.parametrize("size", [4_096, 20_000, 40_000])
def test_a_full_disk_leaves_nothing_half_written(apart: Callable[..., Done], tacit: Tacit, place: Path, size: int) -> None:
    policy(place)
    write(place / "events.parquet", events())
    done = apart("train", "events.parquet", *TRAIN, before=LIMIT.format(size))
    assert done.code == 3, done
    assert is_one_line(done), done.err
    assert not (place / "model.tacit").exists()
    assert not list(place.glob(".*.tmp"))
    assert tacit("train", "events.parquet", "--target", "label", "--positive", "bad", "--budget", "0.9", "--drop", "user").code == 0
    assert tacit("ledger", "verify").code == 0


def test_a_folder_that_cannot_be_written(tacit: Tacit, place: Path) -> None:
    (place / "file").write_text("")
    done = tacit("pilot", "--output", "file/pilot")
    assert done.code == 3
    assert "--output" in done.err


def test_an_internal_fault_shows_no_content(tacit: Tacit, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret of u1")

    monkeypatch.setattr("tacit.guard.Records.open", fail)
    policy(place)
    done = tacit("train", "events.parquet", *TRAIN)
    assert done.code == 101
    assert "secret" not in done.err


def test_json_output_is_json(tacit: Tacit, place: Path) -> None:
    policy(place)
    write(place / "events.parquet", events())
    assert tacit("train", "events.parquet", *TRAIN).code == 0
    for arguments in (("ledger", "show"), ("ledger", "verify"), ("model", "show", "model.tacit"), ("policy", "show")):
        done = tacit(*arguments, "--format", "json")
        assert done.code == 0, done.err
        json.loads(done.out)
