"""Free text a few at a time and whole columns at once: two engines, one outcome."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacit.logs import AddressPseudonyms, addresses
from tacit.logs.keys import EpochKey
from tacit.logs.treatments import Tools, scrub

HOMES = "Users"
PIECES = (
    "anna.keller", "Anna.Keller", "bwexler", "CORP\\bwexler", "ws-0042", "ws-0042.corp.example", "10.1.2.3", "2001:db8::7", "anna@corp.example",
    "password=geheim1", "Authorization: Bearer abcdefgh12345", "user=neuling", f"/{HOMES}/jemand/x", f"C:\\{HOMES}\\Jemand\\y", "YW5uYS5rZWxsZXI=",
    "%61nna.keller", "S-1-5-21-1-2-3-1004", "00:50:56:ab:cd:ef", "é", "\x1c", "\x85", "\u00a0", "\u2028",
    "²", "𝟙", "ı", " ", "  ", "/", "\\", "=", "|", ",", "x",
    "4111111111111111", "accepted password for olga from 10.0.0.9", "session opened for user dana",
    "\\\\share9\\d", "--host zielrechner", "-", ".", "_", "@",
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
