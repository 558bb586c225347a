from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sigma", reason="pySigma is not installed; pip install tacit[logs]")

from tacit.logs.anonymise import Anonymiser
from tacit.logs.content import Rules, Translation, to_yaml
from tacit.logs.keys import EpochKey
from tacit.logs.policies import PACKS, SourcePolicy
from tacit.logs.treatments import Addresses, Identities

KEY = EpochKey.for_tests()
FIELDS = """{who: user, machine: host, mail: email, ip: address, file: path, link: url, sid: sid, mac: mac, id: id, text: scrub, kept: keep,
 principal: principal,
 gone: drop, other: host, kept2: keep, who2: user, when: {treatment: jitter, seconds: 5}, bin: {treatment: generalise, width: 10},
 rare: {treatment: suppress, units: 5}}"""
POLICY = SourcePolicy.parse(f"version: 1\nsource: t\nformat: json\nunknown: drop\nentity: who\nunit: who\ntime: when\nfields: {FIELDS}")


def translated(detection: str, *, identities: Identities | None = None, condition: str = "s") -> tuple[Rules, Translation]:
    found = Rules.parse(f"title: t\nlogsource: {{product: any}}\ndetection:\n  s: {detection}\n  condition: {condition}\n", format="json")
    return found, found.translate(POLICY, KEY, identities)


def both(detection: str, events: list[dict[str, Any]]) -> tuple[list[int], list[int], Translation]:
    """Where a rule fires on events, where its translation fires on treated ones (also when written and read again), and the translation."""
    anonymiser = Anonymiser(POLICY, KEY)
    anonymiser.learn(events)
    treated = anonymiser.batch(events).events
    found, translation = translated(detection, identities=anonymiser.tools.identities)
    after = translation.match(treated).get("rule", [])
    for rule in translation.rules.rules:
        assert Rules.parse(to_yaml(rule), format="json").match(treated).get("rule", []) == after
    return found.match(events).get("rule", []), after, translation


WHO = [{"who": name} for name in (
    "anna.keller", "CORP\\Anna.Keller", "corp\\ben", "NT AUTHORITY\\SYSTEM", "WS-7$", "anna@corp.example", "-", "admin9",
)]  # fmt: skip
MACHINES = [{"machine": name} for name in (
    "dc01.corp.example", "DC01", "mail.corp.example", "evil.example", "xevil.example", "a.evil.example", "localhost",
)]  # fmt: skip
HOME = "/".join(("", "home", "anna", ""))
PRINCIPALS = [{"principal": name} for name in (
    "HTTP/dc01", "http/DC01.corp.example:8080", "krbtgt/CORP.EXAMPLE", "krbtgt", "WS-7$", "cifs/ws-7", "anna", "krb,smb", "ssl", "odd/dc01", "-",
)]  # fmt: skip
IPS = [{"ip": text} for text in ("10.1.2.3", "10.2.2.3", "192.168.5.1", "8.8.8.8", "8.8.4.4", "127.0.0.1", "80.1.1.1", "8.18.8.8", "fe80::1", "-")]
FILES = [{"file": text} for text in (
    "C:\\Users\\anna\\evil.exe", "C:\\Windows\\System32\\cmd.exe", f"{HOME}x/run.sh", "C:\\Temp\\evil.exe", "C:\\Temp\\notevil.exe",
    "evil.exe",
)]  # fmt: skip
LINKS = [{"link": text} for text in (
    "https://evil.example/a/b?x=1234", "https://evil.example/admin/x.php?cmd=whoami", "http://www.evil.example:8080/ab/x.exe",
    "https://good.example/a/?cmd=1234", "https://good.example/evil.example/q",
)]  # fmt: skip
SIDS = [{"sid": text} for text in ("S-1-5-21-1-2-3-500", "S-1-5-21-1-2-3-1105", "S-1-5-18", "S-1-5-21-9-2-3-500")]


