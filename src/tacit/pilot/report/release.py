"""What of a pilot may leave the owner: guarantees, public parameters and values that were noised and charged. Nothing measured.

Also left out is the recommendation, because the choice was made by looking at measurements.
"""

from __future__ import annotations

from dataclasses import replace

from tacit.errors import UsageError
from tacit.pilot.results import Candidate, Cost, Evidence, Meta, PilotResult, Utility

NOTICE = (
    "Release version: it holds guarantees, public parameters and values that were noised and charged to the ledger. "
    "Everything measured on the records was left out."
)
OMITTED = (
    "how well each model detects (AUC, recall, precision, calibration), with and without privacy",
    "how long training took and how much memory it needed: both depend on the records",
    "what the attacks reached, and on how many records they were run",
    "the comparison of groups, including which groups exist",
    "exact numbers of records, seeds, file names and warnings",
    "which budget was recommended, and which gates passed: the choice looked at the records",
)
_PUBLIC = "P0"


def for_release(result: PilotResult) -> PilotResult:
    """The part of a result that may be passed on.

    Guarantees:
        Whatever is kept is either a public parameter or was charged to the ledger before it was known. A value offered as noised whose
        evidence is not a ledger entry is refused.

    Raises:
        UsageError: if a guarantee or a noised value points at evidence that is not a ledger entry.
    """
    rows = {row.id: row for row in result.evidence}
    private = [candidate for candidate in result.candidates if candidate.is_private]
    used = {candidate.guarantee_ref for candidate in private} | {value.ref for value in result.noised}
    if wrong := sorted(ref for ref in used if rows[ref].kind != "ledger"):
        raise UsageError(f"Expected a ledger entry behind everything released; {', '.join(wrong)} is none. Leave it out, or charge it.")
    names = {candidate.name for candidate in private}
    public = Evidence(_PUBLIC, "policy", "public parameters of the pilot", "declared by the owner before any record was read")
    return PilotResult(
        meta=_public_meta(result.meta),
        candidates=tuple(_promise(candidate) for candidate in private),
        gates=(),
        recommendation=None,
        evidence=(public, *(row for row in result.evidence if row.id in used)),
        threat=result.threat,
        noised=tuple(v for v in result.noised if v.candidate is None or v.candidate in names),
        disclosure=NOTICE,
        released=True,
        omitted=OMITTED,
    )


def _promise(candidate: Candidate) -> Candidate:
    return replace(candidate, utility=Utility(), cost=Cost(), attacks=(), groups=(), encrypted=None)


def _public_meta(meta: Meta) -> Meta:
    return replace(
        meta, train_rows=None, test_rows=None, test_positives=None, split="", seeds=(), alert=None, data_ref=_PUBLIC,
        command="tacit pilot", data_arguments="", ledger=replace(meta.ledger, path=""),
    )
