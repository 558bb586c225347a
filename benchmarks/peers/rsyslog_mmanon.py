"""rsyslog with ``mmanon``, which replaces addresses and nothing else: ``python -m benchmarks.peers.rsyslog_mmanon EVENTS OUT COUNT``.

The process is asked to end when the last line has arrived; its CPU seconds are the kernel's account of it, from its start. Exits with 69 where
there is no rsyslog.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.shipping import first, shipped

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


def main(arguments: list[str]) -> int:
    program = shutil.which("rsyslogd") or "/usr/sbin/rsyslogd"
    if not Path(program).is_file():
        sys.stderr.write("no rsyslogd; apt-get install rsyslog\n")
        return 69
    folder, count = Path(arguments[1]).parent, int(arguments[2])
    source, target, settings = folder / "in.log", folder / "mmanon.log", folder / "rsyslog.conf"
    first(arguments[0], source, count)
    settings.write_text(SETTINGS.format(folder=folder, source=source, target=target), encoding="utf-8")
    process = subprocess.Popen([program, "-n", "-f", str(settings), "-i", str(folder / "pid")], stderr=subprocess.DEVNULL)
    done, seconds = shipped(process, target, count)
    sys.stdout.write(json.dumps({"events": done, "cpu_seconds": seconds}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