@pytest.mark.parametrize(
    ("detection", "events"),
    [
        ("{who: Anna.Keller}", WHO), ("{who: 'corp\\anna.keller'}", WHO), ("{who|endswith: '\\ben'}", WHO), ("{who|startswith: 'CORP\\'}", WHO),
        ("{who|endswith: '$'}", WHO), ("{who: 'NT AUTHORITY\\SYSTEM'}", WHO), ("{who: ANNA@corp.example}", WHO), ("{who|contains: '\\'}", WHO),
        ("{who|endswith: '@corp.example'}", WHO), ("{who: '-'}", WHO), ("{who: '*'}", WHO), ("{who|exists: false}", [{}, *WHO]),
        ("{who: null}", [{}, *WHO]),
        ("{machine: DC01.corp.example}", MACHINES), ("{machine|endswith: '.corp.example'}", MACHINES), ("{machine|startswith: 'dc01.'}", MACHINES),
        ("{machine|endswith: '.evil.example'}", MACHINES), ("{machine|contains: '.corp.'}", MACHINES), ("{machine|endswith: '.example'}", MACHINES),
        ("{machine: localhost}", MACHINES),
        ("{principal: http/DC01}", PRINCIPALS), ("{principal|startswith: 'HTTP/'}", PRINCIPALS), ("{principal: 'krbtgt*'}", PRINCIPALS),
        ("{principal|endswith: '$'}", PRINCIPALS), ("{principal: ANNA}", PRINCIPALS), ("{principal|contains: 'dc01.corp.example'}", PRINCIPALS),
        ("{principal|startswith: 'krbtgt/corp.example'}", PRINCIPALS), ("{principal: ssl}", PRINCIPALS), ("{principal: odd/dc01}", PRINCIPALS),
        ("{principal|startswith: 'http/dc01.'}", PRINCIPALS), ("{principal: 'cifs/ws-7'}", PRINCIPALS),
        ("{ip: 8.8.8.8}", IPS), ("{ip|startswith: '10.'}", IPS), ("{ip|startswith: '8.8.'}", IPS), ("{ip|startswith: '10.1'}", IPS),
        ("{ip|cidr: 8.8.0.0/16}", IPS), ("{ip|cidr: 0.0.0.0/1}", IPS), ("{ip|cidr: 192.168.0.0/16}", IPS), ("{ip: '-'}", IPS),
        ("{ip: 127.0.0.1}", IPS),
        ("{ip|cidr: 'fe80::/10'}", IPS), ("{ip|startswith: '8'}", IPS),
        ("{file: 'c:\\users\\anna\\evil.exe'}", FILES), ("{file|endswith: '\\evil.exe'}", FILES), ("{file|endswith: '.exe'}", FILES),
        ("{file|startswith: 'C:\\Users\\'}", FILES), ("{file|contains: '\\Users\\anna\\'}", FILES), ("{file|contains: '\\Temp\\'}", FILES),
        (f"{{file|startswith: '{HOME}'}}", FILES), ("{file|contains: '\\anna\\'}", FILES), ("{file|contains: '\\System32\\cmd.exe'}", FILES),
        ("{sid: S-1-5-18}", SIDS), ("{sid|endswith: '-500'}", SIDS), ("{sid|startswith: 'S-1-5-21-'}", SIDS), ("{sid: S-1-5-21-1-2-3-1105}", SIDS),
        ("{sid|startswith: 'S-1-5-21-1-2-3-'}", SIDS),
        ("{mac: '00:50:56:AB:CD:EF'}", [{"mac": "00:50:56:ab:cd:ef"}, {"mac": "00:50:56:00:00:01"}]),
        ("{mac|startswith: '00:50:56'}", [{"mac": "00:50:56:ab:cd:ef"}, {"mac": "00:11:22:00:00:01"}]),
        ("{id: 17}", [{"id": 17}, {"id": "17"}, {"id": 18}]), ("{id: abc}", [{"id": "abc"}, {"id": "abcd"}]),
        ("{link: 'https://evil.example/a/b?x=1234'}", [{"link": "https://evil.example/a/b?x=1234"}, {"link": "https://evil.example/a/c"}]),
        ("{link|startswith: 'https://evil.example/a/'}", LINKS), ("{link|contains: '/admin/'}", LINKS), ("{link|contains: '?cmd='}", LINKS),
        ("{link|endswith: '/x.php?cmd=whoami'}", LINKS), ("{link|contains: '//evil.example/'}", LINKS), ("{link|contains: '.evil.'}", LINKS),
        ("{link|endswith: '.exe'}", LINKS),
        ("{link|startswith: 'https://'}", [{"link": "https://evil.example/a"}, {"link": "http://evil.example/a"}]),
        ("{text|contains: 'net user anna.keller'}", [{"who": "anna.keller", "text": "net user Anna.Keller /add"}, {"text": "net user ben"}]),
        ("{text|contains: ' -enc '}", [{"text": "powershell -enc AAAA"}, {"text": "powershell"}]),
        ("{text|contains: '8.8.8.8'}", [{"text": "ping 8.8.8.8"}, {"text": "ping 8.8.4.4"}]),
        ("{text|re: 'pow.*enc'}", [{"text": "powershell -enc AAAA"}, {"text": "powershell"}]),
        ("['8.8.8.8']", [{"text": "ping 8.8.8.8"}, {"ip": "8.8.8.8"}, {"text": "no"}]),
        ("{who|fieldref: who2}", [{"who": "Anna", "who2": "anna"}, {"who": "anna", "who2": "ben"}]),
        ("{kept|fieldref: kept2}", [{"kept": "a", "kept2": "A"}, {"kept": "a", "kept2": "b"}]),
        ("{kept|re: 'a+'}", [{"kept": "xaa"}, {"kept": "b"}]), ("{kept|gt: 5}", [{"kept": 6}, {"kept": 4}]),
    ],
)  # fmt: skip
def test_a_translated_rule_fires_on_the_same_events(detection: str, events: list[dict[str, Any]]) -> None:
    before, after, _ = both(detection, events)
    assert before, "a test that never fires shows nothing"
    assert len(before) < len(events) or detection == "{who: '*'}"
    assert after == before


