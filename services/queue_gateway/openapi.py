"""The OpenAPI 3.1 document, made from the routes: pydantic's JSON schemas are its schemas as they
are.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from queue_gateway.route import EVENTS, JSON, Route
from queue_gateway.shapes import Answer, Params

_PROBLEM_TYPE = "application/problem+json"
_USUAL_REFUSALS = {
    401: "no known token",
    403: "the token lacks the scope",
    422: "values that cannot be used; `errors` names the fields",
    429: "too many requests",
    503: "the database is away, or too much is open",
}
_REFUSALS = {
    400: "the body cannot be read as what it says it is",
    404: "no such thing",
    408: "the body took too long to arrive",
    409: "the present state does not allow it",
    413: "too large",
    415: "not the media type that is asked for",
    501: "this database has a documents table of its own",
}


class FieldError(Answer):
    """One wrong field."""

    field: str
    message: str


class Problem(Answer):
    """An RFC 9457 problem. More members may be there."""

    type: str
    title: str
    status: int
    detail: str | None = None
    hint: str | None = None
    errors: list[FieldError] | None = None


Refs = Mapping[type[BaseModel], dict[str, Any]]


def openapi(routes: Sequence[Route[Any, Any]]) -> dict[str, Any]:
    """The document as plain values."""
    refs, schemas = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Reveille queue gateway",
            "version": version("reveille"),
            "description": "Documents, tasks, live events, servers, containers, costs. "
            "Whatever is here can be done in SQL too.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _schemas(routes: Sequence[Route[Any, Any]]) -> tuple[Refs, dict[str, Any]]:
    sent = dict.fromkeys(route.body for route in routes if route.takes_body)
    answered: dict[type[BaseModel], None] = dict.fromkeys(
        [*(route.answer for route in routes if route.answer is not None), Problem]
    )
    wanted: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = []
    wanted.extend((model, "validation") for model in sent)
    wanted.extend((model, "serialization") for model in answered)
    refs, document = models_json_schema(wanted, ref_template="#/components/schemas/{model}")
    by_model = {model: refs[model, mode] for model, mode in wanted}
    return by_model, document["$defs"]


def _operation(route: Route[Any, Any], refs: Refs) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "tags": [route.tag],
        "summary": route.summary,
        "description": (route.handler.__doc__ or "").strip(),
        "responses": {**_success(route, refs), **_refusals(route, refs)},
    }
    if parameters := _parameters(route):
        operation["parameters"] = parameters
    if body := _body(route, refs):
        operation["requestBody"] = body
    if route.scope is not None:
        operation["security"] = [{"token": [route.scope]}, {}]
        operation["description"] += f" Scope: {route.scope}."
    return operation


def _operation_id(route: Route[Any, Any]) -> str:
    parts = route.path.removeprefix("/api/").replace("{", "by-").replace("}", "").split("/")
    return "-".join([route.method.lower(), *parts])


def _success(route: Route[Any, Any], refs: Refs) -> dict[str, Any]:
    if route.answer is not None:
        content = {JSON: {"schema": refs[route.answer]}}
    elif route.media_type == EVENTS:
        content = {EVENTS: {"schema": {"type": "string"}}}
    else:
        content = {route.media_type: {"schema": {}}}  # 3.1: no schema for raw bytes
    answers = {str(route.status): {"description": "done", "content": content}}
    if route.uploads:
        answers["200"] = {"description": "the same bytes were here already", "content": content}
    if route.media_type == EVENTS:
        answers["204"] = {"description": "all has ended; do not connect again"}
    return answers


def _refusals(route: Route[Any, Any], refs: Refs) -> dict[str, Any]:
    meanings = {**_USUAL_REFUSALS, **{status: _REFUSALS[status] for status in route.refuses}}
    if route.takes_body:
        meanings[400] = _REFUSALS[400]
        meanings[408] = _REFUSALS[408]
        meanings[413] = _REFUSALS[413]
        meanings[415] = _REFUSALS[415]
    if route.scope is None:
        meanings = {status: said for status, said in meanings.items() if status in {422, 503}}
    content = {_PROBLEM_TYPE: {"schema": refs[Problem]}}
    return {
        str(status): {"description": said, "content": content}
        for status, said in sorted(meanings.items())
    }


def _parameters(route: Route[Any, Any]) -> list[dict[str, Any]]:
    schema = _inline(route.params)
    required = set(schema.get("required", ()))
    found = []
    for name, values in schema.get("properties", {}).items():
        in_path = f"{{{name}}}" in route.path
        parameter = {
            "name": name,
            "in": "path" if in_path else "query",
            "required": in_path or name in required,
            "schema": values,
        }
        if values.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        found.append(parameter)
    return found


def _inline(model: type[Params]) -> dict[str, Any]:
    """The model's schema with its references resolved: parameters stand alone."""
    schema = model.model_json_schema()
    known = schema.pop("$defs", {})

    def resolve(value: Any) -> Any:
        if isinstance(value, dict):
            if "$ref" in value:
                target = known[value["$ref"].rpartition("/")[2]]
                return resolve({**target, **{k: v for k, v in value.items() if k != "$ref"}})
            return {key: resolve(entry) for key, entry in value.items()}
        return [resolve(entry) for entry in value] if isinstance(value, list) else value

    resolved: dict[str, Any] = resolve(schema)
    return resolved


def _body(route: Route[Any, Any], refs: Refs) -> dict[str, Any] | None:
    if route.uploads:
        form = {
            "type": "object",
            "properties": {"file": {}, **_inline(route.params)["properties"]},
            "required": ["file"],
        }
        content = {
            kind: {"schema": form if kind.startswith("multipart/") else {}}
            for kind in route.uploads
        }
        return {"required": True, "content": content}
    if not route.takes_body:
        return None
    needed = any(field.is_required() for field in route.body.model_fields.values())
    return {"required": needed, "content": {JSON: {"schema": refs[route.body]}}}
