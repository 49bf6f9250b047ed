"""The service against its own OpenAPI description: whatever is sent, it answers as described, and never with a 5xx."""

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

from sottovoce_server.registry.settings import Settings
from sottovoce_server.registry.tokens import Scope

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


NOTHING_TO_VARY = {"GET /v1/health"}
PARAMETERS = {"name": "isles-style-svm", "version": "20260101T000000Z"}


@pytest.fixture(scope="module")
def open_service(tmp_path_factory, start_registry, coordinator, agreement, release):
    limits = Settings(frozenset({coordinator.public_key}), (agreement,), 1 << 20, 1_000_000, 1_000_000)
    service = start_registry(tmp_path_factory.mktemp("contract") / "registry", limits)
    assert service.publish(service.token(*Scope), release).status_code == 201
    yield service
    service.database.close()


OPERATIONS = [
    "GET /v1/health",
    "GET /v1/models",
    "GET /v1/models/{name}",
    "GET /v1/models/{name}/{version}",
    "HEAD /v1/models/{name}/{version}",
    "GET /v1/models/{name}/{version}/files/{file}",
    "HEAD /v1/models/{name}/{version}/files/{file}",
    "POST /v1/models/{name}/{version}/signatures",
    "PUT /v1/models/{name}/visibility",
    "POST /v1/uploads",
    "DELETE /v1/uploads/{upload}",
    "PUT /v1/uploads/{upload}/files/{file}",
    "POST /v1/uploads/{upload}/publish",
]


@pytest.fixture(scope="module")
def operations(open_service):
    schema = schemathesis.openapi.from_asgi("/openapi.json", open_service.app)
    return {each.ok().label: each.ok() for each in schema.get_all_operations()}


def test_every_operation_is_tried(operations):
    assert sorted(operations) == sorted(OPERATIONS)


def try_out(service, token, operation, mode, there):
    """Send much to an operation; `there` says which path parameters are those of what there is."""

    @settings(max_examples=25, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case):
        case.path_parameters = dict(case.path_parameters or {}) | {
            name: value for name, value in there.items() if name in (case.path_parameters or {})
        }
        case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=CHECKS)

    send()


@pytest.mark.parametrize("label", OPERATIONS)
def test_it_answers_what_it_describes(open_service, operations, label):
    service, token = open_service, open_service.token(*Scope)
    try_out(service, token, operations[label], GenerationMode.POSITIVE, {})


@pytest.mark.parametrize("label", sorted(set(OPERATIONS) - NOTHING_TO_VARY))
def test_it_answers_what_it_does_not_describe(open_service, operations, label):
    service, token = open_service, open_service.token(*Scope)
    try_out(service, token, operations[label], GenerationMode.NEGATIVE, {})


@pytest.mark.parametrize("label", [label for label in OPERATIONS if "{" in label])
def test_it_answers_about_what_there_is(open_service, operations, label):
    service, token = open_service, open_service.token(*Scope)
    upload = service.begin(token, of="20260102T000000Z")
    try_out(service, token, operations[label], GenerationMode.POSITIVE, PARAMETERS | {"upload": upload})
    service("DELETE", f"/v1/uploads/{upload}", token)
    service.show(token, "private")
    raw = service("GET", f"/v1/models/{PARAMETERS['name']}/{PARAMETERS['version']}", token)
    assert raw.status_code == 200
