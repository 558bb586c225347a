"""Synthetic names: people, machines, domains, programs, files. Addresses and domains are reserved for documentation, tests and private use.

Addresses come from RFC 1918 (inside), RFC 2544 (homes and hired machines) and RFC 5737 (sites outside); domains end in ``.example`` or
``.test`` (RFC 2606).
Every pool is a list whose entry 0 is ``None``: code 0 means that an event has no such field.
"""

from __future__ import annotations

import hashlib
import itertools


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST = _words(
    """
    ada ali ana ben bela carla cem clara dana david ebru elin emil eva felix finn gina goran hana hugo ida igor ines ivan jana joel
    jonas julia kaan karl katja kemal lara lea leo lina luca maja marek maria mila milan mina nadia nico nils nora oskar paula petra
    rafael rosa sara selin sven tara timo ute vera viktor yara zoe
    """
)
LAST = _words(
    """
    abel acker albers arndt bach bauer becker berger blum brandt braun busch conrad decker diaz ebner eder ekin engel falk fink
    fischer frank franke fuchs gallo geiger graf haas hahn hansen hartl heinz hofer huber jansen kaya keller klein koch kovac kraus
    kruger kurz lang lehner lopez lorenz maier marino martin meyer moser nagel novak okafor otto park peters popov pohl rahman reiter
    ricci romero roth sahin sauer schmid silva simon sommer stein toth vogel wagner weber wolf ziegler
    """
)
ROLES = ("office", "developer", "administrator", "service")
DEPARTMENTS = ("finance", "sales", "engineering", "operations", "legal", "hr", "it")
SITES = ("north", "south", "harbour", "overseas")
_DOMAIN_HEAD = _words(
    """
    amber arc atlas birch blue brisk cedar cinder clear cloud copper coral daily delta ember fern field first fjord forum gale glen
    grain harbor hill iron jade juniper kite lake linden lumen maple metro mint moss north nova oak onyx open orbit pearl pine plain
    quartz rapid river rock sage salt slate snow solar stone swift terra tide timber umber vale violet wave willow wind zinc
    """
)
_DOMAIN_TAIL = _words(
    """
    bank base board books cast desk docs express feed files forms games health hub jobs labs learn link mail maps market media meet
    metrics news notes pages parts pay photo play post press radio review school share shop space sports store tech times tools track
    travel tv video weather wiki works
    """
)
CORP = (
    "mail.corp.example",
    "docs.corp.example",
    "intranet.corp.example",
    "tickets.corp.example",
    "wiki.corp.example",
    "time.corp.example",
    "git.corp.example",
    "hr.corp.example",
)
SHARES = ("transfer.cloud-share.example", "upload.open-files.example", "drop.clear-docs.example", "send.river-share.example")
UPDATERS = (
    "update.os-vendor.example",
    "telemetry.os-vendor.example",
    "chat.meet-hub.example",
    "sync.cloud-notes.example",
    "agent.endpoint-guard.example",
    "mdm.fleet-desk.example",
    "push.mail-sync.example",
    "licence.cad-tools.example",
    "ping.print-works.example",
    "feed.news-board.example",
    "api.weather-times.example",
    "beat.metrics-track.example",
)
REGISTRIES = ("registry.code-parts.example", "mirror.open-base.example", "images.container-store.example", "api.build-works.example")
BACKUP = "vault.cold-store.example"


def _hex(label: str, length: int) -> str:
    return hashlib.blake2b(label.encode(), digest_size=32).hexdigest()[:length]


def domain_pool(sites: int) -> list[str]:
    """``sites`` public web sites, most visited first; the order is fixed and has no meaning."""
    pairs = itertools.product(_DOMAIN_TAIL, _DOMAIN_HEAD)
    names = [f"{prefix}{head}-{tail}.example" for prefix in ("www.", "cdn.", "app.", "") for tail, head in itertools.islice(pairs, 900)]
    names.sort(key=lambda name: _hex(name, 16))
    return names[:sites]


def machine_labels(count: int, *, purpose: str, parents: tuple[str, ...]) -> list[str]:
    """DNS names whose first label looks random, as content networks and virus look-ups use them (and tunnels imitate)."""
    return [f"{_hex(f'{purpose}{i}', 12 + i * 7 % 28)}.{parents[i % len(parents)]}" for i in range(count)]