@pytest.mark.parametrize(
    ("detection", "verdict"),
    [
        ("{who: anna}", "works"), ("{who|endswith: '\\anna'}", "works"), ("{who|contains: adm}", "weaker"), ("{who|re: 'a.*'}", "lost"),
        ("{gone: x}", "lost"), ("{nowhere: x}", "lost"), ("{gone: x, kept: y}", "lost"), ("[{gone: x}, {kept: y}]", "weaker"),
        ("{gone: null}", "lost"),
        ("{gone: null, kept: y}", "weaker"), ("{machine|re: 'DC.*'}", "lost"), ("{text|re: 'a.*'}", "weaker"), ("{text|contains: whoami}", "works"),
        ("{who|fieldref: machine}", "lost"), ("{who|fieldref: who2}", "works"), ("{machine|fieldref|endswith: other}", "lost"),
        ("{id|contains: ab}", "lost"),
        ("{id|gt: 5}", "lost"), ("{when: '2026-01-01T00:00:00Z'}", "lost"), ("{bin: 17}", "weaker"), ("{rare: x}", "weaker"),
        ("{ip|cidr: 10.0.0.0/8}", "works"),
        ("{sid|cidr: 10.0.0.0/8}", "lost"), ("{ip|endswith: '.255'}", "weaker"), ("{machine: 'd?01'}", "weaker"),
        ("{text|contains: '17.4.'}", "weaker"),
        ("{text|contains: '192.168.'}", "works"), ("{kept|expand: '%x%'}", "lost"), ("{who|exists: true}", "works"),
    ],
)  # fmt: skip
def test_the_verdict_and_the_reason(detection: str, verdict: str) -> None:
    report = translated(detection)[1].reports[0]
    assert report.verdict == verdict
    assert bool(report.reasons) == (verdict != "works")
    assert all(reason for _, reason in report.reasons)


def test_a_filter_that_can_no_longer_be_seen_makes_a_rule_weaker_and_not_lost() -> None:
    text = "title: t\nlogsource: {product: any}\ndetection: {s: {kept: x}, f: {gone: y}, condition: s and not f}"
    translation = Rules.parse(text, format="json").translate(POLICY, KEY)
    assert translation.reports[0].verdict == "weaker"
    assert translation.match([{"kept": "x"}]) == {"rule": [0]}


