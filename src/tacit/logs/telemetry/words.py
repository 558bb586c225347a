r"""What sensors write: templates of URLs, command lines and messages.

``<name>`` is filled in; see ``terms.py`` for the names. A template whose text holds ``<id>``, ``<key>`` or ``<n>`` gives a new text nearly every
time. All three spell identities as real logs do: in paths, with a domain before a backslash, in capitals, percent-encoded, in base64, and in
UTF-16 within base64.
"""

from __future__ import annotations

Weighted = tuple[tuple[float, str], ...]

SITE_OLD: Weighted = (
    (5, "/"),
    (3, "/index.html"),
    (2, "/static/app.js"),
    (2, "/api/v1/status"),
    (1, "/users/<user>"),
    (1, "/~<user>/"),
    (1, "/mail/?login_hint=<email_q>"),
)
SITE_NEW: Weighted = (
    (14, "/articles/<n>?ref=<id>"),
    (12, "/search?q=report+<n>&sid=<key>"),
    (10, "/api/v1/items/<key>"),
    (8, "/assets/<id>/main.css"),
    (3, "/login?user=<user>&t=<id>"),
    (2, "/sso?state=<state_a>&nonce=<id>"),
    (2, "/sso?nonce=<id>&state=<state_b>"),
    (1, "/cb?s=<state_c>&k=<id>"),
    (2, "/u/<EMAIL_Q>/inbox/<id>"),
    (2, "/track?uid=<id>&ip=<src>"),
    (2, "/go?to=https%3A%2F%2F<server_fqdn>%2Fdocs%2F<n>"),
    (2, "/download/<id>?owner=CORP%5C<USER>"),
    (2, "/api/devices/<ws>/heartbeat?seq=<id>"),
    (1, "/profile/<User>/photo?v=<id>"),
)
SIGN_IN: Weighted = ((3, "https://sso.corp.example/login"), (2, "https://sso.corp.example/login?user=<user>"))
SIGN_IN_NEW: Weighted = (
    (4, "https://sso.corp.example/authorize?client_id=<id>&login_hint=<email_q>"),
    (3, "https://sso.corp.example/saml?RelayState=<key>"),
    (2, "https://sso.corp.example/oauth?id_token_hint=<state_a>&n=<id>"),
    (2, "https://<fqdn>/logon?u=CORP%5C<user>&rid=<id>"),
)
FILTERED: Weighted = ((1, "https://<dst_url>/"), (1, "https://<dst_url>/health"))
FILTERED_NEW: Weighted = ((3, "https://<dst_url>/v2/<key>"), (1, "https://<dst_url>/sync?device=<ws>&seq=<id>"), (1, "http://<dst_url>/?from=<src>&n=<n>"))

