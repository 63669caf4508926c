"""What every handler has at hand: the one object that the service builds and the routes receive."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from queue_gateway.access import Access
from queue_gateway.changes import Changes
from queue_gateway.config import GatewaySettings
from queue_gateway.doorbell import Doorbell
from queue_gateway.store import Store
from queue_gateway.waiting import Seats
from reveille.notifier import SecondLooks
from reveille.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """`stopping` ends streams and waits; `transfers` bounds the documents that are in memory."""

    settings: GatewaySettings
    store: Store
    access: Access
    telemetry: Telemetry
    changes: Changes
    doorbell: Doorbell
    looks: SecondLooks
    stopping: asyncio.Event
    seats: Seats
    transfers: asyncio.Semaphore
    ready: Callable[[], Awaitable[Mapping[str, str]]]
    documents_are_ours: bool
