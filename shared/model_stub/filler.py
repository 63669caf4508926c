"""A value for any JSON schema: the shortest plausible one, or one that breaks every bound.

For schemas that no rule knows, and for the fault `invalid_values`.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

Schema = Mapping[str, Any]
_DEPTH_MAX = 20
_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def fill(schema: Schema) -> Any:
    """A value that satisfies the schema (patterns excepted), the same one each time."""
    return _Filler(schema, breaking=False).value(schema)


def fill_invalid(schema: Schema) -> str:
    """JSON text of the right shape whose numbers, lengths and choices are out of bounds."""
    return json.dumps(_Filler(schema, breaking=True).value(schema))


class _Filler:
    """Walks one schema; `$ref` is looked up in its root."""

    def __init__(self, root: Schema, *, breaking: bool) -> None:
        self._root = root
        self._breaking = breaking

    def value(self, schema: Schema, depth: int = 0) -> Any:
        schema = self._chosen(schema)
        if depth > _DEPTH_MAX:
            return None  # a schema that contains itself
        if "const" in schema or "enum" in schema:
            choices = schema.get("enum", [schema.get("const")])
            return "none of the choices" if self._breaking else choices[0]
        kind = self._type(schema)
        makers: dict[str, Callable[[], Any]] = {
            "object": lambda: self._object(schema, depth),
            "array": lambda: self._array(schema, depth),
            "string": lambda: self._string(schema),
            "integer": lambda: self._number(schema, kind),
            "number": lambda: self._number(schema, kind),
            "boolean": lambda: False,
        }
        return makers[kind]() if kind in makers else None

    def _chosen(self, schema: Schema) -> Schema:
        """Follow references and take the first alternative that is not null."""
        for _ in range(_DEPTH_MAX):
            if "$ref" in schema:
                schema = self._resolve(schema["$ref"])
            elif options := schema.get("anyOf") or schema.get("oneOf"):
                schema = next((o for o in options if o.get("type") != "null"), options[0])
            elif len(schema.get("allOf", ())) == 1:
                schema = schema["allOf"][0]
            else:
                break
        return schema

    def _resolve(self, reference: str) -> Schema:
        found: Any = self._root
        for key in reference.removeprefix("#/").split("/"):
            found = found.get(key, {}) if isinstance(found, Mapping) else {}
        return found if isinstance(found, Mapping) else {}

    def _type(self, schema: Schema) -> str:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            return next((k for k in kind if k != "null"), "null")
        return str(kind)

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        wanted = schema.get("required", list(properties))
        return {key: self.value(properties.get(key, {}), depth + 1) for key in wanted}

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        count = max(1 if self._breaking else 0, schema.get("minItems", 0))
        return [self.value(schema.get("items", {}), depth + 1) for _ in range(count)]

    def _string(self, schema: Schema) -> str:
        if self._breaking:
            return "?" * min(int(schema.get("maxLength", 8)) + 1, 10_000)
        text = str(_FORMATS.get(schema.get("format", ""), schema.get("title", "text")))
        shortest, longest = int(schema.get("minLength", 0)), schema.get("maxLength")
        return text[:longest].ljust(shortest, ".")

    def _number(self, schema: Schema, kind: str) -> float:
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        if self._breaking:
            return int(high) + 1000 if high is not None else -1_000_000
        step = 1 if kind == "integer" or high is None else (high - (low or 0)) / 2
        value = low if low is not None else min(0, high if high is not None else 0)
        if "minimum" not in schema and "exclusiveMinimum" in schema:
            value += step
        return int(value) if kind == "integer" else float(value)
