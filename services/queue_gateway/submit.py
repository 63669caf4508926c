"""Putting tasks into the queue, with the caller's trace going on in them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from queue_gateway.refusal import Refusal
from queue_gateway.route import invalid
from reveille.task_types import TASK_TYPES
from reveille.trace_context import format_traceparent, is_minted, parse
from reveille.tracing import SendTrace, trace_send

_OPTIONS = {task_type.name: task_type.options for task_type in TASK_TYPES}


class Sending:
    """What goes into the columns traceparent and tracestate; None lets the insert trigger draw ids."""

    def __init__(self, trace: SendTrace, request: web.Request) -> None:
        self._trace = trace
        state = request.headers.get("tracestate")
        caller = parse(request.headers.get("traceparent"), state)
        if caller is not None and is_minted(caller):
            caller = None  # our own mark, which only the trigger may set
        # Without a collector of ours the caller's own span is where the task's trace begins.
        self.traceparent = trace.traceparent or (format_traceparent(caller) if caller else None)
        self.tracestate = state if caller is not None and self.traceparent else None

    def sent(self, task_id: int) -> None:
        """Note the id that the row got."""
        self._trace.sent(task_id)


@contextmanager
def sending(task_type: str, document_id: int, request: web.Request) -> Iterator[Sending]:
    """The `send` span around an INSERT, below the request's."""
    with trace_send(task_type, document_id) as trace:
        yield Sending(trace, request)


def check_options(task_type: str, options: dict[str, Any]) -> None:
    """Raises Refusal 422 for options that the worker would reject; a type unknown to this program
    is the database's to judge.
    """
    model = _OPTIONS.get(task_type)
    if model is None:
        return
    try:
        model.model_validate(options)
    except ValidationError as error:
        refusal = invalid(error, "processing_options")
        raise Refusal(422, refusal.detail, **refusal.extra) from None
