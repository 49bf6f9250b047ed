"""The coordinator's certificate authority, and the SuperLink's certificate.

Labels trust only this authority, which is in the agreement: no public authority can impersonate the SuperLink.
"""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sottovoce.certificates import key_usage
from sottovoce.errors import ConfigurationError
from sottovoce.files import write_bytes

YEARS = 10
BACKDATED = timedelta(hours=1)
"""Tolerance for clocks of other machines that are behind."""
_ALWAYS = ("localhost", "127.0.0.1", "::1")
"""Names by which the coordinator's own processes reach the SuperLink."""


def make_authority(key_file: Path, certificate_file: Path) -> None:
    """Create an authority: a key (readable by the owner only) and its certificate, both PEM."""
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Sottovoce coordinator's authority")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA384())
    )
    _write_key(key_file, key)
    write_bytes(certificate_file, certificate.public_bytes(Encoding.PEM))


def make_server_certificate(host: str, *, authority_key: Path, authority: Path, key_file: Path, file: Path) -> None:
    """Create a key and a certificate for the SuperLink, signed by the authority.

    Args:
        host: name or address by which labels reach it.
        authority_key: file of the authority's key.
        authority: file of its certificate.
        key_file: output file for the new key, readable by the owner only.
        file: output file for the new certificate.

    Raises:
        ConfigurationError: the authority's key or certificate is missing or damaged.
    """
    try:
        signer = load_pem_private_key(authority_key.read_bytes(), None)
        issuer = x509.load_pem_x509_certificate(authority.read_bytes())
    except (OSError, ValueError, TypeError):
        raise ConfigurationError("The coordinator's certificate authority is missing or damaged.") from None
    if not isinstance(signer, ec.EllipticCurvePrivateKey) or signer.public_key() != issuer.public_key():
        raise ConfigurationError("The key and the certificate of the coordinator's certificate authority do not match.")
    key = ec.generate_private_key(ec.SECP384R1())
    names = [_general_name(name) for name in dict.fromkeys((host, *_ALWAYS))]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Sottovoce SuperLink")])
    certificate = (
        _builder(subject, issuer.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA384())
    )
    _write_key(key_file, key)
    write_bytes(file, certificate.public_bytes(Encoding.PEM))


def covers(file: Path, host: str) -> bool:
    """Whether a certificate exists, is for this host, and does not expire soon."""
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    return _general_name(host) in list(names) and certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(
        days=30
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        issuer, subject, key, x509.random_serial_number(), now - BACKDATED, now + timedelta(days=365 * YEARS)
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return x509.DNSName(host)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    write_bytes(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode=0o600)
