"""The studio against its own OpenAPI description: whatever is sent, it answers as described, and never with a 5xx."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.server.studio.conftest import Queue, Studio

from sottovoce_server.studio.settings import Limits

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
UNLIMITED = Limits(requests=1_000_000, refusals=1_000_000, jobs_at_a_time=1_000_000, seconds_per_day=1e12)
NOTHING_TO_VARY = {"GET /v1/health", "GET /v1/webhook-key", "GET /v1/models"}


@pytest.fixture(scope="module")
def described(migrated, shelf, tmp_path_factory):
    studio = Studio(
        Queue(migrated, tmp_path_factory.mktemp("contract") / "jobs"), shelf, limits=UNLIMITED, webhooks=["a.example"]
    )
    studio.queue.clear()
    return studio


@pytest.fixture(scope="module")
def operations(described):
    schema = schemathesis.openapi.from_asgi("/openapi.json", described.app)
    return {each.ok().label: each.ok() for each in schema.get_all_operations()}


OPERATIONS = [
    "DELETE /v1/jobs/{job}",
    "GET /v1/health",
    "GET /v1/jobs",
    "GET /v1/jobs/{job}",
    "GET /v1/jobs/{job}/audio/{number}",
    "GET /v1/jobs/{job}/events",
    "GET /v1/log",
    "GET /v1/models",
    "GET /v1/models/{name}",
    "GET /v1/webhook-key",
    "POST /v1/classifications",
    "POST /v1/edits",
    "POST /v1/generations",
    "POST /v1/inspections",
]


def test_every_operation_is_tried(operations):
    assert sorted(each for each in operations if "/v1/" in each) == OPERATIONS


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
@pytest.mark.parametrize("label", OPERATIONS)
def test_it_answers_as_it_describes(described, operations, label, mode):
    if mode is GenerationMode.NEGATIVE and label in NOTHING_TO_VARY:
        return
    job = described.generate().json()["id"]

    @settings(max_examples=5, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operations[label].as_strategy(generation_mode=mode))
    def send(case):
        if mode is GenerationMode.POSITIVE and "job" in (case.path_parameters or {}):
            case.path_parameters["job"] = job
        case.call_and_validate(checks=CHECKS, headers={"Host": "localhost"})

    send()
    assert described("GET", "/v1/health").status_code == 200
