"""The ledger: what was charged and what was found, append-only, hash-chained and signed.

>>> ledger = Ledger.ephemeral()
>>> entry = ledger.record("note", Scope("auth"), {"text": "first look"})
>>> entry.sequence, ledger.verify(head=ledger.head).entries
(2, 2)
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection

from tacit.crypto import SigningKey, VerifyKey
from tacit.errors import BudgetExceeded, LedgerCorrupted, RollbackDetected, SignatureInvalid, StorageError, UsageError
from tacit.guarantee import Budget, Relation, Scope
from tacit.guard.accounting import Cost
from tacit.guard.approvals import APPROVAL, CHARGE, PROPOSAL, Standing, require_alike, require_approved
from tacit.guard.filters import Filter, Spent
from tacit.guard.ledger_entry import FORMAT, NO_DIGEST, Entry, Row, encode_body
from tacit.guard.ledger_export import write_lines
from tacit.guard.ledger_store import Store
from tacit.guard.plan import Plan
from tacit.guard.windows import window_end


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification went over, and what it ended at. Keep ``head`` elsewhere: only it shows that nothing was cut off later."""

    entries: int
    charges: int
    head: str
    ledger: str
    public_key: str


class Ledger:
    """An append-only chain of signed entries; open it with `open`.

    Guarantees:
        `charge` reads what the scope has spent, asks the filter and appends within one transaction that excludes every other writer, and
        returns after it is durable (SQLite: write-ahead log, ``synchronous=FULL``; PostgreSQL: ``synchronous_commit=on``). So concurrent
        processes cannot overspend together, and whatever is done after `charge` returned was charged. Every entry is checked against its
        place in the chain and its signature before a charge is appended to it.

    ==============================================  ========================================================
    a changed, removed, added or reordered entry    `verify` raises `LedgerCorrupted`, with its ``sequence``
    entries cut off at the end, an older copy       found only against a head that was kept elsewhere
    the whole ledger written anew with another key  found against the key file, or such a head
    no signing key                                  can be read and verified, not written
    ==============================================  ========================================================
    """

    def __init__(self, store: Store, key: SigningKey | None) -> None:
        self._store, self._key = store, key
        self._known: dict[int, tuple[str, Entry | None]] = {}
        with store.reading() as connection:
            self._id, self._public = _genesis(next(store.rows(connection), None), store.name)
        if key is not None and key.public != self._public:
            raise SignatureInvalid(f"ledger {store.name}: the signing key is not the one it was begun with. Name the right one.")

    @classmethod
    def open(cls, location: str | Path, *, key: SigningKey | str | Path | None = None, create: bool = True) -> Ledger:
        """Open a ledger: a file (SQLite) or a database URL (PostgreSQL).

        Args:
            location: file name or URL.
            key: the signing key or its file; by default a file beside the ledger. Made if the ledger is new, and its file does not exist.
            create: begin a ledger where there is none.

        Raises:
            UsageError: if there is none and ``create`` is false, or a server's ledger is begun without a key.
            StorageError: if it cannot be opened or is something else.
            LedgerCorrupted: if its first entry is not right.
        """
        store = Store(location)
        if not store.exists():
            if not create:
                raise UsageError(f"Expected a ledger at {store.name}; there is none. Name another, or let the first charge begin it.")
            return cls(store, _begin(store, key))
        return cls(store, _load_key(store, key))

    @staticmethod
    def exists(location: str | Path) -> bool:
        """Whether a ledger was begun there.

        Raises:
            StorageError: if that cannot be found out.
        """
        return Store(location).exists()

    @classmethod
    def ephemeral(cls) -> Ledger:
        """A ledger in memory with a key that nobody keeps: for tests and examples, nothing of it lasts."""
        store, key = Store("sqlite://"), SigningKey.generate()
        _write_genesis(store, key)
        return cls(store, key)

    @property
    def name(self) -> str:
        """Where it is, without passwords."""
        return self._store.name

    @property
    def id(self) -> str:
        """A random public name, from the first entry."""
        return self._id

    @property
    def public_key(self) -> VerifyKey:
        """The key that every entry is signed with."""
        return self._public

    @property
    def signing_key(self) -> SigningKey:
        """The key that entries are signed with; models that the ledger paid for are signed with it too.

        Raises:
            StorageError: if it is not at hand.
        """
        return self._require_key()

    @property
    def writable(self) -> bool:
        """Whether the signing key is at hand."""
        return self._key is not None

    @property
    def head(self) -> str:
        """Digest of the newest entry, hex: keep it elsewhere to find a rollback."""
        with self._store.reading() as connection:
            return self._tail(connection).digest

    def charge(
        self, scope: Scope, *, plan: Plan, cost: Cost, rule: Filter, until: date | None = None, approval: bool = False,
    ) -> Entry:
        """Append a charge if the rule admits it together with everything charged to the scope; durable on return.

        Args:
            scope: data set and window that pay.
            plan: what is bought.
            cost: what it takes.
            rule: the budget and its filter.
            until: when the budget renews, for the message; by default the end of the scope's window.
            approval: whether the owner must have approved the plan, once for each charge.

        Raises:
            BudgetExceeded: if it does not fit; nothing was written.
            PolicyViolation: if the scope is charged for another unit or relation.
            Refused: with ``approval``, if the owner did not approve the plan, or it was charged since.
            StorageError: if it cannot be written; nothing was.
            LedgerCorrupted: if any earlier entry is not right.
        """
        key = self._require_key()
        with self._store.writing() as connection:
            earlier = self._checked_all(connection, scope)
            costs = _room(earlier, plan, cost, rule=rule, scope=scope, until=until)
            if approval:
                require_approved(Standing.of(plan.digest, earlier), plan, scope)
            body = {
                "plan": plan.to_dict(), "plan_digest": plan.digest, "cost": cost.to_dict(), "filter": rule.kind,
                "budget": {"epsilon": rule.budget.epsilon, "delta": rule.budget.delta}, "epsilon_after": rule.epsilon([*costs, cost]),
                "approval": approval,
            }
            return self._append(connection, key, kind="charge", scope=scope, body=body)

    def require_room(self, scope: Scope, *, plan: Plan, cost: Cost, rule: Filter) -> None:
        """Raise what `charge` would raise for budget, unit and relation; nothing is written, and another process may be faster.

        Raises:
            BudgetExceeded: if it does not fit.
            PolicyViolation: if the scope is charged for another unit or relation.
            LedgerCorrupted: if any earlier entry is not right.
        """
        with self._store.reading() as connection:
            _room(self._checked_all(connection, scope), plan, cost, rule=rule, scope=scope)

    def record(self, kind: str, scope: Scope, body: dict[str, Any]) -> Entry:
        """Append evidence: a release, an attack result, an approval, a promotion. Durable on return.

        Raises:
            UsageError: for a kind or body that cannot be stored; charges are made with `charge`.
            StorageError: if it cannot be written; nothing was.
        """
        if kind in ("genesis", "charge"):
            raise UsageError(f"Expected a kind of evidence; «{kind}» is written by the ledger itself.")
        key = self._require_key()
        with self._store.writing() as connection:
            return self._append(connection, key, kind=kind, scope=scope, body=body)

    def entries(self, scope: Scope | None = None, kind: str | None = None) -> Iterator[Entry]:
        """Entries in order, each checked against its digest and signature; read a page at a time.

        Raises:
            LedgerCorrupted: at the first that is not right.
        """
        equal = {} if scope is None else {"dataset": scope.dataset, "window": scope.window}
        with self._store.reading() as connection:
            for row in self._store.rows(connection, equal if kind is None else {**equal, "kind": kind}):
                yield row.open(self._public)

    def find(self, kind: str, scope: Scope) -> list[Entry]:
        """Entries of a kind in a scope, oldest first."""
        return list(self.entries(scope, kind))

    def scopes(self) -> list[Scope]:
        """Every scope that was charged, in order of its first charge."""
        return list(dict.fromkeys(entry.scope for entry in self.entries(kind="charge")))

    def costs(self, scope: Scope) -> list[Cost]:
        """Everything charged to a scope."""
        return [Cost.from_dict(entry.body["cost"]) for entry in self.entries(scope, "charge")]

    def spent(self, scope: Scope, rule: Filter | None = None) -> Spent:
        """What a scope has used up, under ``rule`` or else the budget and filter of its last charge.

        Raises:
            UsageError: if nothing was charged and no rule is given.
        """
        charges = list(self.entries(scope, "charge"))
        if rule is None and not charges:
            raise UsageError(f"Expected charges on {scope}; there are none in this ledger. See `tacit ledger show` for the scopes it has.")
        return (rule or _rule_of(charges[-1])).spent([Cost.from_dict(entry.body["cost"]) for entry in charges])

    def verify(self, head: str | None = None) -> Verified:
        """Go over every entry: numbers, chain, digests, signatures; and over ``head``, if one was kept elsewhere.

        Raises:
            LedgerCorrupted: with ``sequence``, at the first entry that is not right.
            RollbackDetected: if the chain is whole but does not contain ``head``.
            UsageError: if ``head`` is not a digest.
        """
        sought = None if head is None else _head(head)
        previous, count, charges, found = NO_DIGEST, 0, 0, sought is None
        with self._store.reading() as connection:
            for row in self._store.rows(connection):
                count += 1
                _require_place(row, count, previous)
                row.open(self._public)
                previous, charges, found = row.digest, charges + (row.kind == "charge"), found or row.digest == sought
        if not found:
            raise RollbackDetected(
                f"ledger {self.name}: it is whole up to entry {count}, but does not contain the head {str(sought)[:16]}…: it was rolled back or "
                "replaced. Find the newer copy; do not answer anything from this one."
            )
        return Verified(count, charges, previous, self._id, self._public.hex)

    def export(self, path: str | Path) -> int:
        """Write every entry as one line of JSON, in order, all or nothing; returns how many.

        Raises:
            StorageError: if it cannot be written.
            LedgerCorrupted: at the first entry that is not right; then nothing is written.
        """
        return write_lines(Path(path), (entry.to_dict() for entry in self.entries()))

    def _require_key(self) -> SigningKey:
        if self._key is None:
            raise StorageError(f"ledger {self.name}: its signing key is not here, so nothing can be added. Name it ([ledger] key).")
        return self._key

    def _tail(self, connection: Connection) -> Entry:
        row = self._store.last(connection)
        if row is None:
            raise LedgerCorrupted(f"ledger {self.name}: every entry is gone. Restore it from a backup.", sequence=1)
        return self._checked(row)

    def _checked(self, row: Row) -> Entry:
        """The entry, checked, and remembered by its digest, which no other entry can have."""
        entry = row.open(self._public)
        self._known[row.sequence] = (row.digest, entry if entry.kind in (CHARGE, PROPOSAL, APPROVAL) else None)
        return entry

    def _checked_all(self, connection: Connection, scope: Scope) -> list[Entry]:
        """The charges, proposals and approvals of a scope, after every entry of the ledger has been checked, each once in this process.

        All of them, because a charge that was moved to another scope would be missed by whoever looks at one scope only.
        """
        digests = self._store.digests(connection)
        known = 0
        for sequence, digest in digests:
            if sequence != known + 1 or self._known.get(sequence, ("",))[0] != digest:
                break
            known = sequence
        previous = self._known[known][0] if known else NO_DIGEST
        for row in self._store.rows(connection, after=known):
            known += 1
            _require_place(row, known, previous)
            self._checked(row)
            previous = row.digest
        entries = (self._known[sequence][1] for sequence in range(1, known + 1))
        return [entry for entry in entries if entry is not None and entry.scope == scope]

    def _append(self, connection: Connection, key: SigningKey, *, kind: str, scope: Scope, body: dict[str, Any]) -> Entry:
        tail = self._tail(connection)
        row = Row(tail.sequence + 1, _now(), kind, scope.dataset, scope.window, encode_body(kind, body), tail.digest).seal(key)
        self._store.append(connection, row)
        return self._checked(row)


