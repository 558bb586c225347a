r"""Accounts, hosts and e-mail addresses under a key: the parts that say what kind of thing this is stay, the names become pseudonyms.

Names are compared in lower case and composed form (NFC), since directories compare them so: ``CORP\\Anna`` and ``anna@corp.example`` are one user.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from tacit.logs.treatments.addresses import Addresses
from tacit.logs.treatments.identities import Identities
from tacit.logs.treatments.pseudonyms import WRITTEN, Key, Note, Pseudonyms
from tacit.logs.treatments.services import PROTOCOLS, SERVICES
from tacit.logs.wordlist import words

ACCOUNTS = frozenset(
    words(
        """
        -, system, administrator, guest, root, nobody, daemon, bin, sys, sync, www-data, local service, network service, localservice,
        networkservice, anonymous logon, everyone, defaultaccount, wdagutilityaccount, krbtgt, trustedinstaller, authenticated users, sshd,
        syslog, messagebus, systemd-network, systemd-resolve, systemd-timesync, systemd-coredump, postfix, mail, ntp, dbus, nginx, apache,
        mysql, postgres, unset, unknown, n/a, (none), none, (null), null, dwm-1, dwm-2, dwm-3, umfd-0, umfd-1, umfd-2, nt authority, font
        driver host, window manager, builtin, workgroup, nt-autorität,
        (invalid user), (unknown user), <unknown>, ftp, anonymous, autorite nt, autorité nt, autoridad nt, autoridade nt
        """
    )
)
"""Built-in accounts and marks of absence: nobody's, and what many detections look for."""

HOSTS = frozenset(("", "-", "localhost", "localdomain", "unknown", "none", "(null)", "n/a", "workgroup"))
_MOST = 100_000
LONGEST_HOST = 253
"""Characters of the longest name of a host (RFC 1035, section 2.3.4)."""
_PORT = re.compile(r"([^:\[\]]+|\[[^\]]*\]):(\d{1,5})")
_LOCAL = re.compile(r"[^@\s]+@[^@\s]+")
_LABEL = re.compile(r"[\w-]{1,63}")
_BOXED = re.compile(r"[<>(),;\"]")
_MAILBOX = re.compile(r"[^\s<>(),;:\"@]{1,64}@[^\s<>(),;:\"@]{1,253}")
_PHRASE = re.compile(r"[^\s<>(),;:\"@](?:[^<>(),;:\"@]*[^\s<>(),;:\"@])?")
_MESSAGE = re.compile(r"%%\d{1,5}")
_BETWEEN = re.compile(r"([\s,]+)")


