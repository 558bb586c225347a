"""Certificates for the connections of a federation: one authority at the coordinator, and keys that are made where they are used and stay there.

::

    new_authority(coordinator)                                         # authority.key, rootCA.pem
    lay_out_coordinator(coordinator, hosts=["fl.example.org"], member=key.public)
    asked = request(site, "st-anna", member=site_key.public)           # client.key stays; what is returned is public
    issued = issue(coordinator, asked, "st-anna", member=site_key.public)
    lay_out_site(site, issued, root=root, connection=Connection("st-anna", Address("fl.example.org", 8443), key.public))

Names of files are those of NVFlare's start-up kits: ``rootCA.pem``, ``server.crt``, ``server.key``, ``client.crt``, ``client.key``. Keys are of
P-256, which every TLS library accepts. A certificate names its holder twice: by name (CN), and by the Ed25519 key that the roster has for that name
(URI ``urn:tacit:NAME:KEY``), so that it is worth nothing under another roster entry.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tacit.crypto import VerifyKey
from tacit.crypto.key_files import load_private, save_private
from tacit.errors import ConfigError, UsageError, VerificationError
from tacit.federation.roster import COORDINATOR, require_name
from tacit.replacing import replacing

ROOT, AUTHORITY_KEY = "rootCA.pem", "authority.key"
SERVER, SERVER_KEY = "server.crt", "server.key"
CLIENT, CLIENT_KEY = "client.crt", "client.key"
CONNECTION = "connection.json"
DAYS = 397
AUTHORITY_DAYS = 3650
SKEW = timedelta(hours=1)
LARGEST = 1 << 14
_DNS = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?\Z")
_URI = re.compile(r"urn:tacit:([a-z0-9][a-z0-9._-]{0,63}):([0-9a-f]{64})\Z")


@dataclass(frozen=True, slots=True)
class Member:
    """Who a certificate belongs to: the name, and the roster's key for it."""

    name: str
    key: VerifyKey

    @property
    def uri(self) -> str:
        """As the certificate holds it."""
        return f"urn:tacit:{self.name}:{self.key.hex}"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the coordinator listens.

    >>> str(Address.parse("fl.example.org:8443")), Address.parse("[::1]:8443").host
    ('fl.example.org:8443', '::1')

    Raises:
        UsageError: for a port outside 1 to 65535, or a host that is neither a name nor an address.
    """

    host: str
    port: int

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise UsageError(f"Expected a port from 1 to 65535; got {self.port}.")
        _host(self.host)

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``HOST:PORT``; an IPv6 address stands in brackets."""
        host, colon, port = text.strip().rpartition(":")
        if not colon or not port.isascii() or not port.isdecimal() or len(port) > 5:
            raise UsageError(f"Expected an address such as fl.example.org:8443; got {text[:80]!r}.")
        return cls(host.removeprefix("[").removesuffix("]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Connection:
    """What a site knows about its way to the coordinator: ``connection.json`` in its folder."""

    name: str
    address: Address
    coordinator: VerifyKey


def new_authority(folder: Path) -> None:
    """Make the federation's own certificate authority: ``authority.key`` (0600) and ``rootCA.pem``, good for ten years.

    Raises:
        UsageError: the folder has one already.
        StorageError: the folder cannot be written.
    """
    key = generate_private_key(SECP256R1())
    save_private(folder / AUTHORITY_KEY, key)
    name = _name("Tacit federation authority")
    builder = _builder(name, name, key.public_key(), days=AUTHORITY_DAYS).add_extension(_usage(authority=True), critical=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    _write(folder / ROOT, builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))


def request(folder: Path, name: str, *, member: VerifyKey) -> bytes:
    """A request for a certificate (PKCS #10, PEM), for a key that is made in ``folder`` (``client.key``, 0600) or is there from an earlier request.

    Args:
        folder: the site's.
        name: the site's.
        member: the key that the roster has, or will have, for it.

    Raises:
        UsageError: the name cannot be used, or others may read the key.
        StorageError: the folder cannot be written.
    """
    who = Member(require_name(name), member)
    key = _key(folder / CLIENT_KEY)
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(name))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(who.uri)]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def issue(folder: Path, asked: bytes, name: str, *, member: VerifyKey, days: int = DAYS) -> bytes:
    """The certificate (PEM) for a request, with which its holder can connect, and not listen.

    Args:
        folder: the authority's.
        asked: what `request` returned.
        name: the site that may have it; the request must say the same.
        member: the roster's key for it; the request must say the same. A person has compared its fingerprint.
        days: until it expires.

    Raises:
        VerificationError: the request is none, was changed, asks for another name or member, or for a key that is not of P-256.
        UsageError: there is no authority in the folder.
    """
    who = Member(require_name(name), member)
    if not 1 <= days <= AUTHORITY_DAYS:
        raise UsageError(f"Expected 1 to {AUTHORITY_DAYS} days for a certificate; got {days}.")
    extensions: list[x509.GeneralName] = [x509.UniformResourceIdentifier(who.uri)]
    return _signed(folder, who, _asked(asked, who), extensions, days=days, purpose=ExtendedKeyUsageOID.CLIENT_AUTH)


