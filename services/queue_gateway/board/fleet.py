"""Servers and containers: who works, how they started, and forms to drain, stop and start them; and
one container with the states it has gone through.
"""

from aiohttp import web

from queue_gateway.board.door import Visitor
from queue_gateway.board.phases import PHASES, start_seconds, starts
from queue_gateway.containers import Container, containers, detail
from queue_gateway.desk import Desk
from queue_gateway.pages import page
from queue_gateway.servers import servers
from reveille.wishes import ENDED


async def fleet_page(desk: Desk, _: web.Request, visitor: Visitor) -> web.Response:
    """Both lists. A name that ran anew can be started again at its latest container only."""
    found = await containers(desk)
    phases = starts(found, await desk.store.value("now"))
    drawn = {phase.name for bars in phases.values() for phase in bars}
    return page(
        "fleet.html",
        visitor=visitor,
        servers=await servers(desk),
        containers=found,
        phases=phases,
        phase_names={name: words for name, words in PHASES.items() if name in drawn},
        start_seconds={container.id: start_seconds(container) for container in found},
        latest={container.id for container in latest_of_each(found)},
        ended=ENDED,
    )


async def container_page(desk: Desk, request: web.Request, visitor: Visitor) -> web.Response:
    """By id, since a name is borne by many after each other. Raises Refusal 404."""
    container = await detail(desk, int(request.match_info["id"]))
    return page(
        "container.html", visitor=visitor, container=container, ended=container.state in ENDED
    )


def latest_of_each(found: list[Container]) -> list[Container]:
    """Per name the living container, or the newest of those that ended; the list is in that order."""
    latest = {container.name: container for container in reversed(found)}
    latest |= {container.name: container for container in found if container.state not in ENDED}
    return list(latest.values())
