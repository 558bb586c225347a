"""What every engine must do, with each site a process of its own over mutual TLS on loopback."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec

import pytest
from tests.federation.connections.coordinator_process import Remote
from tests.federation.connections.world import LONG, NAMES, World, end, until

from tacit.errors import UsageError
from tacit.federation import certificates
from tacit.federation.transports import Missing

pytestmark = pytest.mark.slow
TIMEOUT, UNREACHABLE, GARBLED = Missing("timeout"), Missing("unreachable"), Missing("garbled")
ANNA, BERGEN, CLARA = NAMES
PACKAGES = {"websocket": "websockets", "nvflare": "nvflare"}


@pytest.fixture(params=PACKAGES)
def engine(request: pytest.FixtureRequest) -> str:
    if find_spec(PACKAGES[request.param]) is None:
        pytest.skip(f"{PACKAGES[request.param]} is not installed")
    return str(request.param)


@pytest.fixture
def listen(world: World, engine: str) -> Callable[..., Remote]:
    def make(**options: float) -> Remote:
        transport = Remote(engine, world.coordinator, world.members, world.address, **{"patience": LONG, **options})
        world.ends.append(transport.kill)
        return transport

    return make


def everyone(message: bytes = b"x") -> dict[str, bytes]:
    return dict.fromkeys(NAMES, message)


def reached(transport: Remote, *names: str) -> None:
    """Wait until these sites answer."""
    until(lambda: transport.call("echo", dict.fromkeys(names, b"?"), timeout=LONG) == dict.fromkeys(names, b"?"))


def test_sites_are_asked_killed_restarted_and_asked_again(world: World, engine: str, listen: Callable[..., Remote]) -> None:
    processes = {name: world.process(name, engine) for name in NAMES}
    transport = listen()
    assert transport.sites == NAMES
    reached(transport, *NAMES)
    large = {name: bytes([index]) * (4_000_000 + index) for index, name in enumerate(NAMES)}
    assert transport.call("echo", large, timeout=LONG) == large

    started = time.monotonic()
    found = transport.call("die", {ANNA: b"x"}, timeout=LONG)
    assert found == {ANNA: UNREACHABLE}, "a site that dies over a question"
    assert time.monotonic() - started < LONG - 10, "is known to be gone before the time is over"
    found = transport.call("echo", {BERGEN: b"x", CLARA: b"x"}, timeout=LONG)
    assert found == {BERGEN: b"x", CLARA: b"x"}, "and the others answer"
    processes[ANNA].wait()
    world.process(ANNA, engine)
    reached(transport, ANNA)
    assert transport.call("echo", everyone(b"again"), timeout=LONG) == everyone(b"again"), "and it is back in the next call"

    assert transport.call("slow", {ANNA: b"2"}, timeout=1.0) == {ANNA: TIMEOUT}
    assert transport.call("echo", everyone(b"late"), timeout=LONG) == everyone(b"late"), "a slow site is waited for in the next call"
    refused = transport.call("fail", {ANNA: b"x"}, timeout=LONG)[ANNA]
    assert isinstance(refused, Missing)
    assert refused.reason.startswith("refused: ")
    assert "secret" not in refused.reason
    assert transport.call("echo", {ANNA: b"x", "nowhere": b"x"}, timeout=LONG) == {ANNA: b"x", "nowhere": UNREACHABLE}


def test_a_killed_coordinator_finds_its_sites_again(world: World, engine: str, listen: Callable[..., Remote]) -> None:
    for name in NAMES:
        world.process(name, engine)
    first = listen()
    reached(first, *NAMES)
    first.kill()
    second = listen()
    reached(second, *NAMES)
    second.close()
    reached(listen(), *NAMES)


def test_what_is_too_large_is_garbled(world: World, engine: str, listen: Callable[..., Remote]) -> None:
    world.process(ANNA, engine)
    transport = listen(largest=100_000)
    reached(transport, ANNA)
    assert transport.call("large", {ANNA: b"100001"}, timeout=LONG) == {ANNA: GARBLED}
    until(lambda: transport.call("large", {ANNA: b"100000"}, timeout=LONG) == {ANNA: bytes(100_000)})
    with pytest.raises(UsageError, match="100,000"):
        transport.call("echo", {ANNA: bytes(100_001)}, timeout=LONG)


def test_a_certificate_is_good_for_one_name_and_one_federation(world: World, engine: str, listen: Callable[..., Remote]) -> None:
    path = world.site(ANNA) / certificates.CONNECTION
    path.write_text(json.dumps({**json.loads(path.read_text()), "name": BERGEN}))
    elsewhere = world.folder / "elsewhere"
    elsewhere.mkdir()
    certificates.new_authority(elsewhere)
    shutil.copy(world.coordinator / certificates.ROOT, elsewhere / "kept")
    member, folder = world.members[CLARA], world.site(CLARA)
    issued = certificates.issue(elsewhere, certificates.request(folder, CLARA, member=member), CLARA, member=member)
    (folder / certificates.CLIENT).write_bytes(issued)
    for name in (ANNA, CLARA):
        world.process(name, engine)
    transport = listen()
    assert transport.call("echo", {BERGEN: b"x", CLARA: b"x"}, timeout=6.0) == {BERGEN: UNREACHABLE, CLARA: UNREACHABLE}
    world.process(BERGEN, engine)
    reached(transport, BERGEN)


def test_a_site_killed_in_the_middle_of_a_large_answer_is_missing(world: World, engine: str, listen: Callable[..., Remote]) -> None:
    process = world.process(ANNA, engine)
    world.process(BERGEN, engine)
    transport = listen()
    reached(transport, ANNA, BERGEN)
    threading.Timer(0.1, end, args=(process,)).start()
    found = transport.call("large", {ANNA: b"120000000", BERGEN: b"10"}, timeout=LONG)
    assert found[BERGEN] == bytes(10)
    assert found[ANNA] in (UNREACHABLE, bytes(120_000_000))
