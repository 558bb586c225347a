"""rsyslog with ``mmanon``, which replaces addresses and nothing else: ``python -m benchmarks.peers.rsyslog_mmanon EVENTS OUT COUNT``.

The process is asked to end when the last line has arrived; its CPU seconds are the kernel's account of it, from its start. Exits with 69 where
there is no rsyslog.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

SETTINGS = """
global(workDirectory="{folder}" maxMessageSize="64k")
module(load="imfile" mode="inotify")
module(load="mmanon")
template(name="line" type="string" string="%msg%\\n")
input(type="imfile" file="{source}" tag="t" ruleset="r")
ruleset(name="r") {{
  action(type="mmanon" ipv4.mode="random-consistent" ipv6.anonmode="random-consistent")
  action(type="omfile" file="{target}" template="line")
}}
"""
PATIENCE = 300


def main(arguments: list[str]) -> int:
    program = shutil.which("rsyslogd") or "/usr/sbin/rsyslogd"
    if not Path(program).is_file():
        sys.stderr.write("no rsyslogd; apt-get install rsyslog\n")
        return 69
    folder, count = Path(arguments[1]).parent, int(arguments[2])
    source, target, settings = folder / "in.log", folder / "mmanon.log", folder / "rsyslog.conf"
    with Path(arguments[0]).open("rb") as lines, source.open("wb") as out:
        out.writelines(islice(lines, count))
    settings.write_text(SETTINGS.format(folder=folder, source=source, target=target), encoding="utf-8")
    process = subprocess.Popen([program, "-n", "-f", str(settings), "-i", str(folder / "pid")], stderr=subprocess.DEVNULL)
    begin = time.monotonic()
    while _lines(target) < count and time.monotonic() - begin < PATIENCE:
        time.sleep(1)
    process.send_signal(signal.SIGTERM)
    _, _, used = os.wait4(process.pid, 0)
    sys.stdout.write(json.dumps({"events": _lines(target), "cpu_seconds": used.ru_utime + used.ru_stime}) + "\n")
    return 0


def _lines(path: Path) -> int:
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
