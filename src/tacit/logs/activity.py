"""What people, their machines and service accounts do on an ordinary day, including everything that looks like an attack and is none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacit.logs.blocks import (
    ALLOWED,
    DAY_MS,
    DENIED,
    GET,
    LOGON,
    LOGON_FAILED,
    POST,
    PROCESS,
    QUERY,
    QUERY_FAILED,
    REQUEST,
    Array,
    Block,
    part,
)
from tacit.logs.enterprise import ADMINISTRATOR, DEVELOPER, FAVOURITES, OFFICE, PERSONAL, POLLERS, SERVERS, SERVICE, Enterprise
from tacit.logs.spec import SimulationSpec

HOUR = 3_600_000
# Mean events per working day: office, developer, administrator, service.
RATES: dict[str, tuple[float, float, float, float]] = {
    "unlock": (2.5, 3.0, 4.0, 0.0),
    "service": (2.5, 3.0, 3.0, 8.0),
    "remote": (0.04, 0.5, 8.0, 3.0),
    "web": (20.0, 24.0, 18.0, 4.0),
    "dns": (16.0, 22.0, 20.0, 8.0),
    "process": (9.0, 24.0, 20.0, 14.0),
    "firewall": (6.0, 9.0, 14.0, 14.0),
    "document": (1.6, 1.0, 0.8, 0.0),
}
_WEEKEND = np.array([0.07, 0.10, 0.16, 1.0])  # share of accounts that work on a weekend day
_WEEKDAY = 0.93
_MAIN_PORTS = np.array([443, 443, 443, 443, 80, 445, 445, 53, 123, 389, 88, 8080, 3306, 5060, 22])
_REMOTE_PORTS = np.array([3389, 3389, 22, 5985, 445])


@dataclass(frozen=True, eq=False)
class Scene:
    """One block of accounts on one day; ``who`` holds account numbers, all other arrays have one row per entry of ``who``."""

    firm: Enterprise
    rng: np.random.Generator
    weekday: int
    who: Array
    active: Array
    start: Array  # ms
    length: Array  # ms
    level: Array  # factor on every rate, that day
    remote: Array
    evening: Array
    scale: float

    def draw(self, name: str) -> Array:
        """Positions in ``who``, one per event of an activity."""
        mean = np.array(RATES[name])[self.firm.role[self.who]] * self.level * self.active * self.scale
        return np.repeat(np.arange(len(self.who)), self.rng.poisson(mean))

    def some(self, chance: Array | float, mean: float, spread: float = 0.6) -> Array:
        """Positions of a rare episode: an active account takes part with ``chance``, with a log-normal number of events around ``mean``."""
        count = self.rng.lognormal(np.log(mean), spread, len(self.who)) * (self.rng.random(len(self.who)) < chance) * self.active
        return np.repeat(np.arange(len(self.who)), count.astype(np.int64))

    def times(self, at: Array) -> Array:
        """Times of work: dense in the morning and after lunch; part of it in the evening for those who work in the evening."""
        quantile = self.rng.random(len(at), dtype=np.float32)
        within = np.interp(quantile, (0, 0.48, 0.55, 1), (0, 0.44, 0.56, 1))
        late = self.evening[at] & (self.rng.random(len(at), dtype=np.float32) < 0.25)
        night = self.start[at] + (11.0 + 4.0 * quantile) * HOUR
        return np.where(late, night, self.start[at] + within * self.length[at])

    def burst(self, at: Array, spread_ms: float, *, begin: float = 0.0, end: float = 1.0) -> Array:
        """Times of an episode: one moment of the working day (between the shares ``begin`` and ``end``) and exponential delays."""
        moment = self.start + self.length * self.rng.uniform(begin, end, len(self.who))
        return moment[at] + self.rng.exponential(spread_ms, len(at))

    def own(self, at: Array) -> dict[str, Array]:
        """Account, workstation and address of the events at ``at``."""
        code = self.who[at] + 1
        return {"user": code, "host": code, "source": code}

    def away(self, at: Array) -> Array:
        """Address from which an account is reached from outside: its home, or somewhere public while travelling."""
        away = self.firm.travels[self.who[at]] & ((self.who[at] + self.weekday) % 3 == 0)
        public = self.firm.at.outside[0] + (self.who[at] * 31 + self.weekday) % self.firm.at.outside[1]
        return np.where(away, public, self.firm.at.homes + self.who[at])

    def mobile(self, at: Array) -> Array:
        """Address of a telephone network, which changes during the day; hired machines live in the same ranges."""
        first, size = self.firm.at.rented
        return first + (self.who[at] * 17 + self.weekday * 5 + self.rng.integers(0, 3, len(at))) % size


def rate_scale(firm: Enterprise, spec: SimulationSpec) -> float:
    """Factor on the rates so that the mean over all calendar days is what the spec asks for; timers and jobs are not scaled."""
    rates = np.array([sum(RATES[name][role] for name in RATES) for role in range(4)])
    present = np.array([*(5 * _WEEKDAY + 2 * _WEEKEND[:3]), 7.0])[firm.role] / 7
    working = present * rates[firm.role] * firm.activity
    timers = 1.25 * np.where(firm.always_on, 86_400, firm.hours * 3_600 * present)[:, None] / firm.period
    episodes = 3.0
    return float(max(0.02, (spec.events_per_user_day - timers.sum(axis=1).mean() - episodes) / working.mean()))


def make_scene(firm: Enterprise, who: Array, *, rng: np.random.Generator, weekday: int, scale: float) -> Scene:
    """Draw who works when and how much on one day."""
    n, role = len(who), firm.role[who]
    present = _WEEKEND[role] if weekday >= 5 else np.where(role == SERVICE, 1.0, _WEEKDAY)
    remote = rng.random(n) < (firm.home_share[who] if weekday < 5 else np.where(role == SERVICE, 0.0, 0.9))
    night = rng.random(n) < np.where(role == ADMINISTRATOR, 0.06, 0.004)
    start = firm.start_hour[who] + rng.normal(0, 0.45, n) + 12 * night + 2.5 * (weekday >= 5)
    start[role == SERVICE] = 0.2
    length = np.where(role == SERVICE, 23.5, firm.hours[who] * rng.lognormal(0, 0.12, n) * (0.55 if weekday >= 5 else 1.0))
    rhythm = (1.12, 1.04, 1.02, 1.0, 0.88, 0.5, 0.45)[weekday]
    level = firm.activity[who] * rng.lognormal(-0.05, 0.33, n) * np.where(role == SERVICE, 1.0, rhythm)
    return Scene(
        firm,
        rng,
        weekday,
        who,
        rng.random(n) < present,
        start * HOUR,
        length * HOUR,
        level,
        remote,
        rng.random(n) < firm.evening_share[who],
        scale,
    )


def ordinary(scene: Scene) -> list[Block]:
    """Every benign event of a scene."""
    return [
        *_logons(scene),
        *_failures(scene),
        *_names(scene),
        *_web(scene),
        *_documents(scene),
        *_transfers(scene),
        *_timers(scene),
        *_programs(scene),
        *_network(scene),
        *_jobs(scene),
    ]


def _logons(s: Scene) -> list[Block]:
    rng, firm = s.rng, s.firm
    first = np.flatnonzero(s.active & (firm.role[s.who] != SERVICE))
    again = s.draw("unlock")
    desk = np.concatenate([first, again])
    when = np.concatenate([s.start[first], s.times(again)])
    vpn = first[s.remote[first]]
    phone = s.some(0.18 * (firm.role[s.who] != SERVICE), 2.0)
    shared, far = s.draw("service"), s.draw("remote")
    target = firm.servers[s.who[shared], rng.integers(0, SERVERS, len(shared))]
    reach = 1 + np.where(
        rng.random(len(far)) < 0.35,
        rng.integers(0, firm.users, len(far)),
        firm.at.servers[0] - 1 + rng.integers(0, firm.at.servers[1], len(far)),
    )
    admin = firm.role[s.who[far]] >= ADMINISTRATOR
    reach = np.where(admin, reach, firm.servers[s.who[far], rng.integers(0, SERVERS, len(far))])
    return [
        part(when, LOGON, **s.own(desk)),
        part(s.start[vpn] - 60_000, LOGON, user=s.who[vpn] + 1, host=firm.at.gateway, source=s.away(vpn), port=443),
        part(
            s.start[phone] + rng.uniform(-2, 13, len(phone)) * HOUR,
            LOGON,
            user=s.who[phone] + 1,
            host=firm.at.gateway,
            source=s.mobile(phone),
            port=443,
        ),
        part(s.times(shared), LOGON, **{**s.own(shared), "host": target}, target=target, port=445),
        part(s.times(far), LOGON, **{**s.own(far), "host": reach}, target=reach, port=_REMOTE_PORTS[rng.integers(0, 5, len(far))]),
    ]


def _failures(s: Scene) -> list[Block]:
    """Mistyped passwords, worst on Mondays; an old password on a telephone that keeps trying; a broken job; a server that says no."""
    rng, firm = s.rng, s.firm
    human = firm.role[s.who] != SERVICE
    monday = 2.6 if s.weekday == 0 else 1.0
    typo = np.repeat(np.arange(len(s.who)), rng.poisson(firm.typo_rate[s.who] * monday * s.active * human))
    forgot = s.some(0.012 * monday * human, 5.0)
    phone = s.some(0.007 * monday * human, 11.0, 0.7)
    denied = s.some(np.where(firm.role[s.who] == ADMINISTRATOR, 0.2, 0.012), 3.0)
    job = s.some(0.05 * ~human, 12.0)
    gateway = s.remote[typo] & (rng.random(len(typo)) < 0.6)
    servers = firm.servers[s.who[denied], rng.integers(0, SERVERS, len(denied))]
    return [
        part(s.burst(typo, 60_000.0, end=0.4), LOGON_FAILED, **_door(s, typo, gateway)),
        part(s.burst(forgot, 240_000.0), LOGON_FAILED, **_door(s, forgot, s.remote[forgot])),
        part(
            s.start[phone] + s.rng.uniform(-1, 12, len(phone)) * HOUR,
            LOGON_FAILED,
            user=s.who[phone] + 1,
            host=firm.at.gateway,
            source=s.mobile(phone),
            port=443,
        ),
        part(
            s.times(denied),
            LOGON_FAILED,
            **{**s.own(denied), "host": servers},
            target=servers,
            port=_REMOTE_PORTS[rng.integers(0, 5, len(denied))],
        ),
        part(s.times(job), LOGON_FAILED, **s.own(job)),
    ]


def _door(s: Scene, at: Array, outside: Array) -> dict[str, Array]:
    """Where a person signs in: the gateway from outside, or the own workstation."""
    own = s.own(at)
    return {
        "user": own["user"],
        "host": np.where(outside, s.firm.at.gateway, own["host"]),
        "source": np.where(outside, s.away(at), own["source"]),
        "port": 443 * outside,
    }


def _site(s: Scene, at: Array) -> Array:
    """A web site: mostly one of the account's favourites, sometimes an inside service, sometimes anything."""
    rng, firm = s.rng, s.firm
    favourite = firm.favourites[s.who[at], (FAVOURITES * rng.random(len(at), dtype=np.float32) ** 2).astype(np.int64)]
    kind = rng.random(len(at), dtype=np.float32)
    anything = firm.at.sites[0] + (firm.at.sites[1] * rng.random(len(at), dtype=np.float32) ** 3).astype(np.int64)
    inside = firm.at.corp[0] + rng.integers(0, firm.at.corp[1], len(at))
    return np.where(kind < 0.62, favourite, np.where(kind < 0.82, inside, anything))


