"""Who is mentioned: every placeholder knows whose strings it writes, so that the ground truth is what was written and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tacit.logs.telemetry.draws import Codes, Draws
from tacit.logs.telemetry.strings import Strings
from tacit.logs.telemetry.templates import Rows, joined
from tacit.logs.telemetry.words import HOME

KINDS = ("user", "host", "fqdn", "email", "ip", "mac", "sid")
_HEX = pl.Series([f"{value:04x}" for value in range(1 << 16)])
# placeholder -> (whose code, series, kinds of identity it spells out)
_ACCOUNTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    **{name: ("user", name, ("user",)) for name in ("user", "USER", "User", "hex_user", "state_b", "script_b")},
    **{name: ("user", name, ("email", "user")) for name in ("email", "EMAIL", "email_q", "EMAIL_Q", "state_c")},
    **{name: ("user", name, ("user", "own")) for name in ("state_a", "script_a")},
    "sid": ("user", "sid", ("sid",)),
    "other": ("other", "user", ("user",)),
    "OTHER": ("other", "USER", ("user",)),
    "other_email": ("other", "email", ("email", "user")),
}
_MACHINES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "host": ("host", "host", ("host",)),
    "HOST": ("host", "HOST", ("host",)),
    "fqdn": ("host", "fqdn", ("fqdn", "host")),
    "ws": ("user", "host", ("host",)),
    "WS": ("user", "HOST", ("host",)),
    "ws_fqdn": ("user", "fqdn", ("fqdn", "host")),
    "mac": ("user", "mac", ("mac",)),
    "mac_colon": ("user", "mac_colon", ("mac",)),
    "server": ("server", "host", ("host",)),
    "SERVER": ("server", "HOST", ("host",)),
    "server_fqdn": ("server", "fqdn", ("fqdn", "host")),
}
_HOSTS = ("host", "fqdn", "mac")


@dataclass(frozen=True, eq=False)
class Seen:
    """Which codes have been mentioned, by kind."""

    masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    @classmethod
    def of(cls, strings: Strings) -> Seen:
        """Nobody yet."""
        sizes = {"user": len(strings.accounts["user"]), "host": len(strings.machines["host"]), "ip": len(strings.addresses)}
        sizes |= {"email": sizes["user"], "sid": sizes["user"], "fqdn": sizes["host"], "mac": sizes["host"]}
        return cls({kind: np.zeros(sizes[kind], bool) for kind in KINDS})

    def add(self, kind: str, codes: Codes) -> None:
        """These codes were mentioned."""
        self.masks[kind][codes] = True

    def texts(self, strings: Strings) -> dict[str, frozenset[str]]:
        """Everybody mentioned, by kind, as text."""
        named = {kind: (strings.machines if kind in _HOSTS else strings.accounts)[kind] for kind in KINDS if kind != "ip"}
        pools = {"ip": strings.addresses, **named}
        return {kind: frozenset(pools[kind].gather(np.flatnonzero(mask[1:]) + 1).to_list()) for kind, mask in self.masks.items()}


class Writer:
    """Fills placeholders for the events of one batch, and notes who is mentioned.

    Args:
        strings: of the enterprise.
        codes: per event: ``user``, ``host``, ``other``, ``server`` (codes of accounts and machines), ``source`` and ``target`` (of addresses).
        columns: what else has a placeholder: strings per event that spell out no identity.
        draws: numbers of the events.
        seen: where mentions are noted.
    """

    def __init__(self, strings: Strings, codes: dict[str, Codes], columns: dict[str, pl.Series], *, draws: Draws, seen: Seen) -> None:
        self._strings, self._codes, self._columns, self._seen = strings, codes, columns, seen
        key = draws.raw("fresh")
        self._words = [((key >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.uint32) for shift in (0, 16, 32, 48)]
        self._number = (draws.raw("number") % np.uint64(90_000) + np.uint64(10_000)).astype(np.uint32)

    def __call__(self, name: str, rows: Rows) -> pl.Series:
        """The texts of a kind of mention in some rows."""
        if name in _ACCOUNTS:
            return self._account(*_ACCOUNTS[name], rows)
        if name in _MACHINES:
            return self._machine(*_MACHINES[name], rows)
        if name in ("src", "dst", "dst_url"):
            return self._address(name, rows)
        if name in ("id", "key"):
            return joined([_HEX.gather(word[rows]) for word in self._words[: 2 if name == "id" else 4]])
        if name == "n":
            return pl.Series(self._number[rows]).cast(pl.String)
        if name == "home":
            return pl.Series([HOME]).new_from_index(0, len(rows))
        return self._columns[name].gather(rows)

    def _account(self, whose: str, series: str, kinds: tuple[str, ...], rows: Rows) -> pl.Series:
        codes = self._codes[whose][rows]
        for kind in kinds:
            self._seen.add("host" if kind == "own" else kind, codes)
        return self._strings.accounts[series].gather(codes)

    def _machine(self, whose: str, series: str, kinds: tuple[str, ...], rows: Rows) -> pl.Series:
        codes = self._codes[whose][rows]
        for kind in kinds:
            self._seen.add(kind, codes)
        return self._strings.machines[series].gather(codes)

    def _address(self, name: str, rows: Rows) -> pl.Series:
        codes = self._codes["source" if name == "src" else "target"][rows]
        self._seen.add("ip", codes)
        texts: Any = self._strings.addresses.gather(codes)
        if name == "dst_url":  # RFC 3986, section 3.2.2
            six = texts.str.contains(":", literal=True)
            return pl.select(pl.when(six).then(pl.concat_str([pl.lit("["), pl.lit(texts), pl.lit("]")])).otherwise(pl.lit(texts))).to_series()
        return texts