def _begin(store: Store, key: SigningKey | str | Path | None) -> SigningKey:
    path = _key_path(store, key)
    if isinstance(key, SigningKey):
        signing = key
    elif path is None:
        raise UsageError("Expected a signing key for a ledger on a server; name its file ([ledger] key, or key=...).")
    else:
        signing = _load_or_make(path)
    _write_genesis(store, signing)
    return signing


def _load_or_make(path: Path) -> SigningKey:
    if not path.exists():
        key = SigningKey.generate()
        try:
            key.save(path)
        except UsageError:  # another process was faster; its key is the ledger's
            return SigningKey.load(path)
        return key
    return SigningKey.load(path)


def _load_key(store: Store, key: SigningKey | str | Path | None) -> SigningKey | None:
    path = _key_path(store, key)
    if isinstance(key, SigningKey) or path is None:
        return key if isinstance(key, SigningKey) else None
    if key is None and not path.exists():
        return None
    return SigningKey.load(path)


def _key_path(store: Store, key: SigningKey | str | Path | None) -> Path | None:
    if isinstance(key, (str, Path)):
        return Path(key)
    if store.path is None:
        return None
    beside = store.path.with_suffix(".key")
    return beside if beside != store.path else store.path.with_name(store.path.name + ".key")


def _write_genesis(store: Store, key: SigningKey) -> None:
    with store.writing() as connection:
        store.create(connection)
        if store.last(connection) is None:
            body = {"format": FORMAT, "ledger": secrets.token_hex(16), "public_key": key.public.hex}
            store.append(connection, Row(1, _now(), "genesis", "", "all", encode_body("genesis", body), NO_DIGEST).seal(key))


