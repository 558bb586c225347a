"""Real senders ship numbered events through ``tacit logs serve`` into a file, while it is killed (SIGKILL) twice: what is lost, what comes twice.

    python tests/logs/listeners/senders.py omelasticsearch --events 1000000

prints one JSON line. Senders are rsyslog (Debian: rsyslog, rsyslog-elasticsearch, rsyslog-relp, rsyslog-gnutls), syslog-ng (its Debian package
excludes rsyslog's: ``dpkg -x`` syslog-ng-core with its libraries into a folder, and name the folder in SYSLOG_NG), and clients of the Event Collector
and of ``_bulk`` of our own, which repeat every request until it is answered with success.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import math
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from certificates import write

from tacit.logs.keys import Keyring

RSYSLOGD = shutil.which("rsyslogd", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
HOST = "127.0.0.1"
TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 - of these tests alone
POLICY = "{version: 1, source: web, format: json, fields: {user: user, n: keep, message: scrub}}"
LISTEN = {"tcp": "tcp", "tls": "tls", "relp": "relp", "syslog-ng-tcp": "tcp", "syslog-ng-tls": "tls"}
_N = re.compile(rb'"n":(\d+)')
_ID = re.compile(rb'"tacit.id":"([^"]+)"')

# A queue that holds everything: when it is full for two seconds (queue.timeoutEnqueue), rsyslog itself discards what comes.
RSYSLOG = """
global(workDirectory="{folder}" maxMessageSize="64k" processInternalMessages="off"
       defaultNetstreamDriverCAFile="{folder}/ca.pem" defaultNetstreamDriverCertFile="{folder}/client.pem"
       defaultNetstreamDriverKeyFile="{folder}/client.key")
module(load="imfile")
{load}
template(name="whole" type="string" string="%msg%")
input(type="imfile" file="{folder}/input.log" tag="t" ruleset="out" persistStateInterval="10000" freshStartTail="off")
ruleset(name="out") {{
  action({action} template="whole" queue.type="LinkedList" queue.size="{size}" queue.dequeueBatchSize="{batch}" queue.workerThreads="{workers}"
         action.resumeRetryCount="-1" action.resumeInterval="1")
}}
"""
ACTIONS = {
    "omelasticsearch": ("omelasticsearch", 'type="omelasticsearch" server="127.0.0.1" serverport="{port}" searchIndex="logs" searchType="" '
                        'bulkmode="on" uid="shipper" pwd="' + TOKEN + '" errorfile="{folder}/errors"'),
    "relp": ("omrelp", 'type="omrelp" target="127.0.0.1" port="{port}" windowSize="{window}"'),
    "tcp": ("", 'type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" tcp_framing="octet-counted"'),
    "tls": ("", 'type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" tcp_framing="octet-counted" streamDriver="gtls" streamDriverMode="1" '
            'streamDriverAuthMode="x509/name" streamDriverPermittedPeers="localhost"'),
}
SYSLOG_NG = """
@version: 3.38
options {{ stats-freq(0); log-fifo-size(20000); }};
source s {{ file("{folder}/input.log" flags(no-parse) log-iw-size(10000) log-fetch-limit(1000)); }};
destination d {{ network("127.0.0.1" port({port}) transport("{kind}") template("$MSG\\n") time-reopen(1) {tls}); }};
log {{ source(s); destination(d); flags(flow-control); }};
"""
SYSLOG_NG_TLS = 'tls(ca-file("{folder}/ca.pem") cert-file("{folder}/client.pem") key-file("{folder}/client.key") peer-verify(yes))'
KINDS = (*ACTIONS, "syslog-ng-tcp", "syslog-ng-tls", "hec", "bulk")


def free() -> int:
    """A port below those that the kernel gives to connections: it stays free while nobody listens on it."""
    while True:
        with contextlib.suppress(OSError), socket.socket() as probe:
            port = 15_000 + secrets.randbelow(15_000)
            probe.bind((HOST, port))
            return port


def event(number: int, padding: str = "") -> str:
    return f'{{"n":{number},"user":"user{number % 997}","message":"user{number % 997} logged in from 10.1.{number % 251}.7{padding}"}}'


class Served:
    """``tacit logs serve`` with an HTTP port and, if the sender needs one, another."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.out = folder, folder / "out.jsonl"
        self.http, self.port = free(), free()
        Keyring.create(folder / "keys.json", tenant="acme")
        (folder / "policy.yaml").write_text(POLICY)
        tokens = folder / "tokens"
        tokens.write_text(f"shipper:{TOKEN}\n")
        tokens.chmod(0o600)
        write(folder)
        self.options = ["--http", f"{HOST}:{self.http}", "--token-file", "tokens"]
        if kind in LISTEN:
            self.options += ["--listen", f"{LISTEN[kind]}://{HOST}:{self.port}"]
            if LISTEN[kind] == "tls":
                tls = ["--tls-cert", "server.pem", "--tls-key", "server.key", "--client-ca", "ca.pem"]
                self.options = ["--listen", f"tls://{HOST}:{self.port}", *tls]
        else:
            self.port = self.http
        self._seen = self._lines = 0

    def start(self) -> None:
        base = ["--policy", "policy.yaml", "--keys", "keys.json", "--to", "file:out.jsonl"]
        command = [sys.executable, "-m", "tacit", "logs", "serve", *base, *self.options]
        errors = self.folder / "serve.txt"
        before = errors.stat().st_size if errors.exists() else 0
        with errors.open("ab") as said:
            self.process = subprocess.Popen(command, cwd=self.folder, stderr=said)
        while b"listening: " not in errors.read_bytes()[before:]:
            if self.process.poll() is not None:
                raise SystemExit(errors.read_text())
            time.sleep(0.02)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def lines(self) -> int:
        """How many are in the output by now."""
        if self.out.exists():
            with self.out.open("rb") as file:
                file.seek(self._seen)
                while block := file.read(1 << 20):
                    self._seen += len(block)
                    self._lines += block.count(b"\n")
        return self._lines


