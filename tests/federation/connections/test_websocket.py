"""Faults of the embedded engine, with sites in threads over real TLS on loopback."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import struct
import threading
import time
from pathlib import Path

import pytest
from tests.federation.connections.world import LONG, NAMES, Relay, World, until

from tacit.crypto import SigningKey
from tacit.errors import ConfigError, UsageError, VerificationError
from tacit.federation import certificates
from tacit.federation.certificates import ROOT, Address, Connection, issue, lay_out_site, new_authority, request
from tacit.federation.transports import Missing, WebSocketTransport, tls
from tacit.federation.transports.frames import ANSWERED, Answer, Question

websockets = pytest.importorskip("websockets.sync.client", reason="the extra «federation» is not installed")
failures = pytest.importorskip("websockets.exceptions", reason="the extra «federation» is not installed")

TIMEOUT, UNREACHABLE, GARBLED = Missing("timeout"), Missing("unreachable"), Missing("garbled")
ANNA = NAMES[0]


def to_all(message: bytes = b"x") -> dict[str, bytes]:
    return dict.fromkeys(NAMES, message)


GIVEN_UP = (ssl.SSLError, OSError, EOFError, failures.InvalidMessage, failures.ConnectionClosed)


def raw(
    world: World, name: str = ANNA, *, path: str | None = None, context: ssl.SSLContext | None = None
) -> contextlib.AbstractContextManager[websockets.ClientConnection]:
    """A site that does what a test likes, with a good certificate."""
    url = f"wss://{world.address}{path if path is not None else f'/tacit/1/{name}'}"
    return websockets.connect(url, ssl=context or tls.connecting(world.site(name)), proxy=None, max_size=None, open_timeout=LONG, ping_interval=None)


@pytest.fixture
def joined(world: World) -> WebSocketTransport:
    transport = world.listen()
    for name in NAMES:
        world.thread(name)
    until(lambda: transport.connected == NAMES)
    return transport


def test_every_site_is_asked_its_own_question_and_answers(joined: WebSocketTransport) -> None:
    messages = {name: name.encode() * 3 for name in NAMES}
    assert joined.sites == NAMES
    assert joined.call("echo", messages, timeout=LONG) == messages
    assert joined.call("echo", {ANNA: b""}, timeout=LONG) == {ANNA: b""}
    assert joined.call("echo", {}, timeout=LONG) == {}


def test_messages_of_many_pieces_arrive_whole(joined: WebSocketTransport) -> None:
    messages = {name: bytes([index]) * (4_000_000 + index) for index, name in enumerate(NAMES)}
    assert joined.call("echo", messages, timeout=LONG) == messages


def test_a_site_nobody_knows_is_unreachable(joined: WebSocketTransport) -> None:
    assert joined.call("echo", {ANNA: b"x", "nowhere": b"x"}, timeout=LONG) == {ANNA: b"x", "nowhere": UNREACHABLE}


def test_a_slow_site_is_missing_and_answers_the_next_question(world: World) -> None:
    transport = world.listen()
    threads = {name: world.thread(name) for name in NAMES}
    until(lambda: transport.connected == NAMES)
    assert transport.call("wait", {ANNA: b"first"}, timeout=0.5) == {ANNA: TIMEOUT}
    assert transport.call("echo", {ANNA: b"second"}, timeout=0.5) == {ANNA: TIMEOUT}
    others = {name: b"meanwhile" for name in NAMES[1:]}
    assert transport.call("echo", others, timeout=LONG) == others
    threads[ANNA].site.go_on.set()
    assert transport.call("echo", to_all(b"third"), timeout=LONG) == to_all(b"third")
    assert threads[ANNA].site.asked == [("wait", b"first"), ("echo", b"third")], "a question is not sent while an earlier one is with the site"


def test_what_a_handler_raises_stays_at_the_site(world: World) -> None:
    transport, thread = world.listen(), world.thread(ANNA)
    found = transport.call("fail", {ANNA: b"x"}, timeout=LONG)[ANNA]
    assert isinstance(found, Missing)
    assert found.reason.startswith("refused: ")
    assert "secret" not in found.reason + " ".join(thread.reports)
    assert "could not answer «fail»: ValueError" in thread.reports
    assert transport.call("echo", {ANNA: b"x"}, timeout=LONG) == {ANNA: b"x"}


def test_a_site_that_comes_late_is_reached_and_one_that_stays_away_is_missing(world: World) -> None:
    transport = world.listen(patience=LONG)
    threading.Timer(0.3, lambda: world.thread(ANNA)).start()
    assert transport.call("echo", {ANNA: b"x"}, timeout=LONG) == {ANNA: b"x"}
    started = time.monotonic()
    assert transport.call("echo", {"bergen": b"x"}, timeout=0.5) == {"bergen": UNREACHABLE}
    assert time.monotonic() - started < LONG / 2


def test_a_site_that_was_gone_for_long_does_not_hold_up_the_others(world: World) -> None:
    transport = world.listen(patience=0.0)
    world.thread(ANNA)
    until(lambda: transport.connected == (ANNA,))
    started = time.monotonic()
    assert transport.call("echo", to_all(), timeout=LONG) == {**dict.fromkeys(NAMES, UNREACHABLE), ANNA: b"x"}
    assert time.monotonic() - started < LONG / 2


def test_a_coordinator_that_is_restarted_finds_its_sites_again(world: World) -> None:
    first = world.listen()
    for name in NAMES:
        world.thread(name)
    assert first.call("echo", to_all(), timeout=LONG) == to_all()
    first.close()
    with pytest.raises(UsageError, match="closed"):
        first.call("echo", to_all(), timeout=1)
    second = world.listen()
    assert second.call("echo", to_all(b"again"), timeout=LONG) == to_all(b"again")


def test_an_answer_that_is_too_large_is_garbled_and_the_site_stays(world: World) -> None:
    transport = world.listen(largest=1000)
    world.thread(ANNA, largest=1000)
    assert transport.call("large", {ANNA: b"1001"}, timeout=LONG) == {ANNA: GARBLED}
    assert transport.call("large", {ANNA: b"1000"}, timeout=LONG) == {ANNA: bytes(1000)}


def test_a_site_that_sends_more_than_the_coordinator_takes_is_garbled(world: World) -> None:
    transport = world.listen(largest=1000)
    world.thread(ANNA)
    assert transport.call("large", {ANNA: b"100000"}, timeout=LONG) == {ANNA: GARBLED}
    assert transport.call("large", {ANNA: b"1000"}, timeout=LONG) == {ANNA: bytes(1000)}, "it comes back"


def test_a_question_that_is_larger_than_a_site_takes_is_refused_by_it(world: World) -> None:
    transport = world.listen()
    world.thread(ANNA, largest=1000)
    found = transport.call("echo", {ANNA: bytes(5000)}, timeout=LONG)[ANNA]
    assert found == Missing("refused: the message is larger than the site takes")
    assert transport.call("echo", {ANNA: b"x"}, timeout=LONG) == {ANNA: b"x"}


def test_what_the_coordinator_itself_does_wrong_is_an_error_and_nothing_is_sent(world: World) -> None:
    transport, thread = world.listen(largest=1000), world.thread(ANNA)
    for stage, message in (("echo", bytes(1001)), ("", b"x"), ("Ask me", b"x")):
        with pytest.raises(UsageError, match="at most 1,000 bytes"):
            transport.call(stage, {ANNA: message}, timeout=LONG)
    assert transport.call("echo", {ANNA: b"x"}, timeout=LONG) == {ANNA: b"x"}
    assert thread.site.asked == [("echo", b"x")]


@pytest.mark.parametrize("said", [b"", b"TA1", b"TQ1" + bytes(40), bytes(100), "text"])
def test_an_answer_that_is_none_is_garbled(world: World, said: bytes | str) -> None:
    transport = world.listen()
    with raw(world) as connection:
        asking = _asking(transport)
        connection.recv(timeout=LONG)
        connection.send(said)
        assert asking() == GARBLED


def test_an_answer_to_another_question_is_not_taken(world: World) -> None:
    transport = world.listen()
    with raw(world) as connection:
        asking = _asking(transport)
        data = connection.recv(timeout=LONG)
        assert isinstance(data, bytes)
        question = Question.parse(data)
        for call, message in ((bytes(8), b"forged"), (question.call, b"right"), (question.call, b"again"), (bytes(8), b"forged")):
            connection.send(Answer(call, ANSWERED, message).to_bytes())
        assert asking() == b"right"
        asking = _asking(transport)
        data = connection.recv(timeout=LONG)
        assert isinstance(data, bytes)
        connection.send(Answer(Question.parse(data).call, ANSWERED, b"next").to_bytes())
        assert asking() == b"next", "the second copy of an answer is not the next answer"


def test_an_answer_that_is_cut_short_is_no_answer(world: World) -> None:
    transport = world.listen()
    with raw(world) as connection:
        asking = _asking(transport)
        data = connection.recv(timeout=LONG)
        assert isinstance(data, bytes)
        whole = Answer(Question.parse(data).call, ANSWERED, bytes(500_000)).to_bytes()
        frame = struct.pack("!BBQ", 0x82, 0x80 | 127, len(whole)) + bytes(4) + whole
        connection.socket.sendall(frame[:300_000])
        connection.socket.close()
        assert asking() == UNREACHABLE


def test_a_newer_connection_of_a_site_takes_the_place_of_the_older(world: World) -> None:
    transport = world.listen()
    older = world.thread(ANNA)
    until(lambda: transport.connected == (ANNA,))
    world.thread(ANNA)
    assert isinstance(older.ended(), UsageError)
    assert "Another process" in str(older.raised)
    assert transport.call("echo", {ANNA: b"x"}, timeout=LONG) == {ANNA: b"x"}


def test_a_connection_that_went_dead_is_given_up_and_made_again(world: World) -> None:
    relay = Relay(world.address)
    world.ends.append(relay.close)
    world.lay_out(ANNA, address=relay.address)
    transport = world.listen(heartbeat=0.5)
    thread = world.thread(ANNA, heartbeat=0.5)
    until(lambda: transport.call("echo", {ANNA: b"x"}, timeout=LONG) == {ANNA: b"x"})
    relay.cut()
    assert transport.call("echo", {ANNA: b"into the void"}, timeout=LONG) == {ANNA: UNREACHABLE}
    until(lambda: transport.call("echo", {ANNA: b"back"}, timeout=LONG) == {ANNA: b"back"})
    assert ("echo", b"into the void") not in thread.site.asked, "a question is sent at most once"


def test_a_large_question_into_a_dead_connection_is_over_in_time(world: World) -> None:
    relay = Relay(world.address)
    world.ends.append(relay.close)
    world.lay_out(ANNA, address=relay.address)
    transport = world.listen()
    thread = world.thread(ANNA, heartbeat=0.5)
    until(lambda: transport.call("echo", {ANNA: b"x"}, timeout=LONG) == {ANNA: b"x"})
    relay.cut()
    found = transport.call("echo", {ANNA: bytes(30_000_000)}, timeout=1.0)[ANNA]
    assert found in (TIMEOUT, UNREACHABLE)
    until(lambda: transport.call("echo", {ANNA: b"back"}, timeout=LONG) == {ANNA: b"back"})
    assert {message for _, message in thread.site.asked} == {b"x", b"back"}, "half of a message is not read as one"


@pytest.mark.slow
def test_a_message_that_takes_longer_than_a_sign_of_life_may_gets_through(world: World) -> None:
    relay = Relay(world.address, rate=2e6)
    world.ends.append(relay.close)
    world.lay_out(ANNA, address=relay.address)
    transport = world.listen(heartbeat=3.0)
    thread = world.thread(ANNA, heartbeat=3.0)
    message = bytes(24_000_000)
    assert transport.call("echo", {ANNA: message}, timeout=2 * LONG) == {ANNA: message}
    assert len(thread.reports) == 1, "one connection"


def test_who_connects_and_says_nothing_keeps_nobody_out(world: World) -> None:
    transport = world.listen()
    silent = [socket.create_connection((world.address.host, world.address.port)) for _ in range(20)]
    world.thread(ANNA)
    assert transport.call("echo", {ANNA: b"x"}, timeout=LONG) == {ANNA: b"x"}
    for one in silent:
        one.close()


def test_a_port_that_is_taken_is_an_error(world: World) -> None:
    world.listen()
    with pytest.raises(UsageError, match="Cannot listen"):
        WebSocketTransport(world.coordinator, world.members, listen=world.address)


# Certificates


def test_a_coordinator_of_another_federation_is_refused(world: World, tmp_path: Path) -> None:
    foreign(world, tmp_path)
    world.listen()
    refused = world.thread(ANNA).ended()
    assert isinstance(refused, VerificationError)
    assert "the coordinator's certificate does not verify" in str(refused)


def test_a_site_of_another_federation_is_refused(world: World, tmp_path: Path) -> None:
    foreign(world, tmp_path)
    shutil.copy(world.coordinator / ROOT, world.site(ANNA) / ROOT)  # now the site trusts the coordinator, and is not trusted
    transport = world.listen()
    with pytest.raises(GIVEN_UP), raw(world):
        pass
    assert transport.connected == ()
    assert "not issued by the authority" in str(world.thread(ANNA).ended())


def foreign(world: World, tmp_path: Path) -> None:
    """Lay out the first site with the certificate of an authority that is not the coordinator's."""
    other, folder, member = tmp_path / "other", world.site(ANNA), world.members[ANNA]
    other.mkdir()
    new_authority(other)
    issued = issue(other, request(folder, ANNA, member=member), ANNA, member=member)
    lay_out_site(folder, issued, root=(other / ROOT).read_bytes(), connection=Connection(ANNA, world.address, world.key.public))