class Names:
    """Pseudonyms of accounts, hosts and e-mail addresses, all entered in one dictionary of identities.

    Args:
        key: of the epoch.
        identities: where every name is entered with its pseudonym.
        addresses: for hosts that are given as addresses.
        accounts: names of accounts, beyond the built-in ones, that are nobody's and stay.
        domains: domains that stay with all their hosts, such as those of public services.
        note: told of each pseudonym.
    """

    def __init__(
        self, key: Key, identities: Identities, *, addresses: Addresses, accounts: Iterable[str] = (), domains: Iterable[str] = (),
        note: Note | None = None,
    ) -> None:
        self._users, self._hosts = Pseudonyms(key, "user", "u", note=note), Pseudonyms(key, "host", "h", note=note)
        self.identities, self._addresses = identities, addresses
        self._accounts = ACCOUNTS | {normal(name) for name in accounts}
        self._domains = tuple(normal(name).strip(".") for name in domains)
        self._memo: dict[str, str] = {}
        self._labels: dict[str, str] = {}
        self._people: dict[str, str] = {}

    def user(self, text: str) -> str:
        r"""An account, however it is written: ``name``, ``DOMAIN\\name``, ``name@domain`` or a machine's ``NAME$``.

        Windows' numbers of messages (``%%1793``) stay.
        """
        name = normal(text)
        if name in self._accounts or not name or WRITTEN.fullmatch(name) or _MESSAGE.fullmatch(name):
            return text
        domain, slash, rest = name.rpartition("\\")
        if slash:
            return f"{self._domain(domain)}\\{self.user(rest)}"
        if _LOCAL.fullmatch(name):
            return self.email(name)
        if name.endswith("$") and len(name) > 1:
            return self.host(name[:-1]) + "$"
        pseudonym = self._person(name)
        self._learn(name, pseudonym)
        return pseudonym

    def email(self, text: str) -> str:
        """An e-mail address: user and host apart. Of ``"Anna Keller" <anna@corp.example>`` (RFC 5322, section 3.4) also the name beside it."""
        name = normal(text)
        if "@" in name and _BOXED.search(name):
            return self._mailboxes(name)
        local, at, domain = name.rpartition("@")
        if not at or not local:
            return self.user(name) if not at else "@" + self.host(domain)
        if local.endswith("$"):
            return f"{self.user(local)}@{self.host(domain)}"
        own = local if local in self._accounts else self._person(local)
        pseudonym = f"{own}@{self.host(domain)}"
        if local not in self._accounts:
            self._learn(local, own)
        self.identities.learn(name, pseudonym)
        return pseudonym

    def _mailboxes(self, text: str) -> str:
        pieces, end = [], 0
        for found in _MAILBOX.finditer(text):
            pieces += [self._phrases(text[end : found.start()]), self.email(found.group())]
            end = found.end()
        return "".join([*pieces, self._phrases(text[end:])])

    def _phrases(self, text: str) -> str:
        return _PHRASE.sub(lambda found: self.user(found.group()), text)

    def principal(self, text: str) -> str:
        """Kerberos' names, several in one text between commas or spaces: an account, ``class/host:port/name@REALM`` or ``account/REALM``.

        The names of well-known classes of services stay, those of protocols where a protocol is named instead.
        """
        parts = _BETWEEN.split(text)
        return "".join([part if place % 2 or not part else self._principal(part) for place, part in enumerate(parts)])

    def _principal(self, text: str) -> str:
        if text.lower() in PROTOCOLS:
            return text
        first, slash, rest = text.partition("/")
        if not slash:
            return self.user(text)
        rest, at, realm = rest.partition("@")
        hidden = first if first.lower() in SERVICES else self.user(first)
        return f"{hidden}/{'/'.join(map(self._instance, rest.split('/')))}{at}{self.host(realm)}"

    def _instance(self, text: str) -> str:
        """A host with what may stand behind a colon: a port, or the name of an instance."""
        host, colon, port = text.partition(":")
        if not colon or port.isdigit() or ":" in port or not host:
            return self.host(text)
        return f"{self.host(host)}:{self.host(port)}"

    def host(self, text: str) -> str:
        """A host: each label becomes a pseudonym except the last of a full name, if it can be a domain; an address stays an address."""
        found = self._memo.get(text)
        if found is None:
            if len(self._memo) > _MOST:
                self._memo.clear()
            found = self._memo[text] = self._host(text)
        return found

    def _host(self, text: str) -> str:
        name = normal(text).strip(".")
        if name in HOSTS or WRITTEN.fullmatch(name) or self.stays(name):
            return text
        port = _PORT.fullmatch(name) if ":" in name else None
        if port:
            return f"{self.host(port.group(1))}:{port.group(2)}"
        address = self._addresses.one(name)
        if address is not None:
            return address
        labels = name.split(".") if len(name) <= LONGEST_HOST else [name]
        last = labels[-1] if len(labels) > 1 and _LABEL.fullmatch(labels[-1]) else None
        hidden = [self._label(label) for label in (labels[:-1] if last else labels)]
        if labels[0]:
            self.identities.learn(labels[0], hidden[0])
        if last is None:
            return hidden[0]
        for place in range(len(hidden)):
            self.identities.learn(".".join(labels[place:]), ".".join([*hidden[place:], last]))
        return ".".join([*hidden, last])

    def _label(self, label: str) -> str:
        found = self._labels.get(label)
        if found is None:
            if len(self._labels) > _MOST:
                self._labels.clear()
            found = self._labels[label] = label if WRITTEN.fullmatch(label) or not label else self._hosts.of(label)
        return found

    def stays(self, name: str) -> bool:
        """Whether a host belongs to a domain that the policy keeps."""
        return bool(self._domains) and any(name == domain or name.endswith("." + domain) for domain in self._domains)

    def _domain(self, name: str) -> str:
        """The part before the backslash: a directory's domain or a machine."""
        if name in self._accounts or name in HOSTS or name == ".":
            return name
        return self.host(name)

    def _person(self, name: str) -> str:
        found = self._people.get(name)
        if found is None:
            if len(self._people) > _MOST:
                self._people.clear()
            found = self._people[name] = self._users.of(name)
        return found

    def _learn(self, name: str, pseudonym: str) -> None:
        self.identities.learn(name, pseudonym)
        parts = name.split()
        if len(parts) > 1:
            for word in parts:
                self.identities.learn(word, self._person(word))


def normal(text: str) -> str:
    """Lower case, composed (NFC), without white space around."""
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).strip().lower()
