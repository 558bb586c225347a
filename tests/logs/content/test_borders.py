"""What rules need of the search in free text: a path, a registry value or a library is not taken for a machine, and machines still are."""

from __future__ import annotations

import pytest

from tacit.logs.keys import EpochKey
from tacit.logs.treatments import Tools

MANY = ["nothing here"] * 200
"""Enough texts for the search over whole columns, which has an engine of its own."""


@pytest.mark.parametrize("more", [[], MANY], ids=["few", "many"])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"dir \\SRV01\c$", ["srv01"]), (r"/config:\\SRV02\x", ["srv02"]), (r"\\\\SRV03\\share", ["srv03"]), ("a\n\\\\SRV04\\x", ["srv04"]),
        (r"'\\SRV05\x'", ["srv05"]), ("mstsc /v:SRV06", ["srv06"]), ("schtasks /s SRV07 /tn x", ["srv07"]), ("\u00a0\\\\SRV08\\x", ["srv08"]),
        ("\u00bb\\\\SRV09\\x", ["srv09"]), (r'"C:\nodejs\\node_modules\npm"', []), (r"C:\\Odd\\x", []), ("reg add HKLM\\x /v EnableFoo /d 1", []),
        ("regsvr32 /s odd.dll", []),
    ],
)  # fmt: skip
def test_machines_are_found_and_nothing_else(text: str, found: list[str], more: list[str]) -> None:
    tools = Tools(EpochKey.for_tests())
    tools.scrubber.texts([text, *more])
    assert sorted(tools.identities) == found


def test_a_url_without_a_query_gets_none() -> None:
    places = Tools(EpochKey.for_tests()).places
    assert places.url("https://evil.example/ab/").endswith(".example/ab/")
    assert places.url("https://evil.example/ab/?").endswith("/ab/?")
