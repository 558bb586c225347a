"""Where whole networks go when each of their addresses becomes its pseudonym."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv6Network, collapse_addresses, ip_network
from typing import Any

import numpy as np
from numpy.typing import NDArray

Octets = NDArray[np.uint8]
_MOST_WALKS = 64


class Images:
    """Networks of pseudonyms.

    Args:
        classes: special and private networks, within which addresses stay or are treated apart.
        treated: of addresses as bytes: their pseudonyms, within their class.
        once: of addresses as bytes: Crypto-PAn alone.
    """

    def __init__(self, classes: Sequence[str], treated: Callable[[Octets], Octets], once: Callable[[Octets], Octets]) -> None:
        self._classes = [ip_network(text) for text in classes]
        self._treated, self._once = treated, once

    def of(self, cidr: str) -> list[str]:
        """Networks that together hold exactly the pseudonyms of the addresses of a network.

        Args:
            cidr: such as ``10.1.0.0/16`` or ``2001:db8::/32``.
        """
        network = ip_network(cidr, strict=False)
        if isinstance(network, IPv6Network) and network.subnet_of(IPv6Network("::ffff:0:0/96")):
            inner = ip_network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
            images = map(ip_network, self.of(str(inner)))
            return [f"::ffff:{image.network_address}/{image.prefixlen + 96}" for image in images]
        return [str(image) for image in collapse_addresses(self._all(network))]

    def _all(self, network: Any) -> Iterator[Any]:
        waiting = [network]
        while waiting:
            now = waiting.pop()
            image = now if now.prefixlen == 0 else None if self._divided(now) else self._one(now)
            if image is None:
                waiting.extend(now.subnets())
            else:
                yield image

    def _divided(self, network: Any) -> bool:
        """Whether only a part of a network is of some class."""
        return any(network.version == other.version and network != other and network.supernet_of(other) for other in self._classes)

    def _within(self, network: Any) -> bool:
        return any(network.version == other.version and network.subnet_of(other) for other in self._classes)

    def _one(self, network: Any) -> Any | None:
        """Where a network goes as a whole; ``None`` if its halves go to different places."""
        if self._within(network) or network.num_addresses == 1:
            return _first(self._treated, network)
        now = network
        for _ in range(_MOST_WALKS):
            now = _first(self._once, now)
            if self._divided(now):
                return None
            if not self._within(now):
                break
        return now


def _first(change: Callable[[Octets], Octets], network: Any) -> Any:
    octets = np.frombuffer(network.network_address.packed, np.uint8)[None, :]
    return ip_network((change(octets)[0].tobytes(), network.prefixlen), strict=False)
