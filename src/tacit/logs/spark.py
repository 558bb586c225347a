"""The batch function on the machines of a Spark cluster: a column of lines in, treated lines, dead letters and a tally out.

What travels with a job is public: the policy, the path of the keyring, the name of the epoch and a fingerprint of its key. Every machine reads the
key from a file of its own. Names that are looked for in texts travel sealed under that key.
"""

from __future__ import annotations

import json
import secrets
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tacit.errors import ConfigError, MissingExtra, TacitError, UsageError, VerificationError
from tacit.logs.anonymise import Anonymiser
from tacit.logs.formats import JSON_NAMES, LONGEST, HeadedFormat, LineFormat, by_name
from tacit.logs.keys import EpochKey, Keyring
from tacit.logs.policies import SourcePolicy
from tacit.logs.stages import LINES, FormatSink, LinesSink, Sink, Tally, learn, letter, run
from tacit.logs.treatments import Identities

if TYPE_CHECKING:
    import pyarrow as pa

_EVENT, _DEAD, _TALLY = "event", "dead", "tally"
_NONCE = 12
_COUNTED = ("randomise", "suppress")


@dataclass(frozen=True)
class SparkJob:
    """What every machine is told; all of it may stand in Spark's event log.

    Args:
        policy: of the source, as YAML.
        keys: path of the keyring, as the workers see it.
        epoch: whose key is used.
        fingerprint: of that key; see `fingerprint`.
        prior: the epoch before while an overlap lasts.
        form: how the lines are written.
        same: whether they are written in the same format again, not as JSON.
    """

    policy: str
    keys: str
    epoch: str
    fingerprint: str
    prior: str | None = None
    form: str = "json"
    same: bool = False

    @classmethod
    def of(
        cls, policy: SourcePolicy, ring: Keyring, *, keys: str | Path, epoch: str | None = None, form: str | None = None, same: bool = True
    ) -> Self:
        """The job of a policy under the keyring of now.

        Args:
            policy: of the source.
            ring: the keyring as the driver reads it.
            keys: its path as the workers see it; each must have it, readable by its owner alone.
            epoch: another than the newest.
            form: how lines are written, if not as the policy says.
            same: write what is no JSON in its own format again.

        Raises:
            UsageError: the policy counts what one unit has had (`randomise`, `suppress`), or the format needs a header.
        """
        name = form or policy.format
        _require_parts(policy, by_name(name))
        key, prior = (ring.epoch(epoch), None) if epoch else (ring.active(), ring.prior())
        return cls(policy.to_yaml(), str(keys), key.id, fingerprint(key), None if prior is None else prior.id, name, same and name not in JSON_NAMES)


class SparkTreated:
    """What became of a frame. Nothing is worked out before `events`, `dead` or `tally` is used, and then once for all of them.

    It keeps what was worked out on the workers' disks until it is closed, or the ``with`` block ends.
    """

    def __init__(self, frame: Any) -> None:
        self._frame = frame

    @property
    def events(self) -> Any:
        """A frame with the column ``value``: treated lines."""
        return self._of(_EVENT)

    @property
    def dead(self) -> Any:
        """A frame with the column ``value``: dead letters, each a JSON text with the record as it came, in the clear, and the reason."""
        return self._of(_DEAD)

    def tally(self) -> Tally:
        """How many lines were read, written and refused, and which fields left out."""
        total = Tally()
        for row in self._of(_TALLY).collect():
            part = json.loads(row.value)
            total.read += part["read"]
            total.written += part["written"]
            total.refused.update(part["refused"])
            total.unknown.update(part["unknown"])
        return total

    def close(self) -> None:
        """Give back the workers' disks."""
        self._frame.unpersist()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _of(self, kind: str) -> Any:
        return self._frame.filter(self._frame.kind == kind).select("value")


