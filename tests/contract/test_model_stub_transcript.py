"""The stand-in against a real server: a recorded transcript where there is one, a table of our own always.

Two replies are alike when status, content type, error text, and the keys and types of the JSON are.
What a model wrote is not compared: the recorded one had made-up weights.
"""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from model_stub import Stub, running_stub

TRANSCRIPT = Path(__file__).parents[2].parent / "shared" / "ollama" / "transcript.jsonl"
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
LONG = "x " * 3000
CUT = re.compile(r"\.\.\.\[\d+ chars\]\s*$")


def _long(n_words: int = 3000, **more: Any) -> dict[str, Any]:
    message = {"role": "user", "content": "x " * n_words}
    return {"model": "gemma3", "messages": [message], "stream": False, **more}


# Bodies that the recording shows only the beginning of; their lengths are those it names.
_FIVE = {"num_predict": 5}
_SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}
REBUILT: dict[str, dict[str, Any]] = {
    "chat vision png": {
        "model": "llava",
        "messages": [{"role": "user", "content": "what?", "images": [PNG]}],
        "stream": False,
        "format": _SCHEMA,
    },
    "chat vision jpeg": {
        "model": "llava",
        "messages": [{"role": "user", "content": "what?", "images": ["/9j/4AAQSkZJRgD/2Q=="]}],
        "stream": False,
        "options": _FIVE,
    },
    "chat vision two images": {
        "model": "llava",
        "messages": [{"role": "user", "content": "what?", "images": [PNG, PNG]}],
        "stream": False,
        "options": _FIVE,
    },
    "chat long prompt default truncate": _long(options=_FIVE),
    "chat long prompt truncate false": _long(truncate=False, options=_FIVE),
    "chat long prompt shift false": _long(shift=False, options=_FIVE),
    "chat long prompt both false": _long(truncate=False, shift=False, options=_FIVE),
    "chat history truncated": {
        "model": "gemma3",
        "messages": [
            {"role": "system", "content": "S"},
            {"role": "user", "content": "x " * 900},
            {"role": "user", "content": "x " * 900},
        ],
        "stream": False,
        "options": _FIVE,
    },
    "chat small num_ctx": _long(200, options={"num_ctx": 64, "num_predict": 5}),
    "vision long prompt": {
        "model": "llava",
        "messages": [{"role": "user", "content": LONG, "images": [PNG]}],
        "stream": False,
        "options": _FIVE,
    },
    "embed too long no truncate": {"model": "gemma3", "input": LONG, "truncate": False},
}

# name, request, body, status, content type, error text or the keys of the reply
JSON_TYPE = "application/json; charset=utf-8"
OWN_TABLE: list[tuple[str, str, Any, int, str, str | set[str]]] = [
    ("unknown path", "GET /api/nope", None, 404, "text/plain", "404 page not found"),
    ("wrong method", "GET /api/chat", None, 405, "text/plain", "405 method not allowed"),
    ("no body", "POST /api/chat", None, 400, JSON_TYPE, "missing request body"),
    ("no model", "POST /api/chat", {"messages": []}, 400, JSON_TYPE, "model is required"),
    (
        "absent model",
        "POST /api/chat",
        {"model": "nosuch:7b", "messages": [{"role": "user", "content": "x"}]},
        404,
        JSON_TYPE,
        "model 'nosuch:7b' not found",
    ),
    (
        "messages of the wrong type",
        "POST /api/chat",
        {"model": "gemma3", "messages": 5},
        400,
        JSON_TYPE,
        "json: cannot unmarshal number into Go struct field ChatRequest.messages of type "
        "[]api.Message",
    ),
    (
        "whole answer",
        "POST /api/chat",
        {"model": "gemma3", "messages": [{"role": "user", "content": "hi"}], "stream": False},
        200,
        JSON_TYPE,
        {
            "model",
            "created_at",
            "message",
            "done",
            "done_reason",
            "total_duration",
            "load_duration",
            "prompt_eval_count",
            "prompt_eval_duration",
            "eval_count",
            "eval_duration",
        },
    ),
    (
        "loading",
        "POST /api/chat",
        {"model": "gemma3", "messages": []},
        200,
        JSON_TYPE,
        {"model", "created_at", "message", "done", "done_reason"},
    ),
    (
        "format that is no schema",
        "POST /api/chat",
        _long(1, format="yaml"),
        500,
        JSON_TYPE,
        'invalid format: "\\"yaml\\""; expected "json" or a valid JSON Schema object',
    ),
    (
        "data URL for an image",
        "POST /api/chat",
        {
            "model": "llava",
            "messages": [{"role": "user", "content": "x", "images": [f"data:image/png;{PNG}"]}],
        },
        400,
        JSON_TYPE,
        "json: cannot unmarshal string into Alias.images.0 of type api.ImageData: illegal base64 "
        "data at input byte 4",
    ),
    (
        "prompt over the window, truncation refused",
        "POST /api/chat",
        _long(truncate=False),
        400,
        JSON_TYPE,
        '{"error":{"code":400,"message":"request (6019 tokens) exceeds the available context size '
        '(2048 tokens), try increasing it","type":"exceed_context_size_error",'
        '"n_prompt_tokens":6019,"n_ctx":2048}}',
    ),
    (
        "keep_alive that is no duration",
        "POST /api/chat",
        _long(1, keep_alive="soon"),
        400,
        JSON_TYPE,
        'time: invalid duration "soon"',
    ),
]


@pytest.fixture
async def recorded_like() -> AsyncIterator[Stub]:
    """A stand-in with the models, window and token sizes that the recorded server had."""
    async with running_stub(
        models="gemma3, llava+vision, noise:1b",
        model_context_length=2048,
        chars_per_token=1,
        image_tokens=16,
        max_loaded_models=1,
        device="cpu",
    ) as stub:
        yield stub


