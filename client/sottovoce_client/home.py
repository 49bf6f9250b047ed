"""A label's home: the folder that holds its keys, policy, ledger and unfinished runs, readable by the owner only."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from sottovoce.agreement import Agreement
from sottovoce.canonical import canonical_json
from sottovoce.errors import ConfigurationError
from sottovoce.files import write_bytes
from sottovoce.identity import Identity
from sottovoce_client.ledger import Ledger

OWNER_ONLY = 0o700


@dataclass(frozen=True)
class LabelHome:
    """Where a label keeps what is its own.

    Args:
        root: the home folder.
        name: the label's name in the federation.
        catalogue: folder of the label's audio.
        cache: folder of computed features and of the catalogue's index.
    """

    root: Path
    name: str
    catalogue: Path
    cache: Path

    @classmethod
    def create(
        cls, root: Path, *, name: str, catalogue: Path, cache: Path | None = None, split_key: bytes | None = None
    ) -> "LabelHome":
        """Make a new home with a fresh identity key and an empty ledger.

        Args:
            root: the home folder.
            name: the label's name in the federation.
            catalogue: folder of the label's audio.
            cache: folder of computed features; by default within the home.
            split_key: decides which tracks are held out; by default 32 bytes of the operating system's entropy. A
                simulation gives one, so that models are compared on one split.

        Raises:
            ConfigurationError: a home is already there; nothing of it is touched.
        """
        home = cls(root, name, catalogue.resolve(), (cache or root / "cache").resolve())
        if home._file.exists():
            raise ConfigurationError("This label's home exists already.", hint="Choose another folder for a new label.")
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(OWNER_ONLY)
        home.runs.mkdir(mode=OWNER_ONLY, exist_ok=True)
        Identity.generate().save(home.identity_file)
        write_bytes(home.split_key_file, split_key or os.urandom(32), mode=0o600)
        Ledger.create(home.ledger_file)
        described = {"name": name, "catalogue": str(home.catalogue), "cache": str(home.cache)}
        write_bytes(home._file, canonical_json(described), mode=0o600)
        return home

    @classmethod
    def open(cls, root: Path) -> "LabelHome":
        """Read an existing home.

        Raises:
            ConfigurationError: there is none, or its description is damaged.
        """
        try:
            described = json.loads((root / "home.json").read_bytes())
            return cls(root, described["name"], Path(described["catalogue"]), Path(described["cache"]))
        except FileNotFoundError:
            raise ConfigurationError("There is no label's home in this folder.") from None
        except (OSError, ValueError, KeyError, TypeError):
            raise ConfigurationError("The description of this label's home (home.json) is damaged.") from None

    @property
    def _file(self) -> Path:
        return self.root / "home.json"

    @property
    def identity_file(self) -> Path:
        """The label's Ed25519 private key."""
        return self.root / "identity.key"

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
    def timings_file(self) -> Path:
        """Seconds spent a stage, for the label's own eyes: they never leave in a message."""
        return self.root / "timings.jsonl"

    @property
    def agreement_file(self) -> Path:
        """The agreement as it reached the label out of band."""
        return self.root / "federation.toml"

    def agreement(self) -> Agreement:
        """Read the agreement that this label has accepted.

        Raises:
            ConfigurationError: there is none, or it is damaged.
        """
        try:
            return Agreement.read(self.agreement_file)
        except FileNotFoundError:
            raise ConfigurationError("This label has accepted no agreement.") from None
