"""One masked round over the line, and how two rounds share their calls.

A round alone takes five calls. In a run of many, the first two stages of each round travel with the third and fourth of the one before: three calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tacit.errors import RoundAborted
from tacit.federation.rounds.coordinator import CoordinatorRound
from tacit.federation.rounds.wire import Control, Stage
from tacit.federation.sites import Sites
from tacit.questions import Frame, Update
from tacit.questions.base import Sums

Model = tuple[Frame, Sequence[Update]]
Bytes = dict[str, bytes]


class RoundOnLine:
    """Takes a round through its stages.

    Args:
        sites: who is asked.
        core: the coordinator's state of the round.
    """

    def __init__(self, sites: Sites, core: CoordinatorRound) -> None:
        self._sites, self.core = sites, core
        self._shared: Bytes | None = None

    def total(
        self, question: bytes, *, bits: int, size: int, following: RoundOnLine | None = None, model: Model | None = None,
    ) -> Sums:
        """The sum of the survivors' answers; on the way, the first two stages of the ``following`` round.

        Args:
            question: canonical text.
            bits: of a coordinate.
            size: how many coordinates.
            following: a round that has not begun.
            model: for sites that have forgotten it.

        Raises:
            RoundAborted: if too few sites are left.
        """
        if self._shared is None:
            self._begin()
        requests = self.core.masked(self._shared or {}, question=question, bits=bits, size=size)
        parts = self._both(requests, following, following.core.advertise() if following else {})
        (answers, *rest), forgetful = exchange_rounds(self._sites, Stage.MASKED, *parts)
        if forgetful and model is not None:
            answers |= self._with_context(requests, forgetful, model)
        parts = self._both(self.core.agree(answers), following, following._second(rest[0]) if following else {})
        (answers, *rest), _ = exchange_rounds(self._sites, Stage.AGREE, *parts)
        if following is not None and rest and rest[0]:
            following._shared = rest[0]
        (answers,), _ = exchange_rounds(self._sites, Stage.UNMASK, (self.core, self.core.unmask(answers)))
        return self.core.total(answers)

    def _begin(self) -> None:
        (answers,), _ = exchange_rounds(self._sites, Stage.ADVERTISE, (self.core, self.core.advertise()))
        (self._shared,), _ = exchange_rounds(self._sites, Stage.SHARE, (self.core, self.core.share(answers)))

    def _both(self, requests: Bytes, following: RoundOnLine | None, others: Bytes) -> list[tuple[CoordinatorRound, Bytes]]:
        return [(self.core, requests)] if following is None else [(self.core, requests), (following.core, others)]

    def _second(self, adverts: Bytes) -> Bytes:
        """The second stage's requests; none if too few sent keys: then the round begins when it is its turn."""
        try:
            return self.core.share(adverts)
        except RoundAborted:
            return {}

    def _with_context(self, requests: Bytes, forgetful: Sequence[str], model: Model) -> Bytes:
        """The masked vectors of sites that had forgotten the model, after handing it to them."""
        frame, updates = model
        content = {"frame": frame.to_dict(), "updates": [update.to_dict() for update in updates]}
        supplied, refusals = self._sites.control(Control.SUPPLY, run=self.core.address.run, content=content, sites=forgetful)
        self.core.missing |= {site: str(refusal) for site, refusal in refusals.items()}
        (answers,), _ = exchange_rounds(self._sites, Stage.MASKED, (self.core, {site: requests[site] for site in supplied}))
        for site in answers:
            self.core.missing.pop(site, None)
        return answers


def exchange_rounds(sites: Sites, stage: Stage, *parts: tuple[CoordinatorRound, Mapping[str, bytes]]) -> tuple[list[Bytes], list[str]]:
    """One call with the requests of one or two rounds.

    Returns each round's answers, and the sites that asked for the model. Who did not answer a round is noted in its `missing`.
    """
    names = sorted({site for _, requests in parts for site in requests})
    asked = {site: [requests[site] for _, requests in parts if site in requests] for site in names}
    answers, refusals = sites.exchange(stage.name.lower(), asked)
    found: list[Bytes] = [{} for _ in parts]
    forgetful: list[str] = []
    for site in names:
        mine = [index for index, (_, requests) in enumerate(parts) if site in requests]
        for place, index in enumerate(mine):
            refusal = refusals[site][place] if site in refusals else None
            if refusal is None or not refusal.kind:
                found[index][site] = answers[site][place]
                continue
            parts[index][0].missing[site] = str(refusal)
            if refusal.kind == "NeedsContext":
                forgetful.append(site)
    return found, forgetful
