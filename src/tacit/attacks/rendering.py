"""An attack's report for people: in a terminal, and as a page that says what was found, how sure that is, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from textwrap import wrap
from typing import TYPE_CHECKING

from tacit.attacks.findings import rules
from tacit.page import environment, style
from tacit.page.numbers import decimal, percent
from tacit.page.tables import Row, Table

if TYPE_CHECKING:
    from tacit.attacks.defending import DefenceRow, DefenceTable
    from tacit.attacks.judging import AttackResult, RateAt
    from tacit.attacks.report import AttackReport, GroupRisk

_WIDTH = 100
_MOST_GROUPS = 12
DISCLOSURE = "Owner-side: these figures were measured on records and are not private. Do not pass them on."
GLOSSARY = (
    ("Member", "A record, or a person with all their records, that the model learned from."),
    ("Membership attack", "Trying to tell from a model's answers who is a member. Where it works, that somebody is in the data is no secret, and "
     "usually more can be learned about them."),
    ("False alarm", "Calling somebody a member who is not. An attacker who wants to be believed allows few: 1 in 100, or 1 in 1,000."),
    ("Recognised", "The share of members whom the attack calls members at that many false alarms (true positive rate). Guessing reaches as many as "
     "there are false alarms."),
    ("AUC", "How often a random member looks more like one than a random other: 0.5 is guessing, 1 is perfect. It can hide a few people who are "
     "recognised with certainty."),
    ("95 % interval", "Where the true value plausibly lies, given how few were measured."),
    ("Shadow", "A model trained like the target on other members, from which the attacker learns what membership looks like."),
    ("Control", "The same measurement where the answer is known. If a control reads wrong, nothing else on this page means anything."),
)
_SIGNS = {"leak found": ("✗", "fail"), "inconsistent with the claim": ("✗", "fail"), "no leak found": ("–", "wait"), "not tested": ("?", "wait")}


def as_text(report: AttackReport) -> str:
    """What was found, one table, the controls, what to do."""
    lines = [f"{report.verdict.upper()}: {report.described.name}", *wrap(report.explained, _WIDTH), ""]
    lines += _columns([("attack", "AUC", "at 10 %", "at 1 %", "at 0.1 % false alarms"), *(_cells(result) for result in report.results)])
    lines += ["", "controls:", *(f"  {'✓' if c.passed else '✗'} {c.name}: AUC {decimal(c.auc)}, expected {c.expected}" for c in report.controls)]
    risky = [group for group in report.groups if group.leaks and group.rate.low > group.rate.fpr][:5]
    lines += ["", "groups at risk:", *(f"  {_group_name(g)}: {percent(g.rate.tpr)} recognised at 1 % false alarms" for g in risky)] if risky else []
    lines += ["", "other attacks:", *(f"  {outcome}" for outcome in report.outcomes)] if report.outcomes else []
    lines += ["", "findings:", *(f"  {f.rule} {f.severity}: {rules()[f.rule].title}" for f in report.findings)]
    lines += ["", "what to do:", *(line for f in report.findings for line in wrap(rules()[f.rule].advice, _WIDTH - 2, initial_indent="  ",
                                                                                 subsequent_indent="  ")), ""]
    return "\n".join([*lines, *wrap(_how(report), _WIDTH), DISCLOSURE])


def as_html(report: AttackReport) -> str:
    """The same as one self-contained page."""
    from tacit import __version__

    css, digest = style()
    sign, badge = _SIGNS[report.verdict]
    meta = {
        "title": f"What {report.described.name} gives away", "dataset": f"{report.first.members:,} members, {report.first.nonmembers:,} others",
        "created": datetime.now(UTC).date().isoformat(), "version": __version__, "run": f"attack on {report.described.name}",
    }
    return environment("tacit.attacks").get_template("attack.html.j2").render(
        report=report, meta=meta, r={"released": False, "disclosure": DISCLOSURE}, style=css, digest=digest, sign=sign, badge=badge,
        headline=_headline(report), tables=_tables(report), tiles=_tiles(report), how=_how(report), rules=rules(), glossary=GLOSSARY,
        facts=_facts(report), riskiest=_riskiest(report), percent=percent, decimal=decimal,
    )


def _headline(report: AttackReport) -> str:
    return {
        "leak found": "This model gives away whom it learned from.", "inconsistent with the claim": "This model breaks its promise.",
        "no leak found": "No leak was found, at the power there was.", "not tested": "This test says nothing yet.",
    }[report.verdict]


def _how(report: AttackReport) -> str:
    d = report.described
    shadows = f"{d.shadows} shadows ({d.trainer}; {d.cached} from the cache)" if d.shadows else "no shadows"
    assumed = f" Assumed: {d.assumption}." if d.assumption else ""
    return f"Attacker with access to {d.access}, answers taken as {d.reading}, {shadows}, {report.seconds:.0f} s.{assumed}"


def _rate(rate: RateAt) -> str:
    value = f"{percent(rate.tpr)} ({percent(rate.low)} to {percent(rate.high)})"
    return value if rate.resolvable else f"{value}, too few others"


def _cells(result: AttackResult) -> tuple[str, ...]:
    return (result.name, f"{decimal(result.auc)} ({decimal(result.auc_low)} to {decimal(result.auc_high)})", *(_rate(rate) for rate in result.rates))


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _group_name(group: GroupRisk) -> str:
    return f"{group.grouping} «{group.value}»"


def _tiles(report: AttackReport) -> list[dict[str, str]]:
    first, (_, detectable) = report.first, report.power
    rate, fine = first.at(0.01), first.at(0.001)
    bound = f"the claim allows {percent(rate.bound)}" if rate.bound is not None else "no guarantee limits it"
    shares = report.described.correct
    tiles = [
        {"figure": percent(rate.tpr), "label": "of members recognised at 1 % false alarms; guessing reaches 1 %", "note": bound},
        {"figure": percent(fine.tpr) if fine.resolvable else "?", "label": "of members recognised at 0.1 % false alarms; guessing reaches 0.1 %",
         "note": "the people most at risk" if fine.resolvable else f"needs 10,000 others to tell; there are {first.nonmembers:,}"},
        {"figure": percent(detectable), "label": "recognised at 1 % false alarms would have been noticed", "note": "a smaller leak may stay unseen"},
    ]
    if shares is not None:
        tiles.append({"figure": percent(shares[0]), "label": f"of members answered correctly; of others {percent(shares[1])}",
                      "note": "the wider apart, the more is given away"})
    return tiles


def _tables(report: AttackReport) -> dict[str, Table]:
    attacks = tuple(Row(_cells(result), place == 0) for place, result in enumerate(report.results))
    controls = tuple(Row((c.name, c.expected, decimal(c.auc), "as it must" if c.passed else "wrong", c.meaning)) for c in report.controls)
    shown = sorted(report.groups, key=lambda group: -group.rate.low)[:_MOST_GROUPS]
    groups = tuple(_group_row(group) for group in shown)
    others = tuple(
        Row((o.attack, f"{o.figure:.2f}", f"{round(o.control, 2) + 0.0:.2f}", f"{o.low:+.3f} to {o.high:+.3f}", o.unit, o.verdict), o.wins)
        for o in report.outcomes
    )
    return {
        "others": Table("Other attacks; only what goes beyond the control counts",
                         ("Attack", "Reached", "Without the model", "Excess, 99 %", "Of what", "Verdict"), others),
        "attacks": Table("All attacks that were tried; the first was chosen before anything was seen",
                          ("Attack", "AUC", "Recognised at 10 % false alarms", "at 1 %", "at 0.1 %"), attacks),
        "controls": Table("Controls", ("Control", "Must read", "AUC", "Read", "What follows"), controls),
        "groups": Table(f"Risk by group, the {len(shown)} most at risk of {len(report.groups)}",
                         ("Group", "AUC", "Recognised at 1 % false alarms", "Members", "Told from others"), groups),
    }


def _group_row(group: GroupRisk) -> Row:
    said = "yes" if group.leaks else "not beyond chance"
    return Row((_group_name(group), decimal(group.auc), _rate(group.rate), f"{group.members:,}", said), group.leaks)


def _riskiest(report: AttackReport) -> list[str]:
    return [f"record {place + 1:,}: looks like a member at {percent(rate)} false alarms" for place, rate in report.riskiest(5)]


def _facts(report: AttackReport) -> list[tuple[str, str]]:
    d, claim = report.described, report.claim
    return [
        ("Target", f"{d.name} ({d.kind})"), ("What the attacker sees", d.access), ("Answers taken as", d.reading),
        ("Shadows", f"{d.shadows}: {d.trainer}" if d.shadows else "none"), ("Assumed", d.assumption),
        ("Claim", "none" if claim is None else str(claim)), ("Time", f"{report.seconds:.0f} s, of which shadows {d.shadow_seconds:.0f} s"),
    ]


def defences_text(table: DefenceTable) -> str:
    """The table of defences for a terminal."""
    rows = [_DEFENCE_HEADS, *(_defence_cells(row) for row in table.rows)]
    return "\n".join([*_columns(rows), "", *wrap(_defences_said(table), _WIDTH), DISCLOSURE])


def defences_html(table: DefenceTable, *, name: str) -> str:
    """The table of defences as one self-contained page."""
    from tacit import __version__

    css, digest = style()
    best = _recommended(table)
    meta = {
        "title": f"What defences are worth on {name}", "dataset": f"{table.records:,} records", "created": datetime.now(UTC).date().isoformat(),
        "version": __version__, "run": f"defences on {name}",
    }
    rows = tuple(Row(_defence_cells(row), row is best) for row in table.rows)
    return environment("tacit.attacks").get_template("defences.html.j2").render(
        meta=meta, r={"released": False, "disclosure": DISCLOSURE}, style=css, digest=digest, headline=_defences_headline(table),
        said=_defences_said(table), table=Table("All defences on the same records, splits and shadows", _DEFENCE_HEADS, rows),
    )


_DEFENCE_HEADS = ("Defence", "Right answers", "Recognised at 1 % false alarms", "By changed copies", "Copied")


def _defence_cells(row: DefenceRow) -> tuple[str, ...]:
    return (row.name, percent(row.accuracy), _rate(row.membership.at(0.01)), _rate(row.around.at(0.01)), f"{row.extraction:+.2f}")


def _recommended(table: DefenceTable) -> DefenceRow | None:
    """The most accurate row in which neither attack beats chance; ``None`` if there is none."""
    quiet = [row for row in table.rows if not (row.membership.leaks or row.around.leaks)]
    return max(quiet, key=lambda row: row.accuracy, default=None)


def _defences_headline(table: DefenceTable) -> str:
    best = _recommended(table)
    return "No defence stopped every attack." if best is None else f"Least is lost with: {best.name}."


def _defences_said(table: DefenceTable) -> str:
    plain, best = table.rows[0], _recommended(table)
    start = (
        f"Undefended, {percent(plain.worst.at(0.01).tpr)} of members are recognised at 1 % false alarms, and {percent(plain.accuracy)} of answers on "
        "new records are right."
    )
    if best is None:
        return f"{start} In every row an attack still tells members from others beyond chance."
    return (
        f"{start} With «{best.name}» neither attack tells members from others beyond chance, at {percent(best.accuracy)} right answers. That is no "
        "proof that nothing leaks."
    )
