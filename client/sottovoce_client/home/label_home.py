"""A label's home: the folder with its keys, policy, ledger and unfinished runs, readable by the owner only."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from sottovoce.canonical import canonical_json
from sottovoce.errors import ConfigurationError
from sottovoce.federation.agreement import NAME, Agreement
from sottovoce.federation.identity import Identity
from sottovoce.federation.log import LogMemory
from sottovoce.files import new_home, write_bytes
from sottovoce.versioned import Format, Versioned
from sottovoce_client.home.diary import Diary
from sottovoce_client.home.node_key import NodeKey, passphrase_of_environment

OWNER_ONLY = 0o700
HOME = "SOTTOVOCE_HOME"
"""Environment variable that names the label's home."""
_FILE = "home.json"
VERSION = 1
"""Version of the description. Homes of earlier releases have no number in it."""


def default_root() -> Path:
    """Default folder of a label's home: `SOTTOVOCE_HOME`, else in the user's data folder."""
    from platformdirs import user_data_path

    given = os.environ.get(HOME)
    return Path(given) if given else user_data_path("sottovoce") / "label"


@dataclass(frozen=True)
class LabelHome:
    """The folder of everything that belongs to a label.

    Args:
        root: the home folder.
        name: the label's name in the federation.
        catalogues: folders of the label's audio.
        cache: folder of computed features and of the catalogues' indexes.
        keeps_sides: whether the home has a table of held-out tracks; one of an earlier version gets it later.
    """

    root: Path
    name: str
    catalogues: tuple[Path, ...]
    cache: Path
    keeps_sides: bool = True

    @classmethod
    def create(
        cls,
        root: Path,
        *,
        name: str,
        catalogues: Iterable[Path] = (),
        cache: Path | None = None,
        split_key: bytes | None = None,
        policy: str | None = None,
        passphrase: bytes | None = None,
    ) -> "LabelHome":
        """Create a home with new keys and an empty ledger: completely or not at all.

        Args:
            root: the home folder; must not exist, or be empty.
            name: the label's name in the federation.
            catalogues: folders of the label's audio.
            cache: folder of computed features; default: within the home.
            split_key: decides which tracks are held out; default: 32 random bytes from the operating system. A
                simulation passes one, so that models are compared on the same split.
            policy: text of `policy.toml`; default: safe defaults with comments.
            passphrase: encrypts the private keys.

        Raises:
            ConfigurationError: the folder has content, which is left untouched; or the name is invalid.
        """
        from sottovoce_client.budget.ledger import Ledger
        from sottovoce_client.catalogue.sides import Sides
        from sottovoce_client.home.policy_template import policy_text

        if not NAME.fullmatch(name):
            raise ConfigurationError(
                f"'{name}' is not a valid label name.",
                hint="Use 1 to 63 of a-z, 0-9, '.', '_' and '-', starting with a letter or a digit.",
            )
        root = root.absolute()
        home = cls(root, name, tuple(_resolved(catalogues)), (cache or root / "cache").resolve())
        with new_home(root) as aside:
            made = replace(home, root=aside)
            made.runs.mkdir(mode=OWNER_ONLY)
            Identity.generate().save(made.identity_file, passphrase=passphrase)
            NodeKey.generate().save(made.node_key_file, passphrase=passphrase)
            write_bytes(made.split_key_file, split_key or os.urandom(32), mode=0o600)
            write_bytes(made.policy_file, (policy_text() if policy is None else policy).encode(), mode=0o600)
            Ledger.create(made.ledger_file).close()
            Sides.create(made.sides_file)
            made.describe()
        return home

    @classmethod
    def open(cls, root: Path) -> "LabelHome":
        """Open an existing home.

        Raises:
            ConfigurationError: there is no home, or its description is damaged.
        """
        described = _FORMAT.find(root / _FILE) if root.is_dir() else None
        if described is None:
            raise ConfigurationError(
                "There is no label's home in this folder.",
                hint=f"Set it with --home or {HOME}, or create one with: sottovoce label init NAME",
            )
        return replace(described, root=root)

    def with_catalogues(self, folders: Iterable[Path]) -> "LabelHome":
        """The home with additional audio folders, saved.

        Raises:
            ConfigurationError: a folder contains another one: its tracks would be in two catalogues.
        """
        wanted = list(dict.fromkeys((*self.catalogues, *_resolved(folders))))
        for outer in wanted:
            inner = next((folder for folder in wanted if folder != outer and folder.is_relative_to(outer)), None)
            if inner is not None:
                raise ConfigurationError(
                    f"The folder '{inner.name}' is inside the catalogue '{outer.name}'.",
                    hint="Register only one of them.",
                )
        home = replace(self, catalogues=tuple(wanted))
        home.describe()
        return home

    def with_sides(self) -> "LabelHome":
        """The home, marked as one whose table of held-out tracks must exist."""
        home = replace(self, keeps_sides=True)
        home.describe()
        return home

    def describe(self) -> None:
        """Write the home's description."""
        described = {
            "version": VERSION,
            "name": self.name,
            "catalogues": list(map(str, self.catalogues)),
            "cache": str(self.cache),
            "sides": self.keeps_sides,
        }
        write_bytes(self.root / _FILE, canonical_json(described), mode=0o600)

    def write_policy(self, text: str) -> None:
        """Replace `policy.toml` atomically."""
        write_bytes(self.policy_file, text.encode(), mode=0o600)

    def identity(self) -> Identity:
        """The label's signing key, decrypted with the passphrase from the environment if necessary.

        Raises:
            ConfigurationError: it cannot be read or decrypted.
        """
        return Identity.load(self.identity_file, passphrase=passphrase_of_environment())

    def node_key(self) -> NodeKey:
        """The SuperNode's key, decrypted likewise.

        Raises:
            ConfigurationError: it cannot be read or decrypted.
        """
        return NodeKey.load(self.node_key_file, passphrase=passphrase_of_environment())

    @property
    def diary(self) -> Diary:
        """The label's notes on runs."""
        return Diary(self.root / "diary.jsonl")

    @property
    def identity_file(self) -> Path:
        """The label's Ed25519 private key."""
        return self.root / "identity.key"

    @property
    def node_key_file(self) -> Path:
        """Private key with which the label's SuperNode authenticates to the SuperLink."""
        return self.root / "node.key"

    @property
    def split_key_file(self) -> Path:
        """Key that decides on which side a new track is; created once, so that copies of a track get the same side."""
        return self.root / "split.key"

    @property
    def sides_file(self) -> Path:
        """Table of which tracks are held out."""
        return self.root / "sides.sqlite"

    @property
    def policy_file(self) -> Path:
        """The label's policy; if the file is missing, the safe defaults apply."""
        return self.root / "policy.toml"

    @property
    def ledger_file(self) -> Path:
        """Ledger of privacy spent by the label's tracks."""
        return self.root / "ledger.sqlite"

    @property
    def runs(self) -> Path:
        """Folder with one file per run: the label's secret state between messages."""
        return self.root / "runs"

    @property
    def flower(self) -> Path:
        """Home folder for Flower's SuperNode."""
        return self.root / "flower"

    @property
    def timings_file(self) -> Path:
        """Seconds spent per stage, for the label's own use; never sent."""
        return self.root / "timings.jsonl"

    @property
    def agreement_file(self) -> Path:
        """The agreement that this label has accepted."""
        return self.root / "federation.toml"

    @property
    def invitation_file(self) -> Path:
        """The signed agreement as joined, with the coordinator's address."""
        return self.root / "invitation.toml"

    @property
    def confirmations_file(self) -> Path:
        """Counter-signatures: this label's own, and those received from others."""
        return self.root / "confirmations.json"

    @property
    def log_memory(self) -> LogMemory:
        """The coordinator's log, as this label saw it last."""
        return LogMemory(self.root / "logs-seen.json")

    @property
    def certificate_file(self) -> Path:
        """Certificate of the authority that issued the certificate of the coordinator's SuperLink."""
        return self.root / "superlink.pem"

    def agreement(self) -> Agreement:
        """The agreement that this label has accepted.

        Raises:
            ConfigurationError: there is none, or it is damaged.
        """
        try:
            return Agreement.read(self.agreement_file)
        except FileNotFoundError:
            raise ConfigurationError("This label has accepted no agreement.") from None


def _resolved(folders: Iterable[Path]) -> list[Path]:
    return [folder.resolve() for folder in folders]


class _Described(Versioned):
    name: str
    catalogues: list[str]
    cache: str
    sides: bool = False


def _described(kept: _Described) -> LabelHome:
    if not NAME.fullmatch(kept.name):
        raise ValueError("it has no valid label name")
    if not all(kept.catalogues):
        raise ValueError("a catalogue has no folder")
    return LabelHome(Path(), kept.name, tuple(map(Path, kept.catalogues)), Path(kept.cache), kept.sides)


_FORMAT = Format(
    _Described,
    _described,
    VERSION,
    "The description of this label's home",
    hint="Restore it from a backup: sottovoce label restore",
)
