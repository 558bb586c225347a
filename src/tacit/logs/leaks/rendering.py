"""A leak report for people: in a terminal, in a few lines, and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from textwrap import wrap

from tacit.logs.leaks.exposure import LEAK, NO_LEAK, NOT_TESTED, Exposure, LeakReport, Table
from tacit.page import environment, style
from tacit.page.numbers import percent
from tacit.page.tables import Row
from tacit.page.tables import Table as Shown

_WIDTH = 100
DISCLOSURE = "Owner-side: these figures were measured on records in the clear and are not private. Do not pass them on."
GLOSSARY = (
    ("Pseudonym", "What stands in place of a name under a key. The same name has the same one until the key's epoch ends. It is not anonymous."),
    ("Linkage", "Finding out whose pseudonym it is without the key, from what else stands in the records and what else one knows."),
    ("Epoch", "How long one key is used. When the next begins, everybody has a new pseudonym, and what was linked is of no more use."),
    ("By guessing", "What somebody reaches who knows nothing. Only what lies above it was given away."),
    ("95 % interval", "In brackets: where the true value plausibly lies, given how few were measured."),
    ("k", "How many look alike in some fields. A record of a group with k = 1 is one person's alone."),
    ("Control", "The same attack where the answer is known. If one reads wrong, the attack beside it is not to be believed."),
)
_SIGNS = {LEAK: ("✗", "fail"), NO_LEAK: ("–", "wait"), NOT_TESTED: ("?", "wait")}


def as_short(report: LeakReport) -> str:
    """One line for each attack, the worst first."""
    wide = max(len(exposure.name) for exposure in report.exposures)
    lines = [f"{_SIGNS[e.verdict][0]} {e.name:{wide}}  {_figure(e)}" for e in report.worst]
    return "\n".join([f"{report.verdict}, {report.records:,} records, {report.seconds:.1f} s", *lines])


def as_text(report: LeakReport) -> str:
    """Everything, for a terminal."""
    lines = [f"{report.verdict.upper()}: {report.source}, {report.records:,} records", ""]
    for exposure in report.worst:
        sign, _ = _SIGNS[exposure.verdict]
        lines.append(f"{sign} {exposure.title}  [{exposure.verdict}{', ' + exposure.severity if exposure.verdict == LEAK else ''}]")
        parts = [("known", exposure.assumed), ("found", exposure.found), ("means", exposure.means), *(("next", advice) for advice in exposure.advice)]
        for name, text in parts:
            lines += wrap(text, _WIDTH - 9, initial_indent=f"  {name:5}  ", subsequent_indent=" " * 9) if text else []
        for table in exposure.tables:
            lines += ["", f"  {table.caption}", *("  " + line for line in _columns([table.heads, *table.rows]))]
        wrong = [control for control in exposure.controls if not control.passed]
        lines += [f"  control «{control.name}» read {percent(control.share.value)}: it must read «{control.expected}»" for control in wrong]
        lines.append("")
    return "\n".join([*lines, DISCLOSURE])


def as_html(report: LeakReport) -> str:
    """The same as one self-contained page."""
    from tacit import __version__

    css, digest = style()
    sign, badge = _SIGNS[report.verdict]
    meta = {
        "title": f"What «{report.source}» gives away after anonymisation", "dataset": f"{report.records:,} records",
        "created": datetime.now(UTC).date().isoformat(), "version": __version__, "run": f"logs leaks, policy {report.source}",
    }
    shown = [(exposure, *_SIGNS[exposure.verdict], [_shown(table) for table in exposure.tables]) for exposure in report.worst]
    return environment("tacit.logs.leaks").get_template("leaks.html.j2").render(
        report=report, meta=meta, r={"released": False, "disclosure": DISCLOSURE}, style=css, digest=digest, sign=sign, badge=badge,
        headline=_headline(report), tiles=_tiles(report), shown=shown, controls=_controls(report), glossary=GLOSSARY, percent=percent, leak=LEAK,
    )


def _shown(table: Table) -> Shown:
    return Shown(table.caption, table.heads, tuple(Row(row) for row in table.rows))


def _controls(report: LeakReport) -> Shown:
    rows = tuple(
        Row((e.name, control.name, control.expected, percent(control.share.value), "as it must" if control.passed else "wrong"), not control.passed)
        for e in report.exposures for control in e.controls
    )
    return Shown("Controls", ("Attack", "Control", "Must read", "Read", "Which is"), rows)


def _headline(report: LeakReport) -> str:
    names = {exposure.name for exposure in report.exposures if exposure.verdict == LEAK}
    if "identities" in names:
        return "Names can still be read in this log."
    if names:
        return "No name can be read, but people can be found."
    return "Nothing was found, with the knowledge that was assumed." if report.verdict == NO_LEAK else "This test says nothing yet."


_LABELS = {
    "identities": "of identities are readable as they are", "frequency.people": "of people found by how often, and with what, they appear",
    "injection": "of people found who were made to appear in the log", "timing": "of people found by a second log with names",
    "prefixes": "of addresses located in their network from known pairs", "uniqueness": "of records are one person's alone in a few fields",
}


def _tiles(report: LeakReport) -> list[dict[str, str]]:
    return [
        {"figure": percent(e.share.value), "label": _LABELS[e.name], "note": "guessing: none" if e.name == "identities" else
         f"if fields were independent {percent(e.share.chance)}" if e.name == "uniqueness" else f"by guessing {percent(e.share.chance)}"}
        for e in report.exposures if e.share is not None and e.name in _LABELS
    ]


def _figure(exposure: Exposure) -> str:
    if exposure.share is None:
        return exposure.found
    low, high = exposure.share.interval
    usual = {"identities": "", "uniqueness": f"; if fields were independent {percent(exposure.share.chance)}"}
    guessed = usual.get(exposure.name, f"; by guessing {percent(exposure.share.chance)}")
    return f"{percent(exposure.share.value)} ({percent(low)} to {percent(high)}{guessed})  {exposure.title}"


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
