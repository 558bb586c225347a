"""The page of a pilot: one self-contained file."""

from __future__ import annotations

from tacit.page import environment, style
from tacit.pilot.report import charts
from tacit.pilot.report.release import for_release
from tacit.pilot.report.view import View
from tacit.pilot.results import PilotResult

GLOSSARY = (
    ("ε and δ (epsilon, delta)", "The privacy budget. ε limits by what factor any result may become more or less likely when one unit's "
     "data is added or removed: at most e^ε, which is 2.7 at ε = 1. δ is the small chance that this fails. Smaller is more private.", True),
    ("Privacy unit", "Who or what the guarantee protects as one, with all of its records: here, one {unit}.", True),
    ("Ledger", "An append-only, signed list of everything that was spent. Its head is a fingerprint of the whole list.", True),
    ("95 % interval", "Where the true value plausibly lies, given how few records were measured. Shown small, as “0.90 to 0.95”.", False),
    ("Alert budget", "How many alerts somebody has time to look at. “Found” counts what those alerts contain; missed is the rest.", False),
    ("AUC", "How often a random positive is ranked above a random negative: 0.5 is guessing, 1 is perfect.", False),
    ("Membership attack", "Trying to tell from a model whether certain records were used to train it; the most basic thing a model can "
     "leak about them.", False),
    ("Bound", "The most that any attack can reach, by mathematical proof, whatever the attacker knows. It follows from ε and δ.", False),
)


def render_html(result: PilotResult, *, release: bool = False) -> str:
    """The report as one HTML document; with ``release``, only what may be passed on."""
    shown = for_release(result) if release and not result.released else result
    css, digest = style()
    terms = [(term, text.replace("{unit}", shown.meta.unit)) for term, text, public in GLOSSARY if public or not shown.released]
    template = environment("tacit.pilot.report").get_template("release.html.j2" if shown.released else "report.html.j2")
    return template.render(view=View(shown), r=shown, meta=shown.meta, key=charts.key, style=css, digest=digest, glossary=terms)