def test_no_name_of_a_rule_is_readable_in_its_translation() -> None:
    known = Identities({"anna.keller": "u-k7-0123456789abcdef0123"})
    detection = "{who: anna.keller, machine: srv.anna.keller.example, mail: anna.keller@x.example, text|contains: 'for anna.keller'}"
    written = to_yaml(translated(detection, identities=known)[1].rules.rules[0])
    assert "anna" not in written
    assert "keller" not in written


def test_a_rule_teaches_no_name_to_events_or_other_rules() -> None:
    known = Identities()
    found = Rules.parse(
        "title: a\nlogsource: {product: any}\ndetection: {s: {text|contains: 'user evilguy /add', who: whoever}, condition: s}\n---\n"
        "title: b\nlogsource: {product: any}\ndetection: {s: {text|contains: 'the evilguy or whoever'}, condition: s}\n", format="json",
    )
    second = found.translate(POLICY, KEY, known).rules.rules[1]
    assert len(known) == 0
    assert "the evilguy or whoever" in to_yaml(second)


@pytest.mark.parametrize("treatment", ["user", "host", "principal", "email", "path", "sid", "id", "mac", "address", "url"])
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_whole_values_are_found_again_and_no_others(treatment: str, data: st.DataObject) -> None:
    field = {"user": "who", "host": "machine", "email": "mail", "path": "file", "address": "ip", "url": "link"}.get(treatment, treatment)
    words = st.sampled_from(["anna", "corp", "ben.x", "DC01", "8.8.8.8", "users", "S-1-5-18", "a",
        "\\", "/", "@", ".", "$", "example", "00:50:56:ab:cd:ef", "-"])
    values = st.lists(words, min_size=1, max_size=5).map("".join)
    wanted, others = data.draw(values), data.draw(st.lists(values, max_size=6))
    events = [{field: value} for value in [wanted, *others]]
    literal = wanted.replace("\\", "\\\\").replace("'", "''")
    before, after, _ = both(f"{{{field}: '{literal}'}}", events)
    assert set(before) <= set(after)
    anonymiser = Anonymiser(POLICY, KEY)
    same = [event[field] for event in anonymiser.batch(events).events]
    assert after == [place for place, value in enumerate(same) if str(value).lower() == str(same[0]).lower()]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 32), st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2**32 - 1), min_size=20, max_size=20))
def test_a_network_becomes_exactly_the_networks_of_its_pseudonyms(bits: int, start: int, others: list[int]) -> None:
    network = ipaddress.ip_network((start, bits), strict=False)
    addresses = Addresses(KEY)
    images = [ipaddress.ip_network(image) for image in addresses.networks(str(network))]
    near = [int(network.network_address) | other % network.num_addresses for other in others] + [start ^ 1 << other % 32 for other in others]
    before = [ipaddress.ip_address(value) for value in others + near]
    after = [ipaddress.ip_address(text or "") for text in addresses.texts(list(map(str, before)))]
    assert [address in network for address in before] == [any(new in image for image in images) for new in after]
    assert sum(image.num_addresses for image in images) == network.num_addresses


@pytest.mark.parametrize("pack", PACKS)
def test_every_pack_can_translate(pack: str) -> None:
    policy = SourcePolicy.pack(pack)
    fields = [path for path in policy.fields if "*" not in path]
    product = "zeek" if pack == "zeek" else "windows"
    text = "\n---\n".join(
        f"title: t{number}\nlogsource: {{product: {product}}}\ndetection: {{s: {{'{path}|{how}': 'a.b\\\\c'}}, condition: s}}"
        for number, path in enumerate(fields) for how in ("contains", "endswith", "startswith", "re")
    )  # fmt: skip
    translation = Rules.parse(text[:900_000], format=policy.format).translate(policy, KEY)
    assert {report.verdict for report in translation.reports} <= {"works", "weaker", "lost"}
    assert sum(translation.counts.values()) == 4 * len(fields)
