"""Broken and hostile lines against the kernel, with and without it: ``python kernel/fuzz.py SECONDS``.

Made with the sanitizers of addresses and undefined behaviour, the kernel ends the process at the first byte it reads where it must not::

    c++ -std=c++17 -g -O1 -fsanitize=address,undefined -fno-sanitize-recover -shared -fPIC \
        -I"$(python -c 'import sysconfig; print(sysconfig.get_path("include"))')" \
        kernel/src/module.cpp -o /tmp/asan/tacit_kernel.so
    LD_PRELOAD=$(c++ -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=src:/tmp/asan python kernel/fuzz.py 600
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

from tacit.logs.anonymise import Anonymiser, Lines
from tacit.logs.formats import by_name
from tacit.logs.keys import EpochKey
from tacit.logs.policies import SourcePolicy
from tacit.logs.telemetry import Telemetry, TelemetrySpec

STRUCTURE = b'{}[]":,\\ \t\n0159-.eEtfnu@%/\x00\x1f\x7f\x80\xc3\xa9\xe2\x80\xa8\xed\xa0\x80\xf0\x9f\x98\x80\xff'


def mutated(line: bytes, draw: random.Random) -> bytes:
    """A line with a few changes."""
    data = bytearray(line)
    for _ in range(draw.choice((0, 0, 1, 1, 2, 5, 20))):
        place = draw.randrange(len(data) + 1)
        kind = draw.randrange(6)
        if kind == 0:
            del data[place : place + draw.randrange(1, 9)]
        elif kind == 1:
            data[place:place] = bytes(draw.choices(STRUCTURE, k=draw.randrange(1, 5)))
        elif kind == 2 and place < len(data):
            data[place] = draw.choice(STRUCTURE)
        elif kind == 3:
            begin = draw.randrange(len(data) + 1)
            data[place:place] = data[begin : begin + draw.randrange(80)]
        elif kind == 4:
            del data[place:]
        else:
            data[place:place] = draw.choice(
                (b"\\u00e9", b"\\\\", b"\\b", b'\\"', "ä".encode(), b"u-k7-0123456789abcdef0123", b"10.1.2.3", b"C:\\\\Users\\\\x y\\\\")
            )
    return bytes(data).replace(b"\n", b"")


def outcome(anonymiser: Anonymiser, lines: list[bytes]) -> tuple[object, ...]:
    """What became of lines."""
    read = Lines(lines, by_name("ecs"))
    treated = anonymiser.texts(read)
    return treated.events, treated.places, read.places, sorted(read.damaged)


def blocks(anonymiser: Anonymiser, lines: list[bytes]) -> tuple[object, ...]:
    """The same as one block of bytes, for the whole batch and for a part of it."""
    return tuple(bytes(anonymiser.block(Lines(some, by_name("ecs"))).events[0]) for some in (lines, lines[::2]))


def columns(anonymiser: Anonymiser, lines: list[bytes]) -> tuple[object, ...]:
    """The same as columns."""
    read = Lines(lines, by_name("ecs"))
    table = anonymiser.arrays(read)
    found = {path: values if isinstance(values, list) else values.to_pylist() for path, values in table.columns.items()}
    return found, table.places, read.places, sorted(read.damaged)


def main(arguments: list[str]) -> int:
    """Compare until the time is over."""
    seconds, seed = float(arguments[0]), int(arguments[1]) if len(arguments) > 1 else time.time_ns()
    draw = random.Random(seed)  # noqa: S311 - a test
    policy, key = SourcePolicy.pack("ecs"), EpochKey.for_tests()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        Telemetry(TelemetrySpec.thousand(seed=1)).write_ndjson(path)
        lines = path.read_bytes().splitlines()
    end, rounds = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        fast, slow = Anonymiser(policy, key), Anonymiser(policy, key, compiled=False)
        if not fast.compiled:
            sys.exit("the kernel is not installed")
        for _ in range(20):
            batch = [mutated(draw.choice(lines), draw) for _ in range(draw.randrange(1, 40))]
            for way in draw.choice(((outcome,), (columns,), (blocks,), (columns, outcome))):
                one, other = way(fast, batch), way(slow, batch)
                if one != other:
                    print(f"seed {seed}, round {rounds}, {way.__name__}: not the same", one, other, sep="\n")
                    return 1
            rounds += 1
    print(f"{rounds:,} batches, nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
