from __future__ import annotations

import base64
import hashlib
import itertools
import re
from dataclasses import replace
from functools import cache
from importlib.resources import files
from types import ModuleType
from typing import Any

import pytest

from tacit.page.numbers import NBSP, budget, chance, decimal, of_hundred, percent, points, quantity
from tacit.pilot.report import render_html
from tacit.pilot.report.tables import trust_words
from tacit.pilot.results import Candidate, Group, Measure, PilotResult, Utility

HOSTILE = '"><script>alert(1)</script>&amp;<img src=x onerror=alert(1)>\'{{ 7*7 }}</svg></style>'
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "a", "header", "main", "footer", "nav", "section", "p", "strong", "span", "small", "code",
    "pre", "h1", "h2", "h3", "ul", "ol", "li", "dl", "dt", "dd", "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "figure",
    "figcaption", "details", "summary", "br", "sup", "svg", "desc", "line", "circle", "rect", "path", "polyline", "text",
}
SITUATIONS = (
    "pass", "none", "alarm", "one", "baseline", "nothing measured", "no alerts", "long names", "hostile", "sites", "few records", "no recommendation",
    "release",
)


@cache
def situation(builder: ModuleType, name: str) -> PilotResult:
    """The page in every shape it can take."""
    specs, make = builder.SPECS, builder.make_result

    def bare(candidate: Candidate) -> Candidate:
        return replace(candidate, utility=Utility(), cost=replace(candidate.cost, cpu_seconds=None), attacks=(), groups=())

    def renamed(text: str) -> Any:
        def change(candidate: Candidate) -> Candidate:
            groups = tuple(replace(g, column=f"{g.column} {text}", value=f"{g.value} {text}", metric=f"Recall {text}") for g in candidate.groups)
            attacks = tuple(replace(a, name=f"{a.name} {text}") for a in candidate.attacks)
            return replace(candidate, name=f"{candidate.name} {text}", model=text, guarantee=text, groups=groups, attacks=attacks)
        return change

    def few(candidate: Candidate) -> Candidate:
        attacks = tuple(replace(a, rates=tuple(replace(r, resolvable=False) for r in a.rates)) for a in candidate.attacks)
        return replace(candidate, attacks=attacks, groups=tuple(replace(g, resolvable=False) for g in candidate.groups))

    made: PilotResult = {
        "pass": lambda: make(),
        "none": lambda: make(gates=builder.Gates(recall_loss=0.001)),
        "alarm": lambda: make(tuple(replace(spec, hits=1200) if spec.epsilon == 1 else spec for spec in specs)),
        "one": lambda: make(specs[3:4]),
        "baseline": lambda: make(specs[:1]),
        "nothing measured": lambda: make(change=bare),
        "no alerts": lambda: make(change=lambda c: replace(c, utility=replace(c.utility, recall=None, precision=None))),
        "long names": lambda: make(change=renamed("name_without_any_space_that_goes_on" * 3)),
        "hostile": lambda: make(change=renamed(HOSTILE)),
        "sites": lambda: make((specs[0], specs[5])),
        "few records": lambda: make(change=few),
        "no recommendation": lambda: replace(make(), recommendation=None),
        "release": lambda: make(),
    }[name]()
    if name == "hostile":
        words = replace(made.meta.words, positive=HOSTILE, positives=HOSTILE, record=HOSTILE, records=HOSTILE)
        meta = replace(made.meta, title=HOSTILE, dataset=HOSTILE, unit=HOSTILE, split=HOSTILE, command=HOSTILE, words=words)
        made = replace(made, meta=meta, warnings=(HOSTILE,), evidence=tuple(replace(row, what=HOSTILE, source=HOSTILE) for row in made.evidence))
    return made


@cache
def html_of(builder: ModuleType, name: str) -> str:
    return render_html(situation(builder, name), release=name == "release")


@cache
def page_of(builder: ModuleType, name: str) -> Any:
    return builder.read_page(html_of(builder, name))