# ------------------------------------------------------------------------------------------------------------------- senders


def rsyslog(folder: Path, kind: str, port: int, count: int) -> Callable[[], None]:
    module, action = ACTIONS[kind]
    workers = 4 if kind == "omelasticsearch" else 1
    load = f'module(load="{module}")' if module else ""
    batch = 1_000 if count > 100_000 else 100
    # rsyslog notices a broken connection when it has more to send: what is in a window larger than the rest would wait for the next event.
    action = action.format(folder=folder, port=port, window=5_000 if count > 100_000 else 128)
    config = RSYSLOG.format(folder=folder, load=load, workers=workers, size=2 * count, batch=batch, action=action)
    (folder / "rsyslog.conf").write_text(config)
    return running([str(RSYSLOGD), "-n", "-f", str(folder / "rsyslog.conf"), "-i", str(folder / "pid")], folder, os.environ)


def syslog_ng(folder: Path, kind: str, port: int) -> Callable[[], None]:
    root = os.environ.get("SYSLOG_NG", "")
    name = kind.removeprefix("syslog-ng-")
    tls = SYSLOG_NG_TLS.format(folder=folder) if name == "tls" else ""
    (folder / "syslog-ng.conf").write_text(SYSLOG_NG.format(folder=folder, port=port, kind=name, tls=tls))
    libraries = [f"{root}/usr/lib/syslog-ng", *(str(path) for where in ("lib", "usr/lib") for path in Path(root or "/").glob(f"{where}/*-linux-gnu"))]
    command = [f"{root}/usr/sbin/syslog-ng", "-F", "--no-caps", "-f", str(folder / "syslog-ng.conf"), "-R", str(folder / "persist"),
               "-c", str(folder / "ctl"), "-p", str(folder / "pid")]
    if root:
        command += ["--module-path", f"{root}/usr/lib/syslog-ng/3.38"]
    return running(command, folder, os.environ | ({"LD_LIBRARY_PATH": ":".join(libraries)} if root else {}))