BROWSER: Weighted = (
    (3, r'"C:\Program Files\Chrome\chrome.exe" --profile-directory=Default'),
    (1, r'"C:\Program Files\Chrome\chrome.exe" --user-data-dir=C:\Users\<user>\AppData\Local\Chrome'),
)
BROWSER_NEW: Weighted = (
    (6, r'"C:\Program Files\Chrome\chrome.exe" --type=renderer --renderer-client-id=<n> --launch-time-ticks=<id>'),
    (2, r'"C:\Program Files\Chrome\chrome.exe" --single-argument C:\Users\<user>\Downloads\<id>.pdf'),
    (1, r'"C:\Program Files\Office\outlook.exe" /profile <email> /session <id>'),
    (1, r'"C:\Users\<user>\AppData\Local\Teams\teams.exe" --user=<EMAIL> --pid=<n> --tab=<id>'),
)
RESOLVER: Weighted = ((5, r"C:\Windows\system32\svchost.exe -k NetworkService -p -s Dnscache"), (1, "/usr/lib/systemd/systemd-resolved"))
RESOLVER_NEW: Weighted = (
    (3, r'"C:\Program Files\Chrome\chrome.exe" --type=utility --field-trial-handle=<n>,<id>'),
    (1, r"powershell.exe Resolve-DnsName <server_fqdn> -Tag <id>"),
    (1, "curl -s -u <user>: --resolve <server_fqdn>:443:<dst> https://<server_fqdn>/<id>"),
)
SIGNER: Weighted = ((4, r"C:\Windows\system32\lsass.exe"), (1, "sshd: <user> [priv]"), (1, r"C:\Windows\system32\winlogon.exe"))
SIGNER_NEW: Weighted = (
    (3, r'"C:\Windows\System32\LogonUI.exe" /flags:0x<id> /state0:0x<n>'),
    (2, "sshd: <user>@pts/<n> from <src> session <id>"),
    (1, r"runas.exe /user:CORP\<USER> /session:<id> cmd.exe"),
)
CONNECTOR: Weighted = ((3, "System"), (2, r"C:\Windows\system32\svchost.exe -k netsvcs -p"), (1, r"net.exe use \\<server>\home$ /user:CORP\<user>"))
CONNECTOR_NEW: Weighted = (
    (3, r'"C:\Program Files\Sync\sync.exe" --job <key> --target <server_fqdn>'),
    (2, r"robocopy.exe C:\Users\<user>\Documents \\<SERVER>\home$\<user> /MIR /LOG:<id>.txt"),
    (2, "ssh -p <dport> <user>@<dst> -o ControlPath=<home><user>/.ssh/<id>"),
    (1, "rsync -a <home><user>/ <user>@<server_fqdn>:backup/<id>"),
)
STARTED_NEW: Weighted = (
    (8, r"<line> /tag:<id>"),
    (4, r"<line> --out C:\Users\<user>\AppData\Local\Temp\~<id>.tmp"),
    (3, r"<line> >> \\<server>\logs$\<user>\<id>.log"),
    (3, "python3 <home><user>/src/run-<n>.py --job <id>"),
    (2, r"powershell.exe -NoProfile -EncodedCommand <script_a> -Tag <id>"),
    (2, r"powershell.exe -w hidden -Run <id> -EncodedCommand <script_b>"),
    (2, r"net.exe user <OTHER> /domain /tag:<id>"),
    (2, r"schtasks.exe /create /s <SERVER> /ru CORP\<user> /tn job-<id>"),
    (2, r"sendmail.exe --to <other_email> --cc <email> --subject run-<id>"),
    (2, r"wmic.exe /node:<src> process get name /trace:<id>"),
    (1, r"cmd.exe /c echo <hex_user> > C:\Temp\<id>.hex"),
    (1, r"psexec.exe \\<WS> -u CORP\<USER> -i <n> cmd.exe /k <id>"),
)

AUTH_TEXT: Weighted = (
    (3, "Logon of CORP\\<user> on <host> from <src>."),
    (2, "Accepted password for <user> from <src> port <sport> ssh2"),
    (2, "Account Name: <USER> Account Domain: CORP Workstation Name: <WS> Source Network Address: <src>"),
    (1, "<email> signed in on <fqdn> (<sid>)"),
)
AUTH_FAILED_TEXT: Weighted = (
    (3, "Logon of CORP\\<user> on <host> refused; address <src>."),
    (2, "Failed password for <user> from <src> port <sport> ssh2"),
    (1, "pam_unix(sshd:auth): authentication failure; rhost=<src> user=<user>"),
    (1, "Sign-in of <EMAIL> blocked, ask <other_email>"),
)
DNS_TEXT: Weighted = (
    (2, "client <src>#<sport> (<name>): query: <name> IN A + (<dst>)"),
    (1, "query of <ws> answered with <dst>, cached by <server>"),
)
WEB_TEXT: Weighted = (
    (2, "TCP_MISS/200 <n> CONNECT <domain>:443 <user> HIER_DIRECT/<dst>"),
    (1, "<User> at <WS> fetched <domain> via <server_fqdn>"),
)
PROCESS_TEXT: Weighted = (
    (3, "<user> started <process> on <host>"),
    (2, r"Process Create: User: CORP\<USER> Computer: <fqdn> CurrentDirectory: C:\Users\<user>\ "),
    (1, "<process> wrote <home><user>/.cache/<id>; owner <sid>"),
    (1, r"<process> opened \\<server>\c$\Users\<user>\ntuser.dat, mailed <other_email>"),
)
FIREWALL_TEXT: Weighted = (
    (3, r"Built outbound TCP connection for outside:<dst>/<dport> to inside:<src>/<sport> (CORP\<user>)"),
    (1, "SRC=<src> DST=<dst> MAC=<mac_colon> SPT=<sport> DPT=<dport>"),
    (1, "flow of <ws> (<mac>) to <dst>, rule of <other>"),
)
HOME = "/home" + "/"
"""Where accounts live on Linux; a placeholder of its own, so that no template looks like a path of a real machine."""
