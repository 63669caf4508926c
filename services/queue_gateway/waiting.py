"""Waiting on behalf of a client: how many may, and for how long at most."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from aiohttp import web
from pydantic import Field

from queue_gateway.refusal import Refusal

# Proxies cut silent connections after a minute or so; five are plenty for who has none.
WaitSeconds = Annotated[float, Field(ge=0, le=300, allow_inf_nan=False)]


class Seats:
    """Bounds the requests that are kept open."""

    def __init__(self, seats_max: int) -> None:
        self._free = seats_max

    @contextmanager
    def seat(self) -> Iterator[None]:
        """Raises Refusal 503 when all are taken."""
        if self._free <= 0:
            raise Refusal(503, "Too many open streams.", headers={"Retry-After": "5"})
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


def gone(request: web.Request) -> bool:
    """Whether the client has hung up."""
    return request.transport is None or request.transport.is_closing()


async def happens(*events: asyncio.Event, seconds: float) -> None:
    """Return when one of the events is set, or when the time is over."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