def test_without_a_certificate_there_is_no_connection(world: World) -> None:
    transport = world.listen()
    context = ssl.create_default_context(cafile=str(world.coordinator / ROOT))
    with pytest.raises(GIVEN_UP), raw(world, context=context):
        pass
    assert transport.connected == ()


class Past(certificates.datetime):
    """A clock that is two years behind."""

    @classmethod
    def now(cls, tz: object = None) -> Past:  # type: ignore[override]
        return super().now(tz) - certificates.timedelta(days=730)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("whose", ["site", "coordinator"])
def test_an_expired_certificate_is_refused(world: World, monkeypatch: pytest.MonkeyPatch, whose: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(certificates, "datetime", Past)
        if whose == "site":
            world.lay_out(ANNA)
        else:
            certificates.lay_out_coordinator(world.coordinator, hosts=["127.0.0.1"], member=world.key.public)
    world.listen()
    refused = world.thread(ANNA).ended()
    assert isinstance(refused, VerificationError)
    assert "expired" in str(refused)
    with pytest.raises(GIVEN_UP), raw(world):
        pass


def test_a_certificate_is_good_for_one_name(world: World) -> None:
    transport = world.listen()
    path = world.site(ANNA) / certificates.CONNECTION
    path.write_text(json.dumps({**json.loads(path.read_text()), "name": "bergen"}))
    refused = world.thread(ANNA).ended()
    assert isinstance(refused, VerificationError)
    assert "another member's" in str(refused)
    assert transport.connected == ()


def test_a_certificate_for_a_key_that_the_roster_does_not_have_is_refused(world: World) -> None:
    transport = world.listen()
    world.lay_out(ANNA, member=SigningKey.generate().public)
    refused = world.thread(ANNA).ended()
    assert isinstance(refused, VerificationError)
    assert "the roster has no such member" in str(refused)
    assert transport.connected == ()


def test_a_member_that_left_the_roster_is_refused(world: World) -> None:
    del world.members["bergen"]
    world.listen()
    assert isinstance(world.thread("bergen").ended(), VerificationError)


@pytest.mark.parametrize("path", ["/", "/tacit/2/anna", "/tacit/1/anna/", "/tacit/1/st.clara"])
def test_only_the_members_own_path_is_answered(world: World, path: str) -> None:
    world.listen()
    with pytest.raises(failures.InvalidStatus), raw(world, path=path):
        pass


def test_a_site_cannot_pose_as_the_coordinator(world: World) -> None:
    for name, target in (("client.crt", "server.crt"), ("client.key", "server.key")):
        shutil.copy(world.site("bergen") / name, world.coordinator / target)
    world.listen()
    refused = world.thread(ANNA).ended()
    assert isinstance(refused, VerificationError)
    assert "does not verify" in str(refused)


def test_a_certificate_for_another_host_or_another_coordinator_is_refused(world: World) -> None:
    certificates.lay_out_coordinator(world.coordinator, hosts=["192.0.2.1"], member=world.key.public)
    first = world.listen()
    assert "does not verify" in str(world.thread(ANNA).ended())
    first.close()
    certificates.lay_out_coordinator(world.coordinator, hosts=["127.0.0.1"], member=SigningKey.generate().public)
    world.listen()
    assert "is not its coordinator" in str(world.thread(ANNA).ended())


def test_files_that_do_not_fit_are_refused_before_anything_is_sent(world: World) -> None:
    shutil.copy(world.site("bergen") / "client.key", world.site(ANNA) / "client.key")
    assert isinstance(world.thread(ANNA).ended(), ConfigError)
    (world.coordinator / "server.key").unlink()
    with pytest.raises(ConfigError, match=r"server\.key"):
        WebSocketTransport(world.coordinator, world.members, listen=Address("127.0.0.1", 1))


def _asking(transport: WebSocketTransport):  # type: ignore[no-untyped-def]
    """Ask the first site in a thread; what is returned waits for the answer."""
    found: list[bytes | Missing] = []
    thread = threading.Thread(target=lambda: found.append(transport.call("echo", {ANNA: b"x"}, timeout=LONG)[ANNA]))
    thread.start()

    def answer() -> bytes | Missing:
        thread.join(LONG)
        return found[0]

    return answer
