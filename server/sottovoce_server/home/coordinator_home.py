"""The coordinator's home: keys, enrolled labels, agreement, database and runs."""

import json
import os
import secrets
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sottovoce.errors import ConfigurationError, OtherVersion
from sottovoce.federation.agreement import LEAST_PARTICIPANTS, Agreement
from sottovoce.federation.confirmation import Confirmation, merged, read_confirmations, standing, write_confirmations
from sottovoce.federation.enrolment import Enrolment
from sottovoce.federation.identity import Identity, private_file
from sottovoce.federation.invitation import Invitation
from sottovoce.files import clear_asides, new_home, write_bytes, write_text
from sottovoce.run.configuration import Trust
from sottovoce_server.home.certificates import covers, make_authority, make_server_certificate
from sottovoce_server.home.journal import Journal
from sottovoce_server.home.log_file import LogFile

HOME = "SOTTOVOCE_SERVER_HOME"
"""Environment variable that names the coordinator's home."""
OWNER_ONLY = 0o700
TOKEN_BYTES = 32
_SETTINGS = {"federation": str, "address": str, "n_min": int, "cross_check": bool, "noise": str, "min_honest": int}
_TEMPLATE = """\
# Settings of this federation. Edit them, enrol the labels (sottovoce server enrol), then run: sottovoce server sign

# The federation's name, for people.
federation = "{federation}"

# Where labels reach this coordinator: host:port. One port serves everything, over TLS.
address = "{address}"

# Smallest number of labels in a sum, at least 3; labels that drop out do not count. 0: more than half of all labels.
n_min = {n_min}

# Whether labels first sign whose updates are in a sum, before any of them helps to unmask it. One extra exchange.
cross_check = true

# Kind of noise: "local" (each label adds all of its own) or "distributed" (each adds a part).
noise = "local"

# With distributed noise: number of honest labels assumed in every sum. 1 with local noise.
min_honest = 1
"""


def default_root() -> Path:
    """Default folder of a coordinator's home."""
    from platformdirs import user_data_path

    given = os.environ.get(HOME)
    return Path(given) if given else user_data_path("sottovoce") / "server"


