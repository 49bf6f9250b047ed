"""`federation.toml` as labels receive it: agreement, signed enrolments, counter-signatures, address of the SuperLink.

Since it holds each member's signed enrolment, the coordinator cannot change a name or a key; since it holds the
members' counter-signatures of one another, it cannot invent a member. The coordinator's signature shows that the file
is unchanged since the key that it names signed it. That this key is the coordinator's must be checked out of band.
"""

import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from cryptography.x509 import load_pem_x509_certificates

from sottovoce.canonical import digest
from sottovoce.errors import ConfigurationError, OtherVersion
from sottovoce.federation.agreement import NEW_AGREEMENT, Agreement
from sottovoce.federation.confirmation import Confirmation
from sottovoce.federation.enrolment import Enrolment
from sottovoce.federation.hexadecimal import hex_bytes
from sottovoce.federation.identity import SIGNATURE_BYTES, Identity, verify
from sottovoce.federation.log import Evidence, Log, agreement_entry
from sottovoce.files import write_text

PURPOSE = "invitation"
FORMAT = 2
"""Version of the file's format. Version 1 had no enrolments."""
LARGEST_FILE = 16_000_000
LARGEST_CERTIFICATE = 65_536
_ADDRESS = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}")
MOST_PORT = 65_535


@dataclass(frozen=True)
class Invitation:
    """An agreement with its members' signatures and the address of its SuperLink.

    Args:
        agreement: the federation's agreement.
        enrolments: signed enrolments of all members, in the agreement's order.
        confirmations: members' counter-signatures of other members.
        superlink: address at which SuperNodes reach the SuperLink, `host:port`.
        certificate: certificate of the authority that issued the SuperLink's certificate, PEM.
        signature: by the agreement's coordinator key over all other fields (64 bytes).
        evidence: proof that the invitation is in the coordinator's log.

    Raises:
        ConfigurationError: a field is out of range, a member differs from its enrolment, or the signature is not the
            coordinator's.
    """

    agreement: Agreement
    enrolments: tuple[Enrolment, ...]
    confirmations: tuple[Confirmation, ...]
    superlink: str
    certificate: str
    signature: bytes
    evidence: Evidence

    def __post_init__(self) -> None:
        if not _ADDRESS.fullmatch(self.superlink) or not 1 <= int(self.superlink.rpartition(":")[2]) <= MOST_PORT:
            raise ConfigurationError("The SuperLink's address is not written as host:port.")
        _check_certificate(self.certificate)
        if tuple(each.member for each in self.enrolments) != self.agreement.members:
            raise ConfigurationError("Its members differ from the enrolments in name or key.")
        for enrolment in self.enrolments:
            if enrolment.federation != self.agreement.federation:
                raise ConfigurationError(
                    f"'{enrolment.name}' has enrolled in the federation '{enrolment.federation}', not in this one."
                )
        for confirmation in self.confirmations:
            if not confirmation.about(self.agreement):
                raise ConfigurationError(f"A counter-signature of '{confirmation.name}' is not about this agreement.")
        if not verify(self.agreement.coordinator_key, self.signature, purpose=PURPOSE, message=self._message()):
            raise ConfigurationError(
                "It is not signed by the coordinator's key that it names, or was changed afterwards.",
                hint="Ask the coordinator for the file that `sottovoce server sign` wrote.",
            )

        self.evidence.expect(agreement_entry(self.agreement.digest, self.digest), self.agreement.coordinator_key)

    def _message(self) -> bytes:
        return _message(self.agreement, self.enrolments, self.confirmations, self.superlink, self.certificate)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signed content (32 bytes)."""
        return self._message()

    @classmethod
    def sign(
        cls,
        coordinator: Identity,
        agreement: Agreement,
        enrolments: Iterable[Enrolment],
        *,
        superlink: str,
        certificate: str,
        confirmations: Iterable[Confirmation] = (),
        log: Callable[[bytes], Evidence] | None = None,
    ) -> "Invitation":
        """Sign and log the invitation to a federation.

        Args:
            coordinator: the coordinator's identity.
            agreement: the federation's agreement.
            enrolments: enrolments of its members, in the agreement's order.
            superlink: address of the SuperLink, `host:port`.
            certificate: certificate of the authority that issued its certificate, PEM.
            confirmations: members' counter-signatures of other members.
            log: adds an entry to the coordinator's log; None starts a new one.

        Raises:
            ConfigurationError: the agreement names another coordinator, a field is out of range, or a member differs
                from its enrolment.
        """
        enrolled, confirmed = tuple(enrolments), tuple(confirmations)
        message = _message(agreement, enrolled, confirmed, superlink, certificate)
        signature = coordinator.sign(purpose=PURPOSE, message=message)
        entry = agreement_entry(agreement.digest, message)
        evidence = log(entry) if log else Log().append(entry, coordinator)
        return cls(agreement, enrolled, confirmed, superlink, certificate, signature, evidence)

    def write(self, path: Path) -> None:
        """Write the invitation as TOML; `read` restores an equal value."""
        confirmations: dict[str, dict[str, str]] = {}
        for each in self.confirmations:
            confirmations.setdefault(each.by, {})[each.name] = each.signature.hex()
        values = {
            "format": FORMAT,
            "signature": self.signature.hex(),
            **self.agreement.to_values(),
            "superlink": {"address": self.superlink, "certificate": self.certificate},
            "enrolments": {
                each.name: {"node_key": each.node_key, "signature": each.signature.hex()} for each in self.enrolments
            },
            "confirmations": confirmations,
            "log": self.evidence.to_values(),
        }
        write_text(path, tomli_w.dumps(values, multiline_strings=True))

    @classmethod
    def read(cls, path: Path) -> "Invitation":
        """Read a signed `federation.toml`.

        Raises:
            ConfigurationError: it cannot be read, is not TOML, has missing or unknown fields, or is not signed.
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
        """Like `read`, from the content of a file with this name.

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
        if values.pop("format", 1) != FORMAT:
            raise OtherVersion(
                f"It does not have format {FORMAT}; format 1 had no signed enrolments.",
                hint=NEW_AGREEMENT,
            )
        if not isinstance(signature, str) or not re.fullmatch(rf"[0-9a-f]{{{2 * SIGNATURE_BYTES}}}", signature):
            raise ConfigurationError("Its signature is not 128 hexadecimal digits.")
        if not isinstance(superlink, dict) or set(superlink) != {"address", "certificate"}:
            raise ConfigurationError("It needs a table 'superlink' with 'address' and 'certificate'.")
        if not all(isinstance(value, str) for value in superlink.values()):
            raise ConfigurationError("The SuperLink's address and certificate must be strings.")
        enrolments, confirmations = values.pop("enrolments", None), values.pop("confirmations", None)
        evidence = Evidence.from_values(values.pop("log", None))
        agreement = Agreement.from_values(values, name)
        return cls(
            agreement,
            _enrolments(enrolments, agreement),
            _confirmations(confirmations, agreement),
            superlink["address"],
            superlink["certificate"],
            bytes.fromhex(signature),
            evidence,
        )


def _enrolments(values: object, agreement: Agreement) -> tuple[Enrolment, ...]:
    """Rebuild each member's enrolment from its node key and signature; the agreement has the other fields."""
    if not isinstance(values, dict) or set(values) != {member.name for member in agreement.members}:
        raise ConfigurationError("It needs a table 'enrolments' with exactly one entry per member.")
    found = []
    for member in agreement.members:
        given = values[member.name]
        if not isinstance(given, dict) or set(given) != {"node_key", "signature"} or type(given["node_key"]) is not str:
            raise ConfigurationError(f"The enrolment of '{member.name}' needs 'node_key' and 'signature' as strings.")
        signature = hex_bytes(given["signature"], f"the enrolment of '{member.name}'")
        enrolment = Enrolment(member.name, member.public_key, given["node_key"], agreement.federation, signature)
        found.append(enrolment)
    return tuple(found)


