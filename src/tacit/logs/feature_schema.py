"""The public schema of the features: what each column means and between which public bounds it lies. Nothing here is read off any data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tacit.domain import Category, ColumnType, Domain, Numeric
from tacit.logs import vocabulary as words

ROWS_PER_UNIT = 1  # an entity has exactly one row per window, so one unit can touch one row


@dataclass(frozen=True)
class FeatureSpec:
    """One column: its public type, bounds and scale, and one plain sentence for the report.

    Attributes:
        kind: ``numeric`` (``lower``, ``upper``, ``scale``, ``resolution``) or ``category`` (``categories``).
        scale: ``linear``, or ``log`` for counts and bytes that span decades; below ``resolution`` differences do not matter.
    """

    name: str
    kind: Literal["numeric", "category"]
    meaning: str
    lower: float = 0.0
    upper: float = 1.0
    scale: Literal["linear", "log"] = "linear"
    resolution: float = 1.0
    categories: tuple[str, ...] = ()


def _count(name: str, meaning: str, upper: float = 10_000) -> FeatureSpec:
    return FeatureSpec(name, "numeric", meaning, upper=upper, scale="log")


def _bytes(name: str, meaning: str) -> FeatureSpec:
    return FeatureSpec(name, "numeric", meaning, upper=1e12, scale="log", resolution=1_000.0)


def _share(name: str, meaning: str) -> FeatureSpec:
    return FeatureSpec(name, "numeric", meaning)


def _group(name: str, meaning: str, categories: tuple[str, ...]) -> FeatureSpec:
    return FeatureSpec(name, "category", meaning, categories=categories)


FEATURE_SCHEMA: tuple[FeatureSpec, ...] = (
    _count("events", "Number of events of any kind.", 1e6),
    FeatureSpec("active_hours", "numeric", "Number of clock hours with at least one event.", upper=24),
    _share("night_share", "Share of events between 20:00 and 05:00 UTC."),
    _share("quiet_hour_share", "Share of events in hours that each hold less than 3 % of the window's events."),
    _count("logons", "Successful logons."),
    _count("logons_failed", "Failed logons."),
    _share("logon_failure_ratio", "Failed logons as a share of all logons."),
    _count("logons_failed_hour_max", "Most failed logons within one clock hour."),
    _count("logon_hosts", "Distinct machines logged on to, or tried."),
    _count("logons_failed_external", "Failed logons from addresses outside the enterprise."),
    _count("logon_sources_external", "Distinct outside addresses from which logons came."),
    _count(
        "hosts_remote_admin", "Distinct machines logged on to, or tried, over SSH, SMB, RDP or WinRM (ports 22, 445, 3389, 5985, 5986)."
    ),
    _bytes("bytes_out", "Bytes sent through proxy and firewall."),
    _bytes("bytes_in", "Bytes received through proxy and firewall."),
    _share("upload_ratio", "Bytes sent as a share of all bytes moved."),
    _bytes("upload_max", "Largest single transfer out."),
    _count("uploads_large", "Transfers out of more than 5 MB."),
    _bytes("upload_destination_max", "Most bytes sent to one destination."),
    _bytes("bytes_out_night", "Bytes sent between 20:00 and 05:00 UTC."),
    _count("web_requests", "Requests through the proxy."),
    _count("web_domains", "Distinct domains visited."),
    _count("files_downloaded", "Documents fetched."),
    _count("files_hour_max", "Most documents fetched within one clock hour."),
    _count("dns_queries", "DNS queries."),
    _share("dns_failed_share", "Share of DNS queries without an answer."),
    _count("dns_children_max", "Most distinct names asked for under one parent domain."),
    _count("dns_labels_random", "Distinct DNS names whose first label is long and looks random."),
    _count("contacts_max", "Most contacts with one destination."),
    FeatureSpec(
        "beacon_jitter",
        "numeric",
        "Irregularity of the most regular repeated contact: scaled median deviation of the gaps over their median; 2 if nothing repeats.",
        upper=2.0,
    ),
    _count("beacon_destinations", "Destinations contacted at least six times at a steady pace (that irregularity below 0.3)."),
    _count("beacon_contacts_max", "Most contacts with one of these steadily contacted destinations."),
    _count("processes", "Process starts."),
    _count("processes_distinct", "Distinct programs started."),
    _share("processes_once_share", "Share of process starts whose program was started only once in the window."),
    _count("admin_tools", "Starts of tools for administration and reconnaissance (psexec, wmic, net, nltest and similar)."),
    _count("shells", "Starts of command interpreters."),
    _count("shells_from_documents", "Command interpreters started by a document program, browser or mail client."),
    _count("firewall_denied", "Connections refused by the firewall."),
    _count("ports", "Distinct destination ports at the firewall."),
    _count("peers_denied", "Distinct addresses to which connections were refused."),
    _group("weekday", "Day of the week on which the window begins.", ("mon", "tue", "wed", "thu", "fri", "sat", "sun")),
)
GROUP_SCHEMA: tuple[FeatureSpec, ...] = (
    _group("department", "Department according to the personnel directory.", words.DEPARTMENTS),
    _group("role", "Kind of account according to the personnel directory.", words.ROLES),
    _group("site", "Site according to the personnel directory.", words.SITES),
)


def feature_domain() -> Domain:
    """The public columns of `FEATURE_SCHEMA`, as learners take them.

    >>> len(feature_domain().names) == len(FEATURE_SCHEMA)
    True
    """
    kinds: list[tuple[str, ColumnType]] = []
    for spec in FEATURE_SCHEMA:
        number = spec.kind == "numeric"
        kinds.append((spec.name, Numeric(spec.lower, spec.upper, min(spec.resolution, spec.upper / 4)) if number else Category(spec.categories)))
    return Domain(tuple(kinds))
