"""A site's folder: the key that was made here, what it connects with, and the roster it has signed. Beside it lies the owner's policy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tacit.crypto import SigningKey
from tacit.crypto.key_files import create_key_file, read_key_file
from tacit.errors import ConfigError
from tacit.federation.certificates import CLIENT, ROOT, Connection, lay_out_site, read_connection, request
from tacit.federation.folders import made_whole, read_bytes, read_fields, write_bytes, write_fields
from tacit.federation.invite import Invite
from tacit.federation.roster import Roster
from tacit.guard import Policy

FOLDER = "site"
POLICY = "tacit.toml"
_JOIN = "Join first: tacit site join INVITATION."


@dataclass(frozen=True)
class SiteFolder:
    """What a site keeps, in a folder of its own.

    Args:
        root: the folder that holds ``site/`` and the policy.
    """

    root: Path

    @classmethod
    def create(cls, root: Path) -> SiteFolder:
        """Make the site's key; all or nothing. An existing one stays.

        Raises:
            StorageError: if it cannot be written.
        """
        if not (root / FOLDER).exists():
            with made_whole(root / FOLDER) as folder:
                SigningKey.generate().save(folder / "site.key")
        return cls(root)

    @classmethod
    def open(cls, root: Path) -> SiteFolder:
        """The one that is there.

        Raises:
            ConfigError: if there is none.
        """
        if not (root / FOLDER / "site.key").exists():
            raise ConfigError(f"Expected a site's folder at {root / FOLDER}; there is none. Make one with tacit site init, or tacit site join.")
        return cls(root)

    @property
    def path(self) -> Path:
        """Where everything is."""
        return self.root / FOLDER

    @property
    def positions(self) -> Path:
        """Where the agent notes how far each run was answered."""
        return self.path / "positions"

    @cached_property
    def key(self) -> SigningKey:
        """The site's key; it was made here and stays here."""
        return SigningKey.load(self.path / "site.key")

    @property
    def policy(self) -> Policy:
        """The owner's policy."""
        return Policy.load(self.root / POLICY)

    @property
    def joined(self) -> bool:
        """Whether a certificate was issued."""
        return (self.path / CLIENT).exists()

    @property
    def connection(self) -> Connection:
        """The site's name, the coordinator's address and its key.

        Raises:
            ConfigError: if the site has not joined.
        """
        if not self.joined:
            raise ConfigError(f"Expected a site that has joined a federation; this one has not. {_JOIN}")
        return read_connection(self.path)

    @property
    def federation(self) -> str:
        """Its public name."""
        return str(read_fields(self.path / "federation.json", {"version", "federation"}, hint=_JOIN)["federation"])

    @property
    def authority(self) -> bytes:
        """The certificate of the federation's authority, PEM."""
        return read_bytes(self.path / ROOT, hint=_JOIN)

    @property
    def certificate(self) -> bytes:
        """The site's own, PEM."""
        return read_bytes(self.path / CLIENT, hint=_JOIN)

    def keep_invite(self, invite: Invite) -> None:
        """Note the invitation, readable by the owner alone, so that a join that was stopped goes on with it."""
        path = self.path / "invitation"
        path.unlink(missing_ok=True)
        create_key_file(path, invite.text.encode("ascii"), mode=0o600)

    def kept_invite(self) -> Invite | None:
        """The invitation of a join that was stopped."""
        path = self.path / "invitation"
        return Invite.parse(read_key_file(path, private=True).decode("ascii", "replace")) if path.exists() else None

    def request(self, name: str) -> bytes:
        """A request for a certificate; its key is made here and stays here."""
        return request(self.path, name, member=self.key.public)

    def let_in(self, certificate: bytes, *, root: bytes, connection: Connection, federation: str) -> None:
        """Keep what the coordinator issued, if it fits; the invitation is used up then.

        Raises:
            VerificationError: if it does not.
        """
        write_fields(self.path / "federation.json", {"version": 1, "federation": federation})
        lay_out_site(self.path, certificate, root=root, connection=connection)
        (self.path / "invitation").unlink(missing_ok=True)

    def roster(self) -> Roster | None:
        """The roster this site has signed, with the signatures there were; ``None`` before."""
        path = self.path / "roster"
        return Roster.from_bytes(read_bytes(path, hint="Fetch it again: tacit site run.")) if path.exists() else None

    def keep_roster(self, roster: Roster) -> None:
        """Keep it, durably."""
        write_bytes(self.path / "roster", roster.to_bytes())

    def study(self) -> bytes | None:
        """The signed study card that came last; ``None`` before the first."""
        path = self.path / "study"
        return read_bytes(path, hint="It comes again with the next study.") if path.exists() else None

    def keep_study(self, signed: bytes) -> None:
        """Keep the signed card of a study, for whoever decides about it."""
        if self.study() != signed:
            write_bytes(self.path / "study", signed)
