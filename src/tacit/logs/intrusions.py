"""Labelled attack campaigns, planned once from the seed and played out day by day inside the ordinary traffic.

Technique ids are those of MITRE ATT&CK (https://attack.mitre.org). Every campaign has an intensity between 0 (patient, close to ordinary
days) and 1 (loud).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tacit.logs.blocks import ALLOWED, DAY_MS, DENIED, GET, LOGON, LOGON_FAILED, POST, PROCESS, QUERY, REQUEST, Array, Block, part
from tacit.logs.enterprise import ADMINISTRATOR, SERVICE, Enterprise
from tacit.logs.spec import SimulationSpec

ATTACKS = ("password_spray", "lateral_movement", "beaconing", "exfiltration", "insider_download")
TECHNIQUES: dict[str, tuple[str, ...]] = {
    "password_spray": ("T1110.003", "T1078"),
    "lateral_movement": ("T1021.001", "T1021.002", "T1021.006", "T1018", "T1059.001"),
    "beaconing": ("T1071.001", "T1071.004", "T1573"),
    "exfiltration": ("T1041", "T1048", "T1560.001", "T1567.002"),
    "insider_download": ("T1213.002", "T1530"),
}
_SHAPE = {  # kind: (fewest and most victims, fewest and most days)
    "password_spray": (3, 9, 1, 2),
    "lateral_movement": (1, 4, 1, 3),
    "beaconing": (1, 3, 2, 6),
    "exfiltration": (1, 4, 1, 4),
    "insider_download": (1, 3, 1, 4),
}
HOUR = 3_600_000
_SPREAD = 2.4  # sum of the beta distribution's parameters: few campaigns are average, most lie towards one end


@dataclass(frozen=True)
class Campaign:
    """One labelled intrusion: what it is, whom it touches and when (UTC days, both included)."""

    id: str
    kind: str
    techniques: tuple[str, ...]
    victims: tuple[str, ...]
    first_day: dt.date
    last_day: dt.date
    intensity: float


@dataclass(frozen=True, eq=False)
class Plan:
    """A campaign as the generator uses it: numbers instead of names, infrastructure chosen."""

    number: int
    kind: str
    victims: Array  # account numbers
    first: int
    last: int
    intensity: float
    addresses: Array
    domain: int
    period: float  # seconds between two calls of a beacon
    shake: float
    dns: bool  # speaks through DNS names instead of HTTP


def plan_campaigns(firm: Enterprise, spec: SimulationSpec) -> tuple[Plan, ...]:
    """Choose victims, days, intensity and infrastructure of every campaign; kinds take turns."""
    rng = np.random.default_rng(np.random.SeedSequence(spec.seed, spawn_key=(1,)))
    days = np.arange(spec.days)
    weekday = (days + spec.start.weekday()) % 7
    weight = np.where(weekday >= 5, 0.25, 1.0)
    intensity = rng.beta(_SPREAD * spec.loudness, _SPREAD * (1 - spec.loudness), spec.intrusions)
    plans = (_plan(rng, firm, number=i, days=days, weight=weight / weight.sum()) for i in range(spec.intrusions))
    return tuple(replace(plan, intensity=float(intensity[plan.number])) for plan in plans)


def _plan(rng: np.random.Generator, firm: Enterprise, *, number: int, days: Array, weight: Array) -> Plan:
    kind = ATTACKS[number % len(ATTACKS)]
    few, many, short, long = _SHAPE[kind]
    people = np.flatnonzero(firm.role != SERVICE if kind == "insider_download" else firm.role <= ADMINISTRATOR)
    first = int(rng.choice(days, p=weight))
    at = firm.at
    return Plan(
        number=number,
        kind=kind,
        victims=rng.choice(people, min(int(rng.integers(few, many + 1)), len(people)), replace=False),
        first=first,
        last=min(first + int(rng.integers(short, long + 1)) - 1, int(days[-1])),
        intensity=0.0,
        addresses=np.where(
            rng.random(6) < 0.5, at.rented[0] + rng.integers(0, at.rented[1], 6), at.outside[0] + rng.integers(0, at.outside[1], 6)
        ),
        domain=int(at.attack_domains[0] + rng.integers(0, at.attack_domains[1]))
        if rng.random() < 0.6
        else int(at.shares[0] + rng.integers(0, at.shares[1])),
        period=float(np.exp(rng.uniform(np.log(240), np.log(2_000)))),
        shake=float(rng.uniform(0.03, 0.4)),
        dns=bool(rng.random() < 0.3),
    )


def describe(plan: Plan, firm: Enterprise, spec: SimulationSpec) -> Campaign:
    """The public face of a plan: names and dates."""
    names = tuple(sorted(str(firm.pools.user[code + 1]) for code in plan.victims))
    first, last = (spec.start + dt.timedelta(days=day) for day in (plan.first, plan.last))
    return Campaign(f"C{plan.number + 1:04d}", plan.kind, TECHNIQUES[plan.kind], names, first, last, round(plan.intensity, 3))


@dataclass(frozen=True, eq=False)
class Strike:
    """One campaign on one day against the victims of one block of accounts."""

    firm: Enterprise
    rng: np.random.Generator
    plan: Plan
    who: Array

    def many(self, low: float, high: float) -> Array:
        """Positions in ``who``: per victim a number of events between ``low`` (patient) and ``high`` (loud), geometrically interpolated."""
        mean = low * (high / low) ** self.plan.intensity
        return np.repeat(np.arange(len(self.who)), 1 + self.rng.poisson(mean * self.rng.lognormal(0, 0.25, len(self.who))))

    def window(self, at: Array, hours: float, *, evening: float = 0.4) -> Array:
        """Times: one spell of activity per victim, in working hours or (with chance ``evening``) in the late evening."""
        begin = np.where(
            self.rng.random(len(self.who)) < evening, self.rng.uniform(18, 22, len(self.who)), self.rng.uniform(7, 16, len(self.who))
        )
        return (begin[at] + hours * self.rng.random(len(at))) * HOUR

    def event(self, at: Array, time: Array, kind: int, **fields: int | Array) -> Block:
        """Events of the victims at ``at``, from their own workstation unless said otherwise, labelled with the campaign."""
        code = self.who[at] + 1
        return part(time, kind, **{"user": code, "host": code, "source": code, "campaign": self.plan.number, **fields})

    def sizes(self, n: int, low: float, high: float) -> Array:
        """Log-normal sizes in bytes whose median lies between ``low`` and ``high`` by intensity."""
        median = low * (high / low) ** self.plan.intensity
        return np.minimum(self.rng.lognormal(np.log(median), 0.7, n), 1e11).astype(np.int64)


def strike(firm: Enterprise, plan: Plan, *, who: Array, rng: np.random.Generator) -> list[Block]:
    """All malicious events of one campaign against ``who`` on one day."""
    return _PLAYS[plan.kind](Strike(firm, rng, plan, who))


def _spray(s: Strike) -> list[Block]:
    at = s.many(2.0, 14.0)
    time = s.rng.uniform(0, 24, len(at)) * HOUR if s.plan.shake < 0.2 else s.window(at, 5.0, evening=0.5)
    few = s.plan.addresses[s.rng.integers(0, 1 + int(5 * s.plan.intensity), len(at))]
    inside = np.flatnonzero(s.rng.random(len(s.who)) < 0.12)
    read = np.repeat(inside, 8)
    return [
        s.event(at, time, LOGON_FAILED, host=s.firm.at.gateway, source=few, port=443),
        s.event(inside, s.rng.uniform(20, 23.5, len(inside)) * HOUR, LOGON, host=s.firm.at.gateway, source=s.plan.addresses[0], port=443),
        s.event(
            read,
            s.rng.uniform(22, 24, len(read)) * HOUR,
            REQUEST,
            host=s.firm.at.gateway,
            source=s.plan.addresses[0],
            target=s.firm.name_address[s.firm.at.corp[0]],
            port=443,
            domain=s.firm.at.corp[0],
            method=GET,
            sent=1_200,
            received=s.sizes(len(read), 3e5, 3e6),
        ),
    ]


def _lateral(s: Strike) -> list[Block]:
    firm, rng = s.firm, s.rng
    hop, fail, wall, tool = s.many(3.0, 24.0), s.many(1.0, 6.0), s.many(1.0, 20.0), s.many(1.5, 14.0)
    reach = [
        1
        + np.where(
            rng.random(len(a)) < 0.5,
            firm.at.servers[0] - 1 + rng.integers(0, firm.at.servers[1], len(a)),
            rng.integers(0, firm.users, len(a)),
        )
        for a in (hop, fail, wall)
    ]
    port = np.array([3389, 445, 5985])[rng.integers(0, 3, max(map(len, (hop, fail, wall))))]
    program = firm.at.attack_programs[0] + rng.integers(0, firm.at.attack_programs[1], len(tool))
    begin = np.where(rng.random(len(s.who)) < 0.45, rng.uniform(18, 22, len(s.who)), rng.uniform(7, 16, len(s.who)))
    when = [(begin[a] + 1.8 * rng.random(len(a))) * HOUR for a in (hop, fail, wall, tool)]
    return [
        s.event(hop, when[0], LOGON, host=reach[0], target=reach[0], port=port[: len(hop)]),
        s.event(fail, when[1], LOGON_FAILED, host=reach[1], target=reach[1], port=port[: len(fail)]),
        s.event(wall, when[2], DENIED, target=reach[2], port=port[: len(wall)], sent=180, received=0),
        s.event(tool, when[3], PROCESS, program=program),
    ]


def _beacon(s: Strike) -> list[Block]:
    """Calls home at a steady pace with some jitter, over HTTP or as random-looking DNS names, whenever the machine is on."""
    firm, rng, plan = s.firm, s.rng, s.plan
    period = plan.period * 1_000 * (1.6 - plan.intensity)
    on = firm.always_on[s.who]
    begin = np.where(on, 0, firm.start_hour[s.who] * HOUR)
    end = np.where(on, DAY_MS, begin + firm.hours[s.who] * HOUR)
    count = np.maximum(4, (end - begin) / period).astype(np.int64)
    at = np.repeat(np.arange(len(s.who)), count)
    step = np.arange(len(at)) - np.repeat(np.cumsum(count) - count, count)
    time = begin[at] + (step + 0.5 + plan.shake * (rng.random(len(at)) - 0.5)) * period
    if plan.dns:
        labels = firm.at.tunnel[0] + rng.integers(0, firm.at.tunnel[1], len(at))
        return [s.event(at, time, QUERY, query=labels, port=53)]
    reply = np.where(rng.random(len(at)) < 0.05, s.sizes(len(at), 3e4, 4e5), rng.integers(300, 900, len(at)))
    ask, shell = at[rng.random(len(at)) < 0.3], s.many(0.5, 4.0)
    program = firm.at.attack_programs[0] + rng.integers(0, firm.at.attack_programs[1], len(shell))
    return [
        s.event(
            at,
            time,
            REQUEST,
            domain=plan.domain,
            target=firm.name_address[plan.domain],
            port=443,
            method=POST if plan.shake < 0.2 else GET,
            sent=rng.integers(350, 700, len(at)),
            received=reply,
        ),
        s.event(ask, rng.choice(time, len(ask)) if len(ask) else time[:0], QUERY, query=plan.domain, port=53),
        s.event(shell, s.window(shell, 4.0), PROCESS, program=program),
    ]


def _exfiltrate(s: Strike) -> list[Block]:
    """Archives are packed and leave in pieces: as uploads, past the proxy on an odd port, or as DNS names."""
    firm, rng, plan = s.firm, s.rng, s.plan
    pack, send = s.many(1.0, 5.0), s.many(5.0, 45.0)
    program = firm.at.attack_programs[0] + 8 + 10 * rng.integers(0, 10, len(pack))
    begin = np.where(rng.random(len(s.who)) < 0.5, rng.uniform(18, 21, len(s.who)), rng.uniform(7, 15, len(s.who)))
    time = (begin[send] + 0.3 + 2.2 * rng.random(len(send))) * HOUR
    blocks = [s.event(pack, (begin[pack] + 0.3 * rng.random(len(pack))) * HOUR, PROCESS, program=program)]
    if plan.dns:
        many = np.repeat(send, 4)
        labels = firm.at.tunnel[0] + rng.integers(0, firm.at.tunnel[1], len(many))
        return [*blocks, s.event(many, np.repeat(time, 4) + rng.uniform(0, 60_000, len(many)), QUERY, query=labels, port=53)]
    size = s.sizes(len(send), 1.5e7, 3e8)
    if plan.shake < 0.12:
        return [*blocks, s.event(send, time, ALLOWED, target=plan.addresses[0], port=8443, sent=size, received=9_000)]
    fields = {"domain": plan.domain, "target": firm.name_address[plan.domain], "port": 443, "method": POST}
    return [*blocks, s.event(send, time, REQUEST, **fields, sent=size, received=1_500)]


def _download(s: Strike) -> list[Block]:
    """Somebody with every right to read fetches far more documents than the work needs."""
    firm, rng = s.firm, s.rng
    at = s.many(24.0, 300.0)
    file = firm.at.files[0] + rng.integers(0, firm.at.files[1], len(at))
    domain = firm.at.corp[0] + 1
    return [
        s.event(
            at,
            s.window(at, 3.0, evening=0.55),
            REQUEST,
            domain=domain,
            target=firm.name_address[domain],
            port=443,
            method=GET,
            file=file,
            sent=900,
            received=s.sizes(len(at), 5e5, 1.5e6),
        ),
    ]


_PLAYS: dict[str, Callable[[Strike], list[Block]]] = {
    "password_spray": _spray,
    "lateral_movement": _lateral,
    "beaconing": _beacon,
    "exfiltration": _exfiltrate,
    "insider_download": _download,
}