def _request(s: Scene, at: Array, time: Array, **fields: int | Array) -> Block:
    domain = np.asarray(fields["domain"])
    return part(time, REQUEST, **{"method": GET, "port": 443, **s.own(at), "target": s.firm.name_address[domain], **fields})


def _sizes(s: Scene, n: int, median: float, spread: float) -> Array:
    return np.minimum(s.rng.lognormal(np.log(median), spread, n), 2e11).astype(np.int64)


def _web(s: Scene) -> list[Block]:
    at = s.draw("web")
    post = s.rng.random(len(at), dtype=np.float32) < 0.12
    sent = np.where(post, _sizes(s, len(at), 6_000, 1.4), _sizes(s, len(at), 900, 0.6))
    return [
        _request(
            s, at, s.times(at), domain=_site(s, at), method=np.where(post, POST, GET), sent=sent, received=_sizes(s, len(at), 40_000, 1.5)
        )
    ]


def _names(s: Scene) -> list[Block]:
    rng, at = s.rng, s.draw("dns")
    wrong = rng.random(len(at), dtype=np.float32) < 0.03
    edge = rng.random(len(at), dtype=np.float32) < 0.02 * s.firm.activity[s.who[at]]
    lookups = s.some(0.02, 25.0)  # a virus scanner that looks up file digests, or a page full of content-network names
    query = np.where(edge, s.firm.at.cdn[0] + rng.integers(0, s.firm.at.cdn[1], len(at)), _site(s, at))
    many = s.firm.at.cdn[0] + rng.integers(0, s.firm.at.cdn[1], len(lookups))
    return [
        part(s.times(at), np.where(wrong, QUERY_FAILED, QUERY), **s.own(at), query=query, port=53),
        part(s.burst(lookups, 0.4 * HOUR), QUERY, **s.own(lookups), query=many, port=53),
    ]


