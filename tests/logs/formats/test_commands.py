"""The command and the packs, on made-up lines and on public logs."""

from __future__ import annotations

import os
import re
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner
from tests.logs.formats.samples import HEADS, LINES

from tacit.cli.logs import logs
from tacit.errors import UsageError
from tacit.logs.anonymise import Anonymiser
from tacit.logs.formats import by_name
from tacit.logs.keys import EpochKey
from tacit.logs.leaks import residuals
from tacit.logs.policies import SourcePolicy

DATA = Path(os.environ.get("TACIT_DATA", "/nowhere"))
PACKS = {"syslog": "syslog", "cef": "cef", "leef": "leef", "apache": "web", "nginx": "web", "auditd": "auditd", "zeek": "zeek"}
CSV = "{version: 1, source: t, format: csv, fields: {when: keep, user: user, src: address, port: keep, text: scrub}}"


def call(*arguments: str) -> str:
    result = CliRunner().invoke(logs, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("name", [*PACKS, "csv"])
def test_a_file_is_treated_into_a_file_of_its_format(name: str, tmp_path: Path) -> None:
    source, out, json, policy = (tmp_path / part for part in ("in.log", "out.log", "out.jsonl", "policy.yaml"))
    source.write_bytes(b"\n".join([*HEADS.get(name, []), *LINES[name], b"\xff"]) + b"\n")
    policy.write_text(CSV)
    keys = str(tmp_path / "keys.json")
    call("keys", "init", "--keys", keys, "--tenant", "acme")
    rules = str(policy) if name == "csv" else f"pack:{PACKS[name]}"
    common = ["anonymise", str(source), "--policy", rules, "--keys", keys, "--format", name]
    call(*common, "--output", str(out))
    call(*common, "--output", str(json))
    read = by_name(name).parse(out.read_bytes().splitlines())
    assert read.damaged == []
    assert len(read.events) == len(LINES[name]) == len([orjson.loads(line) for line in json.read_bytes().splitlines()])
    assert (tmp_path / "out.log.dead-letters.jsonl").read_bytes().count(b"\n") == 1
    assert b"anna" not in out.read_bytes().lower()
    assert b"keller" not in out.read_bytes().lower()
    assert b"10.0.0.1\t" not in out.read_bytes()
    assert b"share" not in out.read_bytes()


@pytest.mark.parametrize("name", [*PACKS, "csv", "json"])
def test_a_policy_is_proposed_for_a_sample_of_every_format_and_treats_it(name: str, tmp_path: Path) -> None:
    source, policy, keys = tmp_path / "in.log", tmp_path / "policy.yaml", str(tmp_path / "keys.json")
    lines = LINES.get(name, [b'{"user":"anna","src":"10.0.0.1"}'])
    source.write_bytes(b"\n".join([*HEADS.get(name, []), *lines]) + b"\n")
    proposed = CliRunner().invoke(logs, ["plan", str(source), "--source", "gate"], catch_exceptions=False)
    found = SourcePolicy.parse(proposed.stdout)
    assert found.format == ("apache" if name == "nginx" else name)
    assert f"{len(lines)} records read as {found.format}, 0 damaged" in proposed.stderr
    assert b"anna" not in proposed.stdout_bytes
    if name in PACKS:
        pack = SourcePolicy.pack(PACKS[name]).fields
        shared = found.fields.keys() & pack.keys()
        assert shared
        assert all(found.fields[path].treatment == pack[path].treatment for path in shared)
    policy.write_text(proposed.stdout)
    call("keys", "init", "--keys", keys, "--tenant", "acme")
    out = tmp_path / "out.jsonl"
    call("anonymise", str(source), "--policy", str(policy), "--keys", keys, "--output", str(out))
    assert out.read_bytes().count(b"\n") == len(lines)


def test_a_format_can_be_named_and_one_that_nobody_can_tell_is_asked_for(tmp_path: Path) -> None:
    source = tmp_path / "in.log"
    source.write_bytes(b'{"event":{"kind":"alert"}}\n')
    assert SourcePolicy.parse(CliRunner().invoke(logs, ["plan", str(source), "--format", "suricata"]).stdout).format == "suricata"
    for content, options, match in ((b"some words\nmore words\n", [], "--format"), (b"", [], "--format"), (b"words\n", ["--format", "cef"], "as cef"),
                                    (b"{}\n", ["--format", "xml"], "Expected a format")):
        source.write_bytes(content)
        error = CliRunner().invoke(logs, ["plan", str(source), *options]).exception
        assert isinstance(error, UsageError)
        assert match in str(error)


def real(name: str, file: str, pack: str) -> tuple[list[bytes], bytes]:
    """The lines of a public log, and what the pack leaves of them, in their format."""
    path = DATA / file
    if not path.exists():
        pytest.skip(f"no {file} under TACIT_DATA")
    lines = [line.rstrip(b"\r") for line in path.read_bytes().split(b"\n") if line.strip()]
    form = by_name(name)
    parsed = form.parse(lines)
    assert parsed.damaged == []
    assert len(parsed.events) == len(lines)
    assert by_name(name).parse(form.render(parsed.events)).events == parsed.events
    anonymiser = Anonymiser(SourcePolicy.pack(pack), EpochKey.for_tests())
    anonymiser.learn(parsed.events)
    treated = form.render(anonymiser.batch(parsed.events).events)
    assert by_name(name).parse(treated).damaged == []
    return lines, b"\n".join(treated)


ADDRESS = re.compile(rb"(?<![0-9.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9.])")


@pytest.mark.parametrize(
    ("name", "file", "pack"),
    [
        ("syslog", "loghub/OpenSSH/OpenSSH_2k.log", "syslog"),
        ("syslog", "loghub/Linux/Linux_2k.log", "syslog"),
        ("syslog", "loghub/Mac/Mac_2k.log", "syslog"),
        ("apache", "loghub/Apache/Apache_2k.log", "web"),
        ("auditd", "msticpy_testdata/auditd_log.txt", "auditd"),
    ],
)
def test_public_logs_are_read_whole_and_no_host_or_address_stays(name: str, file: str, pack: str) -> None:
    lines, treated = real(name, file, pack)
    events = by_name(name).parse(lines).events
    hosts = sorted({event["hostname"] for event in events if "hostname" in event and event["hostname"] not in ("-", "?")})
    text = b"\n".join(lines)
    addresses = sorted({found.decode() for found in ADDRESS.findall(text) if all(int(part) < 256 for part in found.split(b"."))})
    anonymiser = Anonymiser(SourcePolicy.pack(pack), EpochKey.for_tests())
    written = [new for new in anonymiser.tools.addresses.texts(addresses) if new]
    found = residuals(treated, {"host": hosts, "ip": addresses}, pseudonyms=written)
    assert found.total == 0
