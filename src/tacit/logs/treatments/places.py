"""URLs and file paths: depth, extension and everything public stay; names become pseudonyms segment by segment, so that prefixes stay prefixes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tacit.logs.treatments.identities import COMMON
from tacit.logs.treatments.names import Names
from tacit.logs.treatments.pseudonyms import WRITTEN, Key, Pseudonyms
from tacit.logs.wordlist import words

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]{0,30}://)?(?:([^/?#@\s]*)@)?(\[[^\]/?#]*\]|[^/?#:]*)(:\d{1,5})?([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_SEGMENTS = re.compile(r"([/\\]+)")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z_.\-\[\]]{0,31}")
_PAIRS = re.compile(r"([&;])")
_DRIVE = re.compile(r"[A-Za-z]:|\.{1,2}|~|[A-Za-z]{1,2}|\d{1,2}|")
_HOMES = frozenset(("users", "home", "documents and settings", "profiles"))

KNOWN = COMMON | frozenset(
    words(
        """
        $recycle.bin, appdata, assembly, common files, currentversion, device, drivers, etc, framework, framework64, globalroot,
        harddiskvolume1, harddiskvolume2, harddiskvolume3, harddiskvolume4, inetpub, intel, locallow, microsoft.net, perflogs, prefetch,
        program files, program files (x86), recovery, registry, roaming, servicing, spool, startup, start menu, syswow64, sysvol, system
        volume information, v1.0, v4.0.30319, wbem, winsxs, windowsapps, windowspowershell, admin$, c$, ipc$, print$, lib32, lib64, media,
        mnt, run, sbin, selinux, srv, sys, v1, v2, v3, rest, static, assets, css, js, img, index.html, index.php, favicon.ico, robots.txt,
        oauth, oauth2, graphql, search.php, all users, known, default user, documents and settings, profiles, wwwroot, cgi-bin, shadow,
        passwd, group, sudoers, crontab, authorized_keys, .ssh, .config
        """
    )
)
"""Segments that every installation has: they say nothing about anybody."""


EXTENSIONS = frozenset(
    words(
        """
        7z, aac, asp, aspx, avi, bak, bat, bin, bmp, bz2, c, cab, cer, cfg, chm, cmd, com, conf, config, cpl, cpp, crt, cs, css, csv, dat,
        db, dll, dmg, dmp, doc, docm, docx, dot, drv, eml, evtx, exe, gif, go, gz, h, hta, htm, html, ico, inf, ini, iso, jar, java, jpeg,
        jpg, js, json, jsp, key, ko, lnk, log, lua, md, mdb, mov, mp3, mp4, msc, msg, msi, msp, o, ocx, odp, ods, odt, old, one, ost, p12,
        pcap, pdb, pdf, pem, pfx, php, pif, pl, png, ppt, pptm, pptx, ps1, psd1, psm1, pst, py, pyc, rar, rb, rdp, reg, rpm, rs, rtf, scr,
        sct, sh, so, sql, sqlite, svg, swf, sys, tar, tgz, tif, tmp, toml, ts, txt, url, vb, vbe, vbs, vhd, vhdx, vmdk, war, wav, webp, wsf,
        wsh, xls, xlsb, xlsm, xlsx, xml, xz, yaml, yml, zip, zst
        """
    )
)
"""Extensions of files that stay: only these, since what follows a dot may be a name."""


class Places:
    """Pseudonyms of URLs and paths.

    Args:
        key: of the epoch.
        names: for hosts in URLs and people in home directories.
    """

    def __init__(self, key: Key, names: Names) -> None:
        self._segments, self._values = Pseudonyms(key, "path", "p"), Pseudonyms(key, "query", "q")
        self._names = names
        self._memo: dict[str, str] = {}

    def url(self, text: str) -> str:
        """A URL, whole or without its scheme; the password and the fragment go, the names of queries stay, their values become pseudonyms."""
        found = _URL.fullmatch(text)
        if found is None:
            return self._values.of(text)
        scheme, who, host, port, path, query, fragment = (part or "" for part in found.groups())
        if not scheme and (host in ("", "*") or "/" not in text):
            scheme_less = self._names.host(host) if "." in host and not path else self._path(host)
            host, shown = "", scheme_less
        else:
            shown = self._host(host)
        user = self._names.user(who.partition(":")[0]) + "@" if who else ""
        return "".join((scheme, user, shown, port, self._path(path), self._query(query), "#" + self._values.of(fragment[1:]) if fragment[1:] else ""))

    def path(self, text: str) -> str:
        r"""A file path of Windows or Unix, also on a share (``\\\\\\\\host\\\\share``)."""
        if text.startswith("\\\\") and text[2:3] not in ("?", ".", "\\", ""):
            host, slash, rest = text[2:].partition("\\")
            return "\\\\" + self._names.host(host) + slash + self._path(rest)
        return self._path(text)

    def segment(self, text: str) -> str:
        """One name between two slashes; an extension stays."""
        found = self._memo.get(text)
        if found is None:
            if len(self._memo) > 200_000:
                self._memo.clear()
            found = self._memo[text] = self._segment(text)
        return found

    def parts(self, parts: Sequence[Iterable[str]]) -> list[list[str]]:
        """What becomes of each part of URLs that somebody else has taken apart as `url` does: hosts, segments, names of parameters, and values."""
        hosts, segments, parameters, values = parts
        done = [list(map(self._names.host, hosts)), self._each_segment(list(segments))]
        return [*done, list(map(self._parameter, parameters)), self._values.each(values)]

    def _each_segment(self, texts: list[str]) -> list[str]:
        lows = [text.lower() for text in texts]
        hidden = [place for place, low in enumerate(lows) if not _stays(texts[place], low)]
        for place, pseudonym in zip(hidden, self._segments.each(lows[place] for place in hidden), strict=True):
            texts[place] = pseudonym + _extension(lows[place])
        return texts

    def _segment(self, text: str) -> str:
        low = text.lower()
        return text if _stays(text, low) else self._segments.of(low) + _extension(low)

    def _host(self, host: str) -> str:
        if host.startswith("["):
            return f"[{self._names.host(host.strip('[]'))}]"
        return self._names.host(host) if host else ""

    def _path(self, text: str) -> str:
        if len(text) < 2:
            return text
        parts = _SEGMENTS.split(text)
        home = False
        for place in range(0, len(parts), 2):
            part = parts[place]
            if home and part.lower() not in KNOWN:
                parts[place] = self._names.user(part)
            elif part:
                parts[place] = self.segment(part)
            home = len(part) > 3 and part.lower() in _HOMES
        return "".join(parts)

    def _query(self, text: str) -> str:
        if not text:
            return ""
        parts = _PAIRS.split(text[1:])
        for place in range(0, len(parts), 2):
            name, equal, value = parts[place].partition("=")
            if not equal:
                parts[place] = self._values.of(name) if name else ""
            elif value and not (len(value) < 3 and value.isdigit()):
                parts[place] = f"{self._parameter(name)}={self._values.of(value)}"
            else:
                parts[place] = f"{self._parameter(name)}={value}"
        return "?" + "".join(parts)

    def _parameter(self, name: str) -> str:
        """The name of a parameter, unless it looks like data or somebody is called so."""
        if _PARAMETER.fullmatch(name) and name.lower() not in self._names.identities:
            return name
        return self._values.of(name) if name else ""


def _stays(segment: str, low: str) -> bool:
    written = segment[1:2] == "-" and WRITTEN.match(segment) is not None
    return written or low in KNOWN or (len(segment) < 3 and _DRIVE.fullmatch(segment) is not None)


def _extension(low: str) -> str:
    _, dot, last = low.rpartition(".")
    return f".{last}" if dot and last in EXTENSIONS else ""
