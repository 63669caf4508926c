"""What an operator may wish of a container or a pool, for the gateway and the command line alike.

Nothing is started or stopped here: a wish is written to the row, the autoscaler is told, and it
acts by its own rules (a busy container is drained before it stops).

    drain   finish the running tasks, then stop; a policy does not take it back
    stop    end now: what its worker cannot finish within its drain goes back to the queue
    pin     stay, however idle; one that drains is taken back
    unpin   the policy decides again
    start   bring up a name that has ended, or withdraw what was wished of a living one
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from reveille.database import Connection, Pool
from reveille.errors import ReveilleError
from reveille.sql import statement

Verb = Literal["start", "drain", "stop", "pin", "unpin"]
VERBS: tuple[Verb, ...] = get_args(Verb)
PolicyName = Literal["marginal", "threshold"]  # what `pools.policy` may name
POLICY_NAMES: tuple[PolicyName, ...] = get_args(PolicyName)
ENDED = frozenset({"stopped", "failed"})
PINNED = "keep"  # as the column has it
REASON_MAX = 200

Row = Mapping[str, Any]


class NoSuchContainer(ReveilleError):
    """No container has ever had this name."""


class WishDenied(ReveilleError):
    """The container is in a state in which this cannot be wished."""


async def look(
    target: Connection | Pool,
    name: str | None = None,
    limit: int = 200,
    *,
    container_id: int | None = None,
) -> list[Row]:
    """Containers, or those that bore this name, the living ones first; or the one with this id."""
    rows = await target.fetch(statement("list_containers"), name, limit, container_id)
    return [dict(row) for row in rows]


async def passed(target: Connection | Pool, container_id: int) -> list[Row]:
    """The states that a container has gone through, each with its reason, the first one first."""
    rows = await target.fetch(statement("container_transitions"), container_id)
    return [dict(row) for row in rows]


async def show(target: Connection | Pool, name: str) -> tuple[Row, list[Row]]:
    """The container of this name, the living one if there is, and the states it has gone through.
    Raises NoSuchContainer.
    """
    current = await _current(target, name)
    return current, await passed(target, current["id"])


async def express(
    target: Connection | Pool, name: str, verb: Verb, reason: str | None = None
) -> Row:
    """Write the wish; the container as it is then. `reason` is for those who read the row later.
    Raises NoSuchContainer, WishDenied.
    """
    current = await _current(target, name)
    match verb:
        case "start":
            await _start(target, current, reason)
        case "unpin":
            if current["wish"] != PINNED:
                raise WishDenied(f"Container {name} is not pinned.")
            await target.fetchval(statement("keep_container"), name)
        case _:
            wish = PINNED if verb == "pin" else verb
            if await target.fetchval(statement("wish_container"), name, wish, reason) is None:
                raise WishDenied(f"Container {name} is {current['state']} already.")
    return await _current(target, name)


async def _start(target: Connection | Pool, current: Row, reason: str | None) -> None:
    name, state = current["name"], current["state"]
    if state in ENDED:
        words = f"started by an operator{f': {reason}' if reason else ''}"
        await target.fetchval(statement("start_container"), name, words)
    elif current["wish"] in {"drain", "stop"} or state == "draining":
        await target.fetchval(statement("keep_container"), name)
    else:
        raise WishDenied(f"Container {name} is {state} already.")


async def _current(target: Connection | Pool, name: str) -> Row:
    found = await look(target, name, 1)
    if not found:
        raise NoSuchContainer(f"There is no container {name}.")
    return found[0]
