"""Which technique of MITRE ATT&CK a feature speaks of when it is out of the ordinary. A hint for the analyst, not a verdict."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Technique:
    """A technique and the tactic it serves, by the identifiers of ATT&CK (Enterprise)."""

    uid: str
    name: str
    tactic_uid: str
    tactic: str


_ACCESS, _REACH = ("TA0006", "Credential Access"), ("TA0008", "Lateral Movement")
_CONTROL, _OUT = ("TA0011", "Command and Control"), ("TA0010", "Exfiltration")
_FORCE = Technique("T1110", "Brute Force", *_ACCESS)
_VALID = Technique("T1078", "Valid Accounts", "TA0001", "Initial Access")
_REMOTE = Technique("T1021", "Remote Services", *_REACH)
_CHANNEL = Technique("T1041", "Exfiltration Over C2 Channel", *_OUT)
_SERVICE = Technique("T1567", "Exfiltration Over Web Service", *_OUT)
_WEB = Technique("T1071.001", "Web Protocols", *_CONTROL)
_DNS = Technique("T1071.004", "DNS", *_CONTROL)
_GENERATED = Technique("T1568.002", "Domain Generation Algorithms", *_CONTROL)
_SCAN = Technique("T1046", "Network Service Discovery", "TA0007", "Discovery")
_COLLECT = Technique("T1213", "Data from Information Repositories", "TA0009", "Collection")
_SHELL = Technique("T1059", "Command and Scripting Interpreter", "TA0002", "Execution")
_DOCUMENT = Technique("T1204.002", "Malicious File", "TA0002", "Execution")

TECHNIQUES: dict[str, Technique] = {
    "logons_failed": _FORCE,
    "logon_failure_ratio": _FORCE,
    "logons_failed_hour_max": _FORCE,
    "logons_failed_external": _FORCE,
    "logon_sources_external": _VALID,
    "logon_hosts": _REMOTE,
    "hosts_remote_admin": _REMOTE,
    "bytes_out": _SERVICE,
    "upload_ratio": _SERVICE,
    "upload_max": _SERVICE,
    "uploads_large": _SERVICE,
    "upload_destination_max": _SERVICE,
    "bytes_out_night": _CHANNEL,
    "files_downloaded": _COLLECT,
    "files_hour_max": _COLLECT,
    "dns_children_max": _DNS,
    "dns_queries": _DNS,
    "dns_failed_share": _GENERATED,
    "dns_labels_random": _GENERATED,
    "contacts_max": _WEB,
    "beacon_jitter": _WEB,
    "beacon_destinations": _WEB,
    "beacon_contacts_max": _WEB,
    "admin_tools": _SHELL,
    "shells": _SHELL,
    "shells_from_documents": _DOCUMENT,
    "firewall_denied": _SCAN,
    "ports": _SCAN,
    "peers_denied": _SCAN,
}
"""By feature; features without one describe how busy somebody was."""

TACTICS: dict[str, tuple[str, str]] = {
    "reconnaissance": ("TA0043", "Reconnaissance"),
    "resource-development": ("TA0042", "Resource Development"),
    "initial-access": ("TA0001", "Initial Access"),
    "execution": ("TA0002", "Execution"),
    "persistence": ("TA0003", "Persistence"),
    "privilege-escalation": ("TA0004", "Privilege Escalation"),
    "defense-evasion": ("TA0005", "Defense Evasion"),
    "credential-access": ("TA0006", "Credential Access"),
    "discovery": ("TA0007", "Discovery"),
    "lateral-movement": ("TA0008", "Lateral Movement"),
    "collection": ("TA0009", "Collection"),
    "command-and-control": ("TA0011", "Command and Control"),
    "exfiltration": ("TA0010", "Exfiltration"),
    "impact": ("TA0040", "Impact"),
}
"""Tactics by the names that rules are tagged with."""
