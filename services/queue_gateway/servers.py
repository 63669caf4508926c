"""Servers: who takes tasks, and telling one to stop taking them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from queue_gateway.desk import Desk
from queue_gateway.refusal import Refusal, not_found
from queue_gateway.route import Call, Route
from queue_gateway.shapes import Answer, Body, Params


class ServerById(Params):
    """A server is named by its own id."""

    id: Annotated[str, Field(max_length=255)]


class Server(Answer):
    """A row of processing_servers. `holding` counts its running tasks; `external`: it is not a
    worker of this system.
    """

    id: str
    server_type: str
    pool: str | None
    status: str
    status_reason: str | None
    container_id: str | None
    capabilities: dict[str, Any]
    max_concurrent_tasks: int
    holding: int
    last_heartbeat: datetime | None
    silent_seconds: float | None
    disconnected_at: datetime | None
    started_at: datetime | None
    created_at: datetime
    version: str | None
    http_url: str | None
    external: bool


class ServerList(Answer):
    """The living ones first."""

    servers: list[Server]


async def list_servers(call: Call[Params, Body]) -> ServerList:
    """All that are remembered."""
    return ServerList(servers=await servers(call.desk))


async def servers(desk: Desk, server_id: str | None = None) -> list[Server]:
    """All servers, or the one of that id."""
    return [Server(**row) for row in await desk.store.rows("list_servers", server_id)]


async def drain(call: Call[ServerById, Body]) -> Server:
    """Its status becomes draining; a worker of ours hears it at once."""
    server_id = call.params.id
    drained = await call.desk.store.value("drain_server", server_id)
    found = await servers(call.desk, server_id)
    if not found:
        raise not_found("server", server_id)
    if drained is None and found[0].status != "draining":
        raise Refusal(409, f"Server {server_id} is {found[0].status}: there is nothing to drain.")
    return found[0]


ROUTES: tuple[Route[Any, Any], ...] = (
    Route(
        method="GET",
        path="/api/servers",
        tag="servers",
        summary="List servers and what they hold",
        scope="read",
        handler=list_servers,
        params=Params,
        body=Body,
        answer=ServerList,
    ),
    Route(
        method="POST",
        path="/api/servers/{id}/drain",
        tag="servers",
        summary="Let a server finish what it holds and take nothing new",
        scope="operate",
        handler=drain,
        params=ServerById,
        body=Body,
        answer=Server,
        refuses=(404, 409),
    ),
)
