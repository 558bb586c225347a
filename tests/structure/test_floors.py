from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
importlinter = pytest.importorskip("importlinter", reason="import-linter is a development dependency")


def run_lint_imports(root: Path, configuration: Path) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports_command as run; run()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache", "--config", str(configuration)],
        cwd=root, env={"PYTHONPATH": str(root / "src"), "PATH": ""}, capture_output=True, text=True, check=False,
    )


def contract() -> dict[str, object]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]


def test_imports_run_downwards_only() -> None:
    done = run_lint_imports(REPOSITORY, REPOSITORY / "pyproject.toml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_contract_covers_every_room() -> None:
    floors = contract()["contracts"][0]  # type: ignore[index]
    assert floors["exhaustive"] is True
    named = {name.strip(" ()") for layer in floors["layers"] for name in layer.replace("|", ":").split(":")}
    rooms = {path.stem for path in (REPOSITORY / "src" / "tacit").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms - {"__init__"} <= named


@pytest.mark.parametrize(
    ("room", "imported"), [("questions", "guard"), ("guard", "learn"), ("logs", "federation"), ("guarantee", "crypto")]
)
def test_a_broken_floor_is_found(tmp_path: Path, room: str, imported: str) -> None:
    package = tmp_path / "src" / "tacit"
    for name in ("errors", "guarantee", "randomness", "domain", "questions", "guard", "learn", "logs", "federation", "crypto"):
        (package / name).mkdir(parents=True)
        (package / name / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / room / "__init__.py").write_text(f"import tacit.{imported}\n")
    configuration = tmp_path / "pyproject.toml"
    configuration.write_text((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    done = run_lint_imports(tmp_path, configuration)
    assert done.returncode == 1
    assert f"tacit.{room}" in done.stdout
