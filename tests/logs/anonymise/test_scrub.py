"""Free text a few at a time and whole columns at once: two engines, one outcome."""

from __future__ import annotations

import ipaddress
import re
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
    "krbtgt/acme", "HTTP/SCRANTON", " cifs/nashua:445", "host/ws9.dm.example@DM.EXAMPLE",
    "WEC1$", " DC07$", "MORDOR\\wec$", "utica$@DM.EXAMPLE", "$", ":",
    "\\\\*\\IPC$", "ldap/", f" -s {'Ab1+' * 12}==", "-", ".", "_", "@",
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
    ("scranton$", "scranton", ["$"]),
    ("HTTP/SCRANTON", "SCRANTON", ["HTTP/"]),
    ("ldap/newyork.dm.example/dm.example", "newyork.dm", ["ldap/", ".example/", ".example"]),
    ("setspn -Q HTTP/web7.acme.example:8080 -v", "web7.acme", ["setspn -Q HTTP/", ".example:8080 -v"]),
    ("HOST/HR001\r\n\tRestrictedKrbHost/HR001 x", "HR001", ["HOST/", "\r\n\tRestrictedKrbHost/", " x"]),
    ("cifs/nashua, Hyper-V Replica Service/nashua", "nashua", ["cifs/", ", Hyper-V Replica Service/"]),
    ("Account Name:\t\tFILE01$\r\nDomain", "FILE01", ["Account Name:\t\t", "$\r\nDomain"]),
    ("net user DC07$ /add", "DC07", ["net user ", "$ /add"]),
    ("logon of MORDOR\\wec$, once", "wec", ["logon of ", "$, once"]),
    ("logon of MORDOR\\wec$, once", "MORDOR", ["logon of ", "$, once"]),
    ("ticket utica$@DM.EXAMPLE refused", "utica", ["ticket ", "$@", ".example refused"]),
    ("ticket utica$@DM.EXAMPLE refused", "DM.", ["ticket ", "$@", ".example refused"]),
    ("login: olga.meier", "olga.meier", ["login: "]),
    ("session opened for user olga.meier by (uid=0)", "olga.meier", ["session opened for user ", " by (uid=0)"]),
])
def test_machines_that_a_text_announces(
    text: str, hidden: str, kept: list[str], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = scrubbed([text], monkeypatch, few)
    assert hidden not in found
    assert all(piece in found for piece in kept)


@pytest.mark.parametrize("few", [0, 1_000], ids=["a column", "a few"])
@pytest.mark.parametrize("text", [
    r"net share ADMIN$ C$ IPC$ print$", r"\\*\IPC$", r"\\*\print$ print this", "C:\\$SNAP_2_VOLUMEC$\\x", "echo $HOME ${PATH} $x x$",
    "grep 'foo$' | sed s/ABC$//", "^[A-Z]+$ (x|Y)$", "GET / HTTP/1.1", "http/1.1, HTTP/TCP and dns/udp", "cc host/main.c dns/root.conf",
    "root/Microsoft/Windows/DNS/PS_DnsClientNrptPolicy", "US$ 100$ A$=MID$(B$,2)", "-bxor$key -join'%IEX$a", "https://docs/http/page", "ldap/ host/",
])
def test_what_only_looks_like_a_machine_stays(text: str, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert scrubbed([text], monkeypatch, few) == [text]


@pytest.mark.parametrize(("principal", "became"), [
    ("UTICA$", "U$"), ("utica$@DM.EXAMPLE", "U$@D"), ("utica$/dm.example", "U$/D"), ("HTTP/utica", "HTTP/U"), ("krbtgt/DM.EXAMPLE", "krbtgt/D"),
    ("ldap/Utica.dm.example/dm.example", "ldap/U.D/D"), ("MSSQLSvc/utica.dm.example:1433", "MSSQLSvc/U.D:1433"), ("anna/dm.example", "A/D"),
    ("MSSQLSvc/utica.dm.example:ANNA", "MSSQLSvc/U.D:N"), ("anna/utica@DM.EXAMPLE", "A/U@D"), ("HOST/utica\n\tHTTP/utica", "HOST/U\n\tHTTP/U"),
    ("krb,smb,gssapi", "krb,smb,gssapi"), ("ssl", "ssl"), ("-", "-"), ("", ""), ("%%1793", "%%1793"), ("krbtgt", "krbtgt"), ("anna", "A"),
])
def test_principals_name_the_same_machines_as_other_fields(principal: str, became: str) -> None:
    names = Tools(EpochKey.for_tests()).names
    words = {"U": names.host("utica"), "D": names.host("dm") + ".example", "A": names.user("anna"), "N": names.host("anna")}
    assert names.principal(principal) == re.sub(r"\b[UDAN]\b", lambda found: words[found.group()], became)


@pytest.mark.parametrize(("mailbox", "became"), [
    ('"Anna Keller" <anna@dm.example>', '"K" <A@D>'), ("anna@dm.example (Anna Keller)", "A@D (K)"), ("<anna@dm.example>", "<A@D>"),
    ("Anna Keller <anna@dm.example>, ben@dm.example;", "K <A@D>, B@D;"), ('"Sales":anna@dm.example', '"S":A@D'), ("anna@dm.example", "A@D"),
    ("<>", "U"), ('"anna keller" <anna', "V"), ("anna@dm.example, <@", "A@D, <@"),
])
def test_names_beside_addresses_are_hidden_too(mailbox: str, became: str) -> None:
    names = Tools(EpochKey.for_tests()).names
    people = {"A": "anna", "B": "ben", "K": "anna keller", "S": "sales", "U": "<>", "V": '"anna keller" <anna'}
    words = {letter: names.user(name) for letter, name in people.items()} | {"D": names.host("dm") + ".example"}
    assert names.email(mailbox) == re.sub(r"\b[ABKSUVD]\b", lambda found: words[found.group()], became)


def test_of_a_host_nothing_stays_that_is_no_label() -> None:
    names = Tools(EpochKey.for_tests()).names
    assert names.host("dm.example").endswith(".example")
    for text in ("dm.example (anna keller)", "dm.anna keller", "x.é!", "x.a/b"):
        assert not any(part in names.host(text) for part in ("anna", "keller", "é", "a/b"))


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


def test_no_address_is_its_own_pseudonym_and_subnets_stay_subnets() -> None:
    treated = Tools(EpochKey.for_tests(), networks=["100.100.108.37/32"]).addresses
    plain = AddressPseudonyms(EpochKey.for_tests().secret("address"))
    whole = np.array([list(address.packed) for address in ipaddress.ip_network("100.100.96.0/20")], np.uint8)
    found = treated.octets(whole)
    alone = (whole == [100, 100, 108, 37]).all(axis=1) | (whole == [100, 100, 108, 36]).all(axis=1)
    assert ((found == whole).all(axis=1) == alone).all()
    assert ((plain.octets(whole) == whole)[:, 2:].all(axis=1)).sum() > 100  # what Crypto-PAn leaves
    assert len(np.unique(found, axis=0)) == len(whole)
    before, after = (np.unpackbits(octets, axis=1) for octets in (whole, found))
    for first, second in np.random.default_rng(0).integers(0, len(whole), (2_000, 2)):
        if not alone[[first, second]].any():
            assert (before[first] == before[second]).argmin() == (after[first] == after[second]).argmin() or first == second
    for text in ("100.100.108.1", "100.100.108.38", "8.8.8.8"):
        assert treated.networks(f"{text}/32") == [f"{treated.one(text)}/32"]


@pytest.mark.parametrize("treatment", ["scrub", "template", "url", "path", "user", "host", "principal", "email", "address", "mac", "sid", "id"])
@pytest.mark.parametrize("bait", [
    "1.", "a.", ":", "1:", "%25", "\\", "a@", "corp.", "user=", "QUJD", "6161", "?a=", "::ffff:1.2.3.4", "é", "A$", " AB1$", "cifs/", " host/a",
    "a$@", "ab\\c$", "A-",
])
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