def running(command: list[str], folder: Path, environment: Any) -> Callable[[], None]:
    with (folder / "sender.txt").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment)

    def end() -> None:
        process.kill()
        process.wait()

    return end


def client(kind: str, port: int, count: int) -> Callable[[], None]:
    """Four connections, 500 events a request, each repeated until it is acknowledged."""
    bodies: Iterator[int] = iter(range(0, count, 500))
    lock, threads = threading.Lock(), []

    def send() -> None:
        connection = http.client.HTTPConnection(HOST, port, timeout=60)
        while True:
            with lock:
                begin = next(bodies, None)
            if begin is None:
                return
            events = [event(number) for number in range(begin, min(begin + 500, count))]
            if kind == "hec":
                path, body = "/services/collector/event", "\n".join(f'{{"event":{one}}}' for one in events)
            else:
                path, body = "/logs/_bulk", "".join(f'{{"index":{{}}}}\n{one}\n' for one in events)
            while not acknowledged(connection, path, body.encode()):
                time.sleep(0.2)

    for _ in range(4):
        threads.append(threading.Thread(target=send, daemon=True))
        threads[-1].start()
    return lambda: [thread.join() for thread in threads] and None


def acknowledged(connection: http.client.HTTPConnection, path: str, body: bytes) -> bool:
    try:
        connection.request("POST", path, body, {"Authorization": f"Splunk {TOKEN}", "Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        return response.status == 200 and answer.get("errors") is not True
    except (OSError, http.client.HTTPException, ValueError):
        connection.close()
        return False


# ------------------------------------------------------------------------------------------------------------------ the run


def ship(kind: str, count: int, folder: Path, *, padding: int = 0, kills: int = 2) -> dict[str, Any]:
    served = Served(folder, kind)
    if kind not in ("hec", "bulk"):
        with (folder / "input.log").open("w") as file:
            file.writelines(event(number, "x" * padding) + "\n" for number in range(count))
    served.start()
    began = time.monotonic()
    with ExitStack() as stack:
        stack.callback(served.kill)
        stack.callback(client(kind, served.port, count) if kind in ("hec", "bulk") else syslog_ng(folder, kind, served.port)
                       if kind not in ACTIONS else rsyslog(folder, kind, served.port, count))
        for share in (0.2, 0.6)[:kills]:
            settled(served, share * count, 300)
            served.kill()
            time.sleep(1)
            served.start()
        settled(served, count, 100)
        seconds = time.monotonic() - began
        settled(served, math.inf, 50 if count > 100_000 else 20)  # what came twice does not stand for what is still to come
    return {"sender": kind, "events": count, "kills": kills, "seconds": round(seconds, 1)} | counted(served.out, count)


def settled(served: Served, count: float, patience: int) -> None:
    """Wait for so many lines, or until nothing has come for so many tenths of a second."""
    quiet, last = 0, -1
    while quiet < patience and last < count:
        time.sleep(0.1)
        quiet = quiet + 1 if served.lines() == last else 0
        last = served.lines()


def counted(path: Path, count: int) -> dict[str, int]:
    """Events that are missing; that came more than once; and of these how many under one identifier."""
    seen: Counter[int] = Counter()
    ids: dict[int, set[bytes]] = {}
    for _ in range(2):
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    continue
                number = int(_N.findall(line)[0])
                if not ids:
                    seen[number] += 1
                elif number in ids:
                    ids[number].add(_ID.findall(line)[0])
        ids = ids or {number: set() for number, times in seen.items() if times > 1}
        if not ids:
            break
    return {"lost": count - len(seen), "twice": sum(seen.values()) - len(seen), "twice_with_one_id": sum(
        seen[number] - 1 for number, found in ids.items() if len(found) == 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--padding", type=int, default=0, help="further bytes of each event")
    parser.add_argument("--kills", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(ship(options.kind, options.events, Path(folder), padding=options.padding, kills=options.kills)))


if __name__ == "__main__":
    main()
