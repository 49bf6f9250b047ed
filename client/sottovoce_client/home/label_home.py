"""A label's home: the folder that holds its keys, policy, ledger and unfinished runs, readable by the owner only."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from sottovoce.canonical import canonical_json
from sottovoce.errors import ConfigurationError
from sottovoce.federation.agreement import NAME, Agreement
from sottovoce.federation.identity import Identity
from sottovoce.federation.log import LogMemory
from sottovoce.files import folder_aside, write_bytes
from sottovoce_client.home.diary import Diary
from sottovoce_client.home.node_key import NodeKey, passphrase_of_environment

OWNER_ONLY = 0o700
HOME = "SOTTOVOCE_HOME"
"""Environment variable that names the label's home."""
_FILE = "home.json"


def default_root() -> Path:
    """Where a label's home is unless somebody says otherwise: `SOTTOVOCE_HOME`, else in the user's data folder."""
    from platformdirs import user_data_path

    given = os.environ.get(HOME)
    return Path(given) if given else user_data_path("sottovoce") / "label"


@dataclass(frozen=True)
class LabelHome:
    """Where a label keeps what is its own.

    Args:
        root: the home folder.
        name: the label's name in the federation.
        catalogues: folders of the label's audio.
        cache: folder of computed features and of the catalogues' indexes.
    """

    root: Path
    name: str
    catalogues: tuple[Path, ...]
    cache: Path

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
        """Make a new home with fresh keys and an empty ledger: whole, or not at all.

        Args:
            root: the home folder; it is not there yet, or is empty.
            name: the label's name in the federation.
            catalogues: folders of the label's audio.
            cache: folder of computed features; by default within the home.
            split_key: decides which tracks are held out; by default 32 bytes of the operating system's entropy. A
                simulation gives one, so that models are compared on one split.
            policy: text of `policy.toml`; by default the safe defaults, with a comment each.
            passphrase: encrypts the private keys.

        Raises:
            ConfigurationError: something is there already, of which nothing is touched; or the name is none.
        """
        from sottovoce_client.budget.ledger import Ledger
        from sottovoce_client.home.policy_template import policy_text

        if not NAME.fullmatch(name):
            raise ConfigurationError(
                f"'{name}' cannot be a label's name.",
                hint="Use 1 to 63 of a-z, 0-9, '.', '_' and '-', starting with a letter or a digit.",
            )
        root = root.absolute()
        if (root / _FILE).exists():
            raise ConfigurationError("This label's home exists already.", hint="Choose another folder for a new label.")
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise ConfigurationError("This folder is not empty.", hint="Choose another one for a label's home.")
        home = cls(root, name, tuple(_resolved(catalogues)), (cache or root / "cache").resolve())
        with folder_aside(root) as aside:
            aside.chmod(OWNER_ONLY)
            made = replace(home, root=aside)
            made.runs.mkdir(mode=OWNER_ONLY)
            Identity.generate().save(made.identity_file, passphrase=passphrase)
            NodeKey.generate().save(made.node_key_file, passphrase=passphrase)
            write_bytes(made.split_key_file, split_key or os.urandom(32), mode=0o600)
            write_bytes(made.policy_file, (policy_text() if policy is None else policy).encode(), mode=0o600)
            Ledger.create(made.ledger_file).close()
            made._describe()
        return home

    @classmethod
    def open(cls, root: Path) -> "LabelHome":
        """Read an existing home.

        Raises:
            ConfigurationError: there is none, or its description is damaged.
        """
        try:
            described = json.loads((root / _FILE).read_bytes())
            name, catalogues, cache = described["name"], described["catalogues"], described["cache"]
            if not NAME.fullmatch(name) or not all(isinstance(folder, str) and folder for folder in catalogues):
                raise ValueError
            return cls(root, name, tuple(Path(folder) for folder in catalogues), Path(cache))
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigurationError(
                "There is no label's home in this folder.",
                hint=f"Name it with --home or {HOME}, or make one with: sottovoce label init NAME",
            ) from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise ConfigurationError(f"The description of this label's home ({_FILE}) is damaged.") from None

    def with_catalogues(self, folders: Iterable[Path]) -> "LabelHome":
        """The home with more folders of audio, written down.

        Raises:
            ConfigurationError: a folder lies within another one: its tracks would be in two catalogues.
        """
        wanted = list(dict.fromkeys((*self.catalogues, *_resolved(folders))))
        for outer in wanted:
            inner = next((folder for folder in wanted if folder != outer and folder.is_relative_to(outer)), None)
            if inner is not None:
                raise ConfigurationError(
                    f"The folder '{inner.name}' lies within the catalogue '{outer.name}'.",
                    hint="Register either the one or the other.",
                )
        home = replace(self, catalogues=tuple(wanted))
        home._describe()
        return home

    def _describe(self) -> None:
        described = {"name": self.name, "catalogues": list(map(str, self.catalogues)), "cache": str(self.cache)}
        write_bytes(self.root / _FILE, canonical_json(described), mode=0o600)

    def write_policy(self, text: str) -> None:
        """Replace `policy.toml`, whole or not at all."""
        write_bytes(self.policy_file, text.encode(), mode=0o600)

    def identity(self) -> Identity:
        """The label's signing key, opened with the passphrase of the environment where it needs one.

        Raises:
            ConfigurationError: it cannot be read, or does not open.
        """
        return Identity.load(self.identity_file, passphrase=passphrase_of_environment())

    def node_key(self) -> NodeKey:
        """The SuperNode's key, likewise.

        Raises:
            ConfigurationError: it cannot be read, or does not open.
        """
        return NodeKey.load(self.node_key_file, passphrase=passphrase_of_environment())

    @property
    def diary(self) -> Diary:
        """What the label remembers of runs, for its own people."""
        return Diary(self.root / "diary.jsonl")

    @property
    def identity_file(self) -> Path:
        """The label's Ed25519 private key."""
        return self.root / "identity.key"

    @property
    def node_key_file(self) -> Path:
        """The private key by which a SuperLink knows the label's SuperNode."""
        return self.root / "node.key"

    @property
    def split_key_file(self) -> Path:
        """Which tracks are held out follows from this key; it is made once, so that they stay held out."""
        return self.root / "split.key"

    @property
    def policy_file(self) -> Path:
        """What the label allows; absent means the safe defaults."""
        return self.root / "policy.toml"

    @property
    def ledger_file(self) -> Path:
        """What the label's tracks have spent."""
        return self.root / "ledger.sqlite"

    @property
    def runs(self) -> Path:
        """One file a run: the label's secret state between the messages of that run."""
        return self.root / "runs"

    @property
    def flower(self) -> Path:
        """What Flower's SuperNode is given as its own home."""
        return self.root / "flower"

    @property
    def timings_file(self) -> Path:
        """Seconds spent a stage, for the label's own eyes: they never leave in a message."""
        return self.root / "timings.jsonl"

    @property
    def agreement_file(self) -> Path:
        """The agreement that this label has accepted."""
        return self.root / "federation.toml"

    @property
    def invitation_file(self) -> Path:
        """The signed agreement as it was joined, with the way to the coordinator."""
        return self.root / "invitation.toml"

    @property
    def confirmations_file(self) -> Path:
        """Counter-signatures: this label's own, and those of others that reached it."""
        return self.root / "confirmations.json"

    @property
    def log_memory(self) -> LogMemory:
        """The coordinator's log, as this label has seen it last."""
        return LogMemory(self.root / "logs-seen.json")

    @property
    def certificate_file(self) -> Path:
        """Of the authority that vouches for the coordinator's SuperLink."""
        return self.root / "superlink.pem"

    def agreement(self) -> Agreement:
        """Read the agreement that this label has accepted.

        Raises:
            ConfigurationError: there is none, or it is damaged.
        """
        try:
            return Agreement.read(self.agreement_file)
        except FileNotFoundError:
            raise ConfigurationError("This label has accepted no agreement.") from None


def _resolved(folders: Iterable[Path]) -> list[Path]:
    return [folder.resolve() for folder in folders]
