"""A pilot result as a real run would make it, to look at and to test with; and a strict reader of the page."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from types import ModuleType
from typing import Any

import pytest
from scipy.stats import beta

from tacit.pilot.recommend import Gates, recommend
from tacit.pilot.results import (
    AlertBudget,
    Attack,
    CalibrationBin,
    Candidate,
    Control,
    Cost,
    Encrypted,
    EvidenceBook,
    Group,
    LedgerInfo,
    Measure,
    Meta,
    NoisedValue,
    PilotResult,
    Rate,
    Threat,
    Utility,
    Words,
)

HEAD = "9f3c51d0a47be2286a1f0c9d5e8b7431c2d94f60718ea35b9d60f2c4e1a7b358"
GROUPS = (("department", "finance", 880), ("department", "engineering", 2140), ("department", "sales", 1310), ("department", "support", 690),
          ("site", "Basel", 2410), ("site", "Porto", 310))


@dataclass(frozen=True)
class Spec:
    name: str
    kind: str
    epsilon: float | None
    auc: float
    recall: float
    hits: int
    seconds: float
    sites: int = 1
    model: str = "200 trees over public splits"


SPECS = (
    Spec("Baseline", "baseline", None, 0.9921, 0.93, 570, 3.31, model="Gradient boosting, scikit-learn"),
    Spec("ε = 8", "private", 8, 0.9893, 0.925, 71, 0.44),
    Spec("ε = 3", "private", 3, 0.9870, 0.92, 52, 0.43),
    Spec("ε = 1", "private", 1, 0.9841, 0.91, 39, 0.43),
    Spec("ε = 0.1", "private", 0.1, 0.9432, 0.76, 31, 0.42),
    Spec("4 sites, ε = 1", "federated", 1, 0.9838, 0.905, 37, 0.61, sites=4),
    Spec("Logistic, ε = 1", "linear", 1, 0.9534, 0.80, 33, 0.21, model="Logistic regression"),
)


def _guaranteed(spec: Spec) -> float | None:
    return None if spec.epsilon is None else spec.epsilon * 0.988375  # a plan promises slightly less than it may spend


def clopper_pearson(hits: int, n: int) -> tuple[float, float]:
    low = 0.0 if hits == 0 else float(beta.ppf(0.025, hits, n - hits + 1))
    return low, 1.0 if hits == n else float(beta.ppf(0.975, hits + 1, n - hits))


def bound(fpr: float, epsilon: float, delta: float) -> float:
    return min(1.0, math.exp(epsilon) * fpr + delta, 1 - math.exp(-epsilon) * (1 - fpr - delta))


def make_rate(fpr: float, hits: int, *, n: int = 3000, epsilon: float | None, ref: str, resolvable: bool = True) -> Rate:
    low, high = clopper_pearson(hits, n)
    return Rate(fpr, Measure(hits / n, ref, low, high), None if epsilon is None else bound(fpr, epsilon, 1e-6), resolvable)


def _attack(spec: Spec, ref: str) -> Attack:
    shift = 0.5 + 0.35 * (spec.hits / 3000) ** 0.5
    return Attack(
        "likelihood ratio (LiRA)", Measure(shift, ref, shift - 0.012, shift + 0.012),
        (make_rate(0.01, spec.hits, epsilon=_guaranteed(spec), ref=ref),
         make_rate(0.001, spec.hits // 9, epsilon=_guaranteed(spec), ref=ref, resolvable=spec.kind != "federated")),
        16, 3000, 3000,
        Control("shuffled membership", "about 0.50", Measure(0.502, ref), True),
        Control("planted overfit model", "above 0.80", Measure(0.97, ref), True),
    )


def _groups(spec: Spec, base: str, ref: str) -> tuple[Group, ...]:
    made = []
    for i, (column, value, n) in enumerate(GROUPS):
        gap = 0.01 * (i - 2) * (1 + (1 - spec.recall))
        half = 1.2 / math.sqrt(n)
        score = spec.recall - gap
        made.append(Group(column, value, n, "Recall", Measure(score, ref, score - half, min(1.0, score + half)),
                          Measure(gap, ref, gap - half, gap + half),
                          Measure(0.01 * (i - 2), base), Measure(0.93 - 0.01 * (i - 2), base), resolvable=value != "Porto"))
    return tuple(made)


def _utility(spec: Spec, ref: str) -> Utility:
    bins = tuple(CalibrationBin(p, min(1.0, p * (0.9 + 0.02 * i)), 900 - 80 * i) for i, p in enumerate((0.02, 0.12, 0.3, 0.5, 0.71, 0.9)))
    return Utility(
        Measure(spec.auc, ref, spec.auc - 0.005, min(1.0, spec.auc + 0.004)),
        Measure(spec.recall - 0.08, ref, spec.recall - 0.12, spec.recall - 0.03),
        Measure(spec.recall, ref, spec.recall - 0.03, spec.recall + 0.025), Measure(0.61 * spec.recall, ref),
        Measure(0.021 + (1 - spec.auc) / 4, ref), bins, ref,
    )


def make_candidate(spec: Spec, book: EvidenceBook, base: str = "") -> Candidate:
    utility = book.measured(f"utility of {spec.name}", "2 held-out days, 200 bootstrap resamples of units")
    cost = book.measured(f"cost of {spec.name}", "processor time and peak memory of this process")
    leak = book.measured(f"attack on {spec.name}", "16 shadow models, 3,000 members, 3,000 others")
    private = spec.epsilon is not None
    trust = "curator" if spec.sites == 1 else f"distributed({spec.sites},3,1)"
    guaranteed = _guaranteed(spec)
    ref = book.charged(f"training of {spec.name}", entry=len(book.rows), digest="51ad0c9e77b2416f") if private else ""
    return Candidate(
        spec.name, spec.kind, guaranteed, 1e-6 if private else None,
        f"({guaranteed:.4g}, 1e-06)-DP per user-day, add/remove, {trust}, pld, on «simulated-soc»" if guaranteed else "no guarantee",
        ref, spec.model, trust, spec.sites, spec.epsilon * 7.3192 if spec.epsilon else None, "b2a9e1507cd34f88" if private else "",
        _utility(spec, utility), Cost(Measure(spec.seconds, cost), Measure(212.0 + 40 * spec.seconds, cost), Measure(1.9 + spec.seconds, cost)),
        (_attack(spec, leak),), _groups(spec, base or utility, utility) if spec.kind != "linear" else (), spec.epsilon,
        _encrypted(spec, cost) if spec.kind == "private" else None,
    )


def _encrypted(spec: Spec, ref: str) -> Encrypted:
    return Encrypted(Measure(7.31 + spec.seconds, ref), Measure(131.7 + spec.seconds, ref), Measure(294.92, ref), Measure(0.99986, ref))


def make_meta(book: EvidenceBook) -> Meta:
    data = book.measured("numbers of records", "counted on the owner's side")
    alerts = book.policy("alert budget: 20 a day", "tacit.toml, [pilot]")
    return Meta(
        "Pilot on a simulated enterprise", "simulated-soc", "simulated SOC", "user-day",
        "One user-day is everything one user did on one day: the guarantee covers all of it together, not just single events.",
        "add/remove", 1e-6, "2026-11-24 09:12 UTC", "0.1.0", "run-4f21c8", LedgerInfo(HEAD, 6, "pilot/assessment.db"), data, 31, 2000, 800, 40,
        "the last 2 of 7 days are held out", (1,), Words("intrusion", "intrusions", "user-day", "user-days"),
        AlertBudget("20 alerts a day", alerts, 20.0), "tacit pilot",
    )


def make_result(
    specs: tuple[Spec, ...] = SPECS, gates: Gates | None = None, *, change: Callable[[Candidate], Candidate] = lambda c: c,
) -> PilotResult:
    book = EvidenceBook()
    meta = make_meta(book)
    policy = book.policy("gates", "tacit.toml, [pilot.gates]")
    candidates = tuple(change(make_candidate(spec, book)) for spec in specs)
    chosen = gates or Gates(ref=policy)
    decision = recommend(candidates, Gates(chosen.auc_loss, chosen.recall_loss, chosen.attack_advantage, chosen.group_gap, policy), meta=meta)
    count = book.charged("noised number of units", entry=99, digest="c0ffee1122334455")
    return PilotResult(
        meta, candidates, decision.gates, decision.recommendation, book.rows,
        Threat("Somebody who can score any record with the model, knows how it was trained, and holds records like yours that were not used.",
               "One party, the curator, sees the records and adds the noise before anything leaves.",
               ("Two days of one user: over 30 days the budget adds up, see the table.", "What others know about a user from elsewhere.")),
        ("These are simulated records: repeat the pilot on your own before you decide.", *decision.warnings),
        (NoisedValue("number of user-days", 2013.0, count, 7.1),),
    )


def measures(value: Any) -> Iterator[Measure]:
    """Every measure of a result, however deep."""
    if isinstance(value, Measure):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from measures(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for item in dataclasses.fields(value):
            yield from measures(getattr(value, item.name))


VOID = {"meta", "br", "line", "circle", "rect", "path", "polyline"}
PHRASING = {"a", "span", "strong", "small", "code", "sup", "br", "svg"}
HOLDS_PHRASING = {"p", "h1", "h2", "h3", "summary", "span", "strong", "code", "a", "figcaption", "dt", "caption", "th", "pre"}
PARENT = {"li": {"ul", "ol"}, "tr": {"thead", "tbody"}, "td": {"tr"}, "th": {"tr"}, "thead": {"table"}, "tbody": {"table"}, "caption": {"table"},
          "figcaption": {"figure"}, "summary": {"details"}, "dt": {"div"}, "dd": {"div"}, "title": {"head", "svg"}, "desc": {"svg"}}


@dataclass
class Node:
    """An element of a parsed page."""

    tag: str
    attrs: dict[str, str]
    parent: Node | None = None
    children: list[Node | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    @property
    def classes(self) -> set[str]:
        return set(self.attrs.get("class", "").split())

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()

    def strings(self) -> Iterator[tuple[Node, str]]:
        for child in self.children:
            if isinstance(child, str):
                yield self, child
            else:
                yield from child.strings()

    def all(self, tag: str = "", css: str = "") -> list[Node]:
        return [node for node in self.walk() if (not tag or node.tag == tag) and (not css or css in node.classes)]

    def within(self, tag: str = "", css: str = "") -> bool:
        node: Node | None = self
        while node is not None:
            if (not tag or node.tag == tag) and (not css or css in node.classes):
                return True
            node = node.parent
        return False


class _Reader(HTMLParser):
    """Builds the tree and refuses what a browser would have to repair."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = self.here = Node("", {})

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"an attribute of <{tag}> repeats"
        assert not PARENT.get(tag) or self.here.tag in PARENT[tag], f"<{tag}> in <{self.here.tag}>"
        assert self.here.tag not in HOLDS_PHRASING or tag in PHRASING, f"<{tag}> in <{self.here.tag}>"
        assert tag != "a" or not self.here.within("a"), "a link in a link"
        node = Node(tag, {name: value or "" for name, value in attrs}, self.here)
        self.here.children.append(node)
        if tag not in VOID:
            self.here = node

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert tag == self.here.tag, f"</{tag}> closes <{self.here.tag}>"
        assert self.here.parent is not None
        self.here = self.here.parent

    def handle_data(self, data: str) -> None:
        self.here.children.append(data)


def read_page(html: str) -> Node:
    """The page as a tree; fails where elements are not closed, or nested as HTML forbids."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert reader.here is reader.root, f"<{reader.here.tag}> is not closed"
    return reader.root


@pytest.fixture(scope="session")
def builder() -> ModuleType:
    """This module, for tests that make results of their own."""
    return sys.modules[__name__]


@pytest.fixture
def result() -> PilotResult:
    return make_result()