def _genesis(row: Row | None, name: str) -> tuple[str, VerifyKey]:
    if row is not None and row.sequence < 1:
        raise LedgerCorrupted(f"ledger entry {row.sequence}: no entry has this number; it was moved.", sequence=row.sequence)
    if row is None or row.sequence != 1 or row.kind != "genesis":
        raise LedgerCorrupted(f"ledger {name}: the first entry is missing. Restore the ledger from a backup.", sequence=1)
    # The key stands inside the entry that it signs: read it, then check that it did.
    body = row.peek()
    if body.get("format") != FORMAT:
        raise LedgerCorrupted(f"ledger {name}: expected format {FORMAT} in the first entry. Use the version of Tacit that wrote it.", sequence=1)
    try:
        key = VerifyKey.from_hex(str(body.get("public_key")))
    except UsageError as error:
        raise LedgerCorrupted(f"ledger {name}: the first entry names no key.", sequence=1) from error
    return str(row.open(key).body.get("ledger")), key


def _require_place(row: Row, expected: int, previous: str) -> None:
    if row.sequence != expected:
        missing = min(expected, row.sequence)
        raise LedgerCorrupted(f"ledger entry {missing}: an entry was removed or moved (found number {row.sequence}).", sequence=missing)
    if row.previous != previous:
        raise LedgerCorrupted(f"ledger entry {row.sequence}: it does not follow the entry before it.", sequence=row.sequence)
    if (row.kind == "genesis") != (expected == 1):
        raise LedgerCorrupted(f"ledger entry {row.sequence}: a ledger begins once, with its first entry.", sequence=row.sequence)


