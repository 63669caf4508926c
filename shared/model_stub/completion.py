"""/api/chat and /api/generate: from a request to its answer, whole or streamed, or to its fault."""

import asyncio
import math
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, NoReturn

from aiohttp import web

from model_stub import faults, filler, generation, images, protocol, window
from model_stub.catalogue import REGISTRY, ModelEntry, is_valid_name
from model_stub.engine import ENGINE, JSON_TYPE, Engine, error_reply, json_reply
from model_stub.faults import Fault
from model_stub.generation import Generation
from model_stub.ledger import PROMPT_CHARS_KEPT, RequestRecord
from model_stub.protocol import Ask, ProtocolError, compact, nested
from model_stub.replies import Run, Shape
from model_stub.scheduler import BUSY, Grant
from model_stub.schema_check import check_format

RUNNER_DIED = "an error was encountered while running the model: unexpected EOF"
NDJSON_TYPE = "application/x-ndjson"
# Besides num_ctx and shift: what restarts a real runner when it changes between two requests.
RUNNER_OPTIONS = ("num_gpu", "num_thread", "num_batch")


async def chat(request: web.Request) -> web.StreamResponse:
    """POST /api/chat."""
    ask = protocol.read_chat(await request.read())
    if not ask.model:
        raise ProtocolError(400, "model is required")
    if not is_valid_name(ask.model):
        raise ProtocolError(400, "invalid model name")
    return await _respond(request, Shape(ask, is_chat=True))


async def generate(request: web.Request) -> web.StreamResponse:
    """POST /api/generate."""
    ask = protocol.read_generate(await request.read())
    return await _respond(request, Shape(ask, is_chat=False))


async def _respond(request: web.Request, shape: Shape) -> web.StreamResponse:
    engine, ask = request.app[ENGINE], shape.ask
    entry = engine.catalogue.find(ask.model)
    if entry is None:
        raise ProtocolError(404, f"model '{ask.model}' not found")
    if ask.think:
        raise ProtocolError(400, f'"{ask.model}" does not support thinking')
    if ask.tools:
        raise ProtocolError(400, f"{REGISTRY}/library/{entry.name} does not support tools")
    protocol.check_options(ask.options)
    if not ask.messages:
        return await _load_or_unload(engine, entry, shape)
    try:
        with engine.requests.recorded(_record(request, ask)) as record:
            return await _answer(request, engine, entry, shape, record)
    except ProtocolError as error:
        return error_reply(error, stream=ask.stream)


async def _load_or_unload(engine: Engine, entry: ModelEntry, shape: Shape) -> web.Response:
    """A request without a prompt only moves the model."""
    if shape.ask.keep_alive_seconds == 0:
        engine.scheduler.unload(entry)
        return json_reply(shape.piece("", done=True, done_reason="unload"))
    async with _granted(engine, entry, shape.ask):
        return json_reply(shape.piece("", done=True, done_reason="load"))


def _granted(engine: Engine, entry: ModelEntry, ask: Ask) -> AbstractAsyncContextManager[Grant]:
    size = engine.window(ask, entry).size
    options = (size, ask.shift, *(ask.options.get(name) for name in RUNNER_OPTIONS))
    return engine.scheduler.grant(
        entry, window_size=size, options=options, keep_alive_seconds=ask.keep_alive_seconds
    )


async def _answer(
    request: web.Request, engine: Engine, entry: ModelEntry, shape: Shape, record: RequestRecord
) -> web.StreamResponse:
    ask, asked_at = shape.ask, time.monotonic()
    fault = engine.faults.take(ask.model, record.prompt)
    if fault is not None:
        record.fault = fault.kind
        await _suffer_before(fault, ask)
    async with _granted(engine, entry, ask) as grant, grant.runner.slots:
        with engine.requests.generation(record):
            if ask.images and not entry.vision:
                raise nested(images.NOT_MULTIMODAL)
            images.check(ask.images)
            check_format(ask.format)
            run = _run(engine, entry, ask, fault, grant.load_seconds, asked_at)
            if ask.stream:
                return await _stream(request, shape, run)
            return await _whole(request, shape, run, record)


