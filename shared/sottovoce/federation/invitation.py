"""`federation.toml` as it goes out to labels: the agreement, where the coordinator is reached, and its signature.

It reaches labels out of band. The signature shows that nobody has changed the file since the key that it names signed
it; that this key is the coordinator's, people must compare by another way.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import tomli_w
from cryptography.x509 import load_pem_x509_certificates

from sottovoce.canonical import digest
from sottovoce.errors import ConfigurationError
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.identity import SIGNATURE_BYTES, Identity, verify
from sottovoce.files import write_text

PURPOSE = "invitation"
LARGEST_FILE = 4_000_000
LARGEST_CERTIFICATE = 65_536
_ADDRESS = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}")
MOST_PORT = 65_535


@dataclass(frozen=True)
class Invitation:
    """An agreement and the way to its SuperLink.

    Args:
        agreement: of the federation.
        superlink: address of the SuperLink for SuperNodes, `host:port`.
        certificate: of the authority that vouches for the SuperLink's own, PEM.
        signature: by the agreement's coordinator key over all of it (64 bytes).

    Raises:
        ConfigurationError: a field is out of range, or the signature is not the coordinator's.
    """

    agreement: Agreement
    superlink: str
    certificate: str
    signature: bytes

    def __post_init__(self) -> None:
        if not _ADDRESS.fullmatch(self.superlink) or not 1 <= int(self.superlink.rpartition(":")[2]) <= MOST_PORT:
            raise ConfigurationError("The SuperLink's address is not written as host:port.")
        _check_certificate(self.certificate)
        message = _message(self.agreement, self.superlink, self.certificate)
        if not verify(self.agreement.coordinator_key, self.signature, purpose=PURPOSE, message=message):
            raise ConfigurationError(
                "It is not signed by the coordinator's key that it names, or was changed since.",
                hint="Ask the coordinator for the file that `sottovoce server sign` wrote.",
            )

    @classmethod
    def sign(cls, coordinator: Identity, agreement: Agreement, *, superlink: str, certificate: str) -> "Invitation":
        """The invitation to a federation, signed.

        Raises:
            ConfigurationError: the agreement names another coordinator, or a field is out of range.
        """
        message = _message(agreement, superlink, certificate)
        return cls(agreement, superlink, certificate, coordinator.sign(purpose=PURPOSE, message=message))

    def write(self, path: Path) -> None:
        """Write it as TOML, which `read` reads back to an equal value."""
        values = {
            "signature": self.signature.hex(),
            **self.agreement.to_values(),
            "superlink": {"address": self.superlink, "certificate": self.certificate},
        }
        write_text(path, tomli_w.dumps(values, multiline_strings=True))

    @classmethod
    def read(cls, path: Path) -> "Invitation":
        """Read a signed `federation.toml`.

        Raises:
            ConfigurationError: it cannot be read, is no TOML, lacks a field or has one too many, or is not signed.
        """
        try:
            with path.open("rb") as file:
                data = file.read(LARGEST_FILE + 1)
        except OSError as error:
            raise ConfigurationError(f"It cannot be read: {error.strerror}.") from None
        if len(data) > LARGEST_FILE:
            raise ConfigurationError("It is too large to be an agreement.")
        return cls.from_bytes(data, path.name)

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> "Invitation":
        """Likewise, from what was read from a file of this name.

        Raises:
            ConfigurationError: as for `read`.
        """
        try:
            values = tomllib.loads(data.decode())
        except (ValueError, RecursionError):
            raise ConfigurationError(
                f"The agreement {name} is not TOML.", hint="Ask the coordinator for the file again."
            ) from None
        signature, superlink = values.pop("signature", None), values.pop("superlink", None)
        if signature is None:
            raise ConfigurationError(
                "It is not signed.", hint="Ask the coordinator for the file that `sottovoce server sign` wrote."
            )
        if not isinstance(signature, str) or not re.fullmatch(rf"[0-9a-f]{{{2 * SIGNATURE_BYTES}}}", signature):
            raise ConfigurationError("Its signature is not 128 hexadecimal digits.")
        if not isinstance(superlink, dict) or set(superlink) != {"address", "certificate"}:
            raise ConfigurationError("It needs a table 'superlink' with 'address' and 'certificate'.")
        if not all(isinstance(value, str) for value in superlink.values()):
            raise ConfigurationError("The SuperLink's address and certificate are texts.")
        agreement = Agreement.from_values(values, name)
        return cls(agreement, superlink["address"], superlink["certificate"], bytes.fromhex(signature))


def read_agreement(path: Path) -> Agreement:
    """The agreement in a `federation.toml`: a signed one, as labels have it, or a bare one, as a simulation leaves it.

    Raises:
        ConfigurationError: it is neither, or is signed and the signature does not hold.
        FileNotFoundError: there is no such file.
    """
    with path.open("rb") as file:
        try:
            signed = "signature" in tomllib.load(file)
        except (ValueError, RecursionError):
            raise ConfigurationError(f"The agreement {path.name} is not TOML.") from None
    return Invitation.read(path).agreement if signed else Agreement.read(path)


def _message(agreement: Agreement, superlink: str, certificate: str) -> bytes:
    return digest({"agreement": agreement.digest, "superlink": superlink, "certificate": certificate})


def _check_certificate(text: str) -> None:
    try:
        if len(text) > LARGEST_CERTIFICATE or not load_pem_x509_certificates(text.encode()):
            raise ValueError
    except ValueError:
        raise ConfigurationError("The SuperLink's certificate is not one in PEM.") from None
