from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.federation.connections.world import Site

from tacit.errors import MissingExtra
from tacit.federation.certificates import Address
from tacit.federation.transports import WebSocketTransport, serve
from tacit.federation.transports.nvflare import NVFlareTransport, cell_of, serve_nvflare


def test_a_missing_extra_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("websockets", "nvflare", "nvflare.fuel.f3.cellnet.cell"):
        monkeypatch.setitem(sys.modules, name, None)
    address = Address("127.0.0.1", 1)
    with pytest.raises(MissingExtra, match=r"tacit\[federation\]"):
        WebSocketTransport(tmp_path, {}, listen=address)
    with pytest.raises(MissingExtra, match=r"tacit\[federation\]"):
        serve(Site(), tmp_path)
    with pytest.raises(MissingExtra, match=r"tacit\[nvflare\]"):
        NVFlareTransport(tmp_path, {}, listen=address)
    with pytest.raises(MissingExtra, match=r"tacit\[nvflare\]"):
        serve_nvflare(Site(), tmp_path)


def test_no_two_sites_have_one_cell() -> None:
    assert len({cell_of(name) for name in ("a.b", "a-b", "a_b", "ab", "server")}) == 5
    assert cell_of("server") != "server"
