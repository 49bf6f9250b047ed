"""A whole federation in one folder: the labels' homes, their agreement and the coordinator's key."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from sottovoce.errors import CatalogueError
from sottovoce.federation.agreement import Agreement, Member
from sottovoce.federation.identity import Identity
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.catalogue import Purpose
from sottovoce_client.data.declaration import declare, suggestion
from sottovoce_client.data.preparation import catalogues_of, tracks_for
from sottovoce_client.data.split import split_of
from sottovoce_client.home.confirmations import confirm
from sottovoce_client.home.label_home import LabelHome
from sottovoce_simulations.engine.experiment import Experiment

NAME = "simulation"
SPLIT = "sottovoce/simulation/split"


@dataclass(frozen=True)
class Federation:
    """The parties of a simulation.

    Args:
        agreement: the federation's agreement.
        coordinator: signs the release.
        homes: the labels' homes, sorted by name.
    """

    agreement: Agreement
    coordinator: Identity
    homes: tuple[LabelHome, ...]

    @classmethod
    def create(cls, root: Path, catalogues: Sequence[Path], cache: Path, experiment: Experiment) -> "Federation":
        """Create a home for each catalogue, named after its folder, with a policy that allows this experiment.

        Args:
            root: an empty folder for the homes.
            catalogues: one folder per label.
            cache: folder of computed features, keyed by digest, so that simulations can share it.
            experiment: the experiment that the policies must allow.
        """
        coordinator = Identity.generate()
        policy = tomli_w.dumps(
            {
                "tasks": [experiment.task],
                "purposes": [experiment.task],
                "families": [experiment.family],
                "default_consent": experiment.task,
                "epsilon_per_run": experiment.epsilon,
                "epsilon_lifetime": experiment.epsilon,
                "delta_max": experiment.delta,
                "allow_non_private": not experiment.private,
                "trust": [experiment.noise.value],
            }
        )
        homes = []
        for name, catalogue in sorted(_named(catalogues).items()):
            split_key = hashlib.sha256(f"{SPLIT}/{name}".encode()).digest()
            homes.append(
                LabelHome.create(
                    root / name, name=name, catalogues=[catalogue], cache=cache, split_key=split_key, policy=policy
                )
            )
            _declare(homes[-1], experiment)
        identities = {home.name: Identity.load(home.identity_file) for home in homes}
        members = tuple(Member(name, identity.public_key) for name, identity in identities.items())
        labels = len(members)
        agreement = Agreement(
            NAME,
            coordinator.public_key,
            members,
            n_min=experiment.least_survivors(labels),
            noise=experiment.noise,
            min_honest=experiment.min_honest_of(labels),
        )
        for home in homes:
            agreement.write(home.agreement_file)
            others = [member for member in members if member.name != home.name]
            confirm(home, identities[home.name], NAME, others)  # one person owns all homes of a simulation
        return cls(agreement, coordinator, tuple(homes))

    def spent(self, delta: float) -> dict[str, float]:
        """ε recorded in each label's ledger, by name."""
        spent = {}
        for home in self.homes:
            with Ledger(home.ledger_file) as ledger:
                spent[home.name] = ledger.epsilon(delta)
        return spent

    def seconds(self, stage: str) -> float:
        """Seconds that all labels together spent on a stage, as noted in their homes."""
        lines = (json.loads(line) for home in self.homes for line in _lines(home.timings_file))
        return float(sum(line["seconds"] for line in lines if line["stage"] == stage))


def _declare(home: LabelHome, experiment: Experiment) -> None:
    """Declare the approximate number of units, as a label's people would."""
    purpose = Purpose(experiment.task)
    try:
        catalogues = catalogues_of(home, [purpose])
    except CatalogueError:
        catalogues = ()
    declare(home, suggestion([split_of(home, tracks_for(catalogues, purpose))]))


def _named(catalogues: Sequence[Path]) -> dict[str, Path]:
    """Each catalogue under a unique name; later folders with the same name get a number."""
    named: dict[str, Path] = {}
    for catalogue in sorted(catalogues):
        name = label_name(catalogue)
        taken = sum(other == name or other.startswith(f"{name}-") for other in named)
        named[f"{name[:58]}-{taken + 1}" if name in named else name] = catalogue
    return named


def label_name(catalogue: Path) -> str:
    """A catalogue folder's name as a label name: lower case, with '-' for forbidden characters."""
    kept = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in catalogue.name.lower())
    return kept.encode("ascii", "replace").decode().replace("?", "-").lstrip("._-")[:63] or "label"


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
