"""Strings of one enterprise by code: what an account, a machine, an address is called, in every spelling that sensors use."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
import polars as pl

from tacit.logs.enterprise import SERVICE, Enterprise
from tacit.logs.telemetry.draws import Codes, mixed

DOMAIN = "CORP"
SUFFIX = "corp.example"
_NODES_PER_USER, _MOST_NODES = 10, 200_000
_DUAL_STACK = 8  # one machine in so many speaks IPv6
_HOURS = 24
_VIRTUAL = ("00-50-56", "00-16-3E", "08-00-27", "00-15-5D", "52-54-00")  # makers of virtual machines: no real device has them
_SYSTEMS = (("windows", "Windows 11"), ("windows", "Windows Server 2022"), ("linux", "Debian GNU/Linux"), ("macos", "macOS"))
_IMAGES = re.compile(r"^[a-z0-9]+\.exe$")
_SERVER = re.compile(r"srv-[a-z]+-\d\d")


@dataclass(frozen=True, eq=False)
class Strings:
    """Series by code (code 0 is null); the name says what a series is indexed by.

    Attributes:
        accounts: per account: ``user``, ``email``, ``sid`` and spellings of them.
        machines: per machine: ``host``, ``fqdn``, ``mac`` and spellings of them.
        addresses: every address: those of the enterprise first, under the codes that its events use, then content networks, then IPv6.
        systems: per machine: (``host.os.type``, ``host.os.name``).
        dual: code of a machine's first IPv6 address, 0 for machines without one.
        nodes: first code and number of content networks' addresses.
        images: per program: executable path and SHA-256.
        named: per program: the machine that its command line names, or 0.
        plain: what names nobody, by the simulator's own codes: ``name``, ``file``, ``process``, ``parent``, ``command``.
    """

    accounts: dict[str, pl.Series]
    machines: dict[str, pl.Series]
    addresses: pl.Series
    systems: tuple[pl.Series, pl.Series]
    dual: Codes
    nodes: tuple[int, int]
    images: tuple[pl.Series, pl.Series]
    named: Codes
    plain: dict[str, pl.Series]


def strings(firm: Enterprise, *, seed: int) -> Strings:
    """All of them, once."""
    hosts = [str(name) for name in firm.pools.host[1:]]
    addresses, dual, nodes = _addresses(firm, seed)
    return Strings(
        accounts=_accounts(firm, hosts, seed),
        machines=_machines(hosts),
        addresses=pl.Series(addresses, dtype=pl.String),
        systems=_systems(firm, len(hosts)),
        dual=dual,
        nodes=nodes,
        images=_images(firm.pools.process),
        named=_named(firm),
        plain={name: pl.Series(getattr(firm.pools, name), dtype=pl.String) for name in ("name", "file", "process", "parent", "command")},
    )


def _series(values: Iterable[str | None]) -> pl.Series:
    return pl.Series([None, *values], dtype=pl.String)


def _every(values: Sequence[str], spell: Callable[[str], str]) -> pl.Series:
    return _series(spell(value) for value in values)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode().rstrip("=")


def _encoded_command(text: str) -> str:
    """As ``powershell -EncodedCommand`` takes it: UTF-16LE, then base64."""
    return base64.b64encode(text.encode("utf-16-le")).decode()


def _accounts(firm: Enterprise, hosts: Sequence[str], seed: int) -> dict[str, pl.Series]:
    users = [str(name) for name in firm.pools.user[1:]]
    branches = ("", "", "", "harbour.", "overseas.")
    emails = [f"{user}@{branches[(int(site) + place) % 5]}{SUFFIX}" for place, (user, site) in enumerate(zip(users, firm.site, strict=True))]
    authority = "-".join(str(int(part) % 4_000_000_000 + 1_000) for part in mixed(np.arange(3, dtype=np.uint64) + np.uint64(seed)))
    own = list(zip(users, hosts, strict=False))  # workstation i belongs to account i
    found = {
        "user": _series(users),
        "USER": _every(users, str.upper),
        "User": _every(users, str.title),
        "hex_user": _every(users, lambda user: user.encode().hex()),
        "email": _series(emails),
        "EMAIL": _every(emails, str.upper),
        "email_q": _every(emails, lambda email: quote(email, safe="")),
        "EMAIL_Q": _every(emails, lambda email: quote(email.upper(), safe="")),
        "sid": _series(f"S-1-5-21-{authority}-{1_001 + place}" for place in range(len(users))),
        "state_a": _series(_base64(f'{{"sub":"{user}","aud":"{host}"}}') for user, host in own),
        "state_b": _every(users, lambda user: _base64(f"id={user}&realm=corp")),
        "state_c": _series(_base64(f"u:{email};v:1") for email in emails),
        "script_a": _series(_encoded_command(rf"gci \\{host}\c$\Users\{user}") for user, host in own),
        "script_b": _every(users, lambda user: _encoded_command(rf"iex (iwr -cred {DOMAIN}\{user})")),
    }
    services = np.r_[False, firm.role == SERVICE]
    found["mailbox"] = found["email"].zip_with(pl.Series(~services), found["email"].clear(len(services)))
    return found


def _machines(hosts: Sequence[str]) -> dict[str, pl.Series]:
    macs = [_mac(host) for host in hosts]
    return {
        "host": _series(hosts),
        "HOST": _every(hosts, str.upper),
        "fqdn": _every(hosts, lambda host: f"{host}.{SUFFIX}"),
        "mac": _series(macs),
        "mac_colon": _series(mac.replace("-", ":").lower() for mac in macs),
    }


def _mac(host: str) -> str:
    digest = hashlib.blake2b(host.encode(), digest_size=4).hexdigest().upper()
    return f"{_VIRTUAL[int(digest[6:], 16) % len(_VIRTUAL)]}-{digest[:2]}-{digest[2:4]}-{digest[4:6]}"


def _addresses(firm: Enterprise, seed: int) -> tuple[list[str | None], Codes, tuple[int, int]]:
    """The enterprise's pool, then addresses of content networks (RFC 6598, RFC 3849), then what machines with IPv6 call themselves hour by hour."""
    pool = list(firm.pools.address)
    first, count = len(pool), min(_MOST_NODES, _NODES_PER_USER * firm.users)
    noise = mixed(np.arange(count, dtype=np.uint64) + np.uint64(seed))
    base = int(ipaddress.IPv4Address("100.64.0.0"))
    four = base + (np.arange(count, dtype=np.int64) * 2_654_435_761 + seed) % (1 << 22)
    for place, (number, bits) in enumerate(zip(four.tolist(), noise.tolist(), strict=True)):
        octets = f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        pool.append(f"2001:db8:cd:{place & 255:x}:{_groups(bits)}" if place % 4 == 3 else octets)
    machines = len(firm.pools.host)
    speaks = np.arange(machines) % _DUAL_STACK == 1
    dual = np.where(speaks, len(pool) + _HOURS * (np.cumsum(speaks) - 1), 0)
    tails = mixed(np.arange(int(speaks.sum()) * _HOURS, dtype=np.uint64) + np.uint64(seed + 1))
    for place, bits in enumerate(tails.tolist()):
        pool.append(f"2001:db8:{place // _HOURS >> 8:x}:{place // _HOURS & 255:x}:{_groups(bits)}")
    return pool, dual.astype(np.int64), (first, count)


