"""Every pack on the simulator: the same events as each source would tell them, and nobody readable in what the pack leaves of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tacit.logs import SimulationSpec
from tacit.logs.anonymise import Anonymiser
from tacit.logs.keys import EpochKey
from tacit.logs.leaks import residuals
from tacit.logs.policies import PACKS, SourcePolicy
from tacit.logs.telemetry import Telemetry, TelemetrySpec

EVENTS = 20_000 if os.environ.get("TACIT_SLOW") else 2_000


class Written:
    """What stands for somebody: the pseudonym of one address may be the address of another."""

    def __init__(self) -> None:
        self.pseudonyms: set[str] = set()

    def note(self, namespace: str, pseudonym: str, text: str) -> None:
        self.pseudonyms.add(pseudonym)

    def flush(self) -> None:
        """Nothing is kept anywhere else."""


class Told:
    """One event, flat: what each source has to tell of it; empty where there is nothing."""

    def __init__(self, event: dict[str, Any]) -> None:
        def at(*keys: str) -> Any:
            value: Any = event
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            return (value[0] if value else "") if isinstance(value, list) else "" if value is None else value

        self.time, self.user, self.domain, self.email = at("@timestamp"), at("user", "name"), at("user", "domain"), at("user", "email")
        self.host, self.sid = at("host", "name"), at("user", "id")
        self.mac, self.from_mac = (text.replace("-", ":") for text in (at("host", "mac"), at("source", "mac")))
        self.src, self.dst, self.own = at("source", "ip"), at("destination", "ip"), at("host", "ip")
        self.command, self.program, self.url = at("process", "command_line"), at("process", "executable"), at("url", "full")
        self.site, self.asked, self.file, self.message = at("url", "domain"), at("dns", "question", "name"), at("file", "path"), at("message")
        self.text = f"{self.message} {self.command}".strip() or "nothing"


def _windows(e: Told) -> dict[str, Any]:
    return {
        "EventID": 4688,
        "Channel": "Security",
        "EventTime": e.time,
        "Hostname": e.host,
        "SubjectUserName": e.user,
        "SubjectDomainName": e.domain,
        "User": f"{e.domain}\\{e.user}",
        "UserPrincipalName": e.email,
        "SubjectUserSid": e.sid,
        "IpAddress": e.src,
        "CommandLine": e.command,
        "NewProcessName": e.program,
        "Message": e.text,
        "ServicePrincipalNames": f"HOST/{e.host}\n\tHTTP/{e.site}:80",
        "TargetFilename": e.file,
        "ServiceName": f"{e.host}$",
        "QueryName": e.asked,
        "Details": f"{e.host}$ {e.url}",
    }


def _zeek(e: Told) -> dict[str, Any]:
    return {
        "ts": 1.5,
        "id": {"orig_h": e.src, "resp_h": e.dst},
        "service": f"cifs/{e.host}",
        "client": f"{e.user}/{e.domain or 'CORP'}",
        "query": e.asked,
        "uri": e.url,
        "host": e.site,
        "mailfrom": e.email,
        "from": f'"{e.user}" <{e.email}>',
        "mac": e.mac,
        "path": e.file,
        "msg": e.text,
        "user_agent": e.command,
        "username": e.user,
        "cookie": e.user,
        "answers": [e.asked, e.own],
    }


def _suricata(e: Told) -> dict[str, Any]:
    return {
        "timestamp": e.time,
        "event_type": "http",
        "src_ip": e.src,
        "dest_ip": e.dst,
        "http": {"hostname": e.site, "url": e.url, "http_user_agent": e.text},
        "dns": {"rrname": e.asked},
        "krb5": {"cname": e.user, "sname": f"HTTP/{e.host}", "realm": e.domain},
        "smtp": {"mail_from": e.email},
        "fileinfo": {"filename": e.file},
        "ether": {"src_mac": e.mac, "dest_mac": e.from_mac},
    }


def _ocsf(e: Told) -> dict[str, Any]:
    return {
        "class_uid": 1007,
        "time": e.time,
        "message": e.text,
        "actor": {"user": {"name": e.user, "domain": e.domain, "email_addr": e.email, "uid": e.sid}},
        "device": {"hostname": e.host, "ip": e.own, "mac": e.mac},
        "src_endpoint": {"ip": e.src, "hostname": e.host},
        "dst_endpoint": {"ip": e.dst},
        "process": {"cmd_line": e.command, "file": {"path": e.program}},
        "http_request": {"url": {"url_string": e.url, "hostname": e.site}},
        "query": {"hostname": e.asked},
        "file": {"path": e.file},
    }


def _osquery(e: Told) -> dict[str, Any]:
    columns = {
        "username": e.user,
        "cmdline": e.command,
        "path": e.file or e.program,
        "address": e.src,
        "remote_address": e.dst,
        "mac": e.mac,
        "hostname": e.host,
        "description": e.text,
        "directory": e.file,
    }
    return {"name": "pack_x_processes", "hostIdentifier": e.host, "columns": columns, "decorations": {"username": e.user, "hostname": e.host}}


def _cef(e: Told) -> dict[str, Any]:
    extension = {
        "src": e.src,
        "dst": e.dst,
        "suser": e.user,
        "duser": e.email,
        "shost": e.host,
        "dhost": e.site,
        "smac": e.mac,
        "request": e.url,
        "msg": e.text,
        "filePath": e.file,
        "cs1": e.command,
        "sntdom": e.domain,
        "suid": e.sid,
    }
    return {"version": 0, "device_vendor": "M", "name": e.text, "syslog": {"hostname": e.host}, "extension": extension}


def _leef(e: Told) -> dict[str, Any]:
    attributes = {
        "src": e.src,
        "dst": e.dst,
        "usrName": e.user,
        "accountName": e.email,
        "identHostName": e.host,
        "srcMAC": e.mac,
        "domain": e.domain,
        "url": e.url,
        "msg": e.text,
        "realm": e.domain,
    }
    return {"version": "2.0", "vendor": "M", "syslog": {"hostname": e.host, "message": e.text}, "attributes": attributes}


def _syslog(e: Told) -> dict[str, Any]:
    data = {"a@1": {"user": e.user, "ip": e.src, "mail": e.email, "url": e.url}}
    return {
        "priority": 34,
        "hostname": e.host,
        "appname": "sshd",
        "structured_data": data,
        "message": f"{e.text} for {e.user} from {e.src} rhost={e.host}",
    }


def _web(e: Told) -> dict[str, Any]:
    return {
        "time": e.time,
        "vhost": e.site,
        "host": e.src,
        "user": e.user,
        "request": {"method": "GET", "target": e.url},
        "referer": e.url,
        "agent": e.text,
        "message": f"user {e.user}: {e.text}, client {e.src}",
    }


def _auditd(e: Told) -> dict[str, Any]:
    return {
        "type": "EXECVE",
        "node": e.host,
        "acct": e.user,
        "hostname": e.host,
        "addr": e.src,
        "exe": e.program,
        "cwd": e.file,
        "name": e.file,
        "comm": "sh",
        "cmd": e.command,
        "proctitle": e.command.encode().hex().upper(),
        "a0": e.command,
        "a1": e.url,
        "msg": {"op": "login", "acct": e.user, "addr": e.src},
    }


TELL: dict[str, Callable[[Told], dict[str, Any]]] = {
    "auditd": _auditd,
    "cef": _cef,
    "leef": _leef,
    "ocsf": _ocsf,
    "osquery": _osquery,
    "suricata": _suricata,
    "syslog": _syslog,
    "web": _web,
    "windows": _windows,
    "zeek": _zeek,
}


@cache
def simulated() -> tuple[list[dict[str, Any]], dict[str, frozenset[str]]]:
    """Events, and everybody mentioned in them."""
    spec = TelemetrySpec(SimulationSpec(users=1_000, days=1, hosts=1_500, intrusions=10, seed=5, events_per_user_day=38.0), EVENTS)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        identities = Telemetry(spec).write_ndjson(path).identities
        return [json.loads(line) for line in path.read_bytes().splitlines()], dict(identities)


def _filled(value: Any) -> Any:
    """Without what is empty: a source leaves out what it does not know."""
    if isinstance(value, dict):
        return {key: kept for key, item in value.items() if (kept := _filled(item)) not in ("", {}, [])}
    return [item for item in value if item != ""] if isinstance(value, list) else value


def _lines(events: list[Any]) -> bytes:
    return b"".join(json.dumps(event, ensure_ascii=False).encode() + b"\n" for event in events)


@pytest.mark.parametrize("pack", PACKS)
def test_nobody_is_readable_after_any_pack_with_a_directory(pack: str) -> None:
    events, identities = simulated()
    records = events if pack == "ecs" else [_filled(TELL[pack](Told(event))) for event in events]
    written = Written()
    anonymiser = Anonymiser(SourcePolicy.pack(pack), EpochKey.for_tests(), recorder=written)
    anonymiser.know(users=[*identities["user"], *identities["email"]], hosts=[*identities["host"], *identities["fqdn"]])
    anonymiser.learn(records)
    treated = anonymiser.batch(records).events
    before = residuals(_lines(records), identities)
    found = residuals(_lines(treated), identities, pseudonyms=written.pseudonyms)
    assert before.total > 0.2 * sum(before.known.values())
    assert {kind: found.names(kind) for kind in found.known if found.readable[kind]} == {}
    assert len(treated) == len(records)
