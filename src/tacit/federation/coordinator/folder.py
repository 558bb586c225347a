"""The coordinator's folder: its keys, who was invited, who asks to join, who is in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tacit.crypto import SigningKey, VerifyKey
from tacit.errors import ConfigError, UsageError, VerificationError
from tacit.federation.certificates import ROOT, Address, lay_out_coordinator, new_authority, root_fingerprint
from tacit.federation.enrolment import Enrolment
from tacit.federation.folders import made_whole, read_bytes, read_fields, write_bytes, write_fields
from tacit.federation.invite import Invite
from tacit.federation.roster import COORDINATOR, Roster, require_name

FOLDER = "coordinator"
_HINT = "Begin with tacit coordinator init."
_LOST = "Restore the coordinator's folder from its backup."


def name_from(text: str) -> str:
    """A site's name from what people call it.

    >>> name_from("St. Anna"), name_from("Zürich 2")
    ('st-anna', 'zurich-2')
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return require_name(re.sub(r"[^a-z0-9._]+", "-", re.sub(r"\.(?=\s|$)", "", plain)).strip("-._"))


@dataclass(frozen=True)
class Member:
    """A site that was let in."""

    name: str
    key: VerifyKey
    certificate: bytes


@dataclass(frozen=True)
class CoordinatorFolder:
    """What the coordinator keeps, in a folder of its own.

    Args:
        root: the folder that holds ``coordinator/``.
    """

    root: Path

    @classmethod
    def create(cls, root: Path, *, federation: str, address: Address, hosts: Sequence[str] = ()) -> CoordinatorFolder:
        """Make keys, an authority and a certificate to listen with; all or nothing.

        Args:
            root: where ``coordinator/`` is made.
            federation: public name.
            address: under which sites reach it.
            hosts: further names and addresses that the certificate is good for.

        Raises:
            UsageError: if there is one already, or a name cannot be used.
            StorageError: if it cannot be written.
        """
        if not federation.strip() or len(federation) > 200 or not federation.isprintable():
            raise UsageError("Expected a name of 1 to 200 printable characters for the federation.")
        with made_whole(root / FOLDER) as folder:
            key = SigningKey.generate()
            key.save(folder / "coordinator.key")
            new_authority(folder)
            lay_out_coordinator(folder, hosts=[address.host, *hosts], member=key.public)
            write_fields(folder / "federation.json", {"version": 1, "federation": federation, "address": str(address)})
        return cls(root)

    @classmethod
    def open(cls, root: Path) -> CoordinatorFolder:
        """The one that is there.

        Raises:
            ConfigError: if there is none.
        """
        found = cls(root)
        _ = found.federation
        return found

    @property
    def path(self) -> Path:
        """Where everything is."""
        return self.root / FOLDER

    @cached_property
    def _fields(self) -> dict[str, str]:
        return read_fields(self.path / "federation.json", {"version", "federation", "address"}, hint=_HINT)

    @property
    def federation(self) -> str:
        """The federation's public name."""
        return self._fields["federation"]

    @property
    def address(self) -> Address:
        """Where sites reach the coordinator."""
        return Address.parse(self._fields["address"])

    @cached_property
    def key(self) -> SigningKey:
        """The coordinator's own key."""
        return SigningKey.load(self.path / "coordinator.key")

    @property
    def authority(self) -> bytes:
        """The certificate of the authority, PEM."""
        return read_bytes(self.path / ROOT, hint=_LOST)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of that certificate, 32 bytes: what invitations pin."""
        return bytes.fromhex(root_fingerprint(self.authority))

    def invite(self, name: str) -> Invite:
        """A new invitation; an earlier one that nobody used is good no more.

        Raises:
            UsageError: if a site of that name is in already, or the name cannot be used.
        """
        if name in self.members():
            raise UsageError(f"Expected a site that is not in yet; «{name}» is. For a new key: tacit coordinator remove {name}, then invite it.")
        made = Invite(self.federation, require_name(name), str(self.address), self.fingerprint)
        write_fields(self.path / "invites" / f"{name}.json", {"version": 1, "receipt": made.receipt, "address": made.address})
        (self.path / "applications" / name).unlink(missing_ok=True)
        return made

    def invited(self) -> tuple[str, ...]:
        """Every site that was ever invited, in order."""
        return _names(self.path / "invites", ".json")

    def receipt(self, name: str) -> str:
        """What was kept of an invitation's secret.

        Raises:
            ConfigError: if nobody of that name was invited.
        """
        fields = read_fields(self.path / "invites" / f"{require_name(name)}.json", {"version", "receipt", "address"}, hint="Invite the site first.")
        return str(fields["receipt"])

    def apply(self, application: Enrolment) -> None:
        """Keep an application until a person has decided; one that is there stays.

        Raises:
            VerificationError: if another key has applied with the same invitation.
        """
        there = self.application(application.site)
        if there is not None and there.key != application.key:
            raise VerificationError(
                f"refused: another key has applied as «{application.site}» with this invitation. If that was not you, it was stolen: tell the "
                "coordinator, who makes a new one with tacit coordinator invite."
            )
        if there is None:
            write_bytes(self.path / "applications" / application.site, Enrolment(
                application.site, b"", application.key, application.request, application.signature,
            ).to_bytes())

    def application(self, name: str) -> Enrolment | None:
        """The application of a site, if there is one."""
        path = self.path / "applications" / require_name(name)
        return Enrolment.from_bytes(read_bytes(path, hint=_LOST)) if path.exists() else None

    def waiting(self) -> tuple[str, ...]:
        """Sites that have applied and are not in yet."""
        members = self.members()
        return tuple(name for name in _names(self.path / "applications", "") if name not in members)

    def admit(self, application: Enrolment, certificate: bytes) -> None:
        """Let a site in."""
        fields = {"version": 1, "key": application.key.hex, "certificate": certificate.decode("ascii")}
        write_fields(self.path / "members" / f"{application.site}.json", fields)

    def reject(self, name: str) -> None:
        """Forget an application and its invitation."""
        for path in (self.path / "applications" / require_name(name), self.path / "invites" / f"{name}.json"):
            path.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Forget a site: the roster is another one without it, and everybody signs that anew.

        Raises:
            UsageError: if there is no site of that name.
        """
        path = self.path / "members" / f"{require_name(name)}.json"
        if not path.exists() and name not in self.invited():
            raise UsageError(f"Expected a site that was invited; «{name}» was not. See tacit coordinator status.")
        self.reject(name)
        path.unlink(missing_ok=True)

    def members(self) -> dict[str, Member]:
        """Who is in, by name."""
        return {name: self._member(name) for name in _names(self.path / "members", ".json")}

    def _member(self, name: str) -> Member:
        fields = read_fields(self.path / "members" / f"{name}.json", {"version", "key", "certificate"}, hint=_LOST)
        return Member(name, VerifyKey.from_hex(fields["key"]), fields["certificate"].encode())

    def roster(self) -> Roster | None:
        """The roster with the signatures so far, once every invited site is in and there are three; ``None`` before.

        The coordinator signs it when it is complete for the first time. A site that is let in later makes another roster, without signatures.
        """
        members = self.members()
        if len(members) < 3 or set(self.invited()) - set(members):
            return None
        plain = Roster(self.federation, self.key.public, {name: member.key for name, member in members.items()})
        path = self.path / "roster"
        kept = Roster.from_bytes(read_bytes(path, hint=_LOST)) if path.exists() else None
        if kept is not None and kept.id == plain.id:
            return kept
        signed = plain.signed_by(COORDINATOR, self.key)
        write_bytes(path, signed.to_bytes())
        return signed

    def hold(self, name: str, roster: Roster) -> None:
        """Note that a site has the whole roster: it finds its way without the desk from now on."""
        write_bytes(self.path / "holders" / require_name(name), roster.id)

    def holders(self, roster: Roster) -> frozenset[str]:
        """The sites that have this roster with every signature."""
        folder = self.path / "holders"
        return frozenset(name for name in _names(folder, "") if read_bytes(folder / name, hint=_LOST) == roster.id)

    def countersign(self, name: str, signature: bytes) -> Roster:
        """Keep one site's signature under the roster.

        Raises:
            VerificationError: if it is not that site's signature under this roster.
            ConfigError: if the roster is not complete.
        """
        roster = self.roster()
        if roster is None:
            raise ConfigError("The roster is not complete: not every invited site is in. Wait for the others.")
        signed = roster.with_signature(name, signature)
        write_bytes(self.path / "roster", signed.to_bytes())
        return signed


def _names(folder: Path, suffix: str) -> tuple[str, ...]:
    if not folder.is_dir():
        return ()
    return tuple(sorted(path.name.removesuffix(suffix) for path in folder.iterdir() if path.name.endswith(suffix) and not path.name.startswith(".")))
