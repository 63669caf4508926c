"""What an operator should look at first, as sentences that say where to go. Pure.

The alert rules (`observability/`) are stricter and wake people; this is for who looks anyway.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from queue_gateway.board.words import count, duration, usd
from queue_gateway.containers import Container
from queue_gateway.pools import Pool
from queue_gateway.queue_depth import PoolDepth
from queue_gateway.servers import Server

# Longer than any wake-up; a cold start that is under way is no trouble until the goal is missed.
UNTAKEN_SECONDS = 15.0
WAIT_SECONDS_MAX = 300.0
COMING = frozenset({"intended", "creating", "booting"})


@dataclass(frozen=True, slots=True)
class Trouble:
    """A sentence, where to look, and whether it can wait."""

    sentence: str
    path: str
    urgent: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known; `containers` are the latest of each name. What ended before `since` is old news."""

    since: datetime
    pools: list[Pool]
    depths: list[PoolDepth]
    containers: list[Container]
    servers: list[Server]
    failed: float
    month_usd: float
    cap_usd: float | None


def troubles(seen: Situation) -> list[Trouble]:
    """The urgent ones first."""
    found = [*_of_pools(seen), *_of_containers(seen), *_of_servers(seen)]
    if seen.failed:
        tasks = "task has" if seen.failed == 1 else "tasks have"
        failed = f"{count(seen.failed)} {tasks} failed lately."
        found.append(Trouble(failed, "/tasks?status=failed", urgent=False))
    if seen.cap_usd is not None and seen.month_usd >= seen.cap_usd:
        spent = f"{usd(seen.month_usd)} are spent of the {usd(seen.cap_usd)} for this month."
        found.append(Trouble(spent, "/costs"))
    return sorted(found, key=lambda trouble: not trouble.urgent)


def _of_pools(seen: Situation) -> Iterable[Trouble]:
    depths = {depth.pool: depth for depth in seen.depths}
    coming = {c.pool for c in seen.containers if c.state in COMING and not c.stuck_reason}
    for pool in seen.pools:
        depth = depths.get(pool.name)
        if depth is None or not depth.queued:
            continue
        waiting = f"{count(depth.queued)} {'task waits' if depth.queued == 1 else 'tasks wait'}"
        oldest = depth.oldest_seconds or 0.0
        if pool.paused:
            yield Trouble(f"{waiting} for the pool {pool.name}, which is paused.", "/", False)
        elif oldest > UNTAKEN_SECONDS and not pool.servers_active and pool.name not in coming:
            sentence = (
                f"{waiting} for the pool {pool.name}, the oldest for {duration(oldest)}: no server "
                "takes them and no container is on its way. Is the autoscaler running?"
            )
            yield Trouble(sentence, f"/decisions?pool={pool.name}")
        elif oldest > WAIT_SECONDS_MAX:
            sentence = (
                f"The oldest task of the pool {pool.name} has waited for {duration(oldest)}; the "
                f"goal is {duration(WAIT_SECONDS_MAX)}."
            )
            yield Trouble(sentence, f"/tasks?status=queued&pool={pool.name}", False)


def _of_containers(seen: Situation) -> Iterable[Trouble]:
    for container in seen.containers:
        if container.stuck_reason:
            yield Trouble(f"{container.name} is stuck: {container.stuck_reason}", "/fleet")
        elif container.state == "failed" and container.state_changed_at >= seen.since:
            why = container.last_error or container.reason
            yield Trouble(f"{container.name} did not start: {why}", "/fleet")


def _of_servers(seen: Situation) -> Iterable[Trouble]:
    """One that was lost while it held tasks has had them taken away; it may come back."""
    lost = [
        server.id
        for server in seen.servers
        if server.status == "lost" and server.last_heartbeat and server.last_heartbeat >= seen.since
    ]
    if lost:
        names = ", ".join(lost[:3]) + (f" and {len(lost) - 3} more" if len(lost) > 3 else "")
        yield Trouble(f"Silent, and taken for lost: {names}.", "/fleet", urgent=False)
