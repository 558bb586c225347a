from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted((REPOSITORY / "docs").rglob("*.md"))
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
WRITTEN_BY_A_COMMAND = {"benchmarks/RESULTS.md"}


class Block(NamedTuple):
    page: str
    line: int
    language: str
    runs: bool
    text: str


def blocks(page: str, markdown: str) -> Iterator[Block]:
    """Fenced blocks; one whose opening fence says ``run`` after the language is executed."""
    opened: tuple[int, list[str]] | None = None
    lines: list[str] = []
    for number, line in enumerate(markdown.splitlines(), start=1):
        if opened is None and line.startswith("```"):
            opened, lines = (number, line[3:].split()), []
        elif opened is not None and line.startswith("```"):
            words = opened[1]
            yield Block(page, opened[0], words[0] if words else "", "run" in words[1:], "\n".join(lines) + "\n")
            opened = None
        else:
            lines.append(line)


def all_blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks(str(page.relative_to(REPOSITORY)), page.read_text(encoding="utf-8"))]


RUNNABLE = [block for block in all_blocks() if block.runs]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A shell in which ``tacit`` is this working tree."""
    binary = tmp_path / "bin" / "tacit"
    binary.parent.mkdir()
    binary.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c 'from tacit.cli import main; main()' \"$@\"\n")
    binary.chmod(0o755)
    return {**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), "PATH": f"{binary.parent}:{os.environ.get('PATH', '')}"}


@pytest.mark.slow
@pytest.mark.parametrize("block", RUNNABLE, ids=lambda block: f"{block.page}:{block.line}")
def test_a_block_marked_run_runs(block: Block, environment: dict[str, str], tmp_path: Path) -> None:
    home = tmp_path / "here"
    home.mkdir()
    if block.language == "python":
        command = [sys.executable, "-W", "error", "-c", block.text]
    else:
        script = "\n".join(line[2:].partition("   #")[0] for line in block.text.splitlines() if line.startswith("$ "))
        command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip(), "a block that runs shows something"


def test_the_readme_has_blocks_that_run() -> None:
    assert {block.language for block in RUNNABLE if block.page == "README.md"} == {"python", "console"}


PYTHON = [block for block in all_blocks() if block.language == "python"]


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: f"{block.page}:{block.line}")
def test_python_blocks_compile(block: Block) -> None:
    compile(block.text, block.page, "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = {target.partition("#")[0] for target in LINK.findall(text) if not target.startswith(("http", "mailto:", "#"))}
    broken = [target for target in targets if target not in WRITTEN_BY_A_COMMAND and not (page.parent / target).exists()]
    assert not broken


def test_every_page_is_in_the_navigation() -> None:
    navigation = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {str(page.relative_to(REPOSITORY / "docs")) for page in (REPOSITORY / "docs").rglob("*.md")}
    assert not {page for page in pages if page not in navigation}


def test_every_decision_is_listed() -> None:
    folder = REPOSITORY / "docs" / "decisions"
    listing = (folder / "README.md").read_text(encoding="utf-8")
    assert all(path.name in listing for path in folder.glob("[0-9]*.md"))


def keys_of(schema: dict[str, Any]) -> Iterator[str]:
    for name, below in schema.get("properties", {}).items():
        yield name
        yield from keys_of(below)


def test_every_key_of_the_policy_is_explained() -> None:
    path = REPOSITORY / "src" / "tacit" / "guard" / "policy_schema.json"
    if not path.exists():
        pytest.skip("there is no policy schema yet")
    page = (REPOSITORY / "docs" / "policy.md").read_text(encoding="utf-8")
    schema = json.loads(path.read_text(encoding="utf-8"))
    tables = set(schema["properties"]) - {"version"}
    missing = [f"[{name}]" for name in tables if f"`[{name}]`" not in page]
    missing += [name for name in keys_of(schema) if name not in tables and f"| `{name}` |" not in page]
    assert not missing, f"docs/policy.md does not explain {missing}"


def test_the_policy_on_the_page_is_valid() -> None:
    policy = pytest.importorskip("tacit.guard.policy", exc_type=ImportError)
    example = next(block for block in all_blocks() if block.page == "docs/policy.md" and block.language == "toml")
    assert policy.Policy.parse(example.text).unit.name == "user-day"


def test_the_policy_page_explains_no_key_that_is_gone() -> None:
    path = REPOSITORY / "src" / "tacit" / "guard" / "policy_schema.json"
    if not path.exists():
        pytest.skip("there is no policy schema yet")
    page = (REPOSITORY / "docs" / "policy.md").read_text(encoding="utf-8")
    known = set(keys_of(json.loads(path.read_text(encoding="utf-8"))))
    assert set(re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE)) <= known


def test_the_block_parser_reads_marks_languages_and_lines() -> None:
    found = list(blocks("p", "a\n```python run\nx = 1\n```\n```\n$ y\n```\n"))
    assert found == [Block("p", 2, "python", True, "x = 1\n"), Block("p", 5, "", False, "$ y\n")]
