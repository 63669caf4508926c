"""Requests as Ollama reads them: Go's words for what is wrong with a body, and one shape after.

Everything that a client can be told is a `ProtocolError` with the status and text of the recording.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MISSING_BODY = "missing request body"
FOREVER = math.inf
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"-?(?:\d+(?:\.\d+)?(?:h|ms|m|s|us|µs|ns))+|0")
_ILLEGAL_BASE64 = re.compile(r"[^A-Za-z0-9+/=\r\n]")

# JSON field -> (JSON kind, Go's name of the type)
_COMMON = {
    "model": ("string", "string"),
    "stream": ("bool", "bool"),
    "options": ("object", "map[string]interface {}"),
    "truncate": ("bool", "bool"),
    "shift": ("bool", "bool"),
    "logprobs": ("bool", "bool"),
    "top_logprobs": ("number", "int"),
}
CHAT_FIELDS = {
    **_COMMON,
    "messages": ("array", "[]api.Message"),
    "tools": ("array", "api.Tools"),
}
GENERATE_FIELDS = {
    **_COMMON,
    "prompt": ("string", "string"),
    "system": ("string", "string"),
    "suffix": ("string", "string"),
    "template": ("string", "string"),
    "raw": ("bool", "bool"),
    "images": ("array", "[]api.ImageData"),
    "context": ("array", "[]int"),
}
_INTEGER_OPTIONS = frozenset(
    {"num_ctx", "num_predict", "num_gpu", "num_batch", "num_thread", "num_keep", "seed", "top_k"}
)
# How Python's decoder begins its complaint -> how Go's ends it
_SYNTAX = {
    "Expecting property name": "looking for beginning of object key string",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after object key:value pair",
    "Extra data": "after top-level value",
}


class ProtocolError(Exception):
    """An answer that is an error. `from_runner` errors have no charset when a stream was asked."""

    def __init__(self, status: int, error: str, *, from_runner: bool = False) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.from_runner = from_runner


def nested(message: str, kind: str = "invalid_request_error", **more: Any) -> ProtocolError:
    """A 400 of the runner: its JSON body inside the error string."""
    body = {"error": {"code": 400, "message": message, "type": kind, **more}}
    return ProtocolError(400, compact(body), from_runner=True)


def compact(value: Any) -> str:
    """JSON without blanks, as Go writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation; images are decoded."""

    role: str
    content: str
    images: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A chat or generate request. `format` is what the client sent; completion.py judges it."""

    model: str
    messages: tuple[Message, ...]
    stream: bool = True
    format: Any = None
    keep_alive_seconds: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    truncate: bool = True
    shift: bool = True
    raw: bool = False
    think: bool = False
    tools: bool = False
    top_logprobs: int | None = None

    @property
    def images(self) -> list[bytes]:
        """All images of the conversation."""
        return [image for message in self.messages for image in message.images]

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema, where one was asked for."""
        return self.format if isinstance(self.format, dict) else None


def read_object(body: bytes, go_type: str) -> dict[str, Any]:
    """The JSON object of a request. Raises ProtocolError in the words of Go's decoder."""
    if not body.strip():
        raise ProtocolError(400, MISSING_BODY)
    try:
        value = json.loads(body)
    except UnicodeDecodeError:
        raise ProtocolError(400, "invalid character in string literal") from None
    except json.JSONDecodeError as error:
        raise ProtocolError(400, _go_syntax_error(error)) from None
    if not isinstance(value, dict):
        kind = _kind(value)
        raise ProtocolError(400, f"json: cannot unmarshal {kind} into Go value of type {go_type}")
    return value


def check_types(
    value: Mapping[str, Any], fields: Mapping[str, tuple[str, str]], struct: str
) -> None:
    """Raises ProtocolError for the first field of the wrong JSON kind; null is always allowed."""
    for name, (kind, go_type) in fields.items():
        given = value.get(name)
        if given is not None and _kind(given) != kind:
            raise ProtocolError(
                400,
                f"json: cannot unmarshal {_kind(given)} into Go struct field {struct}.{name} "
                f"of type {go_type}",
            )


