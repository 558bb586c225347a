"""The coordinator's side of one masked round: it relays, adds, and opens only the sum. It is trusted for nothing but to be there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, islice
from typing import NoReturn

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tacit.crypto import Share, SigningKey, canonical_bytes, combine_shares
from tacit.errors import ProtocolViolation, RoundAborted, SignatureInvalid, UsageError, VerificationError
from tacit.federation.roster import COORDINATOR, Roster
from tacit.federation.rounds import transcript
from tacit.federation.rounds.asking import asking, deflated
from tacit.federation.rounds.masks import Residues, add_masks, centred, require_shape, unpacked
from tacit.federation.rounds.pairs import pair_mask, self_mask
from tacit.federation.rounds.site import read_adverts, read_share
from tacit.federation.rounds.wire import Address, Message, Stage, read_answers
from tacit.questions.base import Sums

Answers = Mapping[str, bytes]
Requests = dict[str, bytes]
_MOST_TRIES = 64


class CoordinatorRound:
    """Drives one round: each method takes the sites' answers to the last requests and gives the next ones.

    ::

        requests = round.advertise()
        requests = round.share(answers)
        requests = round.masked(answers, question=..., bits=32, size=31)
        requests = round.agree(answers)
        requests = round.unmask(answers)
        total = round.total(answers)

    A site whose answer is missing or not what it should be is left out from then on, and `missing` says why.

    Args:
        roster: who takes part.
        key: the coordinator's signing key.
        address: which round.

    Raises:
        RoundAborted: from any method, if fewer sites are left than must be.
    """

    def __init__(self, roster: Roster, *, key: SigningKey, address: Address) -> None:
        if roster.coordinator != key.public or address.federation != roster.id:
            raise UsageError("Expected the roster's key of the coordinator and an address in its federation; got others.")
        self._roster, self._key, self.address = roster, key, address
        self._needed = roster.parties.threshold
        self.missing: dict[str, str] = {}
        self._adverts: dict[str, bytes] = {}
        self._public: dict[str, tuple[bytes, bytes]] = {}
        self._advertised = self._asked = self._agreed = b""
        self._sharers: tuple[str, ...] = ()
        self._vectors: dict[str, Residues] = {}
        self._bits = self._size = 0

    @property
    def survivors(self) -> tuple[str, ...]:
        """Whose contributions are in the sum."""
        return tuple(sorted(self._vectors))

    def advertise(self) -> Requests:
        """Ask every site for its keys of this round."""
        return {site: self._request(Stage.ADVERTISE, {}) for site in self._roster.names}

    def share(self, answers: Answers) -> Requests:
        """Hand everybody's keys to everybody."""
        found = self._read(answers, Stage.ADVERTISE, self._roster.names)
        self._public = self._keys({site: bytes(answers[site]) for site in sorted(found)})
        self._require_enough(self._public, Stage.ADVERTISE)
        self._adverts = {site: bytes(answers[site]) for site in self._public}
        self._advertised = transcript.of_adverts(self._adverts)
        request = self._request(Stage.SHARE, {"adverts": self._adverts})
        return dict.fromkeys(self._adverts, request)

    def _keys(self, adverts: Mapping[str, bytes]) -> dict[str, tuple[bytes, bytes]]:
        """Each site's two keys; sites that sent none, or one that another sent too, are left out."""
        keys: dict[str, tuple[bytes, bytes]] = {}
        for site, advert in adverts.items():
            try:
                keys |= read_adverts({site: advert}, roster=self._roster, address=self.address)
            except ProtocolViolation as error:
                self.missing[site] = f"garbled: {error}"
        uses = Counter(key for pair in keys.values() for key in pair)
        repeated = {site for site, pair in keys.items() if any(uses[key] > 1 for key in pair)}
        self.missing |= dict.fromkeys(repeated, "garbled: another site sent the same key")
        return {site: pair for site, pair in keys.items() if site not in repeated}

    def masked(self, answers: Answers, *, question: bytes, bits: int, size: int) -> Requests:
        """Hand each site the boxes for it, and the question."""
        require_shape(bits, size)
        boxes = self._boxes(self._read(answers, Stage.SHARE, tuple(self._adverts)))
        self._sharers, self._bits, self._size = tuple(sorted(boxes)), bits, size
        self._asked = transcript.of_input(self._advertised, sharers=self._sharers, question=question, bits=bits, size=size)
        packed = deflated(question)
        return {site: self._asking(site, boxes, packed) for site in self._sharers}

    def _asking(self, site: str, boxes: Mapping[str, Mapping[str, bytes]], packed: bytes) -> bytes:
        mine = {sender: boxes[sender][site] for sender in self._sharers if sender != site}
        body = asking(packed, boxes=mine, bits=self._bits, size=self._size)
        return Message(self.address, Stage.MASKED, COORDINATOR, b"", body).signed(self._key)

    def _boxes(self, found: Mapping[str, Message]) -> dict[str, dict[str, bytes]]:
        """By sender, then by recipient; a sender without a box for everybody is left out."""
        boxes: dict[str, dict[str, bytes]] = {}
        for sender, message in found.items():
            try:
                sent = message.content("boxes")["boxes"]
            except ProtocolViolation:
                sent = None
            fits = isinstance(sent, dict) and sent.keys() == self._adverts.keys() - {sender} and all(isinstance(box, bytes) for box in sent.values())
            if fits and message.transcript == self._advertised:
                boxes[sender] = sent
            else:
                self.missing[sender] = "garbled: it did not share with every site"
        self._require_enough(boxes, Stage.SHARE)
        return boxes

    def agree(self, answers: Answers) -> Requests:
        """Keep the masked vectors that came, and ask those sites to sign who is left."""
        for site, message in self._read(answers, Stage.MASKED, self._sharers).items():
            try:
                self._require_transcript(message, self._asked)
                self._vectors[site] = unpacked(message.body, self._bits, self._size)
            except ProtocolViolation as error:
                self.missing[site] = f"garbled: {error}"
        self._require_enough(self._vectors, Stage.MASKED)
        self._agreed = transcript.of_survivors(self._asked, address=self.address, survivors=self.survivors)
        return dict.fromkeys(self.survivors, self._request(Stage.AGREE, {"survivors": list(self.survivors)}))

    def unmask(self, answers: Answers) -> Requests:
        """Show the survivors that enough of them have signed the same."""
        signatures: dict[str, bytes] = {}
        for site, message in self._read(answers, Stage.AGREE, self.survivors).items():
            try:
                self._roster.key(site).verify(self._agreed, message.body, context=transcript.SURVIVORS)
                signatures[site] = message.body
            except SignatureInvalid:
                self.missing[site] = "garbled: it signed other survivors"
        self._require_enough(signatures, Stage.AGREE)
        return dict.fromkeys(signatures, self._request(Stage.UNMASK, {"signatures": signatures}))

    def total(self, answers: Answers) -> Sums:
        """The sum of the survivors' contributions, int64 ``[size]``, if it lies within ±2^(bits-1).

        Raises:
            RoundAborted: if too few shares came.
            VerificationError: if shares were changed.
        """
        shares = self._shares(self._read(answers, Stage.UNMASK, self.survivors))
        total = np.zeros_like(next(iter(self._vectors.values())))
        for vector in self._vectors.values():
            np.add(total, vector, out=total)
        add_masks(total, self._masks_left(shares), self._bits)
        return centred(total, self._bits)

    def _masks_left(self, shares: Mapping[str, Sequence[Share]]) -> list[tuple[bytes, bool]]:
        """The masks that did not cancel, with the opposite sign."""
        masks: list[tuple[bytes, bool]] = []
        for site in self._sharers:
            secret = self._combined(shares[site])
            if site in self._vectors:
                masks.append((self_mask(secret, bound_to=self._advertised), False))
                continue
            private = X25519PrivateKey.from_private_bytes(secret)
            if private.public_key().public_bytes_raw() != self._public[site][0]:
                raise VerificationError(f"«{site}» shared another key than it masked with. Nothing was released; leave it out of the roster.")
            for other in self.survivors:
                masks.append((pair_mask(private, self._public[other][0], bound_to=self._advertised), site < other))
        return masks

    def _combined(self, shares: Sequence[Share]) -> bytes:
        """The secret; if a share was changed, from others, as far as there are any."""
        for chosen in islice(combinations(shares, self._needed), _MOST_TRIES):
            try:
                return combine_shares(chosen)
            except VerificationError:
                continue
        raise VerificationError("Shares do not give the secret they are of: at least one site changed its own. Nothing was released.")

    def _shares(self, found: Mapping[str, Message]) -> dict[str, list[Share]]:
        shares: dict[str, list[Share]] = {site: [] for site in self._sharers}
        places = {site: place for place, site in enumerate(sorted(self._adverts), start=1)}
        for site, message in found.items():
            try:
                opened = self._opened(message, places[site])
            except (ProtocolViolation, AttributeError, TypeError) as error:
                self.missing[site] = f"garbled: {error}"
                continue
            for owner, share in opened.items():
                shares[owner].append(share)
        if min(map(len, shares.values())) < self._needed:
            self._abort(Stage.UNMASK, min(map(len, shares.values())))
        return shares

    def _opened(self, message: Message, place: int) -> dict[str, Share]:
        content = message.content("seeds", "keys")
        seeds, keys = content["seeds"], content["keys"]
        if tuple(sorted(seeds)) != self.survivors or seeds.keys() | keys.keys() != set(self._sharers) or seeds.keys() & keys.keys():
            raise ProtocolViolation("it gave shares of other sites than it was asked for")
        return {owner: read_share(text, threshold=self._needed, place=place) for owner, text in (seeds | keys).items()}

    def _read(self, answers: Answers, stage: Stage, expected: Sequence[str]) -> dict[str, Message]:
        wanted = {site: data for site, data in answers.items() if site in expected}
        found, reasons = read_answers(wanted, roster=self._roster, address=self.address, stage=stage)
        self.missing |= reasons | {site: self.missing.get(site, f"no answer at stage {stage.name}") for site in expected if site not in wanted}
        self._require_enough(found, stage)
        return found

    def _require_transcript(self, message: Message, expected: bytes) -> None:
        if message.transcript != expected:
            raise ProtocolViolation("it saw other keys, sites or questions")

    def _require_enough(self, found: Mapping[str, object], stage: Stage) -> None:
        if len(found) < self._needed:
            self._abort(stage, len(found))

    def _abort(self, stage: Stage, count: int) -> NoReturn:
        reasons = "; ".join(f"«{site}»: {why}" for site, why in sorted(self.missing.items()))
        raise RoundAborted(
            f"Round {self.address.round} ended at stage {stage.name}: {count} of {len(self._roster.sites)} sites were left, {self._needed} are "
            f"needed ({reasons or 'no reason known'}). Nothing was released, and what was charged stays charged. Bring the sites back and start "
            "a new run."
        )

    def _request(self, stage: Stage, content: dict[str, object]) -> bytes:
        return Message(self.address, stage, COORDINATOR, b"", canonical_bytes(content)).signed(self._key)
