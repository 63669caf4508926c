"""Log lines: one per event, with the trace and the task, without secrets, and not to be forged."""

import io
import json
import logging
import time
import warnings
from collections.abc import Iterator
from contextvars import copy_context
from datetime import UTC, datetime
from typing import Any, NoReturn

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext

from reveille.logs import configure_logging, mask_text, speak_for
from reveille.task import Claim

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CLAIM = Claim(
    task_id=7,
    lease_token=99,
    document_id=42,
    task_type="visual_analysis",
    priority=1,
    attempt=2,
    max_retries=3,
    timeout_seconds=60,
    created_at=NOW,
    claimable_at=NOW,
    started_at=NOW,
)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the logs go; afterwards logging is as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def json_lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Every line that was logged, parsed."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail(error: Exception) -> NoReturn:
    """Raise, from one frame further down."""
    raise error


def attempt_logs() -> None:
    """What an attempt does, in a context of its own."""
    speak_for(CLAIM, server_id="gpu-1")
    structlog.stdlib.get_logger("worker").info("slide_done", slide=3)


def test_line_carries_trace_and_task_in_full_width_hex(stream: io.StringIO) -> None:
    """A trace id is found in the viewer only with its leading zeros."""
    configure_logging("info", json=True, stream=stream)
    span = NonRecordingSpan(SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=True))
    with trace.use_span(span):
        copy_context().run(attempt_logs)
    structlog.stdlib.get_logger("worker").info("idle")
    inside, outside = json_lines(stream)
    assert inside["trace_id"] == "00000000000000000000000000000abc"
    assert inside["span_id"] == "0000000000000def"
    assert (inside["task_id"], inside["attempt"], inside["server_id"]) == (7, 2, "gpu-1")
    assert (inside["event"], inside["level"], inside["slide"]) == ("slide_done", "info", 3)
    assert "trace_id" not in outside
    assert "task_id" not in outside


def test_library_logs_take_the_same_road(stream: io.StringIO) -> None:
    """A library's line is JSON too, has its extra fields, and is masked."""
    configure_logging("info", json=True, stream=stream)
    logging.getLogger("some.library").warning("login with %s", "password=hunter2", extra={"n": 3})
    (line,) = json_lines(stream)
    assert line["event"] == "login with password=***"
    assert (line["logger"], line["level"], line["n"]) == ("some.library", "warning", 3)


def test_python_warnings_are_log_lines(stream: io.StringIO) -> None:
    """A warning printed raw would break the JSON of a container's log."""
    configure_logging("info", json=True, stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(capture=True)
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
    logging.captureWarnings(capture=False)
    assert "old way" in json_lines(stream)[0]["event"]


def test_level_and_quiet_libraries_are_kept(stream: io.StringIO) -> None:
    """Request lines of the model client do not drown ours; levels below the set one are dropped."""
    configure_logging("info", json=True, stream=stream)
    structlog.stdlib.get_logger("worker").debug("detail")
    logging.getLogger("httpx").info("HTTP Request: POST")
    logging.getLogger("httpx").warning("retrying")
    assert [line["event"] for line in json_lines(stream)] == ["retrying"]


def test_second_configuration_replaces_the_first(stream: io.StringIO) -> None:
    """Configured twice, a line is still written once."""
    configure_logging("info", json=True, stream=io.StringIO())
    configure_logging("info", json=True, stream=stream)
    structlog.stdlib.get_logger("worker").info("once")
    assert len(json_lines(stream)) == 1


def test_unknown_level_is_refused(stream: io.StringIO) -> None:
    """A typing error in the setting is noticed at start."""
    with pytest.raises(ValueError, match="LOUD"):
        configure_logging("loud", json=True, stream=stream)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://user:s3cret@db/app", "postgresql://user:***@db/app"),
        ("postgresql://user:p@ss:w/rd@db/app?x=1", "postgresql://user:***@db/app?x=1"),
        ("tried https://u:p@a/ and redis://:p@b", "tried https://u:***@a/ and redis://:***@b"),
        ("host=db password=s3cret user=x", "host=db password=*** user=x"),
        ("password='with space' user=x", "password=*** user=x"),
        ('{"api_key": "abc", "n": 1}', '{"api_key": ***, "n": 1}'),
        ("?access_token=abc&page=2", "?access_token=***&page=2"),
        ("Authorization: Bearer abc.def-123", "Authorization: ***"),
        ("got Bearer abc.def-123 from x", "got Bearer *** from x"),
        ("authorization: Basic dXNlcjpw", "authorization: ***"),
        ("http://host:8080/path at 12:30", "http://host:8080/path at 12:30"),
        ("X_CLIENT_SECRET: 401 Invalid client", "X_CLIENT_SECRET: 401 Invalid client"),
        ("a basic understanding of passwords", "a basic understanding of passwords"),
    ],
)
def test_credentials_in_texts_are_masked(text: str, masked: str) -> None:
    """DSNs, headers and query strings turn up in error messages; their secrets must not."""
    assert mask_text(text) == masked


