"""Lines of every format, made up here."""

from __future__ import annotations

ZEEK_HEAD = [
    b"#separator \\x09",
    b"#set_separator\t,",
    b"#empty_field\t(empty)",
    b"#unset_field\t-",
    b"#path\tconn",
    b"#fields\tts\tuid\tid.orig_h\tid.orig_p\tservice\tduration\tlocal_orig\ttunnel_parents\tnote",
    b"#types\ttime\tstring\taddr\tport\tstring\tinterval\tbool\tset[string]\tstring",
]
CSV_HEAD = [b"when,user,src,port,share,text"]
HEADS = {"zeek": ZEEK_HEAD, "csv": CSV_HEAD}

LINES: dict[str, list[bytes]] = {
    "syslog": [
        b'<34>1 2026-10-11T22:14:15.003Z gate.corp.example su 77 ID47 [origin ip="10.0.0.1" note="a \\"b\\" \\] \\\\ c"][x y="1"] su failed for anna',
        b"<34>1 - - - - - -",
        b"<165>1 2026-10-11T22:14:15+02:00 a b - - - \xef\xbb\xbfm\xc3\xbcde",
        b"<34>1 - - - - - - ",
        b"<34>Oct 11 22:14:15 gate su: 'su root' failed for anna on /dev/pts/8",
        b"Oct  1 22:14:15 gate sshd[4721]: Accepted publickey for anna from 10.0.0.7",
        b"Oct 11 22:14:15 gate kernel: [  1.5] up",
        b"2026-10-11T22:14:15.5+02:00 gate app[x-1]: text",
        b"<13>no time at all",
        b"<189>Oct 11 2026 22:14:15: %ASA-6-302013: Built outbound TCP",
        b"Oct 11 22:14:15 ",
        b"Oct 11 22:14:15 gate last message repeated 2 times",
        b'<34>1 - - - - - [a@1 k="1" k="2"] twice',
    ],
    "cef": [
        b"CEF:0|Maker|Box|1.0|100|worm \\| stopped|10|src=10.0.0.1 spt=1232 suser=anna msg=a \\= b\\nnext cs1Label=x cs1=y z",
        b"CEF:1|a|b|c|d|e|Low|",
        b"<34>Oct 11 22:14:15 gate CEF:0|M|B|1|1|n|5|act=blocked dst=10.0.0.9 dpt=443 request=https://a.example/?q\\=1",
        b"CEF:0|a|b|c|d|e|Very-High|filePath=C:\\\\Users\\\\anna\\\\x cnt=007",
        b"<34>1 2026-10-11T22:14:15Z gate x - - - CEF:0|a|b|c|d|e|1|suser=bob",
    ],
    "leef": [
        b"LEEF:1.0|Maker|Box|1.0|41|src=10.0.1.8\tdst=10.0.0.5\tsev=5\tusrName=anna\tmsg=a=b",
        b"LEEF:2.0|Maker|Box|1.0|41|^|src=10.0.1.8^srcPort=81^usrName=anna",
        b"LEEF:2.0|Maker|Box|1.0|41|x7C|src=10.0.1.8|dstBytes=9",
        b"Oct 11 22:14:15 gate LEEF:1.0|a|b|c|d|usrName=bob",
        b"LEEF:1.0|a|b|c|d|",
    ],
    "apache": [
        b'10.0.0.1 - anna [10/Oct/2026:13:55:36 +0200] "GET /data/anna/a?u=%61nna HTTP/1.1" 200 2326 "https://a.example/x" "curl/8.5 (x \\"y\\")"',
        b'10.0.0.1 - - [10/Oct/2026:13:55:36 +0200] "GET / HTTP/1.0" 304 -',
        b'www.corp.example:443 fe80::1 - - [10/Oct/2026:13:55:36 +0000] "POST /\\xc3\\xbc HTTP/2.0" 500 12 "-" "-"',
        b'10.0.0.1 - - [10/Oct/2026:13:55:36 +0200] "\\x16\\x03\\x01" 400 226 "-" "-"',
        b'10.0.0.1 - - [10/Oct/2026:13:55:36 +0200] "-" 408 0 "-" "-"',
        b'10.0.0.1 - - [10/Oct/2026:13:55:36 +0200] "GET /a b HTTP/1.1" 400 0 "-" "x" "extra" 12',
        b"[Sun Dec 04 04:47:44 2005] [error] [client 10.0.0.1] Directory index forbidden by rule: /var/www/html/",
        b"[Sun Dec 04 04:47:44.123456 2005] [core:notice] [pid 12:tid 13] AH00094: Command line",
        b"[Sun Dec 04 04:47:44.123456 2005] [auth_basic:error] [pid 12] [client 10.0.0.1:4711] AH01617: user anna: authentication failure",
    ],
    "nginx": [
        b'10.0.0.1 - anna [10/Oct/2026:13:55:36 +0200] "GET /a HTTP/1.1" 200 2326 "-" "curl/8.5"',
        b'2026/10/11 12:00:00 [error] 7#7: *9 open() "/srv/x" failed, client: 10.0.0.1, server: _, request: "GET /x HTTP/1.1", host: "a.example"',
        b"2026/10/11 12:00:00 [notice] 7#7: start worker processes",
    ],
    "auditd": [
        b'type=SYSCALL msg=audit(1404170401.294:10): arch=c000003e syscall=59 success=yes exit=0 uid=1000 comm="cat" exe="/usr/bin/cat" key=(null)',
        b"type=PROCTITLE msg=audit(1604994496.155:92733): proctitle=617270002D61",
        b'node=gate type=USER_AUTH msg=audit(1404170401.294:11): pid=9 uid=0 msg=\'op=PAM:auth acct="anna" exe="/bin/x" addr=10.0.0.1 res=failed\'',
        b'type=EXECVE msg=audit(1404170401.294:12): argc=3 a0="ls" a1=2F686F6D652F616E6E612F6120 a2="b"',
        b'type=CWD msg=audit(1.5:1): cwd="/data/anna"',
        b"type=LOGIN msg=audit(1.5:2): login pid=1 uid=0 old auid=4 new auid=5",
    ],
    "zeek": [
        b"1.500000\tC1\t10.0.0.1\t443\tssl\t0.250000\tT\t(empty)\t-",
        b"2.000000\tC2\tfe80::1\t0\t-\t-\tF\ta,b\t\\x2d",
        b"2.000000\tC3\t10.0.0.2\t65535\ta\\x09b\t-\t-\t-\t(empty)",
    ],
    "csv": [b'2026-10-11 12:00:00,"Keller, Anna",10.0.0.1,443,0.5,"say ""hi"""', b"x,bob,,007,1e5,-", b",,,-5,-0.25, "],
}
"""Lines as each format reads them; what is read and written again is the same to the byte, unless `CHANGED` says how it differs."""

CHANGED: dict[bytes, bytes] = {b",,,-5,-0.25, ": b',,,-5,-0.25," "'}
