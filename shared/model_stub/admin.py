"""/_stub/…: what no real server has. Arm faults, read the ledger, move the keep-alive clock."""

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from model_stub.engine import ENGINE, json_reply
from model_stub.faults import Fault

_FAULTS = TypeAdapter(list[Fault])


async def add_faults(request: web.Request) -> web.Response:
    """POST /_stub/faults: one fault or a list of them. 422 names what is wrong."""
    value = await request.json()
    try:
        faults = _FAULTS.validate_python(value if isinstance(value, list) else [value])
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        return json_reply({"error": problems}, status=422)
    for fault in faults:
        request.app[ENGINE].faults.arm(fault)
    return await list_faults(request)


async def list_faults(request: web.Request) -> web.Response:
    """GET /_stub/faults: those still armed."""
    waiting = request.app[ENGINE].faults.waiting()
    return json_reply({"faults": [fault.model_dump() for fault in waiting]})


async def clear_faults(request: web.Request) -> web.Response:
    """DELETE /_stub/faults."""
    request.app[ENGINE].faults.clear()
    return await list_faults(request)


async def requests(request: web.Request) -> web.Response:
    """GET /_stub/requests: counters and the last requests."""
    engine = request.app[ENGINE]
    return json_reply({**engine.requests.snapshot(), "loads": engine.scheduler.loads})


async def advance_clock(request: web.Request) -> web.Response:
    """POST /_stub/clock {"advance_seconds": 300}."""
    seconds = float((await request.json())["advance_seconds"])
    request.app[ENGINE].advance(seconds)
    return json_reply({"advanced_seconds": seconds})
