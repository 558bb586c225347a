"""The dictionary of identities: what structured fields called somebody or something, and the pseudonym it has.

Free text is searched for these. The dictionary grows with the events; one that was learned beforehand (`save`, `load`) finds a name also in texts
that come before the first field that holds it. It is as confidential as the events.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from tacit.logs.wordlist import words

_SHORTEST = 3
_MOST = 2_000_000

WORD = re.compile(r"[^\W_]+")
"""Letters and digits of any script: what names are made of."""

COMMON = frozenset(
    words(
        """
        account, accounts, actions, active, admin, administrator, administrators, agent, all, allow, anonymous, any, api, app, apps,
        archive, audit, auth, backup, bash, bin, boot, browser, build, cache, client, clients, cloud, cmd, common, config, console, core,
        cron, current, data, database, date, debug, default, demo, deny, desktop, dev, device, dns, docs, documents, domain, download,
        downloads, drivers, email, enterprise, error, event, events, everyone, exe, explorer, export, false, file, files, firewall, ftp, guest,
        guests, group, groups, health, help, home, host, hosts, http, https, image, images, info, install, internal, internet, iusr, job,
        jobs, lib, linux, local, localhost, localsystem, log, login, logs, machine, mail, main, manager, media, message, microsoft, mobile,
        monitor, name, net, network, nobody, none, null, office, open, operator, opt, other, owner, pictures, policy, power, powershell,
        printer, private, proc, process, prod, product, profile, program, programdata, programs, proxy, public, python, query, queue, read,
        remote, report, root, run, scan, script, scripts, search, security, self, server, servers, service, services, session, setup, share,
        shared, shell, site, software, source, sql, ssh, start, status, stop, storage, support, svchost, sync, sysadmin, syslog, system,
        system32, task, tasks, team, temp, template, test, time, tmp, token, tools, true, unknown, update, updates, upload, user, users,
        usr, utility, var, video, videos, web, wiki, win, windows, work, world, write, www
        """
    )
)
"""Words that are never taken for somebody's name when a free text contains them: they are programs, folders and built-in accounts."""


class Identities:
    """Names in lower case, and the pseudonym of each.

    >>> names = Identities()
    >>> names.learn("anna.keller", "u-k7-0123456789abcdef0123")
    True
    >>> names.get("Anna.Keller".lower()), names.learn("system", "u-k7-0123456789abcdef0123")
    ('u-k7-0123456789abcdef0123', False)
    """

    __slots__ = ("_names", "_news", "_parts", "_starts")

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self._names: dict[str, str] = {}
        self._parts: set[str] = set()
        self._starts: set[str] = set()
        self._news: list[str] = []
        for name, pseudonym in (names or {}).items():
            self.learn(name, pseudonym)

    def __repr__(self) -> str:
        return f"Identities({len(self._names)} names)"

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def get(self, name: str) -> str | None:
        """The pseudonym of a name in lower case."""
        return self._names.get(name)

    @property
    def version(self) -> int:
        """Changes whenever a name is new: what was worked out before may then be out of date."""
        return len(self._news)

    @property
    def parts(self) -> set[str]:
        """The longest part of every name: a text without any of them holds no name."""
        return self._parts

    @property
    def starts(self) -> set[str]:
        """The first part of every name: no name begins at another."""
        return self._starts

    @property
    def whole(self) -> bool:
        """Whether the dictionary has never forgotten a name."""
        return len(self._news) == len(self._names)

    def news(self, version: int) -> Iterable[str]:
        """The longest parts of the names that are new since a version."""
        return self._news[version:]

    def items(self) -> Iterable[tuple[str, str]]:
        """Names and pseudonyms."""
        return self._names.items()

    def newest(self, version: int) -> tuple[list[str], list[str], list[str], bool]:
        """Names that are new since a version, their pseudonyms and longest parts; and whether the dictionary has never forgotten one."""
        parts = self._news[version:]
        whole = self.whole
        names = list(islice(reversed(self._names), len(parts)))[::-1] if whole else []
        return names, list(map(self._names.__getitem__, names)), parts if whole else [], whole

    def learn(self, name: str, pseudonym: str) -> bool:
        """Remember a name; returns whether it will be looked for. Short names and common words are not: they would be found everywhere."""
        name = name.lower()
        if name in self._names:
            return True
        if len(name) < _SHORTEST or name in COMMON or name.isdigit() or name == pseudonym:
            return False
        parts = WORD.findall(name)
        longest = max(parts, key=len, default=name)
        if len(longest) >= _SHORTEST:
            self._starts.add(parts[0] if parts else name)
            if len(self._names) >= _MOST:
                self._names.pop(next(iter(self._names)))
            self._names[name] = pseudonym
            self._parts.add(longest)
            self._news.append(longest)
        return len(longest) >= _SHORTEST