def lay_out_coordinator(folder: Path, *, hosts: Sequence[str], member: VerifyKey, days: int = DAYS) -> None:
    """Write what the coordinator listens with: ``server.key`` (kept, if there is one) and ``server.crt``, signed by the folder's authority.

    Args:
        folder: the authority's.
        hosts: every name and address under which sites reach it.
        member: the coordinator's key in the roster.
        days: until it expires.

    Raises:
        UsageError: no host, one that is neither a name nor an address, or no authority in the folder.
        StorageError: the folder cannot be written.
    """
    if not hosts:
        raise UsageError("Expected at least one name or address under which sites reach the coordinator.")
    who = Member(COORDINATOR, member)
    extensions = [_host(host) for host in dict.fromkeys(hosts)] + [x509.UniformResourceIdentifier(who.uri)]
    public = _key(folder / SERVER_KEY).public_key()
    _write(folder / SERVER, _signed(folder, who, public, extensions, days=days, purpose=ExtendedKeyUsageOID.SERVER_AUTH))


def lay_out_site(folder: Path, certificate: bytes, *, root: bytes, connection: Connection) -> None:
    """Write what a site connects with: ``client.crt``, ``rootCA.pem``, ``connection.json``; nothing if they do not fit together.

    Args:
        folder: where `request` has put ``client.key``.
        certificate: what `issue` returned.
        root: the authority's ``rootCA.pem``, whose fingerprint a person has compared.
        connection: the site's name, the coordinator's address and its key.

    Raises:
        VerificationError: the certificate is another site's, another key's, expired or another authority's.
        StorageError: the folder cannot be written.
    """
    issued = _load(certificate)
    if member_of(certificate).name != connection.name or issued.public_key() != _key(folder / CLIENT_KEY).public_key():
        raise VerificationError(f"The certificate is not the one for «{connection.name}» and the key in its folder. Ask the coordinator again.")
    require_issued(certificate, root)
    _write(folder / ROOT, root)
    _write(folder / CLIENT, certificate)
    fields = {"version": 1, "name": connection.name, "address": str(connection.address), "coordinator": connection.coordinator.hex}
    _write(folder / CONNECTION, (json.dumps(fields, indent=1) + "\n").encode())


def read_connection(folder: Path) -> Connection:
    """What `lay_out_site` wrote.

    Raises:
        ConfigError: it is not there, or something else.
    """
    try:
        fields = json.loads((folder / CONNECTION).read_bytes()[:LARGEST])
        if fields.keys() != {"version", "name", "address", "coordinator"} or fields["version"] != 1:
            raise ValueError("other fields")
        return Connection(require_name(fields["name"]), Address.parse(fields["address"]), VerifyKey.from_hex(fields["coordinator"]))
    except (OSError, ValueError, AttributeError, TypeError, UsageError) as error:
        raise ConfigError(f"Cannot use {folder / CONNECTION} ({type(error).__name__}). Join the federation again: tacit site join.") from None


def member_of(certificate: bytes) -> Member:
    """Whom a certificate (PEM or DER) names. Its signature is not looked at: TLS has done that, or `lay_out_site` does.

    Raises:
        VerificationError: it is no certificate of a federation.
    """
    found = _load(certificate)
    return _member(found.subject, found.extensions)


