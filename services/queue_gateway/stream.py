"""Live events over HTTP (server-sent events): first a snapshot, then each change, in the end an
`end`.

`event: snapshot` replaces all that a client knew; `event: task` is one task's latest state; `event:
end` says that nothing more will come, and how it ended. A comment every 15 seconds keeps proxies
from cutting a silent stream.
"""

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress

from aiohttp import web

from queue_gateway.changes import Interest, Subscription
from queue_gateway.desk import Desk
from queue_gateway.refusal import Refusal
from queue_gateway.route import EVENTS, Call, Route
from queue_gateway.shapes import Body, ById, Params
from queue_gateway.task_view import TaskSummary, all_final, overall
from queue_gateway.waiting import gone, happens

# A client that takes nothing for so long is as good as gone.
WRITE_SECONDS_MAX = 30.0
# The id of the last event. A browser that reconnects with it is told to stop (204).
END = "end"


async def task_events(call: Call[ById, Body]) -> web.StreamResponse:
    """The life of one task."""
    task_id = call.params.id
    return await _stream(call.desk, call.request, Interest(task_id=task_id), f"task {task_id}")


async def document_events(call: Call[ById, Body]) -> web.StreamResponse:
    """The life of a document's tasks."""
    document_id = call.params.id
    interest = Interest(document_id=document_id)
    return await _stream(call.desk, call.request, interest, f"task of document {document_id}")


async def all_events(call: Call[Params, Body]) -> web.StreamResponse:
    """Whatever happens in the queue."""
    return await _stream(call.desk, call.request, Interest(), None)


async def _stream(
    desk: Desk, request: web.Request, interest: Interest, what: str | None
) -> web.StreamResponse:
    with desk.seats.seat():
        async with desk.changes.subscribe(interest) as subscription:
            tasks = await desk.changes.read(interest)
            if what is not None and not tasks:
                raise Refusal(404, f"There is no {what}.")
            if request.headers.get("Last-Event-ID") == END and all_final(tasks):
                return web.Response(status=204)
            subscription.reset(tasks)
            wire = _Wire(request)
            await wire.open()
            # Whoever hangs up is noticed while writing; who loses the database on the way connects
            # anew.
            with suppress(ConnectionError, TimeoutError, Refusal):
                await _tell(desk, wire, subscription, tasks)
            return wire.response


async def _tell(
    desk: Desk, wire: "_Wire", subscription: Subscription, tasks: list[TaskSummary]
) -> None:
    endless = subscription.interest == Interest()
    await wire.snapshot(tasks)
    while not desk.stopping.is_set() and not gone(wire.request):
        if not endless and all_final(subscription.known):
            await wire.end(overall(subscription.known))
            return
        await happens(subscription.changed, desk.stopping, seconds=desk.settings.beat_seconds)
        if subscription.overflowed:
            tasks = await desk.changes.read(subscription.interest)
            subscription.reset(tasks)
            await wire.snapshot(tasks)
        elif subscription.changed.is_set():
            for task in subscription.take():
                await wire.send("task", task.model_dump_json())
        elif not desk.stopping.is_set():
            await wire.beat()


class _Wire:
    """One event stream on its way to one client."""

    def __init__(self, request: web.Request) -> None:
        self.request = request
        self.response = web.StreamResponse(
            headers={
                "Content-Type": EVENTS,
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        self._sent = 0

    async def open(self) -> None:
        await self.response.prepare(self.request)

    async def snapshot(self, tasks: Iterable[TaskSummary]) -> None:
        rows = [task.model_dump(mode="json") for task in tasks]
        await self.send("snapshot", json.dumps({"tasks": rows}, separators=(",", ":")))

    async def end(self, status: str) -> None:
        await self._write(f"id: {END}\nevent: end\ndata: {json.dumps({'status': status})}\n\n")

    async def send(self, event: str, data: str) -> None:
        self._sent += 1
        await self._write(f"id: {self._sent}\nevent: {event}\ndata: {data}\n\n")

    async def beat(self) -> None:
        await self._write(": beat\n\n")

    async def _write(self, text: str) -> None:
        async with asyncio.timeout(WRITE_SECONDS_MAX):
            await self.response.write(text.encode())


ROUTES: tuple[Route[ById, Body] | Route[Params, Body], ...] = (
    Route(
        method="GET",
        path="/api/tasks/{id}/events",
        tag="events",
        summary="Follow a task live until it ends (server-sent events)",
        scope="read",
        handler=task_events,
        params=ById,
        body=Body,
        answer=None,
        media_type=EVENTS,
        refuses=(404,),
    ),
    Route(
        method="GET",
        path="/api/documents/{id}/events",
        tag="events",
        summary="Follow a document's tasks live until all have ended (server-sent events)",
        scope="read",
        handler=document_events,
        params=ById,
        body=Body,
        answer=None,
        media_type=EVENTS,
        refuses=(404,),
    ),
    Route(
        method="GET",
        path="/api/events",
        tag="events",
        summary="Follow the whole queue live (server-sent events)",
        scope="read",
        handler=all_events,
        params=Params,
        body=Body,
        answer=None,
        media_type=EVENTS,
    ),
)
