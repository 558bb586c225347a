"""What atheris throws at everything that reads bytes of others: ``python tests/fuzz/harness.py NAME [options of libFuzzer]``.

A reader never raises but as it says, takes or refuses every line, and writes what it took as single lines; treated events hold nothing the policy
does not name; a connection's bytes mean the same however they are cut.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["tacit.logs.formats", "tacit.logs.stages.listeners.framing", "tacit.logs.stages.web", "tacit.web"]):
    from tacit.logs.formats import by_name
    from tacit.logs.formats.base import HeadedFormat
    from tacit.logs.stages.listeners.framing import Dialect, Malformed, RelpStream, SyslogStream
    from tacit.logs.stages.web.elastic import answered, parsed
    from tacit.logs.stages.web.splunk import Envelopes, envelopes
    from tacit.web.bodies import Bodies, BodyError, unpacked

from tacit.logs.anonymise import Anonymiser
from tacit.logs.keys import EpochKey
from tacit.logs.policies import SourcePolicy

LONGEST = 4_096
FORMATS = ("json", "syslog", "cef", "leef", "apache", "nginx", "auditd", "zeek", "csv")
STREAMS: dict[str, Callable[[], Dialect]] = {"syslog-stream": lambda: SyslogStream(LONGEST), "relp-stream": lambda: RelpStream(LONGEST)}
_NOTHING = SourcePolicy.parse("{version: 1, source: s, format: json, fields: {a: keep, message: scrub}}")


def of_format(name: str) -> Callable[[bytes], None]:
    anonymiser = Anonymiser(_NOTHING, EpochKey.for_tests())

    def once(data: bytes) -> None:
        form = by_name(name)
        lines = data.split(b"\n")
        parsed = form.parse(lines)
        taken = [*parsed.places, *(damaged.line for damaged in parsed.damaged)]
        assert len(taken) == len(set(taken)) <= len(lines)
        assert parsed.places == sorted(parsed.places)
        assert len(parsed.events) == len(parsed.places)
        if not isinstance(form, HeadedFormat):
            left = set(range(len(lines))) - set(taken)
            assert all(not lines[place].strip() for place in left)
        assert all(b"\n" not in line for line in form.render(parsed.events))
        treated = anonymiser.batch(parsed.events)
        assert all(set(event) <= {"a", "message"} for event in treated.events)

    return once


def of_stream(make: Callable[[], Dialect]) -> Callable[[bytes], None]:
    def said(pieces: list[bytes]) -> Iterator[object]:
        stream = make()
        try:
            for piece in pieces:
                yield from stream.feed(piece)
            yield from stream.end()
        except Malformed:
            yield "malformed"

    def once(data: bytes) -> None:
        whole = list(said([data]))
        assert whole == list(said([data[place : place + 1] for place in range(len(data))]))
        assert all(getattr(item, "line", None) is None or len(item.line) <= LONGEST + 1 for item in whole if not isinstance(item, str))

    return once


def bulk(data: bytes) -> None:
    try:
        items, documents = parsed(data, "logs")
    except BodyError:
        return
    assert [item.line for item in items if item.line is not None] == list(range(len(documents)))
    assert all(document in data and b"\n" not in document for document in documents)
    answer = json.loads(answered(items, dict.fromkeys(range(0, len(documents), 2), "damaged"), took=1, prefix="x"))
    assert [next(iter(item)) for item in answer["items"]] == [item.action for item in items]


def hec(data: bytes) -> None:
    try:
        lines = envelopes(data)
    except BodyError:
        return
    found = Envelopes(by_name("syslog"), about=True).parse(lines)
    assert sorted([*found.places, *(damaged.line for damaged in found.damaged)]) == list(range(len(lines)))
    assert found.places == sorted(found.places)


def packed(data: bytes) -> None:
    with Bodies(most_body=1 << 20, most_held=1 << 20).room() as held, suppress(BodyError):
        assert len(unpacked(data[1:], held, gzip=data[:1] < b"\x80")) == held.size <= 1 << 20


BODIES: dict[str, Callable[[bytes], None]] = {"bulk": bulk, "hec": hec, "packed": packed}
NAMES = (*FORMATS, *STREAMS, *BODIES)


def main() -> None:
    name = sys.argv.pop(1)
    once = BODIES[name] if name in BODIES else of_stream(STREAMS[name]) if name in STREAMS else of_format(name)
    atheris.Setup(sys.argv, once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