def anonymise_frame(
    frame: Any, job: SparkJob, *, ring: Keyring, column: str = "value", names: Mapping[str, Iterable[str]] | None = None, learning: bool = True
) -> SparkTreated:
    """Treat the lines of a frame's column, on whatever machines its session runs.

    With ``learning`` the lines are read twice beforehand, in jobs of their own that run at once: for the names in fields, then for those that texts,
    paths and addresses of pages announce. Names of every partition are then looked for in the texts of all, so that what comes out does not depend on
    how lines are spread over machines, nor on which of these fail.

    Args:
        frame: of a session with a ``sparkContext``.
        job: what the workers are told.
        ring: the keyring as the driver reads it; never sent.
        column: lines, as texts or bytes.
        names: «user», «email» and «host», as a directory lists them; sent sealed.
        learning: whether names are learned beforehand.

    Raises:
        MissingExtra: Spark is not installed.
        UsageError: the frame has no such column.
    """
    storage = _pyspark()
    if column not in frame.columns:
        raise UsageError(f"Expected the frame to have the column «{column}» with a line per row; it has {len(frame.columns)} others.")
    lines = frame.select(frame[column].cast("binary").alias("line"))
    context, key = frame.sparkSession.sparkContext, ring.epoch(job.epoch)
    known = _known(job, key, names or {})
    for everywhere in (False, True) if learning else ():
        _learn(lines, job, key, known, everywhere=everywhere)
    final = context.broadcast(_sealed(known, key))
    treated = lines.mapInArrow(lambda batches: _guarded(_treated, job, final.value, batches), "kind string, value string")
    return SparkTreated(treated.persist(storage.DISK_ONLY))


def _learn(lines: Any, job: SparkJob, key: EpochKey, known: dict[str, str], *, everywhere: bool) -> None:
    """Add to the known names those of all partitions. Of two pseudonyms of one name the earlier partition's stays, as in a file read in order."""
    sealed = lines.sparkSession.sparkContext.broadcast(_sealed(known, key))
    work = partial(_learned, everywhere=everywhere)
    found = lines.mapInArrow(lambda batches: _guarded(work, job, sealed.value, batches), "place long, names binary").collect()
    for row in sorted(found, key=lambda row: row.place):
        for name, pseudonym in _opened(bytes(row.names), key).items():
            known.setdefault(name, pseudonym)
    sealed.unpersist()


def fingerprint(key: EpochKey) -> str:
    """Says whether two machines hold the same key, and nothing about it: 64 bits of a secret that is used for nothing else.

    >>> fingerprint(EpochKey.for_tests()) == fingerprint(EpochKey("k7", bytes(32), tenant="tests"))
    False
    """
    return key.secret("spark/fingerprint")[:8].hex()


def _require_parts(policy: SourcePolicy, form: LineFormat) -> None:
    """Raise unless every part of a file can be treated apart from the others."""
    for path, rule in policy.fields.items():
        if rule.treatment in _COUNTED:
            raise UsageError(
                f"The field «{path}» is treated with «{rule.treatment}», which counts what each unit has had: several machines would count apart, "
                f"and a task that is run again would release twice. Use another treatment, or: tacit logs anonymise"
            )
    if isinstance(form, HeadedFormat):
        raise UsageError(f"The format «{form.name}» has a header, which a part of a file does not hold. Turn it into JSON first.")


def _pyspark() -> Any:
    try:
        from pyspark import StorageLevel
    except ImportError:
        raise MissingExtra("spark", purpose="treating logs on a Spark cluster") from None
    return StorageLevel


