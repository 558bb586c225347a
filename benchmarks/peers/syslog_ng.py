"""syslog-ng, which reads the JSON, hashes fields with a secret in front and writes JSON: ``python -m benchmarks.peers.syslog_ng EVENTS OUT COUNT``.

It is spared the search in free text, and lists of addresses; its templates know SHA-256 but no HMAC. The process is asked to end when the last line
has arrived; its CPU seconds are the kernel's account of it, from its start. Exits with 69 where there is no syslog-ng: its Debian package excludes
rsyslog's, so it may also be unpacked (``dpkg -x`` of syslog-ng-core and its libraries) into a folder that SYSLOG_NG names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.shipping import first, shipped

FIELDS = ("user.name", "user.email", "user.id", "host.name", "source.ip", "source.mac", "destination.ip", "destination.domain", "url.full",
          "url.domain", "file.path", "process.executable")  # fmt: skip
SETTINGS = """
@version: 3.38
options {{ stats-freq(0); log-fifo-size(20000); }};
source s {{ file("{source}" flags(no-parse) log-iw-size(10000) log-fetch-limit(1000) log-msg-size(65536)); }};
parser p {{ json-parser(prefix(".e.")); }};
rewrite r {{
{rules}
}};
destination d {{ file("{target}" template("$(format-json --scope none .e.* --shift-levels 2)\\n")); }};
log {{ source(s); parser(p); rewrite(r); destination(d); flags(flow-control); }};
"""
RULE = '  set("$(sha256 --length 20 \\"a secret of 32 bytes or somewhat more\\" \\"${{.e.{0}}}\\")" value(".e.{0}") condition("${{.e.{0}}}" ne ""));'


def main(arguments: list[str]) -> int:
    root = os.environ.get("SYSLOG_NG", "")
    program = Path(f"{root}/usr/sbin/syslog-ng")
    if not program.is_file():
        sys.stderr.write("no syslog-ng; apt-get install syslog-ng-core, or unpack it and set SYSLOG_NG\n")
        return 69
    folder, count = Path(arguments[1]).parent, int(arguments[2])
    source, target, settings = folder / "in.ng.log", folder / "syslog-ng.log", folder / "syslog-ng.conf"
    first(arguments[0], source, count)
    rules = "\n".join(RULE.format(field) for field in FIELDS)
    settings.write_text(SETTINGS.format(source=source, target=target, rules=rules), encoding="utf-8")
    process = subprocess.Popen(_command(program, root, folder), stderr=subprocess.DEVNULL, env=_environment(root))
    done, seconds = shipped(process, target, count)
    if done < count:
        sys.stderr.write(f"syslog-ng wrote {done} of {count} events\n")
        return 1
    sys.stdout.write(json.dumps({"events": done, "cpu_seconds": seconds}) + "\n")
    return 0


def _command(program: Path, root: str, folder: Path) -> list[str]:
    base = [str(program), "-F", "--no-caps", "-f", str(folder / "syslog-ng.conf"), "-R", str(folder / "persist"), "-c", str(folder / "ctl")]
    return [*base, "-p", str(folder / "ng.pid"), *(["--module-path", f"{root}/usr/lib/syslog-ng/3.38"] if root else [])]


def _environment(root: str) -> dict[str, str]:
    found = [f"{root}/usr/lib/syslog-ng", *(str(path) for where in ("lib", "usr/lib") for path in Path(root or "/").glob(f"{where}/*-linux-gnu"))]
    return {**os.environ, **({"LD_LIBRARY_PATH": os.pathsep.join(found)} if root else {})}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