async def _suffer_before(fault: Fault, ask: Ask) -> None:
    """The faults that strike before the model is asked."""
    match fault.kind:
        case "busy_503":
            raise ProtocolError(503, BUSY)
        case "not_found_404":
            raise ProtocolError(404, f"model '{ask.model}' not found")
        case "nested_400":
            raise nested("Field 'json_schema': \"json_schema\": JSON schema conversion failed")
        case "hang":
            await asyncio.Event().wait()
        case _:
            return


def _run(
    engine: Engine,
    entry: ModelEntry,
    ask: Ask,
    fault: Fault | None,
    load_seconds: float,
    asked_at: float,
) -> Run:
    """Write the answer. Raises ProtocolError when the prompt does not fit."""
    context = engine.window(ask, entry)
    fitted = window.fit(ask, context)
    made = _written(engine, ask, fitted.text, context, fault)
    seconds = generation.pace_seconds(
        made.tokens,
        service_seconds=engine.settings.service_seconds,
        tokens_per_second=engine.settings.tokens_per_second,
    )
    return Run(
        generation=made,
        prompt_tokens=fitted.prompt_tokens,
        load_seconds=load_seconds,
        asked_at=asked_at,
        seconds=seconds + (fault.seconds if fault is not None and fault.kind == "slow" else 0.0),
        fault=fault.kind if fault is not None else None,
    )


def _written(
    engine: Engine, ask: Ask, prompt: str, context: window.Window, fault: Fault | None
) -> Generation:
    schema = ask.schema
    if schema is not None:
        # Clients repeat the schema in the prompt; to a reader of rules it is only noise there.
        prompt = prompt.replace(compact(schema), "")
    text = engine.answerer(prompt, schema, len(ask.images))
    if fault is not None:
        text = faults.spoil(fault.kind, text, lambda: filler.fill_invalid(schema or {}))
    made = generation.generate(
        text, ask.options, window_size=context.size, chars_per_token=context.chars_per_token
    )
    if fault is not None and fault.kind == "length_cut_json":
        return Generation(made.pieces, "length", len(made.pieces))
    return made


async def _whole(
    request: web.Request, shape: Shape, run: Run, record: RequestRecord
) -> web.StreamResponse:
    await asyncio.sleep(run.seconds)
    if run.fault in {"error_500_eof", "stream_eof"}:
        _runner_died()
    if run.fault == "done_false":
        return json_reply(shape.piece(run.generation.text, done=False))
    reply = shape.last(run, run.generation.text)
    if run.fault == "cut_body":
        record.outcome = "cut"
        return await _cut(request, compact(reply).encode())
    return json_reply(reply)


async def _stream(request: web.Request, shape: Shape, run: Run) -> web.StreamResponse:
    """One line per token. An error after the first line is a line, under status 200."""
    if run.fault == "error_500_eof":
        _runner_died()
    response = web.StreamResponse(headers={"Content-Type": NDJSON_TYPE})
    await response.prepare(request)
    pieces = run.generation.pieces
    halved = run.fault in {"stream_eof", "cut_body"}
    for piece in pieces[: math.ceil(len(pieces) / 2)] if halved else pieces:
        if run.seconds:
            await asyncio.sleep(run.seconds / len(pieces))
        await _write_line(response, shape.piece(piece, done=False))
    if run.fault == "cut_body":
        _hang_up(request)
    elif run.fault == "stream_eof":
        await _write_line(response, {"error": RUNNER_DIED})
    elif run.fault != "done_false":
        await _write_line(response, shape.last(run, ""))
    return response


async def _write_line(response: web.StreamResponse, value: Mapping[str, Any]) -> None:
    await response.write(compact(value).encode() + b"\n")


async def _cut(request: web.Request, body: bytes) -> web.StreamResponse:
    """Promise the whole body, send half of it, and hang up."""
    headers = {"Content-Type": JSON_TYPE, "Content-Length": str(len(body))}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    _hang_up(request)
    return response


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


def _runner_died() -> NoReturn:
    raise ProtocolError(500, RUNNER_DIED)


def _record(request: web.Request, ask: Ask) -> RequestRecord:
    prompt = "\n\n".join(message.content for message in ask.messages)
    return RequestRecord(
        path=request.path,
        model=ask.model,
        prompt=prompt[:PROMPT_CHARS_KEPT],
        roles=[message.role for message in ask.messages],
        images=len(ask.images),
        stream=ask.stream,
        num_ctx=ask.options.get("num_ctx"),
        has_schema=ask.schema is not None,
    )