def _confirmations(values: object, agreement: Agreement) -> tuple[Confirmation, ...]:
    """Rebuild counter-signatures, keyed by confirming member and by member; the agreement has the keys."""
    if not isinstance(values, dict) or not all(isinstance(given, dict) for given in values.values()):
        raise ConfigurationError("It needs a table 'confirmations'.")
    found = []
    for by, given in sorted(values.items()):
        for member, signature in sorted(given.items()):
            by_key, key = agreement.key_of(by), agreement.key_of(member)
            if by_key is None or key is None:
                raise ConfigurationError("A counter-signature is by or about somebody who is not a member.")
            signed = hex_bytes(signature, f"the counter-signature of '{member}'")
            found.append(Confirmation(agreement.federation, by, by_key, member, key, signed))
    return tuple(found)


def read_agreement(path: Path) -> Agreement:
    """Read the agreement from a `federation.toml`: signed, as labels have it, or bare, as a simulation writes it.

    Raises:
        ConfigurationError: it is neither, or its signature does not verify.
        FileNotFoundError: there is no such file.
    """
    return Invitation.read(path).agreement if is_signed(path) else Agreement.read(path)


def is_signed(path: Path) -> bool:
    """Whether a `federation.toml` is a signed one; it is not verified.

    Raises:
        ConfigurationError: it is no TOML.
        FileNotFoundError: there is no such file.
    """
    with path.open("rb") as file:
        try:
            return "signature" in tomllib.load(file)
        except (ValueError, RecursionError):
            raise ConfigurationError(f"The agreement {path.name} is not TOML.") from None


def _message(
    agreement: Agreement,
    enrolments: tuple[Enrolment, ...],
    confirmations: tuple[Confirmation, ...],
    superlink: str,
    certificate: str,
) -> bytes:
    signed: dict[str, Any] = {"format": FORMAT, "agreement": agreement.digest, "superlink": superlink}
    signed |= {"certificate": certificate, "enrolments": enrolments, "confirmations": confirmations}
    return digest(signed)


def _check_certificate(text: str) -> None:
    try:
        if len(text) > LARGEST_CERTIFICATE or not load_pem_x509_certificates(text.encode()):
            raise ValueError
    except ValueError:
        raise ConfigurationError("The SuperLink's certificate is not a PEM certificate.") from None
