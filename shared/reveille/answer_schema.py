"""A pydantic answer model as instructions to a language model: grammar, prompt text, repair text.

The schema goes to the server twice: as `format`, which makes a grammar of it, and in the prompt,
because a model that knows the fields fills them better. Neither is trusted: answers are validated.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

# llama.cpp refuses a grammar with more repetitions than 2,000 and is slow well below that.
GRAMMAR_LENGTH_MAX = 500
_LENGTHS = ("maxLength", "maxItems", "minLength", "minItems")
# Go's grammar reads a pattern loosely or not at all, and a default says nothing about the answer.
_NOT_FOR_GRAMMAR = ("pattern", "default")
REPAIR_ERRORS_MAX = 10
BAD_ANSWER_CHARS_MAX = 4000


@lru_cache(maxsize=128)
def grammar_schema(answer: type[BaseModel]) -> Mapping[str, Any]:
    """The JSON schema for `format`: without what the server's grammar cannot do. Do not change it."""
    schema: Mapping[str, Any] = _for_grammar(answer.model_json_schema())
    return schema


@lru_cache(maxsize=128)
def schema_text(answer: type[BaseModel]) -> str:
    """The line of the system prompt that asks for this answer."""
    return (
        "Answer with one JSON object that fits this JSON schema, and with nothing else:\n"
        f"{to_json(grammar_schema(answer)).decode()}"
    )


def repair_prompt(error: ValidationError) -> str:
    """The turn that shows a model what was wrong with its answer."""
    return (
        f"Your answer does not fit the schema:\n{problems(error)}\n"
        "Send the whole corrected JSON object again, and nothing else."
    )


def problems(error: ValidationError) -> str:
    """One line per mistake: where it is and what is wrong there."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [f"- {_place(item['loc'])}: {item['msg']}" for item in found[:REPAIR_ERRORS_MAX]]
    if len(found) > REPAIR_ERRORS_MAX:
        lines.append(f"- and {len(found) - REPAIR_ERRORS_MAX} more")
    return "\n".join(lines)


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "the answer"


def _for_grammar(node: Any, *, names: bool = False) -> Any:
    """`names`: the keys of this object are names of fields, not words of the schema language."""
    if isinstance(node, list):
        return [_for_grammar(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _for_grammar(value, names=not names and key in {"properties", "$defs"})
        for key, value in node.items()
        if names or not _is_beyond_grammar(key, value)
    }


def _is_beyond_grammar(key: str, value: Any) -> bool:
    return key in _NOT_FOR_GRAMMAR or (key in _LENGTHS and value > GRAMMAR_LENGTH_MAX)