def test_values_of_telling_keys_are_masked_at_any_depth(stream: io.StringIO) -> None:
    """A secret that looks like nothing is known by its key; a lease token is not a secret."""
    configure_logging("info", json=True, stream=stream)
    structlog.stdlib.get_logger("worker").info(
        "settings",
        api_token="abc",
        headers=[{"Authorization": "x", "Accept": "y"}],
        lease_token=99,
        input_tokens=5,
        password=None,
        object=object(),
    )
    (line,) = json_lines(stream)
    assert line["api_token"] == "***"
    assert line["headers"] == [{"Authorization": "***", "Accept": "y"}]
    assert (line["lease_token"], line["input_tokens"], line["password"]) == (99, 5, None)
    assert line["object"].startswith("<object")


def test_exceptions_are_masked_and_complete(stream: io.StringIO) -> None:
    """A driver's error quotes the DSN it was given."""
    configure_logging("info", json=True, stream=stream)
    try:
        fail(ConnectionError("no route to postgresql://user:s3cret@db/app"))
    except ConnectionError:
        structlog.stdlib.get_logger("worker").exception("database_gone")
    (line,) = json_lines(stream)
    assert line["exception"].endswith("ConnectionError: no route to postgresql://user:***@db/app")
    assert "s3cret" not in stream.getvalue()


HOSTILE = "Title\n2026-03-01T00:00:00Z [info] task_completed\r\x1b[2J\u2028\u202eevil\x85"


@pytest.mark.parametrize("as_json", [True, False])
def test_hostile_text_stays_within_its_line(stream: io.StringIO, as_json: bool) -> None:
    """A deck's text can neither begin a line nor send an escape sequence, in values or in keys."""
    configure_logging("info", json=as_json, stream=stream)
    structlog.stdlib.get_logger("worker").info(HOSTILE, title=HOSTILE, **{HOSTILE: [HOSTILE]})
    written = stream.getvalue()
    assert written.count("\n") == 1
    assert not any(character in written for character in "\r\x1b\u2028\u202e\x85")


def test_hostile_exception_is_marked_line_by_line_on_a_terminal(stream: io.StringIO) -> None:
    """A stack has lines; those of its message must not pass for log lines."""
    configure_logging("info", json=False, stream=stream)
    try:
        fail(ValueError(HOSTILE))
    except ValueError:
        structlog.stdlib.get_logger("worker").exception("bad_deck")
    first, *stack = stream.getvalue().splitlines()
    assert "bad_deck" in first
    assert stack
    assert all(line.startswith("  │ ") for line in stack)
    assert "\x1b" not in stream.getvalue()


def test_long_texts_are_cut_where_they_matter_least(stream: io.StringIO) -> None:
    """A model's endless answer costs one bounded line; of a stack the error stays."""
    configure_logging("info", json=True, stream=stream)
    try:
        fail(ValueError("x" * 50_000 + "the end"))
    except ValueError:
        structlog.stdlib.get_logger("worker").exception("y" * 50_000)
    (line,) = json_lines(stream)
    assert line["event"].endswith("… (41808 characters more)")
    assert line["exception"].endswith("the end")
    assert len(stream.getvalue()) < 20_000


@pytest.mark.parametrize(
    "text",
    [
        "a" * 8192,
        "a://b:" * 1400,
        "bearer " * 1200,
        "password" * 1000,
        "password=" * 900,
        '"' * 8000,
    ],
)
def test_masking_hostile_text_takes_no_noticeable_time(text: str) -> None:
    """Patterns that go back and forth over a crafted text would stop the event loop."""
    started = time.thread_time()
    mask_text(text)
    assert time.thread_time() - started < 0.25


@pytest.mark.parametrize("as_json", [True, False])
def test_traceback_shows_no_local_variables(stream: io.StringIO, as_json: bool) -> None:
    """Locals hold decks and credentials; a traceback in the logs must not print them."""
    configure_logging("info", json=as_json, stream=stream)
    deck = "-".join(["text", "of", "a", "deck"])
    try:
        fail(ValueError(f"{len(deck)} characters"))
    except ValueError:
        structlog.get_logger("test").exception("task_failed")

    assert "14 characters" in stream.getvalue()
    assert deck not in stream.getvalue()
