"""Identities that fields of the original name, and whether they are still readable in the output."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from tacit.attacks.linkage import Share
from tacit.logs.anonymise import Anonymiser
from tacit.logs.keys import EpochKey
from tacit.logs.leaks.exposure import LEAK, NO_LEAK, Exposure, Table
from tacit.logs.leaks.residuals import Residuals, residuals
from tacit.logs.leaks.sample import Sample
from tacit.logs.leaks.views import FORMS
from tacit.logs.treatments import Tools, build
from tacit.page.numbers import percent

_TITLE = "Can names and addresses still be read?"
_NAMING = {"user": "user", "host": "host", "principal": "user", "email": "email", "address": "ip", "mac": "mac", "sid": "sid"}
_BLANK = ("", "-", "n/a", "none", "null", "(null)", "unknown")
_WORDS = {"user": "users", "host": "hosts", "fqdn": "host names with a domain", "email": "e-mail addresses", "ip": "addresses",
          "mac": "hardware addresses", "sid": "security identifiers"}


def readable(sample: Sample, directory: Mapping[str, Collection[str]] | None = None) -> Exposure:
    """Search the output for everything that the original's fields name as somebody, and for what a directory lists."""
    named = identities_of(sample)
    for kind, texts in (directory or {}).items():
        named.setdefault(kind, set()).update(text.casefold() for text in texts)
    if not any(named.values()):
        return Exposure.untested("identities", _TITLE, "No field of the original names people, machines or addresses, and no directory was given.")
    found = residuals(sample.text, {kind: sorted(texts) for kind, texts in named.items()}, pseudonyms=_written(sample))
    known, total = sum(found.known.values()), found.total
    share = Share(float(total), float(known), 0.0)
    text = (
        f"{total:,} of {known:,} identities ({percent(share.value)}) are readable in the output, in any of {len(FORMS)} forms such as capitals, "
        "percent-encoding, base64 or UTF-16."
    )
    if not total:
        means = "Nobody whom the original's fields name can be read in the output. A name that no field holds was not looked for."
        return Exposure("identities", _TITLE, NO_LEAK, "info", _ASSUMED, text, means, _LOOKING if directory is None else (), share, (_table(found),))
    means = "Whoever reads the output reads who did what. No key, and no attack, is needed."
    severity = "critical" if share.value > 0.01 else "high"
    return Exposure("identities", _TITLE, LEAK, severity, _ASSUMED, text, means, _ADVICE, share, (_table(found),), facts={"forms": found.forms})


_ASSUMED = "nothing but the output"
_LOOKING = ("Give a --directory of accounts and machines: names that no field holds are then looked for, too.",)
_ADVICE = (
    "Treat the fields that hold them: «scrub» for texts, or «drop» what nobody needs; tacit logs statement shows what each field is.",
    "Give tacit logs anonymise a --directory, so that texts are searched for names that no field has held.",
)


def identities_of(sample: Sample) -> dict[str, set[str]]:
    """By kind, in small letters: what fields and texts of the original name, without what the policy leaves (built-in accounts, loopback)."""
    policy = sample.policy
    tools = Tools(EpochKey.for_tests(), None, accounts=policy.accounts, domains=policy.domains, networks=policy.networks)
    found: dict[str, set[str]] = {}
    for path, column in sample.original.items():
        rule = sample.rules[path]
        treatment = build(rule.treatment, tools, rule.options) if rule.treatment in _NAMING else None
        if treatment is None:
            continue
        values = sorted({value.strip() for value in column if isinstance(value, str) and value.strip().casefold() not in _BLANK})
        # Under any key a pseudonym differs from what it stands for, so what does not change is left by the policy.
        for value, after in zip(values, treatment.many(values), strict=True):
            if after is None or str(after).casefold() != value.casefold():
                for kind, text in _kinds(_NAMING[rule.treatment], value):
                    found.setdefault(kind, set()).add(text.casefold())
    for kind, name in _announced(sample):
        found.setdefault(kind, set()).add(name)
    return found


def _announced(sample: Sample) -> Iterator[tuple[str, str]]:
    """What an anonymiser learns to look for: also accounts within e-mail addresses and home directories, and hosts within full names."""
    anonymiser = Anonymiser(sample.policy, EpochKey.for_tests())
    anonymiser.learn(sample.events)
    anonymiser.texts(sample.events)
    for name, pseudonym in anonymiser.tools.identities.items():
        yield "email" if "@" in name else "user" if pseudonym[0] == "u" else "fqdn" if "." in name else "host", name


def _kinds(kind: str, value: str) -> list[tuple[str, str]]:
    """What one value names: an account with a domain before it is an account, a host with dots is a full name and a host."""
    if kind == "user" and "\\" in value:
        value = value.rpartition("\\")[2]
    if kind in ("user", "email") and "@" in value:
        return [("email", value)]
    if kind in ("user", "email"):
        return [("user", value)] if value else []
    if kind == "host":
        return [("ip", value)] if _is_address(value) else [("fqdn", value)] if "." in value else [("host", value)]
    if kind == "ip":
        return [("ip", value)] if _is_address(value) else []
    return [(kind, value)]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _written(sample: Sample) -> set[str]:
    """Addresses that stand there as pseudonyms of others. A value that was not changed is none."""
    found: set[str] = set()
    for path in sample.paths("address", "mac", "sid"):
        before: list[Any] = sample.original.get(path, [None] * sample.count)
        found.update(str(b) for a, b in zip(before, sample.released[path], strict=True) if b is not None and a is not None and str(a) != str(b))
    return found


def _table(found: Residuals) -> Table:
    rows = tuple(
        (_WORDS.get(kind, kind), f"{known:,}", f"{found.readable[kind]:,}", ", ".join(f"{form} {count:,}" for form, count in found.forms[kind].items()
         if count) or "–", f"{found.ambiguous[kind]:,}", f"{found.coincidental[kind]:,}")
        for kind, known in found.known.items() if known
    )
    return Table("Identities by kind", ("Kind", "Looked for", "Readable", "In which form", "Prove little", "Are pseudonyms of others"), rows)
