"""A route is data: how it is called, who may call it, what goes in and what comes out.

aiohttp's router, the OpenAPI document and the docs page read the same tuple. Between a request and
its handler stand, in this order: the span and the histogram, the token, the parameters and the body
as pydantic models. Handlers return models.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Generic, Literal, TypeVar

from aiohttp import web
from opentelemetry import trace
from pydantic import BaseModel, ValidationError

from queue_gateway.desk import Desk
from queue_gateway.refusal import Refusal
from queue_gateway.shapes import Body, Params
from reveille import semconv
from reveille.tokens import Scope
from reveille.tracing import request_span

Method = Literal["GET", "POST", "PATCH"]
JSON = "application/json"
EVENTS = "text/event-stream"
BODY_SECONDS_MAX = 30.0  # for a JSON body of 1 MB at most; uploads have a limit of their own


P = TypeVar("P", bound=Params)
B = TypeVar("B", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Call(Generic[P, B]):
    """A request that has been let in and understood."""

    desk: Desk
    request: web.Request
    params: P
    body: B


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer whose status or headers are not the route's usual ones."""

    answer: BaseModel
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Result = BaseModel | Reply | web.StreamResponse
Handler = Callable[[Call[P, B]], Awaitable[Result]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Generic[P, B]):
    """`scope` None is open to all. `refuses` are the statuses it may answer beside the usual ones.

    `uploads` are the media types of a body that the handler reads itself. `traced` opens a span for
    each request; the others have one only below a caller's, so that watching starts no traces.
    """

    method: Method
    path: str
    tag: str
    summary: str
    scope: Scope | None
    handler: Handler[P, B]
    params: type[P]
    body: type[B]
    answer: type[BaseModel] | None
    media_type: str = JSON
    status: int = 200
    refuses: tuple[int, ...] = ()
    uploads: tuple[str, ...] = ()
    traced: bool = False

    @property
    def takes_body(self) -> bool:
        """Whether a JSON body is read."""
        return self.body is not Body


def bind(route: Route[Any, Any], desk: Desk) -> Callable[[web.Request], Awaitable[Any]]:
    """The aiohttp handler of a route."""

    async def handle(request: web.Request) -> web.StreamResponse:
        begun = monotonic()
        status = 500
        try:
            with _span(route, request) as span:
                response = await _answer(route, desk, request)
                status = response.status
                span.set_attribute(semconv.HTTP_RESPONSE_STATUS_CODE, status)
                return response
        finally:
            if route.media_type != EVENTS:  # a stream's length says nothing about the service
                desk.telemetry.metrics.http_request.record(
                    monotonic() - begun,
                    {
                        semconv.LABEL_METHOD: route.method,
                        semconv.LABEL_ROUTE: route.path,
                        semconv.LABEL_STATUS: str(status),
                    },
                )

    return handle


def _span(route: Route[Any, Any], request: web.Request) -> Any:
    traceparent = request.headers.get("traceparent")
    if route.media_type == EVENTS or not (route.traced or traceparent):
        return nullcontext(trace.INVALID_SPAN)
    return request_span(
        route.method,
        route.path,
        traceparent=traceparent,
        tracestate=request.headers.get("tracestate"),
    )


async def _answer(route: Route[Any, Any], desk: Desk, request: web.Request) -> web.StreamResponse:
    try:
        desk.access.admit(request, route.scope)
        params = _params(route, request)
        body = await _body(route, request) if route.takes_body else Body()
        result = await route.handler(Call(desk, request, params, body))
    except Refusal as refusal:
        return refusal.answer()
    if isinstance(result, web.StreamResponse):
        return result
    reply = result if isinstance(result, Reply) else Reply(result, route.status)
    return web.Response(
        body=reply.answer.model_dump_json().encode(),
        status=reply.status,
        headers=reply.headers,
        content_type=JSON,
    )


def _params(route: Route[Any, Any], request: web.Request) -> Params:
    try:
        params: Params = route.params.model_validate({**request.query, **request.match_info})
    except ValidationError as error:
        raise invalid(error, "The parameters") from None
    return params


async def _body(route: Route[Any, Any], request: web.Request) -> BaseModel:
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            text = await request.read()
    except TimeoutError:
        raise Refusal(408, f"The body did not arrive within {BODY_SECONDS_MAX:g} s.") from None
    if text and request.content_type != JSON:
        raise Refusal(415, f"Send {JSON}, not {request.content_type}.")
    try:
        body: BaseModel = route.body.model_validate_json(text or b"{}")
    except ValidationError as error:
        raise invalid(error, "The body") from None
    return body


def invalid(error: ValidationError, what: str) -> Refusal:
    """The refusal that names each wrong field: 400 for what is no JSON at all, else 422."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    errors = [
        {"field": ".".join(str(part) for part in entry["loc"]), "message": entry["msg"]}
        for entry in found
    ]
    status = 400 if any(entry["type"] == "json_invalid" for entry in found) else 422
    named = "; ".join(f"{entry['field'] or 'body'}: {entry['message']}" for entry in errors[:5])
    return Refusal(status, f"{what} cannot be used: {named}", errors=errors)
