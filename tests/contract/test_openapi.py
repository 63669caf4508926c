"""The OpenAPI document against its specification, the routes, and what the contract promises."""

import json
from collections.abc import AsyncIterator

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from queue_gateway.openapi import openapi
from queue_gateway.routes import ROUTES
from queue_gateway.testing import RunningGateway, running_gateway
from reveille.testing import Database

# What external servers call today.
EXTERNAL = (
    "register-processing-server",
    "server-heartbeat",
    "get-next-queue-task",
    "update-task-status",
    "unregister-processing-server",
)


@pytest.fixture
async def gateway(database: Database) -> AsyncIterator[RunningGateway]:
    """A gateway on this test's database."""
    async with running_gateway(database.dsn) as gateway:
        yield gateway


def test_document_is_valid_openapi_3_1() -> None:
    """Generators and viewers can read it."""
    OpenAPIV31SpecValidator(openapi(ROUTES)).validate()


def test_document_has_each_route_once_with_its_own_operation_id() -> None:
    """What is served is described, and nothing else."""
    document = openapi(ROUTES)
    described = [
        (method.upper(), path, operation["operationId"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]

    assert sorted((m, p) for m, p, _ in described) == sorted((r.method, r.path) for r in ROUTES)
    assert len({identifier for _, _, identifier in described}) == len(described)


def test_document_has_the_forms_of_external_servers() -> None:
    """The paths and members that existing servers use are there."""
    document = openapi(ROUTES)

    for name in EXTERNAL:
        operation = document["paths"][f"/api/internal/{name}"]["post"]
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        schema = document["components"]["schemas"][reference.rpartition("/")[2]]
        assert "server_id" in schema["required"]


def test_each_path_parameter_is_declared() -> None:
    """A path's braces and the parameters of its model are the same names."""
    for path, methods in openapi(ROUTES)["paths"].items():
        for operation in methods.values():
            declared = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
            assert declared == {part[1:-1] for part in path.split("/") if part.startswith("{")}


async def test_served_document_is_the_generated_one(gateway: RunningGateway) -> None:
    """/openapi.json is open to all and says what the code says."""
    served = await gateway.get("/openapi.json")

    assert served == json.loads(json.dumps(openapi(ROUTES)))


async def test_documented_statuses_are_those_that_are_answered(gateway: RunningGateway) -> None:
    """Routes asked for nothing in particular answer with a status that they declare."""
    paths = openapi(ROUTES)["paths"]
    for route in ROUTES:
        if "event-stream" in route.media_type and "{" not in route.path:
            continue  # never ends
        url = gateway.url + route.path.replace("{id}", "1").replace("{name}", "nobody")
        async with gateway.session.request(route.method, url) as answer:
            declared = paths[route.path][route.method.lower()]["responses"]
            assert str(answer.status) in declared, (route.path, answer.status)
