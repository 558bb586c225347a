from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = {".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".json", ".html", ".css", ".svg", ".cfg", ".in", ""}

# Spelt in pieces, so that this file does not find itself.
PATHS = ["/" + name + "/" for name in ("work", "root", "Users")] + ["/" + r"home/[a-z]"]
HOSTS = [r"pypi\." + "org", r"python" + r"hosted\.org", r"index-" + "url", r"artifact" + "ory"]
MARKS = ["TO" + "DO", "FIX" + "ME", "XX" + "X"]
FORBIDDEN = {
    "a path of one machine": re.compile("|".join(PATHS)),
    "the host of a package registry": re.compile("|".join(HOSTS)),
    "an open end without a decision": re.compile(r"\b(?:" + "|".join(MARKS) + r")\b(?!\(decision \d{4}\))"),
    "a private key": re.compile("BEGIN (?:[A-Z]+ )?PRIVATE " + "KEY"),
}


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    paths = [REPOSITORY / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix in TEXT]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_repository_holds_nothing_of(what: str) -> None:
    pattern = FORBIDDEN[what]
    found = []
    for path in tracked():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()[:120]}")
    assert not found, f"{what}:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a path of one machine", "open('/" + "work/data.csv')"),
        ("the host of a package registry", "https://pypi." + "org/simple"),
        ("an open end without a decision", "# TO" + "DO: later"),
        ("a private key", "-----BEGIN PRIVATE " + "KEY-----"),
    ],
)
def test_the_patterns_find_what_they_are_for(what: str, line: str) -> None:
    assert FORBIDDEN[what].search(line)


def test_an_open_end_with_a_decision_is_allowed() -> None:
    assert not FORBIDDEN["an open end without a decision"].search("TO" + "DO(decision 0007): widen")


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md", "Makefile", ".ci/run"])
def test_what_every_visitor_looks_for_is_there(name: str) -> None:
    assert (REPOSITORY / name).stat().st_size > 200


def test_the_lock_pins_and_hashes_every_package() -> None:
    for path in (REPOSITORY / "requirements").glob("*.txt"):
        logical = path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
        entries = [line for line in logical if line.strip() and not line.lstrip().startswith("#")]
        loose = [line[:60] for line in entries if "==" not in line or "--hash=sha256:" not in line]
        assert entries
        assert not loose, f"{path.name}: {loose}"


def test_the_core_pulls_no_torch_and_the_lock_knows_every_dependency() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = (REPOSITORY / "requirements" / "core.txt").read_text(encoding="utf-8")
    core = {line.partition("==")[0] for line in lock.splitlines() if "==" in line}
    assert "torch" not in core
    assert {re.split(r"[<>=\[ ]", name)[0] for name in project["dependencies"]} <= core
