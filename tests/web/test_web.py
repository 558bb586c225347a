"""What every endpoint stands on."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tacit.errors import ConfigError, StorageError, UsageError
from tacit.web import Tokens, bound, read_private


def test_connections_send_without_waiting_for_acknowledgements() -> None:
    with bound("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        with pytest.raises(UsageError, match="Cannot listen"):
            bound("127.0.0.1", listening.getsockname()[1])


def test_a_token_says_whose_it_is() -> None:
    tokens = Tokens({"hospital": "a" * 16, "bank": "b" * 16})
    assert tokens.names == {"hospital", "bank"}
    assert [tokens.name_of(f"Bearer {letter * 16}") for letter in "abc"] == ["hospital", "bank", None]
    assert tokens.name_of(None) is tokens.name_of("Bearer") is tokens.name_of("Bearer \udcff") is None
    assert "a" * 16 not in repr(tokens)


def test_secrets_that_others_may_read_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("name:" + "s" * 16)
    path.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        read_private(path, "tokens")
    path.chmod(0o600)
    assert Tokens.load(path).names == {"name"}
    path.write_text("name " + "s" * 16)
    with pytest.raises(ConfigError) as caught:
        Tokens.load(path)
    assert "s" * 16 not in str(caught.value)
    with pytest.raises(StorageError):
        read_private(tmp_path / "absent", "tokens")