def read_chat(body: bytes) -> Ask:
    """A request to /api/chat."""
    value = read_object(body, "api.ChatRequest")
    check_types(value, CHAT_FIELDS, "ChatRequest")
    messages = tuple(_message(item) for item in value.get("messages") or ())
    return _ask(value, messages, raw=False)


def read_generate(body: bytes) -> Ask:
    """A request to /api/generate, as the conversation it stands for."""
    value = read_object(body, "api.GenerateRequest")
    check_types(value, GENERATE_FIELDS, "GenerateRequest")
    messages = []
    if value.get("system"):
        messages.append(Message("system", value["system"]))
    if value.get("prompt"):
        messages.append(Message("user", value["prompt"], _images(value.get("images"))))
    return _ask(value, tuple(messages), raw=bool(value.get("raw")))


def check_options(options: Mapping[str, Any]) -> None:
    """Raises ProtocolError for an option of the wrong type; unknown ones are ignored."""
    for name, given in options.items():
        if name in _INTEGER_OPTIONS and _kind(given) != "number":
            raise ProtocolError(500, f'option "{name}" must be of type integer')


def parse_keep_alive(value: Any) -> float | None:
    """Seconds; None when unset, infinity for negative values. Strings are Go durations."""
    if value is None:
        return None
    if isinstance(value, str):
        if _DURATION.fullmatch(value) is None:
            raise ProtocolError(400, f'time: invalid duration "{value}"')
        parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)", value)
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
        return FOREVER if value.startswith("-") else seconds
    if _kind(value) != "number":
        raise ProtocolError(400, f"invalid keep_alive: {compact(value)}")
    return FOREVER if value < 0 else float(value)


def _ask(value: Mapping[str, Any], messages: tuple[Message, ...], *, raw: bool) -> Ask:
    return Ask(
        model=value.get("model") or "",
        messages=messages,
        stream=value.get("stream") is not False,
        format=value.get("format") or None,
        keep_alive_seconds=parse_keep_alive(value.get("keep_alive")),
        options=value.get("options") or {},
        truncate=value.get("truncate") is not False,
        shift=value.get("shift") is not False,
        raw=raw,
        think=bool(value.get("think")),
        tools=bool(value.get("tools")),
        top_logprobs=(value.get("top_logprobs") or 0) if value.get("logprobs") else None,
    )


def _message(item: Any) -> Message:
    if not isinstance(item, dict):
        raise ProtocolError(
            400,
            f"json: cannot unmarshal {_kind(item)} into Go struct field ChatRequest.messages "
            "of type api.Message",
        )
    fields = {
        "role": ("string", "string"),
        "content": ("string", "string"),
        "images": ("array", "[]api.ImageData"),
    }
    check_types(item, fields, "ChatRequest.messages")
    return Message(item.get("role") or "", item.get("content") or "", _images(item.get("images")))


def _images(items: Any) -> tuple[bytes, ...]:
    return tuple(_image(item, index) for index, item in enumerate(items or ()))


def _image(item: Any, index: int) -> bytes:
    problem = (
        f"json: cannot unmarshal {_kind(item)} into Alias.images.{index} of type api.ImageData"
    )
    if not isinstance(item, str):
        raise ProtocolError(400, problem)
    try:
        return base64.b64decode(item.replace("\r", "").replace("\n", ""), validate=True)
    except (binascii.Error, ValueError):
        illegal = _ILLEGAL_BASE64.search(item)  # slow on megabytes, so only now
        position = illegal.start() if illegal else len(item)
    raise ProtocolError(400, f"{problem}: illegal base64 data at input byte {position}")


def _kind(value: Any) -> str:
    """Go's name of a JSON value's kind."""
    if isinstance(value, bool):
        return "bool"
    kinds = {str: "string", int: "number", float: "number", list: "array", dict: "object"}
    return kinds.get(type(value), "null")


def _go_syntax_error(error: json.JSONDecodeError) -> str:
    if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated"):
        return "unexpected EOF"
    where = next(
        (go for python, go in _SYNTAX.items() if error.msg.startswith(python)),
        "looking for beginning of value",
    )
    return f"invalid character '{error.doc[error.pos]}' {where}"