def _documents(s: Scene) -> list[Block]:
    """Files read from the document service; quarter ends, handovers and new projects make somebody fetch very many at once."""
    rng, firm = s.rng, s.firm
    usual, many = s.draw("document"), s.some(0.016, 28.0, 0.8)
    at = np.concatenate([usual, many])
    time = np.concatenate([s.times(usual), s.burst(many, 0.7 * HOUR)])
    file = firm.at.files[0] + (firm.at.files[1] * rng.random(len(at)) ** 2).astype(np.int64)
    return [
        _request(
            s, at, time, domain=firm.at.corp[0] + 1, file=file, sent=_sizes(s, len(at), 900, 0.4), received=_sizes(s, len(at), 500_000, 1.3)
        )
    ]


def _transfers(s: Scene) -> list[Block]:
    """Large legitimate transfers: a deck for a customer, recordings, a phone that saves its photos, images and packages of developers."""
    rng, firm, role = s.rng, s.firm, s.firm.role[s.who]
    deck = s.some(np.where(firm.department[s.who] == 1, 0.09, 0.04) * (role != SERVICE), 1.8, 0.5)
    photos = s.some(0.012 * (role != SERVICE), 14.0)
    pull, push = s.some(0.55 * (role == DEVELOPER), 6.0), s.some(0.35 * (role == DEVELOPER), 3.0)
    share = firm.at.shares[0] + rng.integers(0, firm.at.shares[1], len(deck))
    own = firm.favourites[s.who[photos], s.who[photos] % FAVOURITES]
    stores = [firm.at.registries[0] + rng.integers(0, firm.at.registries[1], len(a)) for a in (pull, push)]
    return [
        _request(s, deck, s.burst(deck, 0.3 * HOUR), domain=share, method=POST, sent=_sizes(s, len(deck), 2.5e7, 1.3), received=2_000),
        _request(s, photos, s.burst(photos, 0.2 * HOUR), domain=own, method=POST, sent=_sizes(s, len(photos), 4e6, 0.9), received=900),
        _request(s, pull, s.times(pull), domain=stores[0], sent=1_500, received=_sizes(s, len(pull), 3e7, 1.5)),
        _request(s, push, s.times(push), domain=stores[1], method=POST, sent=_sizes(s, len(push), 3e6, 1.6), received=3_000),
    ]


