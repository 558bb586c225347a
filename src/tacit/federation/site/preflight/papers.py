"""What was agreed: the roster, the policy and the study card."""

from __future__ import annotations

from datetime import UTC, datetime

from tacit.errors import TacitError
from tacit.federation.site.admission import differences
from tacit.federation.site.preflight.outcome import RENEW, Bench, Failed


def roster(bench: Bench) -> str:
    """Whether every member has signed one list with this site's key in it."""
    connection, found = bench.connection, bench.folder.roster()
    if found is None:
        raise Failed("no roster yet", "Run tacit site run; it fetches the roster as soon as every invited site has joined.")
    try:
        if found.key(connection.name) != bench.folder.key.public:
            raise Failed("the roster has another key for this site", RENEW)
        found.require_signed()
    except TacitError as error:
        raise Failed(str(error), "Run tacit site run; it fetches the roster again.") from None
    return f"{found.parties}; all have signed"


def policy(bench: Bench) -> str:
    """Whether the owner's policy can be read, and the study fits it."""
    try:
        found = bench.folder.policy
    except TacitError as error:
        raise Failed(str(error), "Correct the file, or write a new one with tacit site init; tacit policy check looks at it again.") from None
    plain = f"«{found.dataset}», epsilon {found.budget.epsilon:g} at delta {found.budget.delta:g} per {found.unit}"
    if bench.given is None and not bench.folder.study():
        return f"{plain}; no study card to hold it against yet"
    known = bench.folder.roster()
    sites = bench.card.sites if known is None else known.names
    name = bench.folder.connection.name if bench.folder.joined else sites[0]
    wrong = list(differences(bench.card, found, name=name, sites=sites, today=datetime.now(UTC).date()))
    if wrong:
        raise Failed("; ".join(text.rstrip(".") for text in wrong), "Agree with the coordinator, then change the policy or the card.")
    return f"{plain}; the study «{bench.card.name}» fits"
