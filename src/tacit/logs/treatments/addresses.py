"""Addresses that keep their class: private stays private, and what names no machine (loopback, broadcast, multicast) stays as it is.

Within its class every address is treated by Crypto-PAn, so that subnets stay subnets. A public address whose pseudonym would be private or special is
treated again until it is not (cycle walking, Black & Rogaway 2002, section 4): still one to one, but a few neighbours are separated.

Crypto-PAn leaves about one of ten thousand public addresses, and more in small private networks, as they are: where an address agrees with the secret
padding, the same block decides about several of its bits. Such an address changes places with its neighbour, the other one of its /31, which keeps
prefixes and stays one to one.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import ip_network

import numpy as np
from numpy.typing import NDArray

from tacit.logs.addresses import AddressPseudonyms
from tacit.logs.treatments.networks import Images
from tacit.logs.treatments.pseudonyms import Key, Note

Octets = NDArray[np.uint8]

_KEPT = ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/128", "::1/128", "ff00::/8")
_INSIDE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "fe80::/10", "fc00::/7")
_MAPPED = bytes(10) + b"\xff\xff"
_MOST_WALKS = 64
_MOST_REMEMBERED = 300_000


class _Networks:
    """Addresses that share a prefix with one of some networks."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._of: dict[int, tuple[Octets, Octets]] = {}
        networks = [ip_network(text) for text in texts]
        for width in (4, 16):
            own = [network for network in networks if network.max_prefixlen == 8 * width]
            firsts, masks = (b"".join(part.packed for part in parts) for parts in zip(*((n.network_address, n.netmask) for n in own), strict=True))
            self._of[width] = np.frombuffer(firsts, np.uint8).reshape(-1, width), np.frombuffer(masks, np.uint8).reshape(-1, width)

    def masks(self, octets: Octets) -> tuple[NDArray[np.bool_], Octets]:
        """Which addresses are in one, and that network's mask."""
        firsts, masks = self._of[octets.shape[1]]
        if octets.shape[1] == 4:
            return _masks(*(np.ascontiguousarray(part).view(np.uint32)[:, 0] for part in (octets, firsts, masks)))
        holding = ((octets[:, None, :] & masks) == firsts).all(axis=2)
        return holding.any(axis=1), masks[holding.argmax(axis=1)]

    def hold(self, octets: Octets) -> NDArray[np.bool_]:
        """Which addresses are in one."""
        return self.masks(octets)[0]


