"""How identities may be spelt, and which of them prove little when they are found."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from tacit.logs.wordlist import words

KINDS = ("user", "host", "fqdn", "email", "ip", "mac", "sid")
_SHORTEST = 4
_SHORT_WORD = 5
_PERSONAL_SID = re.compile(r"^s-1-(5-21|12-1)-", re.IGNORECASE)
_WORDS = frozenset(
    words(
        """
        account, accounts, active, admin, administrator, agent, alert, allow, allowed, analyst, anonymous, apache, application, archive,
        audit, authority, backup, batch, browser, builtin, bypass, cache, chrome, client, cluster, command, computer, config, connect,
        connection, console, container, control, corporate, customer, daemon, database, default, delete, denied, deploy, deployment,
        desktop, detail, device, directory, document, documents, domain, download, driver, employee, engine, engineer, enterprise, error,
        event, events, everyone, executive, explorer, external, failure, filter, finance, firewall, folder, gateway, general, global, group,
        guest, handler, health, helpdesk, hidden, index, install, installer, internal, invalid, inventory, kernel, laptop, library, license,
        listen, local, localhost, localhost6, localservice, location, logger, logging, login, logout, machine, mailbox, manage, manager,
        master, member, memory, message, metric, mobile, module, monitor, monitoring, mysql, netlogon, network, networkservice, nobody,
        notify, object, office, oracle, outlook, output, owner, partner, password, personal, platform, policy, postfix, postgres, power,
        powershell, printer, private, process, production, profile, program, project, protocol, proxy, public, query, queue, reader, record,
        register, remote, report, reports, request, resolver, resource, response, restore, result, router, runner, sample, scanner,
        schedule, scheduler, script, search, secret, security, sensor, server, service, services, session, setting, setup, shadow, share,
        shared, shell, signal, single, sniffer, software, source, splunk, staging, standard, startup, status, storage, student, submit,
        success, support, supervisor, switch, syslog, system, target, task, tasks, temp, template, terminal, tester, tomcat, traffic,
        transfer, trusted, tunnel, unknown, update, updater, upload, user, users, vagrant, vendor, version, virtual, visitor, website,
        window, windows, worker, workgroup, workstation
        """
    )
)


def ambiguous(kind: str, text: str) -> bool:
    """Whether finding ``text`` proves little, because it may stand there for another reason. Such finds are counted apart.

    These are: names of fewer than four characters; names that are a number; names of one word of letters only that have at most five letters or
    are common in logs («service», «backup»); addresses that mean the same everywhere (loopback, unspecified, broadcast) or read as a version number
    (four digits); hardware addresses of all zeros or ones; security identifiers that belong to no account of one's own (``S-1-5-18``).

    >>> ambiguous("user", "run"), ambiguous("user", "ada.abel"), ambiguous("ip", "127.0.0.1"), ambiguous("sid", "S-1-5-18")
    (True, False, True, True)
    """
    text = text.strip().casefold()
    if kind in ("user", "host"):
        return _weak_name(text)
    if kind == "ip":
        return _weak_address(text)
    if kind == "mac":
        return len(set(re.sub(r"[^0-9a-f]", "", text))) < 2
    return kind == "sid" and not _PERSONAL_SID.match(text)


def _weak_name(text: str) -> bool:
    if len(text) < _SHORTEST or text.isdecimal():
        return True
    return text.isalpha() and (len(text) <= _SHORT_WORD or text in _WORDS)


def _weak_address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return True
    everywhere = address.is_loopback or address.is_unspecified or text == "255.255.255.255"
    return everywhere or (address.version == 4 and all(octet < 10 for octet in address.packed))


def spellings(kind: str, text: str) -> Iterator[str]:
    """Every way to write an identity that is not an encoding of its text: addresses backwards as in DNS, IPv6 in full, MACs with other marks.

    >>> sorted(spellings("mac", "00-50-56-AB-CD-EF"))
    ['0050.56ab.cdef', '005056abcdef', '00:50:56:ab:cd:ef']
    """
    if kind == "ip":
        yield from _addresses(text)
    elif kind == "mac":
        digits = re.sub(r"[^0-9a-f]", "", text.casefold())
        pairs, quads = re.findall("..", digits), re.findall("....", digits)
        yield from {":".join(pairs), "-".join(pairs), ".".join(quads), digits} - {text.casefold()}


def _addresses(text: str) -> Iterator[str]:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return
    yield address.reverse_pointer
    if address.version == 6:
        yield from {address.exploded, address.compressed} - {text.casefold()}
