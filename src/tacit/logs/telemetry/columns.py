"""What sensors add to the simulator's coded events: one column per field of the Elastic Common Schema, and who is mentioned in them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tacit.logs.blocks import ALLOWED, DENIED, LOGON, LOGON_FAILED, PROCESS, QUERY, QUERY_FAILED, REQUEST, Block
from tacit.logs.enterprise import SERVERS, Enterprise
from tacit.logs.telemetry import words
from tacit.logs.telemetry.draws import Codes, Draws
from tacit.logs.telemetry.mentions import Seen, Writer
from tacit.logs.telemetry.strings import DOMAIN, Strings
from tacit.logs.telemetry.templates import Texts

_HOURS, _HOUR_MS = 24, 3_600_000
_AUTH, _DNS, _WEB, _PROCESS, _WALL = range(5)
_GROUP = np.zeros(9, np.int64)
_GROUP[[LOGON, LOGON_FAILED, QUERY, QUERY_FAILED, REQUEST, PROCESS, ALLOWED, DENIED]] = [_AUTH, _AUTH, _DNS, _DNS, _WEB, _PROCESS, _WALL, _WALL]
# by group: process and parent of what no process event tells about
_ATTRIBUTED = (
    ("lsass.exe", "wininit.exe"), ("svchost.exe", "services.exe"), ("chrome.exe", "explorer.exe"), (None, None), ("svchost.exe", "services.exe"),
)
_TYPES = (None, "start", "start", "protocol", "protocol", "access", "start", "connection", "denied")
_CODES = (None, "4624", "4625", "22", "22", "TCP_MISS", "1", "302013", "106023")
_NODE_SHARE, _SIX_SHARE = 0.37, 0.3
_NEW_URLS, _NEW_LINES = 0.61, 0.565
_RESOLVERS = 0.35  # share of DNS events of which it is known who asked
_MESSAGES = np.array([0.5, 0.1, 0.05, 0.3, 0.4])  # share of events with a message, by group


@dataclass(frozen=True, eq=False)
class Source:
    """What the columns are made from: the enterprise, its strings, and a public seed."""

    firm: Enterprise
    strings: Strings
    seed: int


def columns_of(source: Source, block: Block, *, day: dt.date, first: int, seen: Seen) -> dict[str, pl.Series]:
    """Columns for the events of a batch, beside those that the simulator has itself; mentions are noted in ``seen``."""
    size = len(block["time"])
    numbers = np.arange(first, first + size, dtype=np.uint64) + np.uint64(int(day.strftime("%Y%m%d")) * 10_000_000_000)
    draws = Draws(numbers, seed=source.seed)
    group = _GROUP[block["event"]]
    codes = _codes(source, block, group, draws)
    words_known = _known(source.strings.plain, block, draws)
    writer = Writer(source.strings, codes, words_known, draws=draws, seen=seen)
    columns = {**_structured(source, block, group, codes, draws, seen), **_numbers(block, group, draws)}
    columns["source.port"] = words_known["sport"].cast(pl.Int32)
    columns["url.full"] = _urls(source, block, group, draws, writer)
    columns["process.command_line"] = _lines(source, block, group, draws, writer, seen)
    columns["file.path"] = _paths(block, draws, writer)
    columns["message"] = _messages(block, group, draws, writer)
    return columns


def _codes(source: Source, block: Block, group: Codes, draws: Draws) -> dict[str, Codes]:
    """Whose strings an event mentions; addresses of content networks and of IPv6 take the place of some plain ones."""
    firm, strings = source.firm, source.strings
    user, host, origin, target = (block[name].astype(np.int64) for name in ("user", "host", "source", "target"))
    people = np.maximum(user - 1, 0)
    servers = firm.servers[people]
    server = np.take_along_axis(servers, draws.below(SERVERS, "server")[:, None], 1)[:, 0]
    outward = (group == _WEB) & (block["campaign"] < 0) & (target >= firm.at.outside[0]) & (draws.share("node") < _NODE_SHARE)
    node = strings.nodes[0] + (strings.nodes[1] * draws.share("which")).astype(np.int64)
    own = np.minimum(origin, len(strings.dual) - 1)
    hour = np.minimum(block["time"].astype(np.int64) // _HOUR_MS, _HOURS - 1)
    # Whoever signs in is told inside from outside by the address, so that those stay what they are.
    six = (origin == own) & (strings.dual[own] > 0) & (group != _AUTH) & (draws.share("six") < _SIX_SHARE)
    return {
        "user": user,
        "host": host,
        "server": server,
        "other": 1 + (people + 1 + draws.below(12, "other")) % firm.users,
        "source": np.where(six, strings.dual[own] + hour, origin),
        "target": np.where(outward, node, np.where(group == _DNS, servers[:, 0], target)),
    }


def _known(plain: dict[str, pl.Series], block: Block, draws: Draws) -> dict[str, pl.Series]:
    """Placeholders that name nobody."""
    return {
        "sport": pl.Series((49_152 + draws.below(16_000, "sport")).astype(np.int32)).cast(pl.String),
        "dport": pl.Series(block["port"]).cast(pl.String),
        "domain": plain["name"].gather(block["domain"]),
        "name": plain["name"].gather(block["query"]),
        "file": plain["file"].gather(block["file"]),
        "process": plain["process"].gather(block["program"]),
        "line": plain["command"].gather(block["program"]),
    }


def _structured(source: Source, block: Block, group: Codes, codes: dict[str, Codes], draws: Draws, seen: Seen) -> dict[str, pl.Series]:
    """Accounts, machines, addresses and programs in fields of their own. How much of them a sensor reports depends on its kind."""
    strings, event = source.strings, block["event"]
    rich = np.isin(group, (_AUTH, _PROCESS)) & (draws.share("rich") < 0.35)
    named = np.where(rich | (group == _WEB) & (draws.share("mail") < 0.3), codes["user"], 0)
    known, machine = np.where(rich, codes["user"], 0), np.where(rich, codes["host"], 0)
    wired = np.where((group == _WALL) & (codes["source"] == codes["user"]), codes["source"], 0)
    for kind, used in (("user", codes["user"]), ("host", codes["host"]), ("sid", known), ("mac", machine), ("mac", wired), ("ip", machine)):
        seen.add(kind, used)
    mailed = np.where(strings.accounts["mailbox"].is_null().to_numpy()[named], 0, named)
    seen.add("email", mailed)
    seen.add("ip", codes["source"])
    seen.add("ip", codes["target"])
    second = np.where(machine > 0, strings.dual[machine], 0)
    seen.add("ip", second)
    program = np.where(group == _PROCESS, block["program"], 0)
    told = np.where(_told(group, draws), group, _PROCESS)
    attributed = [pl.Series([pair[i] for pair in _ATTRIBUTED], dtype=pl.String).gather(told) for i in (0, 1)]
    started = [strings.plain[name].gather(program) for name in ("process", "parent")]
    return {
        "event.type": pl.Series(_TYPES, dtype=pl.String).gather(event.astype(np.uint32)),
        "event.code": pl.Series(_CODES, dtype=pl.String).gather(event.astype(np.uint32)),
        "user.email": strings.accounts["mailbox"].gather(named),
        "user.id": strings.accounts["sid"].gather(known),
        "user.domain": pl.Series([None, DOMAIN], dtype=pl.String).gather((known > 0).astype(np.uint32)),
        "host.ip": strings.addresses.gather(machine),
        "host.ipv6": strings.addresses.gather(second),
        "host.mac": strings.machines["mac"].gather(machine),
        "host.os.type": strings.systems[0].gather(machine),
        "host.os.name": strings.systems[1].gather(machine),
        "source.ip": strings.addresses.gather(codes["source"]),
        "source.mac": strings.machines["mac"].gather(wired),
        "destination.ip": strings.addresses.gather(codes["target"]),
        "process.name": started[0].zip_with(pl.Series(group == _PROCESS), attributed[0]),
        "process.parent.name": started[1].zip_with(pl.Series(group == _PROCESS), attributed[1].clear(len(group))),
        "process.executable": strings.images[0].gather(program),
        "process.hash.sha256": strings.images[1].gather(np.where(draws.share("hash") < 0.5, program, 0)),
    }


def _told(group: Codes, draws: Draws) -> NDArray[np.bool_]:
    """Whether it is known which process was at work."""
    return np.asarray((group != _DNS) | (draws.share("asked") < _RESOLVERS))


def _numbers(block: Block, group: Codes, draws: Draws) -> dict[str, pl.Series]:
    web = pl.Series(group == _WEB)
    status = pl.Series([200, 200, 200, 304, 302, 404], dtype=pl.Int32).gather(draws.below(6, "status"))
    pid = pl.Series((1_000 + 4 * draws.below(12_000, "pid")).astype(np.int32))
    return {
        "process.pid": pid.zip_with(pl.Series(_told(group, draws)), pid.clear(len(pid))),
        "http.response.status_code": status.zip_with(web, status.clear(len(web))),
    }


def _urls(source: Source, block: Block, group: Codes, draws: Draws, writer: Writer) -> pl.Series:
    texts, share, new = Texts(len(group), writer), draws.share("url"), draws.share("newurl") < _NEW_URLS
    kinds = ((_WEB, words.SITE_OLD, words.SITE_NEW), (_AUTH, words.SIGN_IN, words.SIGN_IN_NEW), (_WALL, words.FILTERED, words.FILTERED_NEW))
    for kind, old, fresh in kinds:
        prefix = "https://<domain>" if kind == _WEB else ""
        for which, weighted in ((new, fresh), (~new, old)):
            rows = np.flatnonzero((group == kind) & which)
            texts.write(rows, tuple((weight, prefix + text) for weight, text in weighted), share[rows])
    return texts.series()


def _lines(source: Source, block: Block, group: Codes, draws: Draws, writer: Writer, seen: Seen) -> pl.Series:
    texts, share, new, told = Texts(len(group), writer), draws.share("line"), draws.share("newline") < _NEW_LINES, _told(group, draws)
    kinds = (
        (_WEB, words.BROWSER, words.BROWSER_NEW),
        (_DNS, words.RESOLVER, words.RESOLVER_NEW),
        (_AUTH, words.SIGNER, words.SIGNER_NEW),
        (_WALL, words.CONNECTOR, words.CONNECTOR_NEW),
        (_PROCESS, ((1, "<line>"),), words.STARTED_NEW),
    )
    for kind, old, fresh in kinds:
        for which, weighted in ((new, fresh), (~new, old)):
            rows = np.flatnonzero((group == kind) & which & told)
            texts.write(rows, weighted, share[rows])
    _note_programs(source, block, group, seen)
    return texts.series()


def _note_programs(source: Source, block: Block, group: Codes, seen: Seen) -> None:
    """The simulator's own command lines name servers; the accounts in them are those of the event."""
    seen.add("host", source.strings.named[block["program"][group == _PROCESS]])


def _paths(block: Block, draws: Draws, writer: Writer) -> pl.Series:
    texts = Texts(len(block["file"]), writer)
    rows = np.flatnonzero(block["file"] > 0)
    texts.write(rows, ((2, r"\\<server_fqdn>\share$\<user>\<file>"), (1, "<home><user>/Documents/<file>")), draws.share("path")[rows])
    return texts.series()


def _messages(block: Block, group: Codes, draws: Draws, writer: Writer) -> pl.Series:
    texts, share = Texts(len(group), writer), draws.share("text")
    spoken = draws.share("spoken") < _MESSAGES[group]
    kinds: tuple[tuple[NDArray[np.bool_], words.Weighted], ...] = (
        (block["event"] == LOGON, words.AUTH_TEXT),
        (block["event"] == LOGON_FAILED, words.AUTH_FAILED_TEXT),
        (group == _DNS, words.DNS_TEXT),
        (group == _WEB, words.WEB_TEXT),
        (group == _PROCESS, words.PROCESS_TEXT),
        (group == _WALL, words.FIREWALL_TEXT),
    )
    for chosen, weighted in kinds:
        rows = np.flatnonzero(chosen & spoken)
        texts.write(rows, weighted, share[rows])
    return texts.series()
