"""One site's side of one masked round: bytes in, bytes out, each stage once, and no second chance after a contradiction.

Stages as in Bonawitz et al. 2017 (figure 4), with signed keys and the consistency check of its malicious setting: advertise, share, masked, agree,
unmask. docs/protocol.md has the whole of it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tacit.crypto import Share, SigningKey, canonical_bytes, split_secret
from tacit.crypto.shares import SET_BYTES
from tacit.errors import ProtocolViolation, UsageError
from tacit.federation.roster import COORDINATOR, Roster
from tacit.federation.rounds import transcript
from tacit.federation.rounds.asking import asked_in
from tacit.federation.rounds.masks import add_masks, packed, reduced, require_shape
from tacit.federation.rounds.pairs import pair_mask, public_of, seal, self_mask, unseal
from tacit.federation.rounds.wire import Address, Message, Stage, read
from tacit.questions.base import Sums

Contribute = Callable[[bytes, int], Sums]
"""What a site answers to a question (canonical text) of so many coordinates: its noised sum, int64."""

_VALUE = 64  # key, tag and 32 bytes of secret: see `split_secret`


@dataclass
class _Peer:
    """What a site knows of another one in this round."""

    masking: bytes
    sealing: bytes
    shares: tuple[Share, Share] | None = None  # of its self-mask seed, of its masking key


@dataclass
class _Secrets:
    """What a site must forget when a round ends, however it ends."""

    masking: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    sealing: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    seed: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)


class SiteRound:
    """The state of one site in one round.

    Guarantees:
        For each other site it gives away a share of the self-mask seed or a share of the masking key, never both, and only for one set of survivors
        that t sites have signed after seeing the same keys and the same question. The same request again gets the same bytes; a different one at a
        stage that was answered ends the round, as does anything after that.

    Args:
        roster: who takes part.
        name: which site this is.
        key: its signing key.
        address: which round.
        contribute: called once, at the masked stage.
    """

    def __init__(self, roster: Roster, name: str, *, key: SigningKey, address: Address, contribute: Contribute) -> None:
        if roster.key(name) != key.public or address.federation != roster.id:
            raise UsageError(f"Expected the roster's key of «{name}» and an address in its federation; got others.")
        self._roster, self._name, self._key, self.address = roster, name, key, address
        self._contribute = contribute
        self._parties = roster.parties
        self._secrets: _Secrets | None = _Secrets()
        self._answered: dict[Stage, tuple[bytes, bytes]] = {}
        self._peers: dict[str, _Peer] = {}
        self._adverts = self._asked = self._agreed = b""
        self._survivors: tuple[str, ...] = ()

    def handle(self, stage: Stage, request: bytes) -> bytes:
        """The answer to the coordinator's request at a stage.

        Raises:
            ProtocolViolation: if the request breaks the rules; the round stays as it was, unless the request contradicts an earlier one.
            SignatureInvalid: if something in it is not signed by whom it should be.
            TacitError: whatever ``contribute`` raises; the stage can be asked again then.
        """
        if stage in self._answered:
            return self._again(stage, request)
        if self._secrets is None:
            raise ProtocolViolation(f"Round {self.address.round} is over at this site. Nothing more is answered in it.")
        if len(self._answered) != stage - 1:
            due = Stage(len(self._answered) + 1)
            raise ProtocolViolation(f"Stage {stage.name} came out of turn in round {self.address.round}. Ask stage {due.name} first.")
        message = read(request, roster=self._roster, address=self.address, stage=stage, sender=COORDINATOR)
        body, seen = _STEPS[stage](self, message)
        answer = Message(self.address, stage, self._name, seen, body).signed(self._key)
        self._answered[stage] = (request, answer)
        if stage is Stage.UNMASK:
            self.forget()
        return answer

    def forget(self) -> None:
        """Drop every secret; what was answered can still be repeated."""
        self._secrets = None
        for peer in self._peers.values():
            peer.shares = None

    def _again(self, stage: Stage, request: bytes) -> bytes:
        before, answer = self._answered[stage]
        if request == before:
            return answer
        read(request, roster=self._roster, address=self.address, stage=stage, sender=COORDINATOR)
        self.forget()
        raise ProtocolViolation(
            f"The coordinator asked stage {stage.name} of round {self.address.round} twice, differently. This site has dropped the round's keys; "
            "ask whoever runs the coordinator why."
        )

    def _live(self) -> _Secrets:
        if self._secrets is None:
            raise ProtocolViolation(f"Round {self.address.round} is over at this site. Nothing more is answered in it.")
        return self._secrets

    def _advertise(self, message: Message) -> tuple[bytes, bytes]:
        message.content()
        own = self._live()
        return canonical_bytes({"masking": public_of(own.masking), "sealing": public_of(own.sealing)}), b""

    def _share(self, message: Message) -> tuple[bytes, bytes]:
        adverts = _mapping(message.content("adverts")["adverts"])
        self._require_enough(adverts, Stage.SHARE)
        if adverts.get(self._name) != self._answered[Stage.ADVERTISE][1]:
            raise ProtocolViolation("The keys that are said to be this site's are not those it sent. Nothing was given away.")
        peers = read_adverts(adverts, roster=self._roster, address=self.address)
        self._peers = {site: _Peer(*keys) for site, keys in peers.items()}
        self._adverts = transcript.of_adverts(adverts)
        return canonical_bytes({"boxes": self._boxes()}), self._adverts

    def _boxes(self) -> dict[str, bytes]:
        """Shares of both secrets for every other site; this site's own stay here."""
        own, names = self._live(), sorted(self._peers)
        split = [split_secret(secret, shares=len(names), threshold=self._parties.threshold) for secret in (own.seed, own.masking.private_bytes_raw())]
        boxes: dict[str, bytes] = {}
        for site, seed, key in zip(names, *split, strict=True):
            if site == self._name:
                self._peers[site].shares = (seed, key)
            else:
                text = seed.set_id + seed.value + key.set_id + key.value
                boxes[site] = seal(own.sealing, self._peers[site].sealing, text, bound_to=self._adverts)
        return boxes

    def _masked(self, message: Message) -> tuple[bytes, bytes]:
        question, content = asked_in(message.body, "boxes", "bits", "size")
        boxes, bits, size = _mapping(content["boxes"]), content["bits"], content["size"]
        try:
            require_shape(bits, size)
        except UsageError as error:
            raise ProtocolViolation(str(error)) from error
        sharers = {*boxes, self._name}
        self._require_enough(sharers, Stage.MASKED)
        opened = self._opened(boxes)
        asked = transcript.of_input(self._adverts, sharers=sharers, question=question, bits=bits, size=size)
        vector = self._contribute(question, size)
        for site, shares in opened.items():
            self._peers[site].shares = shares
        self._peers = {site: peer for site, peer in self._peers.items() if site in sharers}
        self._asked = asked
        return self._under_masks(vector, bits=bits, size=size), asked

    def _opened(self, boxes: Mapping[str, bytes]) -> dict[str, tuple[Share, Share]]:
        if self._name in boxes or not boxes.keys() <= self._peers.keys():
            raise ProtocolViolation("Boxes came from sites that sent no keys in this round. Nothing was given away.")
        own, place, needed = self._live(), sorted(self._peers).index(self._name) + 1, self._parties.threshold
        opened: dict[str, tuple[Share, Share]] = {}
        for site, box in boxes.items():
            text = unseal(own.sealing, self._peers[site].sealing, box, bound_to=self._adverts)
            opened[site] = read_shares(text, threshold=needed, place=place)
        return opened

    def _under_masks(self, vector: Sums, *, bits: int, size: int) -> bytes:
        if vector.shape != (size,):
            raise UsageError(f"Expected an answer of {size} coordinates; got {vector.shape}.")
        own, residues = self._live(), reduced(vector, bits)
        keys = [(self_mask(own.seed, bound_to=self._adverts), True)]
        keys += [
            (pair_mask(own.masking, peer.masking, bound_to=self._adverts), self._name < site)
            for site, peer in sorted(self._peers.items()) if site != self._name
        ]
        add_masks(residues, keys, bits)
        return packed(residues, bits)

    def _agree(self, message: Message) -> tuple[bytes, bytes]:
        survivors = message.content("survivors")["survivors"]
        if not isinstance(survivors, list) or not all(isinstance(site, str) for site in survivors) or survivors != sorted(set(survivors)):
            raise ProtocolViolation("Expected an ordered list of different survivors. Nothing was given away.")
        self._require_enough(survivors, Stage.AGREE)
        if self._name not in survivors or not set(survivors) <= self._peers.keys():
            raise ProtocolViolation("The survivors lack this site, or name one that did not share. Nothing was given away.")
        self._survivors = tuple(survivors)
        self._agreed = transcript.of_survivors(self._asked, address=self.address, survivors=survivors)
        return self._key.sign(self._agreed, context=transcript.SURVIVORS), self._agreed

    def _unmask(self, message: Message) -> tuple[bytes, bytes]:
        signatures = _mapping(message.content("signatures")["signatures"])
        if not signatures.keys() <= set(self._survivors):
            raise ProtocolViolation("Signatures came from sites that are no survivors. Nothing was given away.")
        self._require_enough(signatures, Stage.UNMASK)
        for site, signature in signatures.items():
            self._roster.key(site).verify(self._agreed, signature, context=transcript.SURVIVORS)
        seeds: dict[str, bytes] = {}
        keys: dict[str, bytes] = {}
        for site, peer in self._peers.items():
            if peer.shares is None:
                raise ProtocolViolation("This site has dropped its shares. Nothing more is answered in this round.")
            alive = site in self._survivors
            share = peer.shares[0 if alive else 1]
            (seeds if alive else keys)[site] = share.set_id + share.value
        return canonical_bytes({"seeds": seeds, "keys": keys}), self._agreed

    def _require_enough(self, sites: Sized, stage: Stage) -> None:
        needed = self._parties.threshold
        if len(sites) < needed:
            raise ProtocolViolation(f"Expected at least {needed} sites at stage {stage.name}; got {len(sites)}. Nothing was given away.")