def _guarded(
    work: Callable[[SparkJob, bytes, Iterator[list[bytes]]], Iterator[pa.RecordBatch]], job: SparkJob, sealed: bytes,
    batches: Iterable[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    """A part of the work on a worker. What goes wrong is told without values: Spark writes it into its logs."""
    try:
        yield from work(job, sealed, _pieces(batches))
    except TacitError as error:
        raise type(error)(*error.args) from None
    except Exception as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = "" if trace is None else f" in {trace.tb_frame.f_globals.get('__name__')}, line {trace.tb_lineno}"
        raise RuntimeError(f"internal fault ({type(error).__name__}){place}") from None


def _pieces(batches: Iterable[pa.RecordBatch]) -> Iterator[list[bytes]]:
    """Lines in lists as long as those that a file is read in."""
    found: list[bytes] = []
    for batch in batches:
        for line in batch.column(0).to_pylist():
            found.append((line or b"")[: LONGEST + 1])
            if len(found) >= LINES:
                yield found
                found = []
    if found:
        yield found


def _learned(job: SparkJob, sealed: bytes, pieces: Iterator[list[bytes]], *, everywhere: bool) -> Iterator[pa.RecordBatch]:
    """The names that one partition adds to those that are known, sealed."""
    import pyarrow as pa
    from pyspark import TaskContext

    anonymiser, key = _anonymiser(job, sealed)
    known = set(anonymiser.tools.identities)
    learn(pieces, by_name(job.form), anonymiser, everywhere=everywhere)
    new = {name: pseudonym for name, pseudonym in anonymiser.tools.identities.items() if name not in known}
    context = TaskContext.get()
    place = 0 if context is None else context.partitionId()
    yield pa.RecordBatch.from_pydict({"place": pa.array([place], pa.int64()), "names": pa.array([_sealed(new, key)], pa.binary())})


def _treated(job: SparkJob, sealed: bytes, pieces: Iterator[list[bytes]]) -> Iterator[pa.RecordBatch]:
    """One partition, as `tacit.logs.stages.run` treats a file."""
    import pyarrow as pa

    anonymiser, _ = _anonymiser(job, sealed)
    form = by_name(job.form)
    for piece in pieces:
        file, dead = BytesIO(), _Letters()
        tally = run([piece], form, anonymiser, sink=_sink(file, form if job.same else None), dead=dead)
        written = file.getvalue().decode().split("\n")[:-1]
        rows = [(_EVENT, line) for line in written] + [(_DEAD, line) for line in dead.lines] + [(_TALLY, _told(tally))]
        kinds, values = zip(*rows, strict=True)
        yield pa.RecordBatch.from_pydict({"kind": pa.array(kinds, pa.string()), "value": pa.array(values, pa.string())})


class _Letters:
    """Dead letters of one batch."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, record: bytes, *, line: int, reason: str) -> None:
        """Keep one record. Which line of which file it was is not known here."""
        self.lines.append(letter(record, reason=reason))

    def flush(self) -> None:
        """Nothing to do."""


def _sink(file: BytesIO, form: LineFormat | None) -> Sink:
    return LinesSink(file) if form is None else FormatSink(file, form)


def _told(tally: Tally) -> str:
    return json.dumps({"read": tally.read, "written": tally.written, "refused": tally.refused, "unknown": tally.unknown})


def _anonymiser(job: SparkJob, sealed: bytes) -> tuple[Anonymiser, EpochKey]:
    """On a worker: policy and key, with everything that is known beforehand.

    Raises:
        ConfigError: the keyring here holds another key under this name.
    """
    ring = Keyring.open(job.keys)
    key = ring.epoch(job.epoch)
    if fingerprint(key) != job.fingerprint:
        raise ConfigError(f"The keyring {job.keys} of a worker holds another key of the epoch {job.epoch}. Give every machine the same file.")
    prior = None if job.prior is None else ring.epoch(job.prior)
    return Anonymiser(SourcePolicy.parse(job.policy), key, prior=prior, identities=Identities(_opened(sealed, key))), key


def _known(job: SparkJob, key: EpochKey, names: Mapping[str, Iterable[str]]) -> dict[str, str]:
    anonymiser = Anonymiser(SourcePolicy.parse(job.policy), key)
    anonymiser.know(users=[*names.get("user", ()), *names.get("email", ())], hosts=names.get("host", ()))
    return dict(anonymiser.tools.identities.items())


def _sealed(names: Mapping[str, str], key: EpochKey) -> bytes:
    """Names with their pseudonyms, packed and sealed (ChaCha20-Poly1305, RFC 8439): for whoever holds the key of the epoch."""
    nonce = secrets.token_bytes(_NONCE)
    return nonce + bytes(_cipher(key).encrypt(nonce, zlib.compress(json.dumps(names).encode(), 1), b""))


def _opened(box: bytes, key: EpochKey) -> dict[str, str]:
    from cryptography.exceptions import InvalidTag

    try:
        found: dict[str, str] = json.loads(zlib.decompress(_cipher(key).decrypt(box[:_NONCE], box[_NONCE:], b"")))
    except InvalidTag:
        raise VerificationError("Names that came with the job were not sealed with this machine's key. Give every machine the same file.") from None
    return found


def _cipher(key: EpochKey) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    return ChaCha20Poly1305(key.secret("spark/names"))
