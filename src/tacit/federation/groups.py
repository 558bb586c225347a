"""Sums that a few poisoned sites cannot turn: several masked federations, and a coordinate-wise median or trimmed mean over what each of them says.

Masks hide single sites' sums, so nobody can tell which one is poisoned. Groups of sites that each meet the table alone can be told apart: each
group's sum is released with all of the plan's noise, scaled to the whole, and the middle is taken coordinate by coordinate (Yin et al. 2018, arXiv
1803.01498).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tacit.errors import OffPlan, Refused, RoundAborted, UsageError
from tacit.federation.local import LocalFederation
from tacit.federation.masked import MaskedFederation
from tacit.federation.table import Parties
from tacit.guarantee import Guarantee, PrivacyUnit, Relation
from tacit.guard import Conversation, Cost, Filter, Plan
from tacit.questions import Frame, Question, Select, SelectKeys, Update
from tacit.questions.base import Sums

LEAST_GROUPS = 3
RULES = ("median", "trimmed")
FAR = 3.0
"""A group is reported as outlying where it is so many times further from the middle than the groups' median distance."""

Group = LocalFederation | MaskedFederation
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class GroupReport:
    """How far apart the groups were at one step. A sign, not a proof: groups with other patients differ without any malice.

    Args:
        step: of the plan.
        distances: of each group's scaled sum from the middle, over the median of these distances; ``None`` for a group that gave no answer.
        missing: groups that gave none, by number, and why.
    """

    step: int
    distances: tuple[float | None, ...]
    missing: dict[int, str]

    @property
    def outlying(self) -> tuple[int, ...]:
        """The numbers of groups far from the others."""
        return tuple(group for group, distance in enumerate(self.distances) if distance is not None and distance > FAR)