_STEPS: Mapping[Stage, Callable[[SiteRound, Message], tuple[bytes, bytes]]] = {
    Stage.ADVERTISE: SiteRound._advertise, Stage.SHARE: SiteRound._share, Stage.MASKED: SiteRound._masked, Stage.AGREE: SiteRound._agree,
    Stage.UNMASK: SiteRound._unmask,
}


def read_adverts(adverts: Mapping[str, bytes], *, roster: Roster, address: Address) -> dict[str, tuple[bytes, bytes]]:
    """The two public keys of each site.

    Raises:
        ProtocolViolation: if an advert is not what it should be, or a key occurs twice.
        SignatureInvalid: if a site did not sign its own.
    """
    found: dict[str, tuple[bytes, bytes]] = {}
    for site, advert in adverts.items():
        if site not in roster.sites:
            raise ProtocolViolation("Keys came from a site that the roster does not name. Nothing was given away.")
        content = read(advert, roster=roster, address=address, stage=Stage.ADVERTISE, sender=site).content("masking", "sealing")
        keys = content["masking"], content["sealing"]
        if not all(isinstance(key, bytes) and len(key) == 32 for key in keys):
            raise ProtocolViolation("Expected two public keys of 32 bytes from each site. Nothing was given away.")
        found[site] = keys
    if len({key for keys in found.values() for key in keys}) != 2 * len(found):
        raise ProtocolViolation("A public key occurs twice in one round. Nothing was given away.")
    return found


def read_shares(text: bytes, *, threshold: int, place: int) -> tuple[Share, Share]:
    """The two shares in an opened box.

    Raises:
        ProtocolViolation: if there are not two.
    """
    length = SET_BYTES + _VALUE
    if len(text) != 2 * length:
        raise ProtocolViolation("A box holds something else than two shares. Nothing was given away.")
    return read_share(text[:length], threshold=threshold, place=place), read_share(text[length:], threshold=threshold, place=place)


def read_share(text: bytes, *, threshold: int, place: int) -> Share:
    """One share, as messages hold it.

    Raises:
        ProtocolViolation: if it has another length.
    """
    if len(text) != SET_BYTES + _VALUE:
        raise ProtocolViolation(f"Expected a share of {SET_BYTES + _VALUE} bytes; got {len(text)}.")
    return Share(text[:SET_BYTES], threshold, place, text[SET_BYTES:])


def _mapping(value: object) -> dict[str, bytes]:
    if not isinstance(value, dict) or not all(isinstance(item, bytes) for item in value.values()):
        raise ProtocolViolation("Expected bytes by site's name in a request. Nothing was given away.")
    return value