def account_names(people: int, services: int) -> list[str]:
    """``first.last`` for people (numbered once the names run out), ``svc-purpose-nn`` for service accounts, people first."""
    pairs = [f"{first}.{last}" for first in FIRST for last in LAST]
    pairs.sort(key=lambda name: _hex(name, 16))
    names = [pairs[i % len(pairs)] + (str(1 + i // len(pairs)) if i >= len(pairs) else "") for i in range(people)]
    return names + [f"svc-{SERVICE_JOBS[i % len(SERVICE_JOBS)]}-{i // len(SERVICE_JOBS) + 1:02d}" for i in range(services)]


SERVICE_JOBS = ("backup", "monitor", "deploy", "scan", "report")

# (parent, process, command line); {u} is the account, {n} a number. Grouped by who habitually runs them.
_EXPLORER, _CMD, _PS, _SVC = "explorer.exe", "cmd.exe", "powershell.exe", "services.exe"
PROGRAMS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "office": (
        (_EXPLORER, "winword.exe", r'"C:\Program Files\Office\winword.exe" "C:\Users\{u}\Documents\note-{n}.docx"'),
        (_EXPLORER, "excel.exe", r'"C:\Program Files\Office\excel.exe" "C:\Users\{u}\Documents\table-{n}.xlsx"'),
        (_EXPLORER, "outlook.exe", r'"C:\Program Files\Office\outlook.exe" /recycle'),
        (_EXPLORER, "chrome.exe", r'"C:\Program Files\Chrome\chrome.exe" --profile-directory=Default'),
        ("chrome.exe", "chrome.exe", r'"C:\Program Files\Chrome\chrome.exe" --type=renderer --renderer-client-id={n}'),
        (_EXPLORER, "teams.exe", r'"C:\Users\{u}\AppData\Local\Teams\teams.exe"'),
        (_EXPLORER, "acrord32.exe", r'"C:\Program Files\Reader\acrord32.exe" "C:\Users\{u}\Downloads\scan-{n}.pdf"'),
        ("outlook.exe", "winword.exe", r'"C:\Program Files\Office\winword.exe" /n "C:\Users\{u}\AppData\Local\Temp\attachment-{n}.docx"'),
        (_EXPLORER, "notepad.exe", r"notepad.exe C:\Users\{u}\Desktop\todo.txt"),
        (_EXPLORER, "sap.exe", r'"C:\Program Files\Ledger\sap.exe" -client {n}'),
    ),
    "system": (
        (_SVC, "svchost.exe", r"C:\Windows\system32\svchost.exe -k netsvcs -p -s Schedule"),
        (_SVC, "searchindexer.exe", r"C:\Windows\system32\searchindexer.exe /Embedding"),
        ("svchost.exe", "taskhostw.exe", "taskhostw.exe"),
        (_SVC, "updater.exe", r'"C:\Program Files\Update\updater.exe" /ua /installsource scheduler'),
        (_SVC, "guardagent.exe", r'"C:\Program Files\Guard\guardagent.exe" --scan quick'),
        ("svchost.exe", "dllhost.exe", r"C:\Windows\system32\dllhost.exe /Processid:{n}"),
    ),
    "script": (
        (_EXPLORER, _CMD, r"cmd.exe /c \\srv-file-01\netlogon\mapdrives.cmd"),
        ("svchost.exe", _PS, r"powershell.exe -NoProfile -File C:\ProgramData\Fleet\inventory.ps1"),
        ("excel.exe", _CMD, r"cmd.exe /c C:\Users\{u}\Documents\refresh.bat"),
        (_EXPLORER, _PS, r"powershell.exe Get-ChildItem C:\Users\{u}\Documents"),
    ),
    "developer": (
        ("code.exe", "git.exe", "git.exe fetch --prune origin"),
        ("code.exe", "node.exe", r"node.exe C:\Users\{u}\src\app\build.js --watch"),
        ("bash.exe", "python.exe", r"python.exe -m pytest -q tests/test_{n}.py"),
        ("code.exe", "bash.exe", "bash.exe -l"),
        ("bash.exe", "docker.exe", "docker.exe build -t app:{n} ."),
        ("bash.exe", "curl.exe", "curl.exe -s https://api.build-works.example/v1/jobs/{n}"),
        ("bash.exe", "ssh.exe", "ssh.exe {u}@srv-app-02 tail -n {n} /var/log/app.log"),
        ("bash.exe", "make.exe", "make.exe -j8 test"),
        ("bash.exe", "java.exe", "java.exe -Xmx2g -jar target/service-{n}.jar"),
        (_EXPLORER, "code.exe", r'"C:\Users\{u}\AppData\Local\Code\code.exe" C:\Users\{u}\src\app'),
        ("bash.exe", _PS, r"powershell.exe -ExecutionPolicy Bypass -File C:\Users\{u}\src\app\setup.ps1"),
        ("bash.exe", "nmap.exe", "nmap.exe -p 8080 srv-app-02"),
    ),
    "administrator": (
        (_EXPLORER, "mstsc.exe", "mstsc.exe /v:srv-app-03"),
        (_CMD, "psexec.exe", r"psexec.exe \\ws-0{n} -s ipconfig /flushdns"),
        (_CMD, "net.exe", "net.exe user {u} /domain"),
        (_PS, "wmic.exe", "wmic.exe /node:srv-app-04 os get lastbootuptime"),
        (_EXPLORER, _PS, "powershell.exe Get-ADUser -Filter * -Properties LastLogonDate"),
        (_CMD, "schtasks.exe", "schtasks.exe /query /s srv-file-02"),
        (_CMD, "nltest.exe", "nltest.exe /dclist:corp.example"),
        (_PS, "whoami.exe", "whoami.exe /groups"),
        ("mmc.exe", "eventvwr.exe", "eventvwr.exe srv-app-01"),
        (_EXPLORER, "putty.exe", "putty.exe -ssh {u}@srv-db-01"),
        (_PS, _PS, "powershell.exe -EncodedCommand SQBuAHYAZQBuAHQAbwByAHkAIAAtAEYAbABlAGUAdAAgAC0AQQBsAGwA"),
        (_CMD, "procdump.exe", r"procdump.exe -ma hung-service.exe C:\Temp\dump-{n}.dmp"),
    ),
    "service": (
        ("taskeng.exe", "robocopy.exe", r"robocopy.exe D:\data \\srv-vault-01\backup /MIR /R:2"),
        ("taskeng.exe", _PS, r"powershell.exe -NoProfile -File C:\Jobs\nightly-{n}.ps1"),
        (_SVC, "monitoragent.exe", "monitoragent.exe --interval 300"),
        ("taskeng.exe", "sqlcmd.exe", "sqlcmd.exe -S srv-db-01 -Q report_{n}"),
        ("deployd.exe", "msiexec.exe", "msiexec.exe /qn /i package-{n}.msi"),
        ("taskeng.exe", "nmap.exe", "nmap.exe -sV -T3 10.0.0.0/16"),
    ),
    "attack": (
        (_CMD, "psexec.exe", r"psexec.exe \\srv-file-0{n} -s cmd.exe"),
        ("wmiprvse.exe", _PS, "powershell.exe -nop -w hidden -EncodedCommand aQBlAHgAIAAoAG4AZQB3AC0AbwBiAGoAZQBjAHQA"),
        (_CMD, "whoami.exe", "whoami.exe /all"),
        (_CMD, "net.exe", "net.exe group domain-admins /domain"),
        (_CMD, "nltest.exe", "nltest.exe /domain_trusts"),
        ("winword.exe", _PS, "powershell.exe -w hidden -nop -c start-sleep {n}"),
        (_CMD, "procdump.exe", r"procdump.exe -ma lsass.exe C:\Temp\l{n}.dmp"),
        (_CMD, "wmic.exe", "wmic.exe /node:srv-app-0{n} process call create cmd.exe"),
        (_PS, "7z.exe", r"7z.exe a -v500m C:\Temp\a{n}.7z C:\Users\{u}\Documents"),
        (_CMD, _CMD, "cmd.exe /c dir /s D:\\"),
    ),
}
ADMIN_TOOLS = ("psexec.exe", "wmic.exe", "net.exe", "nltest.exe", "schtasks.exe", "procdump.exe", "nmap.exe", "whoami.exe", "sqlcmd.exe")
SHELLS = ("cmd.exe", "powershell.exe", "bash.exe")
DOCUMENT_APPS = ("winword.exe", "excel.exe", "outlook.exe", "acrord32.exe", "chrome.exe")


def file_pool(count: int) -> list[str]:
    """Names of documents on the file service."""
    kinds = ("offer", "plan", "minutes", "contract", "budget", "payroll", "design", "invoice", "forecast", "roster")
    endings = ("docx", "xlsx", "pdf", "pptx", "csv", "zip")
    return [f"{kinds[i % 10]}-{2019 + i % 7}-{i:05d}.{endings[i * 7 % 6]}" for i in range(count)]


def inside(index: int) -> str:
    """The ``index``-th address inside (RFC 1918)."""
    return f"10.{20 + index // 62_500}.{index // 250 % 250}.{index % 250 + 1}"


def home(index: int) -> str:
    """The ``index``-th home connection or hired machine (RFC 2544)."""
    return f"198.{18 + index // 62_500 % 2}.{index // 250 % 250}.{index % 250 + 1}"


def outside(index: int) -> str:
    """The ``index``-th public server (RFC 5737)."""
    return f"{('198.51.100', '203.0.113', '192.0.2')[index % 3]}.{index // 3 % 254 + 1}"