@dataclass(frozen=True)
class ServerHome:
    """The folder of everything that belongs to a coordinator, readable by the owner only.

    Args:
        root: the home folder.
    """

    root: Path

    @classmethod
    def create(cls, root: Path, *, federation: str, address: str) -> "ServerHome":
        """Create a home: signing key, certificate authority, secrets and a `federation.toml` to edit.

        Args:
            root: a folder that does not exist, or is empty.
            federation: the federation's name.
            address: `host:port` at which labels reach it.

        Raises:
            ConfigurationError: the folder has content, which is left untouched; or the address is invalid.
        """
        _check_address(address)
        if not federation.isprintable() or not federation or set(federation) & {'"', "\\"}:
            raise ConfigurationError(
                "The federation's name contains unprintable characters, a quotation mark or a backslash."
            )
        with new_home(root) as aside:
            home = cls(aside)
            home.enrolments.mkdir(mode=OWNER_ONLY)
            home.runs.mkdir(mode=OWNER_ONLY)
            Identity.generate().save(home.signing_key_file)
            make_authority(home.authority_key_file, home.authority_file)
            for file in (home.token_file, home.superexec_file):
                write_bytes(file, secrets.token_urlsafe(TOKEN_BYTES).encode(), mode=0o600)
            settings = _TEMPLATE.format(federation=federation, address=address, n_min=0)
            write_text(home.settings_file, settings)
        return cls(root)

    @classmethod
    def open(cls, root: Path) -> "ServerHome":
        """Open an existing home.

        Raises:
            ConfigurationError: there is no home.
        """
        home = cls(root.absolute())
        if not home.signing_key_file.is_file():
            raise ConfigurationError(
                "There is no coordinator's home in this folder.", hint="Create one with: sottovoce server init"
            )
        return home

    @property
    def signing_key_file(self) -> Path:
        """The coordinator's Ed25519 key, which signs agreements, the journal and releases."""
        return self.root / "signing.key"

    @property
    def authority_key_file(self) -> Path:
        """The certificate authority's key."""
        return self.root / "authority.key"

    @property
    def authority_file(self) -> Path:
        """The certificate authority's certificate, which labels receive with the agreement."""
        return self.root / "authority.pem"

    @property
    def server_key_file(self) -> Path:
        """The SuperLink's TLS key."""
        return self.root / "server.key"

    @property
    def server_file(self) -> Path:
        """The SuperLink's TLS certificate."""
        return self.root / "server.pem"

    @property
    def token_file(self) -> Path:
        """Token of the coordinator's own commands for the SuperLink: anyone who has it can start runs."""
        return self.root / "control.token"

    @property
    def superexec_file(self) -> Path:
        """Secret with which the process that starts the coordinator's app authenticates to the SuperLink."""
        return self.root / "superexec.secret"

    @property
    def settings_file(self) -> Path:
        """The agreement's settings, to be edited."""
        return self.root / "federation.toml"

    @property
    def invitation_file(self) -> Path:
        """The signed agreement for labels."""
        return self.root / "signed" / "federation.toml"

    @property
    def enrolments(self) -> Path:
        """Folder with one enrolment per label."""
        return self.root / "enrolments"

    @property
    def confirmations_file(self) -> Path:
        """Labels' counter-signatures, distributed with the next agreement."""
        return self.root / "confirmations.json"

    @property
    def runs(self) -> Path:
        """Folder with one folder per run."""
        return self.root / "runs"

    @property
    def database_file(self) -> Path:
        """The SuperLink's database."""
        return self.root / "superlink.sqlite"

    @property
    def flower(self) -> Path:
        """Home folder for Flower."""
        return self.root / "flower"

    def identity(self) -> Identity:
        """The coordinator's signing key."""
        return Identity.load(self.signing_key_file)

    def token(self) -> str:
        """The content of `token_file`."""
        return private_file(self.token_file, "control token").decode("ascii", "replace")

    def journal(self) -> Journal:
        """The coordinator's journal."""
        return Journal(self.root / "journal.jsonl", self.identity())

    def log(self) -> LogFile:
        """The log of agreements and releases, which others can verify."""
        return LogFile(self.root / "log.jsonl", self.identity())

    def enrolled(self, *, former: bool = False) -> list[Enrolment]:
        """All enrolled labels, sorted by name.

        Args:
            former: skip enrolments of an earlier version.

        Raises:
            OtherVersion: a file is of an earlier version, and `former` is not set.
            ConfigurationError: a file is damaged.
        """
        found = []
        for path in sorted(self.enrolments.glob("[!.]*.json")):
            try:
                found.append(Enrolment.read(path))
            except OtherVersion as error:
                if former:
                    continue
                raise OtherVersion(
                    f"{self.enrolments.name}/{path.name}: {error.message}",
                    hint=f"'{path.stem}' writes a new one with `sottovoce label enrol FEDERATION`, which "
                    "`sottovoce server enrol` puts in its place. If it is no longer a member, remove the file.",
                ) from None
            except ConfigurationError as error:
                raise ConfigurationError(
                    f"{self.enrolments.name}/{path.name}: {error.message}",
                    hint=f"Remove it from the coordinator's home, and enrol '{path.stem}' again.",
                ) from None
        return found

    def enrol(self, enrolment: Enrolment) -> bool:
        """Enrol a label; it becomes a member when the agreement is signed again.

        It replaces the label's enrolment of an earlier version with the same key.

        Returns:
            False if it was already enrolled with the same keys.

        Raises:
            ConfigurationError: it is for another federation, or its name or a key belongs to another label.
        """
        clear_asides(self.enrolments)
        federation = self.settings()["federation"]
        if enrolment.federation != federation:
            raise ConfigurationError(
                f"'{enrolment.name}' enrols in '{enrolment.federation}', but this is '{federation}'.",
                hint=f"The label writes another one with: sottovoce label enrol {federation}",
            )
        enrolled = self.enrolled(former=True)
        place = self.enrolments / f"{enrolment.name}.json"
        if enrolment in enrolled:
            return False
        if (place.exists() and _identity_key(place) != enrolment.identity_key.hex()) or enrolment.name in {
            other.name for other in enrolled
        }:
            raise ConfigurationError(
                f"A label '{enrolment.name}' with other keys is already enrolled.",
                hint=f"If it has new keys, remove {self.enrolments.name}/{enrolment.name}.json first.",
            )
        for other in enrolled:
            if enrolment.identity_key == other.identity_key or enrolment.node_key == other.node_key:
                raise ConfigurationError(f"'{enrolment.name}' uses a key of '{other.name}'.")
        self.journal().append("enrolment", enrolment.to_json())
        enrolment.write(place)
        return True

    def confirmed(self) -> tuple[Confirmation, ...]:
        """All imported counter-signatures.

        Raises:
            ConfigurationError: the file is damaged.
        """
        return read_confirmations(self.confirmations_file) if self.confirmations_file.exists() else ()

    def take_confirmations(self, confirmations: tuple[Confirmation, ...]) -> None:
        """Store labels' counter-signatures and withdrawals; valid ones are distributed with the next agreement."""
        write_confirmations(self.confirmations_file, merged(self.confirmed(), confirmations))

    def sign(self) -> Invitation:
        """Sign the agreement over the settings and all enrolled labels, and write it for the labels.

        Raises:
            ConfigurationError: the settings are invalid, or too few labels are enrolled.
        """
        settings = self.settings()
        identity = self.identity()
        enrolled = self.enrolled()
        members = tuple(each.member for each in enrolled)
        least = settings["n_min"] or LEAST_PARTICIPANTS
        if len(members) < least:
            raise ConfigurationError(
                f"{len(members)} labels are enrolled, but the agreement needs {least} (n_min).",
                hint="Enrol more first: sottovoce server enrol enrolment.json",
            )
        agreement = Agreement(
            settings["federation"],
            identity.public_key,
            members,
            n_min=settings["n_min"],
            cross_check=settings["cross_check"],
            noise=settings["noise"],
            min_honest=settings["min_honest"],
        )
        address = settings["address"]
        self._certify(host_of(address))
        self.journal().append("agreement", {"digest": agreement.digest.hex(), "labels": [m.name for m in members]})
        invitation = Invitation.sign(
            identity,
            agreement,
            enrolled,
            superlink=address,
            certificate=self.authority_file.read_text(encoding="ascii"),
            # Drop those of labels that have left or changed keys: they do not apply to this agreement.
            confirmations=[each for each in standing(self.confirmed()) if each.about(agreement)],
            log=self.log().append,
        )
        invitation.write(self.invitation_file)
        return invitation

    def invitation(self) -> Invitation:
        """The latest signed agreement.

        Raises:
            ConfigurationError: none has been signed.
        """
        if not self.invitation_file.exists():
            raise ConfigurationError(
                "The agreement is not signed yet.", hint="Edit federation.toml, then: sottovoce server sign"
            )
        return Invitation.read(self.invitation_file)

    def _certify(self, host: str) -> None:
        if not covers(self.server_file, host):
            make_server_certificate(
                host,
                authority_key=self.authority_key_file,
                authority=self.authority_file,
                key_file=self.server_key_file,
                file=self.server_file,
            )

    def settings(self) -> dict[str, Any]:
        """The agreement's settings, checked.

        Raises:
            ConfigurationError: the file cannot be read, or a field is missing, unknown or invalid.
        """
        name = self.settings_file.name
        try:
            values = tomllib.loads(self.settings_file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigurationError(f"The coordinator's {name} cannot be read: {error}.") from None
        if "honest" in values:  # its name in earlier versions
            values["min_honest"] = values.pop("honest")
        for field in sorted(set(values) | set(_SETTINGS)):
            if field not in _SETTINGS:
                raise ConfigurationError(f"The coordinator's {name} has an unknown field '{field}'.")
            if type(values.get(field)) is not _SETTINGS[field]:
                raise ConfigurationError(f"The coordinator's {name} needs '{field}' as {_SETTINGS[field].__name__}.")
        try:
            noise = Trust(values["noise"])
        except ValueError:
            raise ConfigurationError(
                f"The coordinator's {name} has noise = '{values['noise']}'.", hint=f"Use one of {', '.join(Trust)}."
            ) from None
        _check_address(values["address"])
        return {**values, "noise": noise}


def _identity_key(path: Path) -> str | None:
    """The identity key (hex) in an enrolment of any version; None if it cannot be read."""
    try:
        key: str = json.loads(path.read_bytes())["identity_key"]
        return key
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def host_of(address: str) -> str:
    """The host of `host:port`, without the brackets of IPv6."""
    return address.rpartition(":")[0].strip("[]")


def port_of(address: str) -> int:
    """The port of `host:port`."""
    return int(address.rpartition(":")[2])


def _check_address(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 1 <= int(port) <= 65535:
        raise ConfigurationError(
            f"'{address}' is not a valid address.",
            hint="Use HOST:PORT, such as example.org:9092.",
        )
