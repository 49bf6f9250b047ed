"""A requested run: the options of `server train` and `simulate`, with descriptions of their defaults."""

from dataclasses import dataclass
from typing import Annotated

from sottovoce.run.configuration import BandedFactorisation, DistributedNoise, RunConfiguration, Terms
from sottovoce.run.knobs import Knob, check, like

FAMILYS = "the family's"


@dataclass(frozen=True, kw_only=True)
class RunRequest(Terms):
    """A run as requested; `sottovoce.run.configure` completes its configuration."""

    rounds: Annotated[int | None, like(RunConfiguration, "rounds", FAMILYS)] = None
    ring_bits: Annotated[int | None, like(RunConfiguration, "ring_bits", FAMILYS)] = None
    min_honest: Annotated[
        int | None,
        like(
            DistributedNoise,
            "min_honest",
            "the smallest possible number of survivors",
            names=("--min-honest", "--honest"),
        ),
    ] = None
    sample_rate: Annotated[float | None, like(DistributedNoise, "sample_rate", FAMILYS)] = None
    clip_quantile: Annotated[float | None, like(DistributedNoise, "clip_quantile", "the clip is fixed")] = None
    min_separation: Annotated[
        int | None,
        like(BandedFactorisation, "min_separation", "units are sampled", names=("--min-separation", "--period")),
    ] = None
    bands: Annotated[
        int | None,
        Knob(
            "Rounds that share correlated noise, with a minimum separation.",
            unit="rounds",
            range="[1, ∞)",
            unset="the minimum separation",
        ),
    ] = None
    init: Annotated[
        str | None,
        Knob(
            "Start from public parameters (public), random ones (none) or a release's folder.",
            unset="public if there are any",
        ),
    ] = None
    seed: Annotated[int | None, like(RunConfiguration, "seed", "random")] = None

    def __post_init__(self) -> None:
        check(self)
