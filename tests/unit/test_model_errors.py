"""The pure parts of the model client: error table, checks of a reply, addresses, schemas."""

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, ValidationError

from reveille import model_errors
from reveille.answer_schema import grammar_schema, repair_prompt, schema_text
from reveille.errors import ConfigurationError, TaskRejected, TaskRetry
from reveille.model_reply import Reply, check, was_cut
from reveille.model_transport import base_url

HOST = "http://gpu1:11434"


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (404, '{"error":"model \'x\' not found"}', TaskRetry, "model_absent"),
        (503, '{"error":"server busy, please try again."}', TaskRetry, "model_busy"),
        (429, "", TaskRetry, "model_busy"),
        (500, '{"error":"unexpected EOF"}', TaskRetry, "model_broken"),
        (502, "<html>", TaskRetry, "model_broken"),
        (504, "", TaskRetry, "model_timeout"),
        (301, "", TaskRetry, "model_broken"),
        (-1, "unexpected EOF", TaskRetry, "model_broken"),
        (401, "", TaskRetry, "model_denied"),
        (403, "", TaskRetry, "model_denied"),
        (400, '{"error":"model does not support multimodal"}', TaskRetry, "model_unsuitable"),
        (400, '{"error":"Failed to load image or audio file"}', TaskRejected, "image_unreadable"),
        (
            400,
            "request (9 tokens) exceeds the available context size",
            TaskRejected,
            "text_too_long",
        ),
        (400, "the prompt is longer than the context length", TaskRejected, "text_too_long"),
        (400, "json: cannot unmarshal", TaskRejected, "request_invalid"),
    ],
)
def test_status_of_the_server_has_its_reason(
    status: int, body: str, kind: type[TaskRetry | TaskRejected], reason: str
) -> None:
    """Guards the table from HTTP status and text to the task's outcome."""
    error = model_errors.from_status(status, body, model="x", host=HOST)
    assert isinstance(error, kind)
    assert error.reason == reason
    assert error.error == str(error)


def test_nested_error_is_unwrapped_to_its_message() -> None:
    """Guards readable errors: servers put JSON into JSON strings."""
    nested = '{"error":"{\\"error\\":{\\"code\\":400,\\"message\\":\\"too big\\"}}"}'
    assert model_errors.own_words(nested) == "too big"
    assert model_errors.own_words("") == "no message"
    assert len(model_errors.own_words("x" * 10_000)) == model_errors.ERROR_CHARS_MAX


def reply(**changed: Any) -> Reply:
    """A good reply, changed."""
    good = {
        "text": "{}",
        "done": True,
        "done_reason": "stop",
        "input_tokens": 500,
        "output_tokens": 20,
        "load_seconds": 0.0,
    }
    return Reply(**{**good, **changed})


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"done": False, "done_reason": ""}, "answer_incomplete"),
        ({"done_reason": "length"}, "answer_incomplete"),
        ({"input_tokens": 2000, "output_tokens": 100}, "answer_incomplete"),
        ({"input_tokens": 1027}, "text_too_long"),
    ],
)
def test_reply_that_hides_a_failure_is_refused(changed: dict[str, Any], reason: str) -> None:
    """Guards the four failures that come with HTTP 200."""
    chars = 12_000 if reason == "text_too_long" else 2_000
    with pytest.raises((TaskRetry, TaskRejected)) as caught:
        check(reply(**changed), model="x", prompt_chars=chars, num_ctx=2048)
    assert caught.value.reason == reason


def test_whole_reply_passes() -> None:
    """Guards against refusing what is good."""
    check(reply(), model="x", prompt_chars=2_000, num_ctx=2048)


@pytest.mark.parametrize(
    ("chars", "tokens", "cut"),
    [
        (8_000, 2_000, False),  # fills the window
        (40_000, 1_027, True),  # five times too long, cut to half
        (3_000, 100, False),  # a row of dashes: odd, but it fits in any case
        (9_000, 1_800, False),  # most of the window was read: nothing was cut
    ],
)
def test_prompt_is_called_cut_only_when_it_must_have_been(
    chars: int, tokens: int, cut: bool
) -> None:
    """Guards the estimate on both sides: no silent truncation, no good task rejected."""
    assert was_cut(chars, tokens, 2048) is cut


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("gpu1", "http://gpu1:11434"),
        ("gpu1:8000", "http://gpu1:8000"),
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("http://gpu1", "http://gpu1:80"),
        ("https://models.example/ollama/", "https://models.example:443/ollama"),
        ("[::1]", "http://[::1]:11434"),
        ("http://[::1]:5", "http://[::1]:5"),
        (":11434", "http://127.0.0.1:11434"),
        ("", "http://127.0.0.1:11434"),
    ],
)
def test_host_becomes_an_address_as_ollama_reads_it(host: str, url: str) -> None:
    """Guards the forms that people write into OLLAMA_HOST."""
    assert base_url(host) == url


@pytest.mark.parametrize("host", ["ftp://gpu1", "gpu1:port", "gpu1:99999"])
def test_host_that_is_no_address_is_a_configuration_error(host: str) -> None:
    """Guards start-up: the setting is named, not a traceback shown."""
    with pytest.raises(ConfigurationError, match="OLLAMA_HOST"):
        base_url(host)


class Inner(BaseModel):
    """Nested, to make a $defs."""

    pattern: str = Field(pattern="^a+$", max_length=2000)


class Outer(BaseModel):
    """Fields named like words of the schema language."""

    default: Annotated[list[Inner], Field(max_length=1000)]
    short: str = Field("x", max_length=40)


def test_grammar_schema_keeps_fields_and_drops_what_no_grammar_can_do() -> None:
    """Guards servers against schemas they refuse: long repetitions, patterns, defaults."""
    schema = grammar_schema(Outer)
    assert set(schema["properties"]) == {"default", "short"}
    assert schema["properties"]["short"] == {"maxLength": 40, "title": "Short", "type": "string"}
    assert "maxItems" not in schema["properties"]["default"]
    assert schema["$defs"]["Inner"]["properties"] == {
        "pattern": {"title": "Pattern", "type": "string"}
    }
    assert '"title":"Outer"' in schema_text(Outer)


def test_repair_prompt_names_each_mistake_and_its_place() -> None:
    """Guards the repair turn: a model can only mend what it is told."""
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate_json('{"default": [{"pattern": "b"}], "short": 5}')
    text = repair_prompt(caught.value)
    assert "- default.0.pattern: " in text
    assert "- short: " in text
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate_json('{"default": ')
    assert "- the answer: Invalid JSON" in repair_prompt(caught.value)
