"""Free text a few at a time and whole columns at once: two engines, one outcome."""

from __future__ import annotations

import ipaddress
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacit.logs import AddressPseudonyms, addresses
from tacit.logs.anonymise import Anonymiser
from tacit.logs.keys import EpochKey
from tacit.logs.policies import SourcePolicy
from tacit.logs.treatments import Tools, scrub

HOMES = "Users"
PIECES = (
    "anna.keller", "Anna.Keller", "bwexler", "CORP\\bwexler", "ws-0042", "ws-0042.corp.example", "10.1.2.3", "2001:db8::7", "anna@corp.example",
    "password=geheim1", "Authorization: Bearer abcdefgh12345", "user=neuling", f"/{HOMES}/jemand/x", f"C:\\{HOMES}\\Jemand\\y", "YW5uYS5rZWxsZXI=",
    "%61nna.keller", "S-1-5-21-1-2-3-1004", "00:50:56:ab:cd:ef", "é", "\x1c", "\x85", "\u00a0", "\u2028",
    "²", "𝟙", "ı", " ", "  ", "/", "\\", "=", "|", ",", "x",
    "4111111111111111", "accepted password for olga from 10.0.0.9", "session opened for user dana",
    "\\\\share9\\d", "--host zielrechner", "rhost=fern.example.net",
    "getaddrinfo for a.b.info", "logname= uid=0", "connection from 1.2.3.4 (x-1.user.pl)",
    "krbtgt/acme", f" -s {'Ab1+' * 12}==", "-", ".", "_", "@",
)


def scrubbed(texts: list[str], monkeypatch: pytest.MonkeyPatch, few: int) -> list[str]:
    monkeypatch.setattr(scrub, "_FEW", few)
    tools = Tools(EpochKey.for_tests())
    for user in ("anna.keller", "bwexler"):
        tools.names.user(user)
    tools.names.host("ws-0042.corp.example")
    tools.names.host("CORP")
    return tools.scrubber.texts(texts)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.lists(st.sampled_from(PIECES), max_size=7).map("".join), max_size=4))
def test_a_few_texts_become_what_a_column_of_them_becomes(texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert scrubbed(texts, monkeypatch, 1_000) == scrubbed(texts, monkeypatch, 0)


@pytest.mark.parametrize("few", [0, 1_000], ids=["a column", "a few"])
@pytest.mark.parametrize(("text", "hidden", "kept"), [
    ("authentication failure; logname= uid=0 euid=0 ruser= rhost=host8.topspot.net  user=root", "host8.topspot",
     ["logname= uid=0 euid=0 ruser= rhost=", ".net  user=root"]),
    ("checking getaddrinfo for 191-210-223-172.user.example.com.br [191.210.223.172] failed", "191-210-223-172.user.example.com",
     ["checking getaddrinfo for ", "] failed"]),
    ("connection from 82.252.162.81 (lns-45-81.adsl.example.net) at Fri", "lns-45-81.adsl.example", ["connection from ", ".net) at Fri"]),
    ("ticket for krbtgt/acmecorp refused", "acmecorp", ["ticket for krbtgt/", " refused"]),
    (f"sh join.sh -w 335208fd -s {'NI5z/fh+' * 6}A== -v", "NI5z", ["sh join.sh -w 335208fd -s ", " -v"]),
    ("rhost=198.51.100.7", "198.51.100.7", ["rhost="]),
    ("login: olga.meier", "olga.meier", ["login: "]),
    ("session opened for user olga.meier by (uid=0)", "olga.meier", ["session opened for user ", " by (uid=0)"]),
])
def test_machines_that_a_text_announces(
    text: str, hidden: str, kept: list[str], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = scrubbed([text], monkeypatch, few)
    assert hidden not in found
    assert all(piece in found for piece in kept)


def test_a_few_addresses_get_what_many_get() -> None:
    rng = np.random.default_rng(0)
    pseudonyms = AddressPseudonyms(bytes(range(32)))
    for width in (4, 16):
        octets = rng.integers(0, 256, (4 * addresses._FEW, width), np.uint8)
        octets[::3, : width // 2] = octets[0, : width // 2]
        many = pseudonyms.octets(octets)
        few = np.concatenate([pseudonyms.octets(octets[begin : begin + 7]) for begin in range(0, len(octets), 7)])
        assert (many == few).all()
        assert (many != octets).any(axis=1).all()


@pytest.mark.parametrize("treatment", ["scrub", "template", "url", "path", "user", "host", "email", "address", "mac", "sid", "id"])
@pytest.mark.parametrize("bait", ["1.", "a.", ":", "1:", "%25", "\\", "a@", "corp.", "user=", "QUJD", "6161", "?a=", "::ffff:1.2.3.4", "é"])
def test_no_text_takes_more_than_its_length(treatment: str, bait: str) -> None:
    """100 kB of each: a second is forty times what the slowest takes, and what is quadratic took minutes."""
    policy = SourcePolicy.parse(f"{{version: 1, source: s, format: json, fields: {{a: {treatment}}}}}")
    anonymiser = Anonymiser(policy, EpochKey.for_tests())
    anonymiser.know(users=["anna.keller", "corp"], hosts=["ws-1.corp.example"])
    begin = time.process_time()
    anonymiser.texts([{"a": bait * (100_000 // len(bait))}])
    assert time.process_time() - begin < 5


def test_an_address_written_as_a_number_is_hidden_and_stays_a_number() -> None:
    policy = SourcePolicy.parse("{version: 1, source: s, format: json, fields: {ip: address}}")
    address = int(ipaddress.IPv4Address("203.0.113.7"))
    numbers = Anonymiser(policy, EpochKey.for_tests()).batch([{"ip": value} for value in (address, "203.0.113.7", 2**40, 1.5, True, None)]).events
    assert numbers[0]["ip"] == int(ipaddress.IPv4Address(numbers[1]["ip"])) != address
    assert numbers[2]["ip"] != 2**40
    assert numbers[3]["ip"] != 1.5
    assert numbers[4:] == [{"ip": True}, {"ip": None}]
