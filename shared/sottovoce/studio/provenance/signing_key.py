"""Keys that sign content credentials: the user's own, created on first use, or a given one.

C2PA requires an X.509 signing certificate that is issued by another certificate (certificate profile: C2PA 2.2, section
14.5). On first use, an authority is created, issues one certificate, and its private key is discarded: what remains can
only sign audio. Nobody else knows that authority, so others see an unknown signer.
"""

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from filelock import FileLock

from sottovoce.certificates import key_usage
from sottovoce.errors import ConfigurationError
from sottovoce.federation.identity import decrypted, private_file
from sottovoce.files import write_bytes

KEY_FILE = "signing.key"
CHAIN_FILE = "signing.pem"
AUTHORITIES_FILE = "authorities.pem"
VALID_DAYS = 3650
_EARLY = timedelta(minutes=5)
_LARGEST = 1 << 20
_EC_ALGORITHMS = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_SMALLEST_RSA = 2048


@dataclass(frozen=True)
class SigningKey:
    """A key that signs content credentials, with its certificates. The private part is never printed.

    Args:
        algorithm: its name in C2PA, such as `es256`.
        chain: PEM certificates, the key's own first.
    """

    algorithm: str
    chain: bytes = field(repr=False)
    private: bytes = field(repr=False)

    @classmethod
    def own(cls, folder: Path | None = None) -> "SigningKey":
        """The user's own key; created on first use, and again when its certificate has expired.

        Args:
            folder: the key's folder, or None for the user's data folder.

        Raises:
            ConfigurationError: it cannot be read, or is readable by others.
        """
        folder = folder or own_folder()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with FileLock(folder / ".lock", mode=0o600):
                if not (folder / KEY_FILE).exists() or _expired(folder / CHAIN_FILE):
                    _make(folder)
        except OSError as error:
            raise ConfigurationError(
                f"The folder of the signing key cannot be used: {error.strerror}.",
                hint="Pass your own key and certificate, or make the folder writable.",
            ) from None
        return cls.load(folder / KEY_FILE, folder / CHAIN_FILE)

    @classmethod
    def load(cls, key: Path, chain: Path, *, passphrase: bytes | None = None) -> "SigningKey":
        """Read a key and its certificates from PEM files.

        Args:
            key: PKCS #8 or SEC 1, readable by its owner only.
            chain: the key's certificate, followed by its chain.
            passphrase: passphrase of an encrypted key.

        Raises:
            ConfigurationError: a file cannot be read or has other content, or the certificate belongs to another key.
        """
        private = _private(private_file(key, "signing key"), key, passphrase)
        pem = _read(chain, "signing certificate")
        first = _certificates(pem, chain.name)[0]
        if first.public_key() != private.public_key():
            raise ConfigurationError(f"The certificate in {chain.name} does not belong to the key {key.name}.")
        plain = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return cls(_algorithm(private, key.name), pem, plain)


_Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def own_folder() -> Path:
    """Folder of the user's own key."""
    from platformdirs import user_data_path

    return user_data_path("sottovoce") / "signing"


def own_authorities(folder: Path | None = None) -> bytes:
    """PEM certificates of the authorities of the user's own keys, past ones included; empty if there are none."""
    try:
        return ((folder or own_folder()) / AUTHORITIES_FILE).read_bytes()
    except OSError:
        return b""


def authorities(path: Path) -> bytes:
    """PEM certificates of authorities that the user trusts.

    Raises:
        ConfigurationError: the file cannot be read, or contains no certificate.
    """
    pem = _read(path, "file of trusted certificates")
    _certificates(pem, path.name)
    return pem


def _read(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST)
    except OSError as error:
        raise ConfigurationError(f"Cannot read the {what} {path.name}: {error.strerror}.") from None


def _certificates(pem: bytes, name: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ConfigurationError(f"{name} contains no PEM certificate.") from None


def _private(data: bytes, path: Path, passphrase: bytes | None) -> _Private:
    key: object
    if b"ENCRYPTED" in data:
        key = decrypted(data, path, passphrase)
    else:
        try:
            key = load_pem_private_key(data, None)
        except (ValueError, TypeError):
            raise ConfigurationError(f"The signing key {path.name} is not a PEM private key.") from None
    if not isinstance(key, _Private):
        raise ConfigurationError(f"The signing key {path.name} has a type that C2PA does not support.", hint=_KINDS)
    return key


_KINDS = "Use ECDSA (P-256, P-384, P-521), Ed25519, or RSA of 2,048 bits or more."


def _algorithm(key: _Private, name: str) -> str:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _EC_ALGORITHMS:
        return _EC_ALGORITHMS[key.curve.name]
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _SMALLEST_RSA:
        return "ps256"
    raise ConfigurationError(f"The signing key {name} has a type that C2PA does not support.", hint=_KINDS)


def _expired(chain: Path) -> bool:
    first = _certificates(_read(chain, "signing certificate"), chain.name)[0]
    return first.not_valid_after_utc <= datetime.now(UTC)


def _make(folder: Path) -> None:
    """A new key with a certificate from a new authority, which never signs anything else."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    mark = os.urandom(4).hex()
    issuer, subject = _name(f"Sottovoce authority {mark}"), _name(f"Sottovoce signer {mark}")
    root = (
        _certificate(issuer, issuer, authority.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority.public_key()), critical=False)
        .sign(authority, SHA256())
    )
    leaf = (
        _certificate(subject, issuer, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(authority, SHA256())
    )
    root_pem = root.public_bytes(Encoding.PEM)
    write_bytes(folder / AUTHORITIES_FILE, own_authorities(folder) + root_pem)
    write_bytes(folder / CHAIN_FILE, leaf.public_bytes(Encoding.PEM) + root_pem)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_bytes(folder / KEY_FILE, private, mode=0o600)


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLY)
        .not_valid_after(now + timedelta(days=VALID_DAYS))
    )


def _name(common: str) -> x509.Name:
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sottovoce (self-made key)")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common), organisation])