def _transcript() -> list[dict[str, Any]]:
    if not TRANSCRIPT.is_file():
        pytest.skip(f"no recorded transcript at ../{TRANSCRIPT.relative_to(TRANSCRIPT.parents[2])}")
    return [json.loads(line) for line in TRANSCRIPT.read_text().splitlines()]


async def test_stub_replays_the_recorded_transcript(recorded_like: Stub) -> None:
    """Guards every recorded pair: a client cannot tell the stand-in from the server recorded."""
    pairs = _transcript()
    different = {}
    async with aiohttp.ClientSession(recorded_like.url) as http:
        # The recording began with a model still in memory.
        await _send(http, "POST /api/chat", json.dumps({"model": "gemma3", "messages": []}))
        for pair in pairs:
            body = pair["body"]
            if pair["name"] in REBUILT:
                body = json.dumps(REBUILT[pair["name"]])
            actual = await _send(http, pair["request"], body)
            expected = (pair["status"], pair["content_type"], pair["response"])
            if problem := _difference(expected, actual):
                different[pair["name"]] = problem
    assert not different, json.dumps(different, indent=1)
    assert len(pairs) >= 91


async def test_recorded_token_counts_come_out_exactly(recorded_like: Stub) -> None:
    """Guards the window's arithmetic: the prompts recorded whole are charged the same tokens."""
    counts = {}
    expected = {}
    async with aiohttp.ClientSession(recorded_like.url) as http:
        for pair in _transcript():
            found = re.search(r'"prompt_eval_count":(\d+)', pair["response"])
            if found and pair["request"] == "POST /api/chat" and "history" not in pair["name"]:
                body = (
                    json.dumps(REBUILT[pair["name"]]) if pair["name"] in REBUILT else pair["body"]
                )
                _, _, text = await _send(http, pair["request"], body)
                again = re.search(r'"prompt_eval_count":(\d+)', text)
                expected[pair["name"]] = int(found[1])
                counts[pair["name"]] = int(again[1]) if again else None
    assert counts == expected


@pytest.mark.parametrize(
    ("request_line", "body", "status", "content_type", "wanted"),
    [row[1:] for row in OWN_TABLE],
    ids=[row[0] for row in OWN_TABLE],
)
async def test_stub_reply_has_the_status_type_and_text_of_a_real_server(
    recorded_like: Stub,
    request_line: str,
    body: Any,
    status: int,
    content_type: str,
    wanted: str | set[str],
) -> None:
    """Guards the cases that the model client depends on, also where no transcript is at hand."""
    async with aiohttp.ClientSession(recorded_like.url) as http:
        sent = None if body is None else json.dumps(body)
        actual_status, actual_type, text = await _send(http, request_line, sent)
    assert (actual_status, actual_type) == (status, content_type)
    if isinstance(wanted, set):
        assert set(json.loads(text)) == wanted
    else:
        assert (json.loads(text)["error"] if "json" in content_type else text) == wanted


async def _send(
    http: aiohttp.ClientSession, request_line: str, body: str | None
) -> tuple[int, str | None, str]:
    method, path = request_line.split()
    data = body.encode() if body is not None else None
    async with http.request(method, path, data=data) as response:
        return response.status, response.headers.get("Content-Type"), await response.text()


def _difference(
    expected: tuple[int, str | None, str], actual: tuple[int, str | None, str]
) -> str | None:
    """What a client could tell apart, in words; None when nothing."""
    if expected[:2] != actual[:2]:
        return f"{expected[:2]} became {actual[:2]}"
    want, got = expected[2], actual[2]
    if CUT.search(want):
        missing = set(_leading_keys(want)) - set(json.loads(got))
        return f"keys are missing: {missing}" if missing else None
    if "ndjson" in (expected[1] or ""):
        return _line_difference(want, got)
    if "json" in (expected[1] or ""):
        want_shape, got_shape = _shape(json.loads(want)), _shape(json.loads(got))
    else:
        want_shape, got_shape = want, got
    return None if want_shape == got_shape else f"{want_shape} became {got_shape}"


def _line_difference(want: str, got: str) -> str | None:
    """Streams: the first and the last line must be alike, and every line JSON."""
    wanted = [json.loads(line) for line in want.splitlines() if line != "..."]
    lines = [json.loads(line) for line in got.splitlines()]
    for position in (0, -1):
        if _shape(wanted[position]) != _shape(lines[position]):
            return f"{_shape(wanted[position])} became {_shape(lines[position])}"
    return None


def _shape(value: Any, key: str = "") -> Any:
    """Keys and types, with the text where it is an error; lists by their first element."""
    if isinstance(value, dict):
        if key in {"details", "capabilities", "model_info"}:
            return sorted(value)
        return {name: _shape(item, name) for name, item in sorted(value.items())}
    if isinstance(value, list):
        return [_shape(value[0])] if value else []
    if key in {"error", "message", "status"} and isinstance(value, str):
        return re.sub(r"\d+\.\d+\.\d+\.\d+", "ADDRESS", value)
    return type(value).__name__


def _leading_keys(cut: str) -> list[str]:
    """The top-level keys of a JSON object that is cut off somewhere."""
    decoder, position, keys = json.JSONDecoder(), 1, []
    while match := re.compile(r'\s*,?\s*"(\w+)"\s*:\s*').match(cut, position):
        keys.append(match[1])
        try:
            _, position = decoder.raw_decode(cut, match.end())
        except json.JSONDecodeError:
            break
    return keys