class Addresses:
    """Pseudonyms of addresses as text.

    >>> from tacit.logs.keys import EpochKey
    >>> addresses = Addresses(EpochKey.for_tests())
    >>> first, second, third = addresses.texts(["10.1.2.3", "127.0.0.1", "not an address"])
    >>> first.startswith("10."), first != "10.1.2.3", second, third
    (True, True, '127.0.0.1', None)

    Args:
        key: of the epoch.
        kept: networks beyond the special ones whose addresses stay.
        note: told of each pseudonym.
    """

    def __init__(self, key: Key, *, kept: Sequence[str] = (), note: Note | None = None) -> None:
        self._note = note
        self._pseudonyms = AddressPseudonyms(key.secret("address"))
        self._kept, self._inside = _Networks((*_KEPT, *kept)), _Networks(_INSIDE)
        self._memo: dict[str, str | None] = {}
        self._more = tuple(kept)

    def __repr__(self) -> str:
        return "Addresses(...)"

    def one(self, text: str) -> str | None:
        """The pseudonym of an address, or ``None`` for what is none."""
        if text in self._memo:
            return self._memo[text]
        return self.texts([text])[0] if _maybe(text) else None

    def texts(self, texts: Sequence[str]) -> list[str | None]:
        """The pseudonyms of many, all in one call; ``None`` for what is no address. A zone (``%eth0``) and brackets are left out."""
        missing = list(set(texts).difference(self._memo))
        if missing:
            if len(self._memo) > _MOST_REMEMBERED:
                self._memo.clear()
                missing = list(set(texts))
            fresh = self._fresh(missing)
            self._memo.update(zip(missing, fresh, strict=True))
            if self._note is not None:
                for text, pseudonym in zip(missing, fresh, strict=True):
                    if pseudonym is not None and pseudonym != text:
                        self._note("address", pseudonym, text)
        return list(map(self._memo.__getitem__, texts))

    def _fresh(self, texts: Sequence[str]) -> list[str | None]:
        packed = [_packed(text) for text in texts]
        found: list[str | None] = [None] * len(texts)
        for width, family in ((4, socket.AF_INET), (16, socket.AF_INET6)):
            places = [place for place, value in enumerate(packed) if value is not None and len(value) == width]
            if places:
                octets = np.frombuffer(b"".join(packed[place] or b"" for place in places), np.uint8).reshape(-1, width)
                new = self.octets(octets).tobytes()
                for begin, place in enumerate(places):
                    found[place] = socket.inet_ntop(family, new[width * begin : width * (begin + 1)])
        return found

    def octets(self, octets: Octets) -> Octets:
        """The same for uint8 ``[addresses, 4]`` or ``[addresses, 16]``."""
        mapped = octets.shape[1] == 16 and (octets[:, :12] == np.frombuffer(_MAPPED, np.uint8)).all(axis=1)
        found = self._plain(octets)
        if np.any(mapped):
            found[mapped, :12] = octets[mapped, :12]
            found[mapped, 12:] = self._plain(np.ascontiguousarray(octets[mapped, 12:]))
        return found

    def networks(self, cidr: str) -> list[str]:
        """The networks of the pseudonyms of all addresses of a network: usually one.

        There are several where the network, or its pseudonym, holds special or private addresses beside others, for those are treated otherwise.

        >>> from tacit.logs.keys import EpochKey
        >>> addresses = Addresses(EpochKey.for_tests())
        >>> addresses.networks("10.0.0.0/8"), addresses.networks("127.0.0.1/32"), len(addresses.networks("8.8.8.0/24"))
        (['10.0.0.0/8'], ['127.0.0.1/32'], 1)
        """
        return Images((*_KEPT, *self._more, *_INSIDE), self._plain, self._pseudonyms.octets).of(cidr)

    def _plain(self, octets: Octets) -> Octets:
        found = self._pseudonyms.octets(octets)
        inside, masks = self._inside.masks(octets)
        found[inside] = (octets & masks | found & ~masks)[inside]
        kept = self._kept.hold(octets)
        found[kept] = octets[kept]
        self._walk(found, ~(inside | kept))
        self._unfix(found, octets, kept)
        return found

    def _unfix(self, found: Octets, octets: Octets, kept: NDArray[np.bool_]) -> None:
        """Whoever is mapped to himself changes places with his neighbour, who is, too; not with one that the policy keeps."""
        rows = np.flatnonzero((found == octets).all(axis=1) & ~kept)
        if len(rows):
            neighbours = octets[rows].copy()
            neighbours[:, -1] ^= 1
            rows, neighbours = rows[~self._kept.hold(neighbours)], neighbours[~self._kept.hold(neighbours)]
            found[rows] = neighbours

    def _walk(self, found: Octets, public: NDArray[np.bool_]) -> None:
        rows = np.flatnonzero(public)
        for _ in range(_MOST_WALKS):
            taken = self._kept.hold(found[rows]) | self._inside.hold(found[rows])
            rows = rows[taken]
            if not len(rows):
                return
            found[rows] = self._pseudonyms.octets(np.ascontiguousarray(found[rows]))


def _masks(words: NDArray[np.uint32], firsts: NDArray[np.uint32], masks: NDArray[np.uint32]) -> tuple[NDArray[np.bool_], Octets]:
    """The same for addresses and networks as words: network by network is faster than all at once, byte by byte."""
    found, own = np.zeros(len(words), bool), np.zeros(len(words), np.uint32)
    for first, mask in zip(firsts[::-1], masks[::-1], strict=True):
        here = (words & mask) == first
        found |= here
        np.copyto(own, mask, where=here)
    return found, own.view(np.uint8).reshape(-1, 4)


def _maybe(text: str) -> bool:
    return ":" in text or (text[:1].isdigit() and text.count(".") == 3)


def _packed(text: str) -> bytes | None:
    if text.startswith("["):
        text = text.strip("[]")
    text = text.partition("%")[0]
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):
        return None
