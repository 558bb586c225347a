"""Which events a rule is about, and what fields are called there.

Sigma names kinds of logs («windows, process_creation») and not the events themselves; for Windows events and Zeek the relation is given here, after
Sigma's own taxonomy. For every other source all rules are tried on all events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tacit.logs.content.reading import Rule

_SYSMON = "Microsoft-Windows-Sysmon/Operational"
_CATEGORIES: dict[str, dict[str, tuple[int, ...]]] = {
    "process_creation": {_SYSMON: (1,), "Security": (4688,)},
    "file_change": {_SYSMON: (2,)},
    "network_connection": {_SYSMON: (3,)},
    "sysmon_status": {_SYSMON: (4, 16)},
    "sysmon_error": {_SYSMON: (255,)},
    "process_termination": {_SYSMON: (5,)},
    "driver_load": {_SYSMON: (6,)},
    "image_load": {_SYSMON: (7,)},
    "create_remote_thread": {_SYSMON: (8,)},
    "raw_access_thread": {_SYSMON: (9,)},
    "process_access": {_SYSMON: (10,)},
    "file_event": {_SYSMON: (11,)},
    "registry_add": {_SYSMON: (12,)},
    "registry_delete": {_SYSMON: (12,)},
    "registry_set": {_SYSMON: (13,)},
    "registry_rename": {_SYSMON: (14,)},
    "registry_event": {_SYSMON: (12, 13, 14)},
    "create_stream_hash": {_SYSMON: (15,)},
    "pipe_created": {_SYSMON: (17, 18)},
    "wmi_event": {_SYSMON: (19, 20, 21)},
    "dns_query": {_SYSMON: (22,)},
    "file_delete": {_SYSMON: (23, 26)},
    "clipboard_capture": {_SYSMON: (24,)},
    "process_tampering": {_SYSMON: (25,)},
    "file_block_executable": {_SYSMON: (27,)},
    "file_block_shredding": {_SYSMON: (28,)},
    "file_executable_detected": {_SYSMON: (29,)},
    "ps_module": {"Microsoft-Windows-PowerShell/Operational": (4103,), "PowerShellCore/Operational": (4103,)},
    "ps_script": {"Microsoft-Windows-PowerShell/Operational": (4104,), "PowerShellCore/Operational": (4104,)},
    "ps_classic_start": {"Windows PowerShell": (400,)},
    "ps_classic_provider_start": {"Windows PowerShell": (600,)},
    "ps_classic_script": {"Windows PowerShell": (800,)},
}
_SERVICES: dict[str, tuple[str, ...]] = {
    "security": ("Security",),
    "system": ("System",),
    "application": ("Application",),
    "sysmon": (_SYSMON,),
    "powershell": ("Microsoft-Windows-PowerShell/Operational", "PowerShellCore/Operational"),
    "powershell-classic": ("Windows PowerShell",),
    "windefend": ("Microsoft-Windows-Windows Defender/Operational",),
    "taskscheduler": ("Microsoft-Windows-TaskScheduler/Operational",),
    "wmi": ("Microsoft-Windows-WMI-Activity/Operational",),
    "dns-server": ("DNS Server",),
    "dns-client": ("Microsoft-Windows-DNS Client Events/Operational",),
    "bits-client": ("Microsoft-Windows-Bits-Client/Operational",),
    "codeintegrity-operational": ("Microsoft-Windows-CodeIntegrity/Operational",),
    "firewall-as": ("Microsoft-Windows-Windows Firewall With Advanced Security/Firewall",),
    "ntlm": ("Microsoft-Windows-NTLM/Operational",),
    "applocker": (
        "Microsoft-Windows-AppLocker/MSI and Script", "Microsoft-Windows-AppLocker/EXE and DLL",
        "Microsoft-Windows-AppLocker/Packaged app-Deployment", "Microsoft-Windows-AppLocker/Packaged app-Execution",
    ),
    "terminalservices-localsessionmanager": ("Microsoft-Windows-TerminalServices-LocalSessionManager/Operational",),
    "smbclient-security": ("Microsoft-Windows-SmbClient/Security",),
    "smbserver-connectivity": ("Microsoft-Windows-SMBServer/Connectivity",),
    "driver-framework": ("Microsoft-Windows-DriverFrameworks-UserMode/Operational",),
    "lsa-server": ("Microsoft-Windows-LSA/Operational",),
    "vhdmp": ("Microsoft-Windows-VHDMP/Operational",),
    "shell-core": ("Microsoft-Windows-Shell-Core/Operational",),
    "appxdeployment-server": ("Microsoft-Windows-AppXDeploymentServer/Operational",),
    "capi2": ("Microsoft-Windows-CAPI2/Operational",),
    "ldap": ("Microsoft-Windows-LDAP-Client/Debug",),
    "msexchange-management": ("MSExchange Management",),
}
_ALIASES = {
    "Provider_Name": ("Provider_Name", "SourceName", "Event.System.Provider.#attributes.Name"),
    "EventID": ("EventID", "Event.System.EventID", "Event.System.EventID.#text"),
    "Image": ("Image", "Event.EventData.Image", "NewProcessName", "Event.EventData.NewProcessName"),
    "ParentImage": ("ParentImage", "Event.EventData.ParentImage", "ParentProcessName", "Event.EventData.ParentProcessName"),
    "Computer": ("Computer", "Hostname", "Event.System.Computer"),
    "UserID": ("UserID", "Event.EventData.UserID", "Event.System.Security.#attributes.UserID"),
}
_OTHER_SOURCE = "it is about another source of logs"
_OTHER_CHANNEL = "its log source is not known here"


@dataclass(frozen=True)
class Wanted:
    """Events of a rule: channels, each with numbers of events (none: all of them)."""

    channels: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Source:
    """How events of one format are named: `windows`, `zeek`, or anything else.

    Args:
        format: of the policy.
    """

    format: str

    @property
    def _kind(self) -> str:
        return self.format.partition("-")[0]

    def places(self, field: str) -> tuple[str, ...]:
        """The paths that may hold a field of a rule, the likeliest first."""
        if self._kind != "windows":
            return (field,)
        return _ALIASES.get(field) or (field, f"Event.EventData.{field}", f"Event.System.{field}")

    def wanted(self, rule: Rule) -> Wanted | str | None:
        """Which events a rule is about; ``None`` for all, a text for none, with the reason."""
        if self._kind == "windows":
            return _windows(rule)
        if self._kind == "zeek":
            if rule.product != "zeek":
                return _OTHER_SOURCE
            return None if rule.service is None else Wanted({rule.service: ()})
        return None

    def label(self, event: dict[str, Any]) -> tuple[str, int]:
        """The channel and number of an event."""
        if self._kind == "zeek":
            return str(event.get("_path") or ""), 0
        inner = event.get("Event")
        system = inner.get("System") if isinstance(inner, dict) else None
        place = system if isinstance(system, dict) else event
        number = place.get("EventID")
        if isinstance(number, dict):
            number = number.get("#text")
        text = str(number)
        return str(place.get("Channel") or ""), int(text) if text.isdecimal() and len(text) < 10 else -1


def _windows(rule: Rule) -> Wanted | str | None:
    if rule.product not in (None, "windows"):
        return _OTHER_SOURCE
    if rule.category is not None:
        known = _CATEGORIES.get(rule.category)
        return _OTHER_SOURCE if rule.product is None and known is None else _OTHER_CHANNEL if known is None else Wanted(known)
    if rule.service is not None:
        channels = _SERVICES.get(rule.service)
        return _OTHER_CHANNEL if channels is None else Wanted(dict.fromkeys(channels, ()))
    return None if rule.product == "windows" else _OTHER_SOURCE
