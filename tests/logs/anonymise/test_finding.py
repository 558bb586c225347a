"""Names that a recogniser of language finds in texts, as a directory."""

from __future__ import annotations

import csv
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from tacit.cli.logs import logs
from tacit.errors import UsageError
from tacit.logs.finding import find_names, presidio

POLICY = "{version: 1, source: helpdesk, format: json, fields: {ticket: keep, user: user, message: scrub, notes.*: scrub}}"
EVENTS = [
    {"ticket": 1, "user": "Zoe Unseen", "message": "Call Anna Keller back", "secret": "Zoe Unseen"},
    {"ticket": 2, "message": "Call Anna Keller back", "notes": {"a": ["Bo Li was here", "and Anna  Keller"]}},
    {"ticket": 3, "message": "write to bo.li@corp.example about fileserver9"},
]


def people(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """A recogniser that knows two people, a machine and an address."""
    known = dict.fromkeys(("Anna Keller", "Anna  Keller", "Bo Li", "Zoe Unseen"), "user") | {"bo.li@corp.example": "email", "fileserver9": "host"}
    for text in texts:
        yield from ((kind, name) for name, kind in known.items() if name in text)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tickets.jsonl").write_bytes(b"\n".join(map(orjson.dumps, EVENTS)) + b"\n{broken\n")
    (tmp_path / "policy.yaml").write_text(POLICY)
    module = type(sys)("recogniser")
    module.people = people  # type: ignore[attr-defined]
    module.wrong = lambda texts: [("planet", "Mars")]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "recogniser", module)
    return tmp_path


def call(*arguments: str) -> Any:
    return CliRunner().invoke(logs, list(arguments), catch_exceptions=False)


def test_names_in_texts_become_a_directory_that_hides_them(place: Path) -> None:
    done = call("names", "tickets.jsonl", "--policy", "policy.yaml", "--finder", "recogniser:people", "--output", "people.csv")
    assert done.exit_code == 0
    rows = list(csv.DictReader((place / "people.csv").read_text().splitlines()))
    assert [tuple(row.values()) for row in rows] == [
        ("Anna Keller", "", ""), ("Bo Li", "", ""), ("", "bo.li@corp.example", ""), ("", "", "fileserver9"),
    ]
    assert call("keys", "init", "--keys", "keys.json", "--tenant", "acme").exit_code == 0
    command = ("anonymise", "tickets.jsonl", "--policy", "policy.yaml", "--keys", "keys.json")
    assert call(*command, "--output", "plain.jsonl").exit_code == 0
    assert call(*command, "--directory", "people.csv", "--output", "safe.jsonl").exit_code == 0
    assert "Keller" in (place / "plain.jsonl").read_text()
    safe = (place / "safe.jsonl").read_text()
    assert not [name for name in ("Anna", "Keller", "bo.li", "fileserver9", "corp.example") if name in safe]
    assert "Call u-" in safe


def test_names_found_seldom_can_be_left_out_and_standard_output_is_the_directory(place: Path) -> None:
    done = call("names", "tickets.jsonl", "--policy", "policy.yaml", "--finder", "recogniser:people", "--least-texts", "2")
    assert done.stdout == "user,email,host\nAnna Keller,,\n"
    assert "1 names" in done.stderr


def test_each_different_text_is_searched_once() -> None:
    given: list[list[str]] = []

    def finder(texts: Sequence[str]) -> list[tuple[str, str]]:
        given.append(list(texts))
        return [("user", " ")]

    assert not any(find_names(["a", "b", "a", "c"], finder, batch=2).values())
    assert given == [["a", "b"], ["c"]]


@pytest.mark.parametrize(("finder", "said"), [
    ("recogniser:wrong", "gave a 'planet'"), ("recogniser", "module:name; got"), (":x", "module:name; got"), ("nowhere:at_all", "importable"),
])
def test_what_is_no_finder_is_told(place: Path, finder: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        call("names", "tickets.jsonl", "--policy", "policy.yaml", "--finder", finder, "--output", "people.csv")
    assert not (place / "people.csv").exists()


def test_without_presidio_one_line_says_what_to_install(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(UsageError, match="pip install presidio-analyzer"):
        call("names", "tickets.jsonl", "--policy", "policy.yaml")


@pytest.mark.skipif(importlib.util.find_spec("presidio_analyzer") is None, reason="needs presidio-analyzer")
def test_presidio_over_a_model_in_a_folder(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    with pytest.raises(UsageError, match="is none"):
        presidio("no_such_model")
    model = spacy.blank("en")
    model.add_pipe("entity_ruler").add_patterns([{"label": "PERSON", "pattern": "Anna Keller"}])
    model.to_disk(tmp_path / "model")
    found = find_names(["Call Anna Keller, or write to bo.li@acme.com", "nobody"], presidio(str(tmp_path / "model")))
    assert found == {"user": {"Anna Keller": 1}, "email": {"bo.li@acme.com": 1}, "host": {}}