def require_issued(certificate: bytes, root: bytes) -> None:
    """Return if an authority has issued a certificate.

    Raises:
        VerificationError: if it has not.
    """
    try:
        _load(certificate).verify_directly_issued_by(_load(root))
    except (ValueError, TypeError, InvalidSignature):
        raise VerificationError("The certificate was not issued by the authority it came with. Ask the coordinator for both again.") from None


def read_certificate(path: Path) -> bytes:
    """A certificate's file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(LARGEST)
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}. Join, or begin, the federation again.") from None


def valid(certificate: bytes) -> tuple[datetime, datetime]:
    """From when until when a certificate holds, in UTC."""
    found = _load(certificate)
    return found.not_valid_before_utc, found.not_valid_after_utc


def root_fingerprint(root: bytes) -> str:
    """SHA-256 of the authority's certificate, 64 hexadecimal digits: what an invitation pins."""
    return _load(root).fingerprint(hashes.SHA256()).hex()


def _signed(
    folder: Path, who: Member, public: EllipticCurvePublicKey, names: list[x509.GeneralName], *, days: int, purpose: x509.ObjectIdentifier
) -> bytes:
    if not (folder / ROOT).exists():
        raise UsageError(f"No authority in {folder}. Make one first: tacit coordinator init.")
    root = _load(read_certificate(folder / ROOT))
    authority = load_private(folder / AUTHORITY_KEY, EllipticCurvePrivateKey, name="authority", algorithm="P-256")  # type: ignore[type-abstract]
    builder = _builder(_name(who.name), root.subject, public, days=days).add_extension(_usage(authority=False), critical=True)
    for extension, critical in (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.SubjectAlternativeName(names), False),
        (x509.ExtendedKeyUsage([purpose]), False),
        (x509.SubjectKeyIdentifier.from_public_key(public), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), False),
    ):
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(authority, hashes.SHA256()).public_bytes(Encoding.PEM)


def _asked(data: bytes, who: Member) -> EllipticCurvePublicKey:
    """The key that a request is for."""
    wrong = VerificationError(f"Expected a request for a certificate of «{who.name}» with the member's key. Make it again: tacit site join.")
    try:
        found = x509.load_pem_x509_csr(data[:LARGEST])
        right = found.is_signature_valid and _member(found.subject, found.extensions) == who
        public = found.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, VerificationError):
        raise wrong from None
    if not right or not isinstance(public, EllipticCurvePublicKey) or not isinstance(public.curve, SECP256R1):
        raise wrong
    return public


def _member(subject: x509.Name, extensions: x509.Extensions) -> Member:
    try:
        names = [str(part.value) for part in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        held = extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.UniformResourceIdentifier)
        (name,), (found,) = names, [match for match in map(_URI.match, held) if match]
        if found[1] != name:
            raise ValueError("two names")
        return Member(name, VerifyKey.from_hex(found[2]))
    except (ValueError, UsageError, x509.ExtensionNotFound):
        raise VerificationError("A certificate does not name a member of a federation. Expected one that «tacit coordinator» issued.") from None


def _load(data: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(data[:LARGEST]) if data.startswith(b"-----BEGIN") else x509.load_der_x509_certificate(data[:LARGEST])
    except ValueError:
        raise VerificationError("Expected a certificate as PEM. Ask the coordinator for it again.") from None


def _builder(subject: x509.Name, issuer: x509.Name, public: EllipticCurvePublicKey, *, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public).serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - SKEW).not_valid_after(now + timedelta(days=days))


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        if not _DNS.match(text) or len(text) > 253:
            raise UsageError(f"Expected a host's name or address; got {text[:80]!r}.") from None
        return x509.DNSName(text)


def _key(path: Path) -> EllipticCurvePrivateKey:
    """The key in a file, made if the file is not there."""
    if not path.exists():
        save_private(path, generate_private_key(SECP256R1()))
    return load_private(path, EllipticCurvePrivateKey, name="connection", algorithm="P-256")  # type: ignore[type-abstract]


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as file:
        file.write(data)
