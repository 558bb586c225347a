"""Measure a row, or all of them: ``python -m benchmarks NAME | all | list [--seeds N] [--reuse] [--record]``.

A row prints one JSON line. Exit status: 0 if every threshold holds, 1 if one is missed, 2 for a wrong command, 3 if something that a row needs
is missing here. ``all`` also writes RESULTS.md; ``--record`` puts a single row there.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import SEEDS
from benchmarks.contest import NotBuilt
from benchmarks.datasets import MissingData
from benchmarks.environments import Unavailable
from benchmarks.report import machine, results, with_row
from benchmarks.result import Incomplete, Options, Row, as_json, line_of, missing_line
from benchmarks.rows import ROWS

RESULTS = Path(__file__).parent / "RESULTS.md"
PASSED, MISSED, WRONG, INCOMPLETE = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None, *, rows: Mapping[str, Row] = ROWS, page: Path = RESULTS) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(arguments)
    if options.name == "list":
        sys.stdout.writelines(f"{row.name:<18} {row.about}\n" for row in rows.values())
        return PASSED
    if options.name not in rows and options.name != "all":
        sys.stderr.write(f"Expected all, list or a row; got {options.name!r}. Rows: {', '.join(rows)}.\n")
        return WRONG
    chosen = list(rows.values()) if options.name == "all" else [rows[options.name]]
    how = Options(options.seeds, options.reuse)
    lines = [_printed(row, how) for row in chosen]
    if options.name == "all":
        said = _said(how)
        page.write_text(
            results(lines, command=f"python -m benchmarks all{said}", today=datetime.now(UTC).date(), machine=machine(), options=said),
            encoding="utf-8",
        )
    elif options.record:
        page.write_text(with_row(page.read_text(encoding="utf-8"), lines[0], today=datetime.now(UTC).date(), options=_said(how)), encoding="utf-8")
    return _status(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="a row, all or list")
    parser.add_argument("--seeds", type=_seeds, default=len(SEEDS), metavar="N", help="at most so many seeds (and repetitions), for a quick look")
    parser.add_argument("--record", action="store_true", help="put the row into RESULTS.md; the others stay as they are")
    parser.add_argument("--reuse", action="store_true", help="take kept answers of peers, where the job and the peer are the same")
    return parser


def _seeds(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= len(SEEDS)):
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {len(SEEDS)}; got {text!r}")
    return int(text)


def _said(options: Options) -> str:
    """The options as they were given."""
    seeds = "" if options.seeds == len(SEEDS) else f" --seeds {options.seeds}"
    return seeds + (" --reuse" if options.reuse else "")


def _printed(row: Row, options: Options) -> dict[str, Any]:
    """The row's JSON line, after printing it."""
    start = time.perf_counter()
    try:
        measured = row.measure(options)
        line = line_of(row.name, measured, time.perf_counter() - start)
    except (Incomplete, MissingData, NotBuilt, Unavailable) as error:
        sys.stderr.write(f"{row.name}: {error}\n")
        line = missing_line(row.name, str(error), time.perf_counter() - start)
    sys.stdout.write(as_json(line) + "\n")
    sys.stdout.flush()
    return line


def _status(lines: Sequence[dict[str, Any]]) -> int:
    if any(line["figure"] is None for line in lines):
        return INCOMPLETE
    return PASSED if all(line["passed"] for line in lines) else MISSED


if __name__ == "__main__":
    sys.exit(main())
