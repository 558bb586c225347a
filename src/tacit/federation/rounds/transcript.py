"""What all honest sites must have seen alike before any of them opens a mask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tacit.crypto import digest
from tacit.federation.rounds.wire import Address

SURVIVORS = "tacit.round.survivors"


def of_adverts(adverts: Mapping[str, bytes]) -> bytes:
    """Digest of every site's signed keys."""
    return digest({site: bytes(advert) for site, advert in adverts.items()}, domain="tacit.round.adverts")


def of_input(adverts: bytes, *, sharers: Iterable[str], question: bytes, bits: int, size: int) -> bytes:
    """Digest of the keys, of who masks with whom, and of what was asked."""
    asked = {"adverts": adverts, "sharers": sorted(sharers), "question": question, "bits": bits, "size": size}
    return digest(asked, domain="tacit.round.input")


def of_survivors(asked: bytes, *, address: Address, survivors: Iterable[str]) -> bytes:
    """What a site signs once in a round: who is left, after all of that."""
    return digest({**address.to_dict(), "input": asked, "survivors": sorted(survivors)}, domain=SURVIVORS)