def _groups(bits: int) -> str:
    """64 bits as the last four groups of an address, none of them zero, so that the text is the canonical one (RFC 5952)."""
    return ":".join(f"{(bits >> shift & 0xFFFF) or 1:x}" for shift in (48, 32, 16, 0))


def _systems(firm: Enterprise, machines: int) -> tuple[pl.Series, pl.Series]:
    places = np.arange(machines)
    kind = np.where(places < firm.users, np.where(places % 11 == 5, 3, 0), 1 + places % 2)
    return tuple(_series(_SYSTEMS[k][i] for k in kind) for i in (0, 1))


def _images(programs: Sequence[str | None]) -> tuple[pl.Series, pl.Series]:
    names = {name for name in programs if name}
    paths = {name: rf"C:\Windows\System32\{name}" if _IMAGES.match(name) and len(name) < 13 else rf"C:\Program Files\Common\{name}" for name in names}
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    return tuple(_series(table[name] if name else None for name in programs[1:]) for table in (paths, digests))


def _named(firm: Enterprise) -> Codes:
    codes = {name: code for code, name in enumerate(firm.pools.host) if name}
    found = np.zeros(len(firm.pools.command), np.int64)
    for place, line in enumerate(firm.pools.command):
        match = _SERVER.search(line or "")
        if match:
            found[place] = codes.get(match.group(), 0)
    return found
