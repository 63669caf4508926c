"""Logs: one line per event, JSON in containers, colours on a terminal; no secrets, no forgeries.

Ours go through structlog, those of libraries through stdlib logging. One formatter serves both: it
adds the trace, masks credentials, bounds texts and makes control characters visible, so that the
text of a model or a deck can neither begin a log line of its own nor steer a terminal.
"""

import logging
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, TextIO

import structlog
from opentelemetry import trace
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from reveille.task import Claim
from reveille.trace_context import parse

# Whose attempt the asyncio task at work is, and on which server.
_ATTEMPT: ContextVar[tuple[Claim, str] | None] = ContextVar("reveille_attempt", default=None)

_HIDDEN = "***"
# A value that names a secret is hidden whole, whatever it looks like.
_SECRET_KEY = re.compile(
    r"passw(or)?d|passphrase|secret|authorization|api_?key|credential|bearer|cookie"
    r"|^(?!lease_|input_|output_).*token$",
    re.IGNORECASE,
)
# Repetitions are bounded: hostile text must not make masking slow.
_SECRETS_IN_TEXT = (
    # scheme://user:password@host, up to the last @, because passwords hold anything
    (
        re.compile(
            r"\b([a-z][a-z0-9+.-]{1,20}://[^\s/:@]{0,256}):[^\s\"'<>]{0,512}@", re.IGNORECASE
        ),
        rf"\1:{_HIDDEN}@",
    ),
    (re.compile(r"\b(bearer)\s{1,4}[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {_HIDDEN}"),
    (
        re.compile(r"\b(authorization[\"']?\s{0,4}[:=]\s{0,4})[\"']?\w{1,20} \S+", re.IGNORECASE),
        rf"\1{_HIDDEN}",
    ),
    # password=…, api_key: "…", X-Amz-Signature=… in a DSN, a query string or a printed mapping; not
    # what a server said about it ("CLIENT_SECRET: 401 Invalid")
    (
        re.compile(
            r"(password|passwd|pwd|secret|api[_-]?key|signature"
            r"|(?:access|refresh|auth|id|session|security)[_-]?token)"
            r"""([\w-]{0,20}["']?\s{0,4}[=:]\s{0,4})(?!\d{3} [A-Za-z])("[^"]*"|'[^']*'|[^\s&,;'"]+)""",
            re.IGNORECASE,
        ),
        rf"\1\2{_HIDDEN}",
    ),
)
# Each of those patterns has one of these: a text without them (an id, a name, a state) is let pass.
_SUSPICIOUS = re.compile(r"[\s:=]")
# Control characters, line and paragraph separators, and those that reorder text on a screen.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_CONTROL_BUT_NEWLINE = re.compile(_CONTROL.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))
_TEXT_CHARACTERS_MAX = 8192
_DEPTH_MAX = 6
# The keys whose texts have lines.
_STACKS = frozenset({"exception", "stack"})

# Libraries that say at INFO what we say ourselves, or that repeat themselves while a server is away
# (span_export.QuietExporter reports that once).
_LIBRARY_LEVELS = {
    "aiohttp.access": logging.WARNING,
    "asyncio": logging.WARNING,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "opentelemetry.exporter.otlp.proto.http.trace_exporter": logging.CRITICAL,
    "opentelemetry.sdk._shared_internal": logging.CRITICAL,
    "urllib3": logging.ERROR,
}


def configure_logging(
    level: str = "INFO", json: bool | None = None, *, stream: TextIO | None = None
) -> None:
    """Send all logs of this process to `stream` (default: stderr, so that stdout stays data).

    `json` None means: JSON unless the stream is a terminal. Raises ValueError for a level that
    logging does not know. May be called again; the last call counts.
    """
    target = stream or sys.stderr
    as_json = not target.isatty() if json is None else json
    handler = logging.StreamHandler(target)
    handler.setFormatter(_formatter(as_json=as_json, colors=target.isatty()))
    root = logging.getLogger()
    root.setLevel(level.upper())
    for old in [kept for kept in root.handlers if getattr(kept, "reveille", False)]:
        root.removeHandler(old)
    handler.reveille = True  # type: ignore[attr-defined]
    root.addHandler(handler)
    logging.captureWarnings(capture=True)
    for name, least in _LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(max(least, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def speak_for(claim: Claim, *, server_id: str) -> None:
    """From here on, every log line of this asyncio task says which attempt it belongs to."""
    _ATTEMPT.set((claim, server_id))


def add_task(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Which attempt it is about, where `speak_for` said so."""
    attempt = _ATTEMPT.get()
    if attempt is None:
        return event
    claim, server_id = attempt
    return {
        "task_id": claim.task_id,
        "task_type": claim.task_type,
        "document_id": claim.document_id,
        "attempt": claim.attempt,
        "server_id": server_id,
        **event,
    }


def add_trace(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The ambient span's ids, zero-padded as trace viewers search for them; where no span is
    recorded those of the task's row.
    """
    span_context = trace.get_current_span().get_span_context()
    if not span_context.is_valid and (attempt := _ATTEMPT.get()) is not None:
        span_context = parse(attempt[0].traceparent) or span_context
    if span_context.is_valid:
        event["trace_id"] = trace.format_trace_id(span_context.trace_id)
        event["span_id"] = trace.format_span_id(span_context.span_id)
    return event


def mask_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Hide credentials (values of telling keys, and what looks like one in a text); bound texts."""
    return {key: _masked(key, value, _DEPTH_MAX) for key, value in event.items()}


def show_controls(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Make control characters visible, in keys and in values. (JSON escapes them by itself.)"""
    return {
        _visible(str(key)): _stack(value) if key in _STACKS else _clean(value, _DEPTH_MAX)
        for key, value in event.items()
    }


def mask_text(text: str) -> str:
    """A text (a DSN, an error message) without the credentials in it."""
    if _SUSPICIOUS.search(text) is None:
        return text
    for pattern, replacement in _SECRETS_IN_TEXT:
        text = pattern.sub(replacement, text)
    return text


def _formatter(*, as_json: bool, colors: bool) -> ProcessorFormatter:
    # A plain traceback: the pretty one prints local variables, which hold decks and credentials.
    console = structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback
    )
    rendering: list[Processor] = (
        [structlog.processors.JSONRenderer()] if as_json else [show_controls, console]
    )
    return ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
        processors=[
            add_task,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            add_trace,
            ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            mask_secrets,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *rendering,
        ],
    )


@lru_cache(maxsize=1024)
def _names_a_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None


def _masked(key: object, value: Any, depth: int) -> Any:
    if value is not None and _names_a_secret(str(key)):
        return _HIDDEN
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth and isinstance(value, Mapping):
        return {str(inner): _masked(inner, item, depth - 1) for inner, item in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_masked("", item, depth - 1) for item in value]
    text = value if isinstance(value, str) else repr(value)
    return _bounded_and_masked(text, keep_end=key in _STACKS)


def _bounded_and_masked(text: str, *, keep_end: bool) -> str:
    """The beginning of a text; of a stack its end, where the error is."""
    left_out = len(text) - _TEXT_CHARACTERS_MAX
    if left_out <= 0:
        return mask_text(text)
    # Masked before the cut, and with a margin: a credential cut in two would not be known as one.
    margin = 2 * _TEXT_CHARACTERS_MAX
    if keep_end:
        kept = mask_text(text[-margin:])[-_TEXT_CHARACTERS_MAX:]
        return f"({left_out} characters before) …{kept}"
    kept = mask_text(text[:margin])[:_TEXT_CHARACTERS_MAX]
    return f"{kept}… ({left_out} characters more)"


def _clean(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _visible(value)
    if isinstance(value, dict) and depth:
        return {_visible(key): _clean(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list) and depth:
        return [_clean(item, depth - 1) for item in value]
    return value


def _visible(text: str) -> str:
    return _CONTROL.sub(_escape, text)


def _stack(text: str) -> str:
    """A stack keeps its lines, each marked, because an exception's message may hold newlines."""
    lines = _CONTROL_BUT_NEWLINE.sub(_escape, text).split("\n")
    return "\n".join(f"  │ {line}" for line in lines)


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")
