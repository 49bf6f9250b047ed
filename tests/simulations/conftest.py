"""Simulations: under Ray as a user has them, or with the same clients answering in this process."""

from dataclasses import replace

import pytest
from flwr.server.superlink.fleet.vce.backend import Backend


@pytest.fixture(autouse=True, scope="package")
def ray_is_not_nice():
    """Ray's processes let everything else go first by default, and on a busy machine they never come."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        yield


@pytest.fixture(scope="session")
def catalogues(catalogues, made_once):
    """With the linear model's features, for which each first simulation would start processes."""
    from sottovoce.models import discovery
    from sottovoce_client.catalogue import scan
    from sottovoce_client.data.feature_cache import FeatureCache
    from sottovoce_simulations.engine.simulation import CACHE

    def fill(folder):
        cache = FeatureCache(catalogues / CACHE / "features")
        for label in catalogues.glob("label-*"):
            tracks = scan(label, index=folder / f"{label.name}.sqlite", workers=1).tracks
            cache.fill(tracks, discovery.spec_of("style", "svm"), workers=1)

    made_once("scanned", fill)
    return catalogues


class OneProcess(Backend):
    """Flower's place for a pool of Ray actors, taken by the client app itself: the same messages, no new processes.

    Ray starts four processes and each actor imports torch: 10 to 20 CPU seconds a simulation, whatever it trains.
    That Ray carries a run is shown by `test_simulate.py`.
    """

    num_workers = 1

    def build(self, app_fn):
        self._app = app_fn()

    def is_worker_idle(self):
        return True

    def process_message(self, message, context):
        return self._app(message, context), context

    def terminate(self):
        pass


@pytest.fixture(scope="module")
def little_steps():
    """One step of a few tracks a round, where a recipe's cost seconds a label and what they teach is seen elsewhere."""
    from sottovoce.models import discovery

    def little(made):
        return lambda *arguments, **options: replace(made(*arguments, **options), batch_size=8, local_steps=1)

    with pytest.MonkeyPatch.context() as patch:
        for task in ("generator", "editor"):
            for kind in {type(discovery.family(task, name)) for name in discovery.families(task)}:
                for recipe in ("recipe", "fine_tuning_recipe"):
                    patch.setattr(kind, recipe, little(getattr(kind, recipe)))
        yield


@pytest.fixture(scope="session")
def simulate(here):
    """`sottovoce simulate` in this process: `simulate(*arguments)`."""

    def run(*arguments):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("flwr.server.superlink.fleet.vce.backend.raybackend.RayBackend", OneProcess)
            patch.setattr("sottovoce_simulations.engine.flower_engine._start_ray", lambda cpus: None)
            return here("simulate", *arguments)

    return run
