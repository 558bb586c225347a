from __future__ import annotations

import datetime
import json
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tacit.crypto import SigningKey
from tacit.errors import ConfigError, UsageError, VerificationError
from tacit.federation import certificates
from tacit.federation.certificates import (
    Address,
    Connection,
    Member,
    issue,
    lay_out_coordinator,
    lay_out_site,
    member_of,
    new_authority,
    read_connection,
    request,
    root_fingerprint,
    valid,
)

MEMBER = SigningKey.generate().public
OTHER = SigningKey.generate().public


@pytest.fixture
def coordinator(tmp_path: Path) -> Path:
    folder = tmp_path / "coordinator"
    folder.mkdir()
    new_authority(folder)
    return folder


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


def root(folder: Path) -> bytes:
    return (folder / "rootCA.pem").read_bytes()


def connection(name: str = "anna") -> Connection:
    return Connection(name, Address("fl.example.org", 8443), OTHER)


def extension(certificate: bytes, kind: type[x509.ExtensionType]) -> x509.ExtensionType:
    return x509.load_pem_x509_certificate(certificate).extensions.get_extension_for_class(kind).value


def test_a_site_is_laid_out_from_its_own_key(coordinator: Path, site: Path) -> None:
    issued = issue(coordinator, request(site, "anna", member=MEMBER), "anna", member=MEMBER)
    lay_out_site(site, issued, root=root(coordinator), connection=connection())
    assert member_of(issued) == Member("anna", MEMBER)
    assert read_connection(site) == connection()
    assert sorted(path.name for path in site.iterdir()) == ["client.crt", "client.key", "connection.json", "rootCA.pem"]
    assert stat.S_IMODE((site / "client.key").stat().st_mode) == 0o600


def test_a_private_key_is_nowhere_but_where_it_was_made(coordinator: Path, site: Path) -> None:
    asked = request(site, "anna", member=MEMBER)
    issued = issue(coordinator, asked, "anna", member=MEMBER)
    lay_out_site(site, issued, root=root(coordinator), connection=connection())
    lay_out_coordinator(coordinator, hosts=["fl.example.org"], member=OTHER)
    private = [path for folder in (coordinator, site) for path in folder.iterdir() if b"PRIVATE" in path.read_bytes()]
    assert sorted(path.name for path in private) == ["authority.key", "client.key", "server.key"]
    assert b"PRIVATE" not in asked + issued


def test_a_site_may_connect_and_not_listen_and_the_coordinator_the_reverse(coordinator: Path, site: Path) -> None:
    lay_out_coordinator(coordinator, hosts=["fl.example.org", "192.0.2.7", "::1"], member=OTHER)
    server, client = (coordinator / "server.crt").read_bytes(), issue(coordinator, request(site, "anna", member=MEMBER), "anna", member=MEMBER)
    assert extension(server, x509.ExtendedKeyUsage) == x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    assert extension(client, x509.ExtendedKeyUsage) == x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    assert extension(client, x509.BasicConstraints) == x509.BasicConstraints(ca=False, path_length=None)
    hosts = extension(server, x509.SubjectAlternativeName)
    assert isinstance(hosts, x509.SubjectAlternativeName)
    assert hosts.get_values_for_type(x509.DNSName) == ["fl.example.org"]
    assert [str(address) for address in hosts.get_values_for_type(x509.IPAddress)] == ["192.0.2.7", "::1"]
    assert member_of(server) == Member("coordinator", OTHER)


def test_asking_again_is_for_the_same_key(site: Path) -> None:
    first, second = (x509.load_pem_x509_csr(request(site, "anna", member=MEMBER)) for _ in range(2))
    assert first.public_key() == second.public_key()


def test_a_certificate_expires(coordinator: Path, site: Path) -> None:
    begin, end = valid(issue(coordinator, request(site, "anna", member=MEMBER), "anna", member=MEMBER, days=30))
    assert end - begin == datetime.timedelta(days=30, hours=1)
    assert begin < datetime.datetime.now(datetime.UTC)


@pytest.mark.parametrize(("name", "member"), [("bergen", MEMBER), ("anna", OTHER)])
def test_nobody_gets_a_certificate_for_another(coordinator: Path, site: Path, name: str, member: object) -> None:
    with pytest.raises(VerificationError, match="Expected a request"):
        issue(coordinator, request(site, "anna", member=MEMBER), name, member=member)  # type: ignore[arg-type]


