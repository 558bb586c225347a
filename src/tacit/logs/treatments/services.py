"""Words that stand before or beside names of machines and accounts, and name nobody: classes of services, protocols, administrative shares."""

from __future__ import annotations

from tacit.logs.wordlist import words

SPOKEN = words("dns, ftp, gc, host, http, imap, ldap, nfs, pop, smtp")
"""Classes of service principals that are also words and folders: in a text, what follows them is a machine only if it is written like one."""

CLASSES = words(
    """
    adtserver, afpserver, cifs, e3514235-4b06-11d1-ab04-00c04fc2dcd5, exchangeab, exchangemdb, exchangerfr, fimservice, hyper-v replica service,
    imap4, kadmin, krbtgt, mapred, microsoft virtual console service, microsoft virtual system migration service, msclustervirtualserver,
    msolapsvc.3, msomhsvc, msomsdksvc, msserverclustermgmtapi, mssqlsvc, ntfrs-88f5d2bd-b646-11d2-a6d3-00c04fc9b232, oracle, pop3,
    restrictedkrbhost, rpc, rpcss, sip, smtpsvc, tapinego, termserv, termsrv, wsman, xmpp
    """
)
"""All others that are well known, with the identifiers under which domain controllers replicate."""

SERVICES = frozenset((*SPOKEN, *CLASSES))

PROTOCOLS = SERVICES | frozenset(words(
    """
    a:, ayiya, bacnet, bittorrent, bittorrent-tracker, bittorrenttracker, comm, dce_rpc, dhcp, dnp3, dnp3_tcp, dnp3_udp, dtls, enip, ethercat,
    finger, ftp-data, ftps, geneve, genisys, gnutella, gssapi, gtpv1, hart_ip, https, icmp, ident, ike, imaps, ipc, ipsec, irc, kerberos, krb,
    krb_tcp, krb_udp, ldap_tcp, ldap_udp, ldaps, lpt1:, modbus, mount, mqtt, mysql, netbios, ntlm, ntp, opcua_binary, openvpn, pe, pop3s,
    portmapper, postgresql, profinet, quic, radius, rdp, rdpeudp, redis, rfb, rlogin, rpc_mount, rpc_nfs, rpc_portmapper, rsh, s7comm, sftp, sips,
    smb, smtps, snmp, socks, ssdp, ssh, ssl, stun, synchrophasor, syslog, tcp, tds, telnet, teredo, tftp, tls, udp, unknown_transport, vxlan,
    websocket, winrm, wireguard, x509, xmlrpc
    """
))
"""What is written instead of a principal where a field says which protocol was spoken."""

SHARES = frozenset((*words("admin$, fax$, ipc$, netlogon, print$, sysvol"), *(f"{letter}$" for letter in "abcdefghijklmnopqrstuvwxyz")))
"""Shares that every machine of their kind has."""