class GroupedFederation:
    """An aggregator over groups of sites, of which a minority may be poisoned.

    Guarantees:
        Privacy: a unit lies at one site, a site in one group, and each group adds all the noise of the plan, so each unit's cost is that of the
        plan, as without groups; what is done with the groups' sums is post-processing. Robustness: with the median of k groups, each coordinate lies
        between honest groups' answers as long as fewer than k/2 groups hold a poisoned site; with the trimmed mean, as long as at most ``trim`` do.

        The price is noise. The mean of k equal groups' scaled sums has √k times the standard deviation that one sum with the same shares would have;
        the median of many groups another √(π/2) = 1.25 (of three 1.16). Learners are not told, and take the noise for the plan's.

    Args:
        groups: at least three, each of which meets the table of `Parties` alone, with policies that agree.
        rule: ``"median"`` or ``"trimmed"``.
        trim: how many groups are left out at each end of each coordinate under ``"trimmed"``.

    Raises:
        UsageError: if groups are too few, share a site, are not masked, or disagree.
    """

    mechanism = "skellam"

    def __init__(self, groups: Sequence[Group], *, rule: str = "median", trim: int = 1) -> None:
        if rule not in RULES:
            raise UsageError(f"Expected rule={rule!r} to be one of {', '.join(RULES)}.")
        least = LEAST_GROUPS if rule == "median" else max(LEAST_GROUPS, 2 * trim + 1)
        if len(groups) < least or trim < 1:
            raise UsageError(f"Expected at least {least} groups and trim={trim} >= 1; got {len(groups)} groups. With fewer, one of them decides.")
        self.groups, self.rule, self.trim, self.least = tuple(groups), rule, trim, least
        self.parties = tuple(_parties(group) for group in groups)
        _require_apart(groups)
        if len({(group.unit, group.relation, group.rows_per_unit) for group in groups}) != 1:
            raise UsageError("Expected policies that agree on unit, relation and rows per unit in all groups; these do not. Align them first.")

    @property
    def noise(self) -> str:
        """Which noise a plan must have."""
        return self.mechanism

    @property
    def unit(self) -> PrivacyUnit:
        """Who is protected: a unit at one site."""
        return self.groups[0].unit

    @property
    def relation(self) -> Relation:
        """The neighbouring relation."""
        return self.groups[0].relation

    @property
    def rows_per_unit(self) -> int:
        """Public assumption on how many rows a unit has."""
        return self.groups[0].rows_per_unit

    @property
    def count_cost(self) -> Cost:
        """The dearest of the groups' noised counts."""
        return max((group.count_cost for group in self.groups), key=lambda cost: cost.mu_squared or 0.0)

    @property
    def counts_units(self) -> bool:
        """Whether every group's size can be asked beside a plan."""
        return all(group.counts_units for group in self.groups)

    @property
    def accounting(self) -> Filter:
        """The filter that decides about plans: the first group's."""
        return self.groups[0].accounting

    @property
    def deterministic(self) -> bool:
        """Whether any noise comes from a test seed."""
        return any(group.deterministic for group in self.groups)

    @property
    def sizes(self) -> NDArray[np.float64]:
        """Each group's noised number of units, at least 1."""
        return np.maximum(1.0, np.array([group.size() for group in self.groups], np.float64))

    def size(self) -> int:
        """The groups' number times the middle of their sizes: no group can say it is most of the whole."""
        return round(len(self.groups) * float(self.middle(self.sizes[:, None])[0]))

    def middle(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The rule, coordinate by coordinate: ``[groups, size]`` to ``[size]``."""
        if self.rule == "median":
            return np.asarray(np.median(values, axis=0))
        return np.asarray(np.sort(values, axis=0)[self.trim : len(values) - self.trim].mean(axis=0))

    def open(self, plan: Plan) -> GroupedConversation:
        """Charge the whole plan in every group that agrees, after all have been asked whether they would.

        What can still happen between the question and the charge (another plan was charged, a site went away) leaves groups charged that opened
        before; a charge is never taken back.

        Raises:
            Refused: the first refusal, if too few groups would take part; nothing is charged then.
            RoundAborted: likewise, if sites did not answer; also if too few are left when it comes to charging: what was charged stays charged.
            UsageError: if policies admit one plan only, so that no group's size can be asked beside it; nothing is charged then.
        """
        sizes = self.sizes
        reasons = self._enough(dict(enumerate(self.groups)), lambda group: group.require(plan), {})[1]
        willing = {number: group for number, group in enumerate(self.groups) if number not in reasons}
        conversations, reasons = self._enough(willing, lambda group: group.open(plan), reasons)
        return GroupedConversation(self, plan, conversations=conversations, missing=reasons, sizes=sizes)

    def _enough(
        self, groups: Mapping[int, Group], ask: Callable[[Group], Answer], reasons: Mapping[int, str],
    ) -> tuple[dict[int, Answer], dict[int, str]]:
        """What the groups say, and why the others do not; the first refusal, if too few are left."""
        found: dict[int, Answer] = {}
        refused, first = dict(reasons), None
        for number, group in groups.items():
            try:
                found[number] = ask(group)
            except (Refused, RoundAborted) as error:
                refused[number], first = str(error), first or error
                if len(self.groups) - len(refused) < self.least:
                    raise first from None
        return found, refused


def _parties(group: Any) -> Parties:
    found = group.roster.parties if isinstance(group, MaskedFederation) else getattr(group, "parties", None)
    if not isinstance(found, Parties):
        raise UsageError("Expected groups of at least three sites each, with masked sums; pass MaskedFederation, or LocalFederation with parties.")
    return found


def _require_apart(groups: Sequence[Group]) -> None:
    """A site in two groups would spend twice, and count twice."""
    sites = [
        site for group in groups
        for site in ([key.raw for key in group.roster.sites.values()] if isinstance(group, MaskedFederation) else [id(g) for g in group.guards])
    ]  # fmt: skip
    if len(set(sites)) != len(sites):
        raise UsageError("Expected every site in one group; one is in two. Its units would be charged twice.")


class GroupedConversation:
    """A conversation with all groups; `reports` says how far apart they were at each step."""

    def __init__(
        self, federation: GroupedFederation, plan: Plan, *, conversations: Mapping[int, Conversation], missing: dict[int, str],
        sizes: NDArray[np.float64],
    ) -> None:
        self._federation, self.plan, self._conversations, self._missing = federation, plan, conversations, missing
        self._scales = federation.size() / sizes
        self.reports: list[GroupReport] = []

    def ask(self, step: int, question: Question, *, model: tuple[Frame, Sequence[Update]] | None = None) -> Sums:
        """The middle of the groups' noisy sums, each scaled to the whole.

        Raises:
            RoundAborted: if fewer groups are left than the rule needs.
        """
        answers: dict[int, NDArray[np.float64]] = {}
        missing = dict(self._missing)
        for number, conversation in self._conversations.items():
            try:
                answers[number] = conversation.ask(step, question, model=model).astype(np.float64) * self._scales[number]
            except RoundAborted as error:
                missing[number] = str(error)
        if len(answers) < self._federation.least:
            raise RoundAborted(f"Expected {self._federation.least} groups at step {step}; {len(answers)} are left. What was charged stays charged.")
        middle = self._federation.middle(np.stack(list(answers.values())))
        self.reports.append(self._report(step, answers, middle, missing))
        return np.asarray(np.rint(middle), np.int64)

    def _report(self, step: int, answers: dict[int, NDArray[np.float64]], middle: NDArray[np.float64], missing: dict[int, str]) -> GroupReport:
        lengths = {number: float(np.linalg.norm(answer - middle)) for number, answer in answers.items()}
        usual = float(np.median(list(lengths.values()))) or 1.0
        return GroupReport(step, tuple(lengths[n] / usual if n in lengths else None for n in range(len(self._federation.groups))), missing)

    @property
    def noise_excess(self) -> float:
        """How many times the planned variance the middle carries at most, if nobody is missing: that of the scaled mean, or of a median of many."""
        excess = [scale**2 * of.sites * float(of.share) for scale, of in zip(self._scales, self._federation.parties, strict=True)]
        return math.pi / 2 * float(np.mean(excess)) / len(excess)

    @property
    def suspicion(self) -> tuple[float, ...]:
        """At which share of the steps each group was outlying or gave no answer."""
        steps = max(len(self.reports), 1)
        return tuple(
            sum(number in report.outlying or number in report.missing for report in self.reports) / steps
            for number in range(len(self._federation.groups))
        )

    def select(self, step: int, question: Select | SelectKeys) -> dict[str, tuple[str, ...]]:
        """Not possible without one curator."""
        raise OffPlan("Expected declared categories and classes: selecting common values needs one curator. Declare them in a domain file.")

    @property
    def guarantee(self) -> Guarantee:
        """Of the group whose units have to trust most: a unit lies in one group, so no other group's answers are about it."""
        parties = self._federation.parties
        weakest = min((parties[number] for number in self._conversations), key=lambda of: (of.colluding, of.sites))
        dearest = max((conversation.guarantee for conversation in self._conversations.values()), key=lambda guarantee: guarantee.epsilon)
        return replace(dearest, trust=weakest.trust)

    @property
    def charge(self) -> tuple[int, str]:
        """The first group's entry."""
        return next(iter(self._conversations.values())).charge

    def close(self) -> None:
        """End all."""
        for conversation in self._conversations.values():
            conversation.close()
