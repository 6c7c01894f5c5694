"""A throw-away certificate authority for the test cluster: serving and client certificates, written as PEM files."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Certificate:
    cert: Path
    key: Path


class Authority:
    """Signs for one cluster; its own certificate is `cert`."""

    def __init__(self, folder: Path, common_name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(common_name, ())
        builder = _builder(self._name, self._name, self._key)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.cert = folder / f"{common_name}.crt"
        self.cert.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))

    def client(self, user: str, groups: Sequence[str] = ()) -> Certificate:
        """Kubernetes takes the user from the common name and the groups from the organizations."""
        return self._issue(_file_name(user), _name(user, groups), usage=ExtendedKeyUsageOID.CLIENT_AUTH)

    def server(self, name: str, *hosts: str) -> Certificate:
        return self._issue(name, _name(name, ()), usage=ExtendedKeyUsageOID.SERVER_AUTH, hosts=hosts)

    def _issue(
        self, file_name: str, subject: x509.Name, *, usage: x509.ObjectIdentifier, hosts: Sequence[str] = ()
    ) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, self._name, key)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_alternative(h) for h in hosts]), critical=False
            )
        issued = Certificate(self._folder / f"{file_name}.crt", self._folder / f"{file_name}.key")
        issued.cert.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))
        write_private_key(issued.key, key)
        return issued


def write_private_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def write_signing_key(folder: Path) -> Certificate:
    """The pair that signs service-account tokens: `cert` holds the public key."""
    key = ec.generate_private_key(ec.SECP256R1())
    pair = Certificate(folder / "service-account.pub", folder / "service-account.key")
    write_private_key(pair.key, key)
    pair.cert.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return pair


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _LIFE)
    )


def _name(common_name: str, organizations: Sequence[str]) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _file_name(user: str) -> str:
    return user.replace(":", "-").replace("/", "-")
