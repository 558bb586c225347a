"""What a candidate costs when it scores records that its owner may not read, measured on held-out records. Owner-side: not private."""

from __future__ import annotations

import statistics
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pyarrow as pa

from tacit.errors import PlanImpossible, UsageError
from tacit.models import Model
from tacit.pilot.results import Encrypted, EvidenceBook, Measure

if TYPE_CHECKING:
    from tacit.encrypted import Compiled

_SAMPLE, _SINGLE, _MANY = 2_000, 5, 16
ABSENT = "scoring under encryption is not measured: it needs the extra «encrypted»: pip install 'tacit[encrypted]'"


def available() -> bool:
    """Whether the library is installed."""
    return find_spec("seal") is not None


def encrypted(model: Model, table: pa.Table, *, name: str, book: EvidenceBook) -> Encrypted | None:
    """Score held-out records under encryption by the plan «private-model»; ``None`` where that cannot be: no library, or a model of another kind.

    Args:
        model: of the candidate.
        table: the held-out records.
        name: of the candidate.
        book: where the evidence is noted.

    Raises:
        DecisionsDiffer: the encrypted model decides otherwise than it states.
    """
    if not available():
        return None
    from tacit.encrypted import Settings, compile

    sample = table.slice(0, _SAMPLE)
    try:
        compiled = compile(model, sample, settings=Settings("private-model", "single"))
    except (UsageError, PlanImpossible):
        return None
    latency, rate, size = _measured(compiled, sample)
    flips = 0 if compiled.agreement is None else compiled.agreement.flips
    how = f"plan private-model; {_SINGLE} single records and {_MANY} at once, one core; decisions on {sample.num_rows:,} held-out rows"
    ref = book.measured(f"encrypted scores of «{name}»", how)
    return Encrypted(Measure(latency, ref), Measure(rate, ref), Measure(size, ref), Measure(1 - flips / sample.num_rows, ref))


def _measured(compiled: Compiled, sample: pa.Table) -> tuple[float, float, float]:
    """Milliseconds of one record, records per second, and kilobytes of one record's messages: client and server together."""
    from tacit.encrypted import Client, SecretKey

    key, scorer = SecretKey.generate(compiled.plan.parameters), compiled.scorer()
    client = Client(compiled.public, key)
    scorer.admit(key.public)
    size = 0

    def seconds(rows: pa.Table) -> float:
        nonlocal size
        begin = time.perf_counter()
        request = client.request(rows)
        answer = scorer.score(request)
        client.open(answer)
        size = len(request) + len(answer)
        return time.perf_counter() - begin

    many = sample.slice(0, _MANY)
    rate = many.num_rows / seconds(many)
    single = [seconds(sample.slice(place % sample.num_rows, 1)) for place in range(_SINGLE)]
    return 1_000 * statistics.median(single), rate, size / 1_000
