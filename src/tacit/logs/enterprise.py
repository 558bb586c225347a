"""The people, machines and services of one synthetic enterprise, as arrays indexed by account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tacit.logs import vocabulary as words
from tacit.logs.spec import SimulationSpec

Array = np.ndarray[Any, np.dtype[Any]]
OFFICE, DEVELOPER, ADMINISTRATOR, SERVICE = range(4)
PERSONAL = 10  # programs a person runs again and again
FAVOURITES = 14  # sites a person visits again and again
SERVERS = 6  # servers a person uses
POLLERS = 2  # programs on a workstation that call home on a timer
_SITES = 700
_TUNNEL_LABELS = 6_000
_CDN_LABELS = 3_000
_RENTED = 600
_OUTSIDE = 750
_SITE_OFFSET = np.array([0.0, 0.0, 1.0, -5.0])  # hours before UTC at which the same local hour occurs


@dataclass(frozen=True, eq=False)
class Pools:
    """Every string an event may hold; code 0 is "absent"."""

    user: list[str | None]
    host: list[str | None]
    address: list[str | None]
    name: list[str | None]  # DNS names and URL domains
    parent: list[str | None]  # the next three have the same length: one code names a (parent, process, command line)
    process: list[str | None]
    command: list[str | None]
    file: list[str | None]


@dataclass(frozen=True, eq=False)
class Layout:
    """Where in the pools each group of codes begins (and how many there are)."""

    servers: tuple[int, int]
    gateway: int
    homes: int
    rented: tuple[int, int]
    outside: tuple[int, int]
    corp: tuple[int, int]
    shares: tuple[int, int]
    updaters: tuple[int, int]
    registries: tuple[int, int]
    backup: int
    sites: tuple[int, int]
    cdn: tuple[int, int]
    tunnel: tuple[int, int]
    attack_domains: tuple[int, int]
    system_programs: tuple[int, int]
    attack_programs: tuple[int, int]
    personal_programs: int
    files: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Enterprise:
    """Everything that does not change from day to day; arrays have one row per account, codes point into ``pools``."""

    pools: Pools
    at: Layout
    users: int
    role: Array
    department: Array
    site: Array
    job: Array  # purpose of a service account
    start_hour: Array  # UTC hour at which work begins
    hours: Array  # length of a working day
    home_share: Array
    evening_share: Array
    typo_rate: Array
    always_on: Array
    travels: Array
    activity: Array  # personal factor on every rate
    servers: Array  # [users, SERVERS] host codes
    favourites: Array  # [users, FAVOURITES] name codes
    pollers: Array  # [users, POLLERS] name codes
    period: Array  # [users, POLLERS] seconds
    name_address: Array  # address code of every name code

    def host_address(self, host: Array) -> Array:
        """Address code of a host code: machines come first in the address pool, in the same order."""
        return host


def _span(pool: list[str | None], values: list[str]) -> tuple[int, int]:
    begin = len(pool)
    pool.extend(values)
    return begin, len(values)


def _programs(
    rng: np.random.Generator, users: list[str], role: Array
) -> tuple[list[tuple[str, str, str]], tuple[int, int], tuple[int, int]]:
    """System programs, attack tools, then ``PERSONAL`` per account."""
    system = [(p, c, line.format(n="{4d5e}", u="")) for p, c, line in words.PROGRAMS["system"]]
    attack = [(p, c, line.format(n=n, u="Public")) for n in range(10) for p, c, line in words.PROGRAMS["attack"]]
    rows = [*system, *attack]
    mix: dict[int, tuple[str, ...]] = {OFFICE: ("office",) * 9 + ("script",), DEVELOPER: ("developer",) * 6 + ("office",) * 4}
    mix |= {ADMINISTRATOR: ("administrator",) * 6 + ("office",) * 3 + ("script",), SERVICE: ("service",) * PERSONAL}
    numbers = rng.integers(0, 1_000_000, (len(users), PERSONAL))
    order = rng.random((len(users), PERSONAL)).argsort(axis=1)
    for user, kind, draws, places in zip(users, role.tolist(), numbers.tolist(), order.tolist(), strict=True):
        for place in places:
            choices = words.PROGRAMS[mix[kind][place]]
            parent, process, line = choices[draws[place] % len(choices)]
            rows.append((parent, process, line.format(u=user, n=draws[place] % 100)))
    return rows, (1, len(system)), (1 + len(system), len(attack))


def _people(rng: np.random.Generator, spec: SimulationSpec) -> dict[str, Array]:
    """Role, department, site and habits of every account."""
    n, services = spec.users, max(5, spec.users // 40)
    role = np.full(n, SERVICE, np.int8)
    role[: n - services] = rng.choice([OFFICE, DEVELOPER, ADMINISTRATOR], n - services, p=[0.76, 0.19, 0.05]).astype(np.int8)
    role[:3] = OFFICE, DEVELOPER, ADMINISTRATOR
    department = rng.choice(7, n, p=[0.16, 0.24, 0.18, 0.22, 0.06, 0.06, 0.08]).astype(np.int8)
    department[role == DEVELOPER] = words.DEPARTMENTS.index("engineering")
    department[role >= ADMINISTRATOR] = words.DEPARTMENTS.index("it")
    site = rng.choice(4, n, p=[0.45, 0.28, 0.17, 0.10]).astype(np.int8)
    late = np.select([role == DEVELOPER, role == ADMINISTRATOR], [1.0, -0.4], 0.0)
    return {
        "role": role,
        "department": department,
        "site": site,
        "job": np.where(role == SERVICE, np.arange(n) - (n - services), 0) % len(words.SERVICE_JOBS),
        "start_hour": 8.0 + late + rng.normal(0, 0.7, n) - _SITE_OFFSET[site],
        "hours": rng.normal(8.8, 0.7, n).clip(4, 12),
        "home_share": np.where(rng.random(n) < 0.25, 0.85, rng.beta(1.5, 3, n)) * (role != SERVICE),
        "evening_share": rng.beta(1, 8, n) + 0.25 * (role == DEVELOPER) * rng.random(n) + 0.2 * (role == ADMINISTRATOR),
        "typo_rate": rng.gamma(1.2, 0.22, n),
        "always_on": (rng.random(n) < 0.3) | (role == SERVICE),
        "travels": rng.random(n) < 0.08,
        "activity": rng.lognormal(0, 0.35, n),
    }


def _names() -> tuple[list[str | None], dict[str, tuple[int, int]]]:
    pool: list[str | None] = [None]
    sites = words.domain_pool(_SITES)
    spans = {
        "corp": _span(pool, list(words.CORP)),
        "shares": _span(pool, list(words.SHARES)),
        "updaters": _span(pool, list(words.UPDATERS)),
        "registries": _span(pool, list(words.REGISTRIES)),
        "backup": _span(pool, [words.BACKUP]),
        "sites": _span(pool, sites),
        "cdn": _span(
            pool,
            words.machine_labels(
                _CDN_LABELS, purpose="edge", parents=("edge.cdn-cast.example", "lookup.endpoint-guard.example", "t.metrics-link.example")
            ),
        ),
        "tunnel": _span(
            pool,
            words.machine_labels(
                _TUNNEL_LABELS,
                purpose="far",
                parents=tuple(f"{c}.quiet-{d}.test" for d, c in zip(("stone", "field", "tide"), "nqs", strict=True)),
            ),
        ),
        "attack_domains": _span(pool, [f"{name.split('.')[-2]}.test" for name in sites[::9]]),
    }
    return pool, spans


def _addresses(hosts: int, users: int) -> tuple[list[str | None], int, tuple[int, int], tuple[int, int]]:
    pool: list[str | None] = [None, *(words.inside(i) for i in range(hosts))]
    homes, _ = _span(pool, [words.home(i) for i in range(users)])
    rented = _span(pool, [words.home(users + 97 * i) for i in range(_RENTED)])
    outside = _span(pool, [words.outside(i) for i in range(_OUTSIDE)])
    return pool, homes, rented, outside


def _host_names(spec: SimulationSpec) -> list[str | None]:
    """Workstation ``i`` belongs to account ``i``; then the VPN gateway, then servers."""
    kinds = ("file", "app", "db", "mail", "web", "print", "dc", "vault")
    servers = [f"srv-{kinds[i % 8]}-{i // 8 + 1:02d}" for i in range(spec.hosts - spec.users - 1)]
    return [None, *(f"ws-{i + 1:05d}" for i in range(spec.users)), "vpn-01", *servers]


def build_enterprise(spec: SimulationSpec) -> Enterprise:
    """Draw the enterprise that ``spec`` describes; depends on nothing but the spec."""
    rng = np.random.default_rng(np.random.SeedSequence(spec.seed, spawn_key=(0,)))
    people = _people(rng, spec)
    services = int((people["role"] == SERVICE).sum())
    accounts = words.account_names(spec.users - services, services)
    programs, system, attack = _programs(rng, accounts, people["role"])
    names, spans = _names()
    addresses, homes, rented, outside = _addresses(spec.hosts, spec.users)
    hosts = _host_names(spec)
    files: list[str | None] = [None]
    files_at = _span(files, words.file_pool(4_000))
    columns = [[None, *(row[i] for row in programs)] for i in range(3)]
    layout = Layout(
        servers=(spec.users + 2, spec.hosts - spec.users - 1),
        gateway=spec.users + 1,
        homes=homes,
        rented=rented,
        outside=outside,
        corp=spans["corp"],
        shares=spans["shares"],
        updaters=spans["updaters"],
        registries=spans["registries"],
        backup=spans["backup"][0],
        sites=spans["sites"],
        cdn=spans["cdn"],
        tunnel=spans["tunnel"],
        attack_domains=spans["attack_domains"],
        system_programs=system,
        attack_programs=attack,
        personal_programs=1 + system[1] + attack[1],
        files=files_at,
    )
    pools = Pools([None, *accounts], hosts, addresses, names, columns[0], columns[1], columns[2], files)
    return Enterprise(
        pools=pools, at=layout, users=spec.users, **people, **_habits(rng, spec, layout), name_address=_name_addresses(layout, len(names))
    )


def _habits(rng: np.random.Generator, spec: SimulationSpec, at: Layout) -> dict[str, Array]:
    """Which servers, sites and background programs each account uses."""
    n = spec.users
    zipf = np.minimum(at.sites[1] - 1, (at.sites[1] ** rng.random((n, FAVOURITES))).astype(np.int64))
    return {
        "servers": at.servers[0] + rng.integers(0, at.servers[1], (n, SERVERS)),
        "favourites": at.sites[0] + zipf,
        "pollers": at.updaters[0] + rng.integers(0, at.updaters[1], (n, POLLERS)),
        "period": rng.choice([1_200, 2_400, 3_600, 7_200, 14_400, 43_200], (n, POLLERS), p=[0.03, 0.08, 0.14, 0.2, 0.25, 0.3]),
    }


def _name_addresses(at: Layout, names: int) -> Array:
    """Inside names resolve to servers, all others to public addresses (several names may share one, as hosting does)."""
    codes = at.outside[0] + (np.arange(names) * 7919) % at.outside[1]
    codes[0] = 0
    inside = np.arange(at.corp[0], sum(at.corp))
    codes[inside] = at.servers[0] + inside % at.servers[1]
    return codes
