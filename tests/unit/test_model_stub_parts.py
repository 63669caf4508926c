"""The stand-in's pure parts: filler, window, generation, durations, names."""

import json
import math
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from model_stub.catalogue import Catalogue, is_valid_name
from model_stub.filler import fill, fill_invalid
from model_stub.generation import generate
from model_stub.protocol import Ask, Message, ProtocolError, parse_keep_alive
from model_stub.window import Window, fit


class Leaf(BaseModel):
    """Behind a reference."""

    kind: Literal["a", "b"]


class Everything(BaseModel):
    """One field per kind of schema."""

    text: str = Field(min_length=3, max_length=10)
    count: int = Field(ge=2, le=5)
    share: float = Field(gt=0, lt=1)
    flag: bool
    leaf: Leaf
    leaves: Annotated[list[Leaf], Field(min_length=2)]
    maybe: int | None


def test_filler_makes_a_value_that_validates() -> None:
    """Guards answers to schemas that no rule knows: the demo must not fail on a new one."""
    value = Everything.model_validate(fill(Everything.model_json_schema()))
    assert value == Everything.model_validate(fill(Everything.model_json_schema()))


def test_invalid_filler_keeps_the_shape_and_breaks_the_values() -> None:
    """Guards the fault invalid_values: right keys, every bound violated."""
    text = fill_invalid(Everything.model_json_schema())
    assert set(json.loads(text)) == set(Everything.model_fields)
    with pytest.raises(ValidationError) as caught:
        Everything.model_validate_json(text)
    broken = {error["loc"][0] for error in caught.value.errors()}
    assert {"text", "count", "share", "leaf", "leaves"} <= broken


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), (0, 0.0), (5, 5.0), (-1, math.inf), ("5m", 300.0), ("1h30m", 5400.0)],
)
def test_keep_alive_is_read_as_seconds_or_a_go_duration(
    value: object, seconds: float | None
) -> None:
    """Guards the forms of keep_alive."""
    assert parse_keep_alive(value) == seconds


def test_generation_stops_at_a_stop_string_and_at_num_predict() -> None:
    """Guards the two ways to end early, and which of them counts as length."""
    whole = generate("abcdef", {}, window_size=64, chars_per_token=1)
    assert (whole.text, whole.done_reason, whole.tokens) == ("abcdef", "stop", 7)
    stopped = generate("abcdef", {"stop": ["d"]}, window_size=64, chars_per_token=1)
    assert (stopped.text, stopped.done_reason) == ("abc", "stop")
    cut = generate("abcdef", {"num_predict": 2}, window_size=64, chars_per_token=1)
    assert (cut.text, cut.done_reason, cut.tokens) == ("ab", "length", 2)


def question(*messages: Message, truncate: bool = True) -> Ask:
    """A conversation."""
    return Ask(model="m", messages=messages, truncate=truncate)


def test_window_drops_the_oldest_messages_but_not_the_system_prompt() -> None:
    """Guards the first rule of overflow: whole messages go, system and last ones stay."""
    ask = question(
        Message("system", "S"),
        Message("user", "old " * 100),
        Message("assistant", "reply"),
        Message("user", "new"),
    )
    fitted = fit(ask, Window(100, 1, 16))
    assert fitted.text == "S\n\nnew"
    assert fitted.prompt_tokens < 100


def test_window_cuts_a_single_long_prompt_in_the_middle() -> None:
    """Guards the second rule: about half the window is read, without a sign."""
    fitted = fit(question(Message("user", "a" * 500 + "z" * 500)), Window(100, 1, 16))
    assert fitted.prompt_tokens == 53
    assert fitted.text[0] == "a"
    assert fitted.text[-1] == "z"
    assert len(fitted.text) == 53


def test_window_refuses_a_long_prompt_with_an_image_or_without_truncation() -> None:
    """Guards the other rules: with an image, or truncate false, too long is an error."""
    long = "a" * 500
    for ask in (
        question(Message("user", long, (b"image",))),
        question(Message("user", long), truncate=False),
    ):
        with pytest.raises(ProtocolError, match="exceeds the available context size"):
            fit(ask, Window(100, 1, 16))


def test_catalogue_reads_names_tags_and_vision() -> None:
    """Guards the --models flag, and that a typing error in it is told."""
    models = Catalogue.parse("gemma3, org/llava:7b+vision", context_length=2048)
    assert [(m.name, m.vision) for m in models.all()] == [
        ("gemma3:latest", False),
        ("org/llava:7b", True),
    ]
    assert models.find("gemma3") is models.find("gemma3:latest")
    assert not is_valid_name("a b/c//d")
    with pytest.raises(ValueError, match=r"NAME\[:TAG\]"):
        Catalogue.parse("gemma3+images", context_length=2048)
