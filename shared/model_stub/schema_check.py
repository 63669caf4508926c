"""Which JSON schemas a real server refuses, and in which words. It converts them to a grammar."""

from typing import Any

from model_stub.protocol import ProtocolError, compact, nested

_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})


def check_format(value: Any) -> None:
    """Raises ProtocolError for a `format` that is neither "json" nor a usable schema."""
    if value is None or value == "json":
        return
    if not isinstance(value, dict):
        quoted = compact(compact(value))
        raise ProtocolError(
            500, f'invalid format: {quoted}; expected "json" or a valid JSON Schema object'
        )
    problem = _problem(value, value, "#")
    if problem is not None:
        raise nested(
            "Field 'json_schema': \"json_schema\": JSON schema conversion failed:\n"
            f"JSON schema error at {problem}"
        )


def _problem(schema: Any, root: dict[str, Any], path: str) -> str | None:
    """`PATH: what is wrong` for the first thing wrong, depth first."""
    if not isinstance(schema, dict):
        return None
    if "$ref" in schema:
        return _unresolved(str(schema["$ref"]), root, path)
    kinds = schema.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind not in _TYPES:
            return f"{path}: unrecognized type {kind}"
    children = [(f"{path}/properties/{k}", v) for k, v in schema.get("properties", {}).items()]
    children.append((f"{path}/items", schema.get("items")))
    for word in ("anyOf", "oneOf", "allOf"):
        children += [(f"{path}/{word}/{i}", v) for i, v in enumerate(schema.get(word, ()))]
    problems = (_problem(child, root, child_path) for child_path, child in children)
    return next((problem for problem in problems if problem is not None), None)


def _unresolved(reference: str, root: dict[str, Any], path: str) -> str | None:
    found: Any = root
    for key in reference.removeprefix("#/").split("/"):
        if not isinstance(found, dict) or key not in found:
            return f"{path}: cannot resolve $ref {reference}, {key} not found"
        found = found[key]
    return None
