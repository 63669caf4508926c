"""Servers and containers: who works, how they started, and forms to drain, stop and start them."""

from aiohttp import web

from queue_gateway.board.door import Visitor
from queue_gateway.board.phases import start_seconds, starts
from queue_gateway.containers import containers
from queue_gateway.desk import Desk
from queue_gateway.pages import page
from queue_gateway.servers import servers
from reveille.wishes import ENDED


async def fleet_page(desk: Desk, _: web.Request, visitor: Visitor) -> web.Response:
    """Both lists. A name that ran anew can be started again at its latest container only."""
    found = await containers(desk)
    latest = {container.name: container.id for container in reversed(found)}
    latest |= {container.name: container.id for container in found if container.state not in ENDED}
    return page(
        "fleet.html",
        visitor=visitor,
        servers=await servers(desk),
        containers=found,
        phases=starts(found, await desk.store.value("now")),
        start_seconds={container.id: start_seconds(container) for container in found},
        latest=set(latest.values()),
        ended=ENDED,
    )
