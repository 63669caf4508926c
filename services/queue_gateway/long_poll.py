"""Waiting for a task on behalf of an external server, without ever losing one.

A claim is made only while the client is there, and never interrupted: a task whose claim was
committed is either answered or given back. Each look also counts as the server's heartbeat, so a
server that waits needs no other.
"""

import asyncio
from contextlib import suppress
from typing import Any

from aiohttp import web

from queue_gateway.desk import Desk
from queue_gateway.waiting import gone, happens
from reveille.database import DATABASE_ERRORS
from reveille.notifier import SecondLooks

# Well below the silence after which a server counts as lost (30 s).
LOOK_SECONDS = 10.0


async def await_task(
    desk: Desk,
    request: web.Request,
    server_id: str,
    capabilities: dict[str, Any],
    wait_seconds: float,
) -> dict[str, Any] | None:
    """The next task for the server; None when there is none in time, or the client has hung up."""
    claim = _Claim(desk, request, server_id, capabilities)
    task = await claim.look()
    if task is not None or not wait_seconds:
        return task
    clock = asyncio.get_running_loop().time
    deadline = clock() + wait_seconds
    rung = desk.doorbell.enter()
    reminder = _Reminder(desk.looks)
    try:
        with desk.seats.seat():
            # For what became ready before the bell was hung up; then after each ring anew.
            reminder.begin()
            while task is None and clock() < deadline and claim.wanted:
                seconds = min(LOOK_SECONDS, deadline - clock())
                await happens(rung, reminder.due, desk.stopping, seconds=seconds)
                reminder.due.clear()
                if rung.is_set():
                    rung.clear()
                    reminder.begin()
                task = await claim.look()
            return task
    finally:
        reminder.end()
        desk.doorbell.leave(rung)


class _Reminder:
    """The second looks after a notification, beside the bell: a new ring need not wait for them."""

    def __init__(self, looks: SecondLooks) -> None:
        self._looks = looks
        self._reminding: asyncio.Task[None] | None = None
        self.due = asyncio.Event()

    def begin(self) -> None:
        """Remind from now on, until there is nothing more to be found."""
        self.end()
        self._reminding = asyncio.create_task(self._remind(), name="second looks")

    def end(self) -> None:
        """Remind no more."""
        if self._reminding is not None:
            self._reminding.cancel()

    async def _remind(self) -> None:
        with suppress(*DATABASE_ERRORS):  # the next look says that it is away
            async for _ in self._looks.moments():
                self.due.set()


class _Claim:
    def __init__(
        self, desk: Desk, request: web.Request, server_id: str, capabilities: dict[str, Any]
    ) -> None:
        self._desk = desk
        self._request = request
        self._server_id = server_id
        self._capabilities = capabilities

    @property
    def wanted(self) -> bool:
        """Whether the client still waits and this process still serves."""
        return not gone(self._request) and not self._desk.stopping.is_set()

    async def look(self) -> dict[str, Any] | None:
        """Claim a task if there is one. Cancelled on the way, it gives back what was claimed."""
        if not self.wanted:
            return None
        server_id, capabilities = self._server_id, self._capabilities
        claiming = asyncio.ensure_future(
            self._desk.store.row("next_external_task", server_id, capabilities)
        )
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            task = await claiming
            if task is not None:
                await release(self._desk, server_id, task["task_id"], "undelivered")
            raise


async def release(desk: Desk, server_id: str, task_id: int | None, why: str) -> None:
    """Give back the task that the server holds, or all of them; no attempt is spent."""
    await desk.store.rows("release_external_tasks", server_id, task_id, why)