def _room(
    earlier: list[Entry], plan: Plan, cost: Cost, *, rule: Filter, scope: Scope, until: date | None = None,
) -> list[Cost]:
    """What the scope was charged before, if one more cost fits beside it."""
    charges = [entry for entry in earlier if entry.kind == CHARGE]
    require_alike(charges, plan, scope)
    costs = [Cost.from_dict(entry.body["cost"]) for entry in charges]
    if not rule.admits([*costs, cost]):
        raise BudgetExceeded(_refusal(rule, costs, cost, scope=scope, until=until or window_end(scope.window)))
    return costs


def _rule_of(entry: Entry) -> Filter:
    body = entry.body
    return Filter(Budget(**body["budget"]), Relation(body["plan"]["relation"]), body["filter"])


def _refusal(rule: Filter, costs: list[Cost], cost: Cost, *, scope: Scope, until: date | None) -> str:
    end = f" until {until.isoformat()}" if until else ""
    advice = "Lower --budget, or ask the owner to extend it (tacit policy)."
    extras, room = cost.delta(rule.budget.epsilon), rule.extras_left(costs)
    if extras > room and not rule.admits([cost]):
        return (
            f"refused: this plan takes delta={extras:.2g} for its samplers and selection on {scope}; {room:.2g} is left{end}. "
            "Ask fewer coordinates, on a finer grid, or with a smaller selection_delta."
        )
    price, left = rule.epsilon([cost]), _rounded(rule.left(costs), ROUND_FLOOR)
    what = f"epsilon={_rounded(price, ROUND_CEILING)}" if math.isfinite(price) else "more epsilon than can be accounted for"
    return f"refused: this plan costs {what} on {scope}; {left} is left{end}. {advice}"


def _rounded(value: float, rounding: str, digits: int = 3) -> str:
    return f"{float(Context(prec=digits, rounding=rounding).create_decimal_from_float(value)):g}"


def _head(text: str) -> str:
    value = text.strip().lower()
    if len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise UsageError("Expected a head of 64 hexadecimal digits, as `tacit ledger verify` prints it.")
    return value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