def _timers(s: Scene) -> list[Block]:
    """Updaters, chat and telemetry that call home on a timer: the beacons of ordinary life, some of them all night."""
    firm, rng = s.firm, s.rng
    on = firm.always_on[s.who]
    used = on | s.active
    begin = np.where(on, 0, s.start - 0.2 * HOUR)
    end = np.where(on, DAY_MS, s.start + s.length + 0.3 * HOUR)
    parts = []
    for k in range(POLLERS):
        period = firm.period[s.who, k] * 1_000.0
        count = np.where(used, np.maximum(end - begin, 0) / period, 0).astype(np.int64)
        at = np.repeat(np.arange(len(s.who)), count)
        step = np.arange(len(at)) - np.repeat(np.cumsum(count) - count, count)
        shake = np.where((s.who + k) % 3 == 0, 0.02, 0.18)[at]
        time = begin[at] + (step + rng.random(len(at)) * shake + 0.3) * period[at]
        names = firm.pollers[s.who[at], k]
        parts.append(_request(s, at, time, domain=names, sent=_sizes(s, len(at), 1_300, 0.25), received=_sizes(s, len(at), 2_500, 0.5)))
        asked = rng.random(len(at)) < 0.25
        parts.append(part(time[asked] - 200, QUERY, **s.own(at[asked]), query=names[asked], port=53))
    return parts


