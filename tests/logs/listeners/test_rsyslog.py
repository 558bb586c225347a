"""A real sender: rsyslogd of the system ships a file over TCP, TLS and RELP, while Tacit is killed and started again."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .certificates import write
from .conftest import Apart, record, wait_for

RSYSLOGD = shutil.which("rsyslogd", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
COUNT = 20_000 if os.environ.get("CI") else 100_000
HEAD = """
global(workDirectory="{folder}" maxMessageSize="64k" processInternalMessages="off")
module(load="imfile")
template(name="raw" type="string" string="%msg%\\n")
template(name="bare" type="string" string="%msg%")
input(type="imfile" file="{folder}/input.log" tag="t" ruleset="out" persistStateInterval="1000" freshStartTail="off")
"""
QUEUE = 'queue.type="LinkedList" queue.size="200000" action.resumeRetryCount="-1" action.resumeInterval="1"'
ACTIONS = {
    "tcp": 'action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" template="raw" ' + QUEUE + ")",
    "counted": 'action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" tcp_framing="octet-counted" template="bare" ' + QUEUE + ")",
    "tls": 'action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" template="bare" tcp_framing="octet-counted" streamDriver="gtls" '
           'streamDriverMode="1" streamDriverAuthMode="x509/name" streamDriverPermittedPeers="localhost" ' + QUEUE + ")",
    "relp": 'action(type="omrelp" target="127.0.0.1" port="{port}" template="bare" ' + QUEUE + ")",
}
GNUTLS = """
global(defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{folder}/ca.pem"
       defaultNetstreamDriverCertFile="{folder}/client.pem" defaultNetstreamDriverKeyFile="{folder}/client.key")
"""


def has(module: str) -> bool:
    return any(Path("/usr/lib").glob(f"*/rsyslog/{module}.so"))


pytestmark = [
    pytest.mark.integration, pytest.mark.slow,
    pytest.mark.skipif(RSYSLOGD is None, reason="rsyslogd is not installed (Debian: rsyslog)"),
]
needs_relp = pytest.mark.skipif(not has("omrelp"), reason="rsyslog's omrelp is not installed (Debian: rsyslog-relp)")
needs_tls = pytest.mark.skipif(not has("lmnsd_gtls"), reason="rsyslog's TLS is not installed (Debian: rsyslog-gnutls)")


class Rsyslog:
    """An rsyslogd in the foreground that ships FOLDER/input.log."""

    def __init__(self, folder: Path, action: str, port: int) -> None:
        self.folder = folder
        config = folder / "rsyslog.conf"
        text = HEAD + (GNUTLS if "gtls" in action else "") + ('module(load="omrelp")\n' if "omrelp" in action else "")
        text = text.replace("{folder}", str(folder)) + 'ruleset(name="out") { ' + action.replace("{port}", str(port)) + " }\n"
        config.write_text(text)
        command = [str(RSYSLOGD), "-n", "-f", str(config), "-i", str(folder / "rsyslogd.pid")]
        with (folder / "rsyslog.out").open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(30)


@pytest.fixture
def ship(tmp_path: Path) -> Iterator[Any]:
    made: list[Any] = []

    def begin(kind: str, spec: str, count: int, padding: int = 0) -> tuple[Apart, list[int], Rsyslog]:
        end = b',"pad":"' + b"x" * padding + b'"}\n' if padding else b"}\n"
        (tmp_path / "input.log").write_bytes(b"".join(record(number)[:-1] + end for number in range(count)))
        running = Apart(tmp_path, [spec])
        ports = running.start()
        made.append(running.kill)
        sender = Rsyslog(tmp_path, ACTIONS[kind], ports[0])
        made.append(sender.close)
        return running, ports, sender

    yield begin
    for close in reversed(made):
        close()


def arrived(running: Apart, count: int, seconds: float = 120) -> None:
    """Wait until so many different events are there, or nothing has come for a while."""
    until, size, quiet = time.monotonic() + seconds, -1, 0
    while time.monotonic() < until and quiet < 16:
        time.sleep(0.5)
        quiet = quiet + 1 if running.size() == size else 0
        size = running.size()
        if quiet and len(running.numbers()) >= count:
            return


@pytest.mark.parametrize("kind", ["tcp", "counted"])
def test_plain_syslog(ship: Any, kind: str) -> None:
    running, _, _ = ship(kind, "tcp://127.0.0.1:0", 20_000)
    arrived(running, 20_000)
    assert running.numbers() == dict.fromkeys(range(20_000), 1)


@needs_tls
def test_tls_with_a_client_certificate(ship: Any, tmp_path: Path) -> None:
    write(tmp_path)
    running, _, _ = ship("tls", "tls://127.0.0.1:0", 20_000)
    arrived(running, 20_000)
    assert running.numbers() == dict.fromkeys(range(20_000), 1)


def killed_twice(running: Apart, ports: list[int], count: int) -> None:
    for share in (0.2, 0.6):
        wait_for(lambda share=share: running.size() > share * count * 70, 120)  # type: ignore[misc]
        running.kill()
        time.sleep(1)
        assert running.start(ports) == ports
    arrived(running, count)


@needs_relp
def test_relp_loses_nothing_when_tacit_is_killed_twice(ship: Any) -> None:
    running, ports, _ = ship("relp", "relp://127.0.0.1:0", COUNT)
    killed_twice(running, ports, COUNT)
    numbers = running.numbers()
    print(f"RELP, two kills, {COUNT:,} events: {sum(numbers.values()) - COUNT:,} came twice")
    assert set(numbers) == set(range(COUNT))
    ids: dict[int, set[str]] = {}
    for event in running.events():
        ids.setdefault(event["n"], set()).add(event["tacit.id"])
    assert all(len(found) == 1 for found in ids.values()), "what came twice is recognised by its identifier"


@needs_relp
def test_rsyslog_goes_on_after_a_refusal(ship: Any, tmp_path: Path) -> None:
    running, _, _ = ship("relp", "relp://127.0.0.1:0", 100)
    arrived(running, 100)
    with (tmp_path / "input.log").open("ab") as file:
        file.write(b"not JSON\n" + b"".join(record(number) + b"\n" for number in range(100, 200)))
    arrived(running, 200)
    assert running.numbers() == dict.fromkeys(range(200), 1)
    assert len((tmp_path / "dead.jsonl").read_bytes().splitlines()) == 1


def test_what_tcp_loses_at_a_kill_is_bounded(ship: Any) -> None:
    """Records of a kilobyte, so that thirty megabytes do not fit the buffers on the way."""
    running, ports, _ = ship("tcp", "tcp://127.0.0.1:0", 30_000, 1_000)
    wait_for(lambda: running.size() > 3_000 * 70, 60)
    running.kill()
    time.sleep(1)
    assert running.start(ports) == ports
    arrived(running, 30_000)
    lost = 30_000 - len(running.numbers())
    print(f"TCP, one kill, 30,000 events of a kilobyte: {lost:,} lost")
    # At most what the socket buffers of both sides (6 MiB and 4 MiB by Linux' defaults) and the submissions of a connection hold.
    assert lost * 1_000 <= 12 << 20
