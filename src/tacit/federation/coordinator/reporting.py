"""A study's report for people: in a terminal, and as one self-contained page. Everything on it was released by the sites' guards or is public."""

from __future__ import annotations

from tacit.domain import Category, ColumnType
from tacit.federation.coordinator.running import ABORTED, COMPLETED, StudyReport
from tacit.page import environment, style
from tacit.page.tables import Row, Table

DISCLOSURE = "Released: every figure here is public, or was answered by the sites' guards under their policies and charged to their ledgers."
_HEADLINES = {
    COMPLETED: "The study is complete.", ABORTED: "The study was aborted; what was charged stays charged.",
}
_NOT_ASKED = "The study was refused; nothing was charged for it."
GLOSSARY = (
    ("Guarantee", "How much the model can tell about one person at one site, whatever else is known. Smaller epsilon and delta are stronger."),
    ("Needed", "With fewer sites than this left, a masked sum cannot be opened by anybody, and the study aborts."),
    ("Collude", "So many sites may pool what they know with the coordinator; the guarantee holds against them, too."),
    ("Entry", "The number of the charge in a site's own ledger. The site finds it there with: tacit site ledger."),
)


def as_text(report: StudyReport) -> str:
    """The outcome, the guarantee, and a line for each site."""
    lines = [f"{report.outcome.upper()}: {report.card.name}, edition {report.card.edition} ({report.roster.parties})"]
    lines += [line for line in (report.said, report.guarantee) if line]
    lines += ["  ".join(cells).rstrip() for cells in _site_rows(report)]
    done = report.rounds
    if done.get("planned"):
        lines.append(f"{done['asked']} of {done['planned']} rounds, {_size(done['sent_bytes'])} sent, {_size(done['received_bytes'])} received, "
                     f"{report.seconds:.1f} s")
    return "\n".join(lines)


def as_html(report: StudyReport) -> str:
    """The same, and the card, as one page."""
    from tacit import __version__

    css, digest = style()
    card = report.card
    meta = {
        "title": f"{card.name}, edition {card.edition}", "dataset": f"{report.roster.federation}, data set {card.dataset}",
        "created": report.started, "version": __version__, "run": card.digest[:16],
    }
    heads = ("Site", "Part in", "Ledger entry", "Head", "Missing")
    return environment("tacit.federation.coordinator").get_template("study.html.j2").render(
        meta=meta, r={"released": True, "disclosure": DISCLOSURE}, style=css, digest=digest, glossary=GLOSSARY,
        headline=_HEADLINES.get(report.outcome, _NOT_ASKED), said=report.guarantee or report.said,
        sites=Table("Sites of the roster", heads, [Row(cells) for cells in _site_rows(report)]), card=_card_facts(report),
        columns=Table("What is learned from: public bounds and categories", ("Column", "May be"), [
            Row((name, _column(kind))) for name, kind in card.domain.columns
        ]), ran=_run_facts(report),
    )


def _site_rows(report: StudyReport) -> list[tuple[str, ...]]:
    took = report.rounds.get("took_part", {})
    rows: list[tuple[str, ...]] = []
    for site in report.roster.names:
        entry, head = report.charges.get(site, (0, ""))
        asked = f"{took.get(site, 0)} of {report.rounds.get('asked', 0)} rounds"
        unknown = "see its own ledger" if report.outcome == ABORTED and not report.charges else "not charged"
        rows.append((site, asked, str(entry) if entry else unknown, head[:16], report.missing.get(site, "")))
    return rows


def _card_facts(report: StudyReport) -> list[tuple[str, str]]:
    card = report.card
    learner = card.learner
    target = f", predicts «{learner.target}»" if learner.target else ""
    sizes = ", ".join(f"{name} {value}" for name, value in sorted(learner.parameters.items()))
    return [
        ("Asked by", card.asker), ("Purpose", card.purpose), ("Learner", learner.kind + target + (f" ({sizes})" if sizes else "")),
        ("Protects", f"each {card.unit} at one site, {card.relation}"),
        ("Budget", f"epsilon {card.budget.epsilon:g} at delta {card.budget.delta:g}, aborted runs included"), ("Until", card.ends.isoformat()),
        ("Digest", card.digest),
    ]


def _run_facts(report: StudyReport) -> list[tuple[str, str]]:
    done = report.rounds
    return [
        ("Federation", f"{report.roster.federation}: {report.roster.parties}"), ("Roster", report.roster.id.hex()),
        ("Rounds", f"{done.get('asked', 0)} of {done.get('planned', 0)} planned"),
        ("Bytes", f"{_size(done.get('sent_bytes', 0))} to the sites, {_size(done.get('received_bytes', 0))} from them"),
        ("Time", f"{report.seconds:.1f} s"), ("Said", report.said),
    ]


def _column(kind: ColumnType) -> str:
    return ", ".join(kind.values) if isinstance(kind, Category) else f"{kind.lower:g} to {kind.upper:g}"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