@pytest.fixture(params=SITUATIONS)
def case(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def html(builder: ModuleType, case: str) -> str:
    return html_of(builder, case)


@pytest.fixture
def page(builder: ModuleType, case: str) -> Any:
    return page_of(builder, case)


# ------------------------------------------------------------ self-contained, safe, well formed


def test_the_page_is_well_formed_and_nested_as_html_demands(page: Any) -> None:
    assert {node.tag for node in page.walk() if node.tag} <= ALLOWED
    assert [node.tag for node in page.children if not isinstance(node, str)] == ["html"]


def test_nothing_is_loaded_from_anywhere(page: Any, html: str) -> None:
    assert not re.search(r"url\(|@import|https?:", html, re.IGNORECASE)
    for node in page.walk():
        assert not {name for name in node.attrs if name.startswith("on")} | ({"src", "srcset", "style", "action", "data"} & set(node.attrs))
        assert node.attrs.get("href", "#").startswith("#")


def test_the_style_is_allowed_by_its_own_hash_and_nothing_else_is(page: Any) -> None:
    (style,) = page.all("style")
    digest = base64.b64encode(hashlib.sha256(style.text.encode()).digest()).decode()
    (policy,) = [node.attrs["content"] for node in page.all("meta") if node.attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert not page.all("script")


def test_the_policy_comes_before_what_it_governs(page: Any) -> None:
    (head,) = page.all("head")
    order = [node.attrs.get("http-equiv") or node.tag for node in head.walk()]
    assert order.index("Content-Security-Policy") < order.index("style")


def test_hostile_names_stay_text(builder: ModuleType) -> None:
    page = page_of(builder, "hostile")
    assert page.text.count("<script>alert(1)</script>") > 20
    assert "{{ 7*7 }}" in page.text
    assert not page.all("script")
    assert not page.all("img")


# ------------------------------------------------------------ links and evidence


def test_every_id_is_unique_and_every_reference_finds_one(page: Any) -> None:
    ids = [node.attrs["id"] for node in page.walk() if "id" in node.attrs]
    assert len(set(ids)) == len(ids)
    for node in page.walk():
        wanted = node.attrs.get("aria-labelledby", "").split() + ([node.attrs["href"][1:]] if "href" in node.attrs else [])
        assert set(wanted) <= set(ids)


def test_every_citation_names_evidence_that_is_on_the_page(page: Any) -> None:
    rows = {node.attrs["id"] for node in page.all("tr") if node.attrs.get("id", "").startswith("e-")}
    for link in page.all("a", "n"):
        named = link.attrs["data-ref"].split(", ")
        assert {f"e-{name}" for name in named} <= rows
        assert link.attrs["href"] == f"#e-{named[0]}"
        assert link.attrs["title"].startswith(f"{named[0]}: ")


def test_every_row_of_evidence_is_on_the_page_once(builder: ModuleType, case: str, page: Any) -> None:
    shown = [node.attrs["id"] for node in page.all("tr") if "id" in node.attrs]
    if case != "release":
        assert sorted(shown) == sorted(f"e-{row.id}" for row in situation(builder, case).evidence)


CONSTANT = (  # numbers that are part of a sentence and of no measurement
    "1 outsider in 100", "works for 1 in 100", "Of 100", "of 100", "in 100", "guessing: 1", f"1{NBSP}%", "1 %",
)


def uncited(node: Any) -> list[str]:
    """Pieces of text with a digit that link to no evidence, are no interval beside such a link, and no constant."""
    found = []
    for place, piece in node.strings():
        rest = piece
        for constant in CONSTANT:
            rest = rest.replace(constant, "")
        beside = place.within(css="ci") and place.parent is not None and place.parent.all("a", "n")
        if re.search(r"\d", rest) and not place.within("a", "n") and not beside and not place.within("code"):
            found.append(piece)
    return found


@pytest.mark.parametrize("case", ["pass", "none", "alarm", "one", "no alerts", "few records", "sites"], indirect=True)
def test_every_number_cites_its_evidence(page: Any) -> None:
    cells = [cell for table in page.all("table") if "evidence" not in table.classes for cell in table.all("td")]
    tiles = [span for tile in page.all("ul", "tiles") for span in (*tile.all(css="figure"), *tile.all(css="versus"))]
    said = [p for section in page.all("section") if section.attrs.get("id") in {"cost", "leaks", "groups"} for p in section.all("p", "say")]
    assert len(cells) > 20
    for node in (*cells, *tiles, *said):
        assert not uncited(node), node.text


@pytest.mark.parametrize("case", ["pass", "none", "alarm", "sites"], indirect=True)
def test_every_sentence_of_the_headline_every_gate_and_every_chart_names_its_evidence(page: Any) -> None:
    lead = page.all("section", "lead")[0]
    places = [lead.all("p", "say")[0], *[item for gates in lead.all("ul", "gates") for item in gates.all("li")], *page.all("figcaption")]
    assert len(places) >= 4
    for place in places:
        assert place.all("span", "refs"), place.text


def written(value: float) -> set[str]:
    """Every way in which the page may write a number."""
    return {write(value) for write in (decimal, of_hundred, percent, points, quantity, lambda v: decimal(v, digits=2), lambda v: f"{v:,.6g}")}


def shown_numbers(result: PilotResult, measures: Any) -> dict[str, set[str]]:
    """From the JSON twin: what may be written behind a link to each row of evidence."""
    again = PilotResult.from_dict(result.to_dict())
    known: dict[str, set[str]] = {row.id: {row.id} for row in again.evidence}
    for measure in measures(again):
        known[measure.ref] |= {text for number in (measure.value, measure.low, measure.high) if number is not None for text in written(number)}
    for candidate in again.candidates:
        for group in candidate.groups:
            known[group.gap.ref] |= written(group.extra_gap) | {f"{group.n:,}", f"{points(group.extra_gap)}{NBSP}points"}
        for attack in candidate.attacks:
            counted = f"{attack.members:,} members, {attack.nonmembers:,} others, {attack.shadows} shadows"
            known[attack.auc.ref] |= {counted, "too few records", "too few to tell"}
        if candidate.epsilon is not None and candidate.delta is not None:
            caps = [cap for fpr in (0.01, 0.001) if (cap := candidate.cap(fpr)) is not None]
            bounds = [rate.bound for attack in candidate.attacks for rate in attack.rates if rate.bound is not None]
            known[candidate.guarantee_ref] |= {text for cap in (*caps, *bounds) for text in written(cap)}
            known[candidate.guarantee_ref] |= {budget(candidate.epsilon), budget(candidate.asked), candidate.guarantee, chance(candidate.delta)}
            known[candidate.guarantee_ref] |= {f"ε{NBSP}={NBSP}{budget(candidate.asked)}", budget(candidate.epsilon_30), trust_words(candidate.trust)}
    for gate in again.gates:
        kind = f"{percent(gate.value)}, limit {percent(gate.threshold)}" if gate.value is not None and gate.name == "attack_bound" else ""
        said = f"{points(gate.value)} points, limit {points(gate.threshold)}" if gate.value is not None else ""
        known[gate.refs[0]] |= {kind, said}
        mine = [other for other in again.gates if other.candidate == gate.candidate]
        known[mine[0].refs[0]].add(f"{sum(other.passed for other in mine)} of {len(mine)}")
    meta = again.meta
    known[meta.data_ref] |= {f"{meta.train_rows:,} to train, {meta.test_rows:,} held out", f"{meta.test_positives:,}"}
    known[meta.data_ref].add(f"{meta.dataset}, {meta.source}")
    return known


def unknown(page: Any, known: dict[str, set[str]]) -> list[Any]:
    return [link for link in page.all("a", "n") if link.text not in known[link.attrs["data-ref"].split(", ")[0]]]


@pytest.mark.parametrize("case", ["pass", "none", "alarm", "no alerts", "few records", "sites"], indirect=True)
def test_the_page_shows_the_numbers_of_its_json_twin(builder: ModuleType, case: str, page: Any) -> None:
    assert len(page.all("a", "n")) > 60
    differing = unknown(page, shown_numbers(situation(builder, case), builder.measures))
    assert all(link.within("dl", "who") for link in differing), [link.text for link in differing]
    assert len(differing) <= 1  # e to the ε is worked out on the page


@pytest.mark.parametrize("index", range(1, 7))
def test_a_number_that_differs_from_its_json_twin_is_found(builder: ModuleType, index: int) -> None:
    def other(candidate: Candidate) -> Candidate:
        if candidate.name != builder.SPECS[index].name:
            return candidate
        return replace(candidate, utility=replace(candidate.utility, auc=Measure(0.4321, candidate.utility.calibration_ref)))

    known = shown_numbers(builder.make_result(change=other), builder.measures)
    assert any(link.text == decimal(builder.SPECS[index].auc) for link in unknown(page_of(builder, "pass"), known))


# ------------------------------------------------------------ for everybody


def test_headings_descend_without_a_gap(page: Any) -> None:
    levels = [int(node.tag[1]) for node in page.walk() if node.tag in {"h1", "h2", "h3"}]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(node.text.strip() for node in page.walk() if node.tag in {"h1", "h2", "h3", "summary", "figcaption", "caption"})


def test_tables_have_captions_heads_and_as_many_cells_as_heads(page: Any) -> None:
    for table in page.all("table"):
        assert table.all("caption")
        heads = table.all("thead")[0].all("th")
        assert all(head.attrs["scope"] == "col" and head.text.strip() for head in heads)
        for row in table.all("tbody")[0].all("tr"):
            cells = [cell for cell in row.children if not isinstance(cell, str)]
            assert [cell.tag for cell in cells] == ["th"] + ["td"] * (len(heads) - 1)
            assert cells[0].attrs["scope"] == "row"
            if "evidence" not in table.classes:
                assert [cell.attrs["data-label"] for cell in cells[1:]] == [head.text for head in heads[1:]]


def test_drawings_are_described_or_hidden(page: Any) -> None:
    for drawing in page.all("svg"):
        if drawing.attrs.get("aria-hidden") != "true":
            assert drawing.attrs["role"] == "img"
            assert all(drawing.all(tag)[0].text.strip() for tag in ("title", "desc"))


def test_the_page_names_its_language_its_title_and_a_way_to_skip(page: Any) -> None:
    assert page.all("html")[0].attrs["lang"] == "en"
    assert page.all("title")[0].text.strip()
    assert page.all("a")[0].attrs["href"] == "#main"
    assert any(node.attrs.get("name") == "viewport" for node in page.all("meta"))
    assert all(region.attrs.get("aria-label") and region.attrs.get("tabindex") == "0" for region in page.all("div", "scroll"))


def test_meaning_never_depends_on_colour_alone(page: Any) -> None:
    for badge in page.all("span", "badge"):
        sign = [span.text for span in badge.all("span") if span.attrs.get("aria-hidden") == "true"]
        assert sign in (["✓"], ["✗"], ["?"])
        assert re.search(r"[a-z]{4}", badge.text)


def palettes() -> dict[str, dict[str, str]]:
    css = files("tacit.page").joinpath("page.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{([^}]*)\}", css)
    light, dark, paper = ({name: value for name, value in re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)} for block in blocks)
    return {"light": light, "dark": light | dark, "print": light | paper}


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    bright, dim = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def test_contrast_is_worked_out_as_the_guidelines_say() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
@pytest.mark.parametrize(("front", "back"), [
    *itertools.product(("ink", "muted", "accent"), ("page", "surface", "accent-soft", "wait-soft")),
    ("pass", "pass-soft"), ("fail", "fail-soft"), ("wait", "wait-soft"), ("wait", "surface"),
])
def test_text_can_be_read(theme: str, front: str, back: str) -> None:
    palette = palettes()[theme]
    assert contrast(palette[front], palette[back]) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
@pytest.mark.parametrize(("front", "back"), [
    *itertools.product(("private", "baseline", "federated", "linear"), ("page", "permit", "open")), ("fail", "page"), ("private", "accent-soft"),
])
def test_marks_can_be_seen(theme: str, front: str, back: str) -> None:
    palette = palettes()[theme]
    assert contrast(palette[front], palette[back]) >= 3


# ------------------------------------------------------------ what it says


def text_of(builder: ModuleType, name: str) -> str:
    return str(page_of(builder, name).text).replace(NBSP, " ")


def test_the_six_questions_stand_in_their_order(page: Any, case: str) -> None:
    if case != "release":
        heads = [node.text.strip()[2:] for node in page.all("h2") if node.attrs.get("id")][:6]
        assert heads == [
            "What does privacy cost me?", "What still leaks?", "To whom?", "For which groups is it worse?", "What do I do next?",
            "Where is each number from?",
        ]


def test_the_budget_that_was_asked_for_is_the_first_figure_and_the_guarantee_stands_beside_it(builder: ModuleType) -> None:
    page = page_of(builder, "pass")
    assert page.all("h1")[0].text.replace(NBSP, " ") == "Use ε = 1 per user-day."
    promised = next(table for table in page.all("table") if table.all("caption")[0].text == "What is promised, in full")
    row = next(row for row in promised.all("tr", "chosen"))
    assert next(cell.text for cell in row.all("td")) == "1"
    assert "(0.9884, 1e-06)-DP per user-day" in row.text
    assert "0.988375" not in html_of(builder, "pass")


def test_each_verdict_says_what_to_do(builder: ModuleType) -> None:
    passed, none, alarm = (text_of(builder, name) for name in ("pass", "none", "alarm"))
    assert "5 of 5 gates passed" in passed
    assert "nothing recommended" in none
    assert "The model that comes closest: ε = 8" in none
    assert "What would help" in none
    assert "Do not deploy any of these models." in alarm
    assert "What may be behind it" in alarm
    assert "of processor time to train" not in alarm


def test_what_cannot_be_told_is_said(builder: ModuleType) -> None:
    few, unmeasured, alone = (text_of(builder, name) for name in ("few records", "nothing measured", "baseline"))
    assert "there were too few records to tell" in few
    assert "No group was large enough to compare." in few
    assert "Nothing was attacked in this run" in unmeasured
    assert "No column that describes groups of people was named" in unmeasured
    assert "Nothing to recommend." in alone


def test_a_page_shows_no_placeholder_and_no_python(page: Any) -> None:
    for _, piece in page.strings():
        assert not re.search(r"\bNone\b|\bnan\b|\binf\b|Markup|object at 0x|Undefined", piece), piece


def test_more_groups_than_fit_are_counted(builder: ModuleType) -> None:
    def change(candidate: Candidate) -> Candidate:
        ref = candidate.utility.calibration_ref
        many = tuple(Group("team", str(i), 100, "Recall", Measure(0.5, ref), Measure(i / 1000, ref)) for i in range(40))
        return replace(candidate, groups=many)

    page = builder.read_page(render_html(builder.make_result(change=change)))
    text = page.text
    assert "16 more are in the JSON file" in text
    assert len(next(table for table in page.all("table") if table.all("caption")[0].text.startswith("Groups")).all("tbody")[0].all("tr")) == 24