def _programs(s: Scene) -> list[Block]:
    rng, firm, at = s.rng, s.firm, s.draw("process")
    habit = (PERSONAL * rng.random(len(at), dtype=np.float32) ** 1.8).astype(np.int64)
    program = firm.at.personal_programs + s.who[at] * PERSONAL + habit
    system = rng.random(len(at), dtype=np.float32) < 0.3
    odd = rng.random(len(at), dtype=np.float32) < np.array([0.001, 0.006, 0.02, 0.004])[firm.role[s.who[at]]]
    program = np.where(system, firm.at.system_programs[0] + rng.integers(0, firm.at.system_programs[1], len(at)), program)
    program = np.where(odd, firm.at.attack_programs[0] + rng.integers(0, firm.at.attack_programs[1], len(at)), program)
    support = s.some(np.where(firm.role[s.who] == OFFICE, 0.008, 0.02), 6.0)  # the help desk at work, or a test of tools
    tools = firm.at.attack_programs[0] + rng.integers(0, firm.at.attack_programs[1], len(support))
    return [
        part(s.times(at), PROCESS, **s.own(at), program=program),
        part(s.burst(support, 0.15 * HOUR), PROCESS, **s.own(support), program=tools),
    ]


def _network(s: Scene) -> list[Block]:
    rng, firm, at = s.rng, s.firm, s.draw("firewall")
    port = _MAIN_PORTS[rng.integers(0, len(_MAIN_PORTS), len(at))]
    port = np.where(rng.random(len(at)) < 0.05, rng.integers(1_024, 65_535, len(at)), port)
    inside = rng.random(len(at)) < 0.6
    target = np.where(
        inside,
        firm.servers[s.who[at], rng.integers(0, SERVERS, len(at))],
        firm.at.outside[0] + rng.integers(0, firm.at.outside[1], len(at)),
    )
    denied = rng.random(len(at), dtype=np.float32) < 0.04
    walk = s.some(np.where(firm.role[s.who] >= ADMINISTRATOR, 0.12, 0.006), 14.0)  # an inventory, a search for printers
    reach = 1 + rng.integers(0, firm.users, len(walk))
    received = _sizes(s, len(at), 12_000, 1.8)
    return [
        part(
            s.times(at),
            np.where(denied, DENIED, ALLOWED),
            **s.own(at),
            target=target,
            port=port,
            sent=_sizes(s, len(at), 4_000, 1.5),
            received=received * ~denied,
        ),
        part(
            s.burst(walk, 0.2 * HOUR),
            np.where(rng.random(len(walk)) < 0.6, DENIED, ALLOWED),
            **s.own(walk),
            target=reach,
            sent=180,
            received=0,
            port=np.array([445, 3389, 5985, 22, 135, 9100])[rng.integers(0, 6, len(walk))],
        ),
    ]


def _jobs(s: Scene) -> list[Block]:
    """Work of service accounts: backups move much data, monitors and deployments visit many machines, scanners are refused everywhere."""
    rng, firm, job = s.rng, s.firm, np.where(s.firm.role[s.who] == SERVICE, s.firm.job[s.who], -1)
    backup, watch, scan = (np.repeat(np.flatnonzero(job == j), n) for j, n in ((0, 24), (1, 30), (3, 30)))
    deploy = s.some(0.5 * (job == 2), 12.0)
    vault = firm.at.servers[0] + 7 % firm.at.servers[1]
    night = rng.uniform(0.5, 4.5, len(backup)) * HOUR
    cloud = backup[::4]
    reach = [1 + rng.integers(0, firm.users, len(a)) for a in (watch, deploy, scan)]
    return [
        part(night, ALLOWED, **s.own(backup), target=vault, port=445, sent=_sizes(s, len(backup), 6e8, 1.1), received=90_000),
        _request(
            s,
            cloud,
            rng.uniform(1, 5, len(cloud)) * HOUR,
            domain=firm.at.backup,
            method=POST,
            sent=_sizes(s, len(cloud), 4e8, 1.0),
            received=4_000,
        ),
        part(rng.uniform(0, 24, len(watch)) * HOUR, LOGON, **{**s.own(watch), "host": reach[0]}, target=reach[0], port=5985),
        part(s.burst(deploy, 0.5 * HOUR), LOGON, **{**s.own(deploy), "host": reach[1]}, target=reach[1], port=445),
        part(
            rng.uniform(1, 4, len(scan)) * HOUR,
            DENIED,
            **s.own(scan),
            target=reach[2],
            port=rng.integers(20, 9_000, len(scan)),
            sent=120,
            received=0,
        ),
    ]