def test_a_changed_request_is_refused(coordinator: Path, site: Path) -> None:
    der = bytearray(x509.load_pem_x509_csr(request(site, "anna", member=MEMBER)).public_bytes(Encoding.DER))
    at = der.index(b"anna")
    der[at : at + 4] = b"anne"
    with pytest.raises(VerificationError):
        issue(coordinator, x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM), "anne", member=MEMBER)


@pytest.mark.parametrize("data", [b"", b"-----BEGIN CERTIFICATE REQUEST-----\n", b"\0" * 100_000])
def test_what_is_no_request_is_refused(coordinator: Path, data: bytes) -> None:
    with pytest.raises(VerificationError):
        issue(coordinator, data, "anna", member=MEMBER)


@pytest.mark.parametrize("kind", ["rsa", "p384"])
def test_only_keys_of_p256_get_a_certificate(coordinator: Path, kind: str) -> None:
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP384R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "anna")]))
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(Member("anna", MEMBER).uri)])
    asked = builder.add_extension(names, critical=False).sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    with pytest.raises(VerificationError):
        issue(coordinator, asked, "anna", member=MEMBER)


def test_a_site_does_not_take_what_does_not_fit(coordinator: Path, site: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    new_authority(elsewhere)
    issued = issue(coordinator, request(site, "anna", member=MEMBER), "anna", member=MEMBER)
    with pytest.raises(VerificationError, match="not issued by the authority"):
        lay_out_site(site, issued, root=root(elsewhere), connection=connection())
    with pytest.raises(VerificationError, match="not the one for «bergen»"):
        lay_out_site(site, issued, root=root(coordinator), connection=connection("bergen"))
    with pytest.raises(VerificationError, match="not the one for «anna»"):
        lay_out_site(elsewhere, issued, root=root(coordinator), connection=connection())
    assert sorted(path.name for path in site.iterdir()) == ["client.key"]


def test_there_is_one_authority_and_none_by_accident(coordinator: Path, site: Path) -> None:
    before = root_fingerprint(root(coordinator))
    with pytest.raises(UsageError, match="exists"):
        new_authority(coordinator)
    assert root_fingerprint(root(coordinator)) == before
    with pytest.raises(UsageError, match="No authority"):
        lay_out_coordinator(site, hosts=["fl.example.org"], member=OTHER)


@pytest.mark.parametrize("name", ["coordinator", "Anna", "a/b", "", "a" * 65])
def test_names_that_cannot_be_used_are_refused(site: Path, name: str) -> None:
    with pytest.raises(UsageError):
        request(site, name, member=MEMBER)
    assert not list(site.iterdir())


@pytest.mark.parametrize("hosts", [[], ["a b"], ["-a.org"], ["https://a.org"], [""]])
def test_hosts_that_cannot_be_used_are_refused(coordinator: Path, hosts: list[str]) -> None:
    with pytest.raises(UsageError):
        lay_out_coordinator(coordinator, hosts=hosts, member=OTHER)


@pytest.mark.parametrize("text", ["fl.example.org", "fl.example.org:", "a:0", "a:65536", "a:١", ":80", "a b:80"])
def test_addresses_that_cannot_be_used_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Address.parse(text)


@pytest.mark.parametrize("change", [{"version": 2}, {"name": "A"}, {"address": "x"}, {"address": 1}, {"coordinator": "00"}, {"more": 1}])
def test_a_connection_that_was_changed_is_refused(coordinator: Path, site: Path, change: dict[str, object]) -> None:
    issued = issue(coordinator, request(site, "anna", member=MEMBER), "anna", member=MEMBER)
    lay_out_site(site, issued, root=root(coordinator), connection=connection())
    path = site / certificates.CONNECTION
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ConfigError, match="Join the federation again"):
        read_connection(site)


def test_a_certificate_of_something_else_names_no_member() -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "anna")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    bare = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    two = bare.add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(Member("bergen", MEMBER).uri)]), critical=False)
    for made in (bare, two):
        with pytest.raises(VerificationError, match="does not name a member"):
            member_of(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    with pytest.raises(VerificationError, match="Expected a certificate"):
        member_of(b"\x30\x00")
