from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("sigma", reason="pySigma is not installed; pip install tacit[logs]")

from tacit.errors import StorageError, UsageError
from tacit.logs.anonymise import Anonymiser
from tacit.logs.content import Indicators
from tacit.logs.keys import EpochKey
from tacit.logs.policies import SourcePolicy

KEY = EpochKey.for_tests()
POLICY = SourcePolicy.parse(
    "version: 1\nsource: t\nformat: json\nfields: {who: user, machine: host, mail: email, ip: address, link: url, text: scrub, hash: keep}"
)
LIST = [
    "# campaign", "203.0.113.7", "198.51.100.0/24", "2001:db8::/32", "evil[.]example", "d41d8cd98f00b204e9800998ecf8427e", "hxxps://bad.example/a/b",
    "mallory@evil.example", "mallory", "",
]  # fmt: skip
EVENTS = [
    {"ip": "203.0.113.7"}, {"ip": "203.0.113.8"}, {"ip": "198.51.100.99"}, {"ip": "198.51.101.1"}, {"ip": "2001:db8::5"},
    {"machine": "cdn.evil.example"}, {"machine": "notevil.example"}, {"hash": "D41D8CD98F00B204E9800998ECF8427E"},
    {"link": "https://bad.example/a/b"}, {"link": "https://bad.example/a/c"}, {"mail": "mallory@evil.example"}, {"who": "CORP\\Mallory"},
    {"text": "curl https://x.evil.example/q from 203.0.113.7:443"}, {"text": "nothing to see, mallorysson"},
    {"text": "hash=MD5=d41d8cd98f00b204e9800998ecf8427e"},
]  # fmt: skip


def test_indicators_are_found_in_treated_events_where_they_were_before() -> None:
    found = Indicators.parse(LIST)
    assert [entry.kind for entry in found.entries] == ["ip", "cidr", "cidr", "domain", "hash", "url", "email", "user"]
    before = found.match(EVENTS)
    assert before == {2: [0, 12], 3: [2], 4: [4], 5: [5, 10, 12], 6: [7, 14], 7: [8], 8: [10], 9: [11]}
    anonymiser = Anonymiser(POLICY, KEY)
    anonymiser.learn(EVENTS)
    treated = anonymiser.batch(EVENTS).events
    translated = found.translate(POLICY, KEY, anonymiser.tools.identities)
    assert translated.match(treated) == before
    values = [value for entry in translated.entries for value in entry.values]
    assert not any("mallory" in value or "evil" in value or value.startswith("203.") for value in values)


def test_what_no_field_holds_any_longer_is_told() -> None:
    policy = SourcePolicy.parse("version: 1\nsource: t\nformat: json\nfields: {who: user, hash: drop}")
    translated = Indicators.parse(LIST).translate(policy, KEY)
    assert [entry.kind for entry in translated.entries] == ["email", "user"]
    assert [line for line, _ in translated.lost] == [2, 3, 4, 5, 6, 7]


def test_a_table_says_its_types_and_wrong_lines_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("value,type,note\n10.0.0.1,ip-dst,x\nfoo,user,\nnot-an-ip,ip,\nzz,sha256,\nq,strange,\n\"a,b\",user,\n")
    found = Indicators.load(file)
    assert [(entry.kind, entry.values[0], entry.line) for entry in found.entries] == [("ip", "10.0.0.1", 2), ("user", "foo", 3), ("user", "a,b", 7)]
    assert [line for line, _ in found.refused] == [4, 5, 6]
    assert "not-an-ip" not in str(found.refused)


def test_files_that_are_no_lists(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        Indicators.load(tmp_path / "bytes")
    with pytest.raises(StorageError, match="Cannot read"):
        Indicators.load(tmp_path / "nowhere")
    hostile = Indicators.parse(["x" * 100_000, "a\0b", "1" * 5_000, "[.]" * 4_000, "999.1.1.1/99", "::/0", "0.0.0.0/0"])
    assert len(hostile.refused) >= 3
    hostile.translate(POLICY, KEY).match([{"ip": "." * 100_000}, {"text": ":" * 100_000}, {"text": "http://" * 10_000}])
