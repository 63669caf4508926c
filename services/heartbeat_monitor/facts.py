"""What a round of the monitor knows: ages in seconds by the database's clock, nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that should be alive: starting, active or draining.

    `present` says whether its connection's advisory lock is held; servers without `has_presence`
    hold none. `missing_seconds` counts from the round that first saw it gone.
    """

    server_id: str
    epoch: int
    silent_seconds: float
    has_presence: bool = False
    present: bool = False
    missing_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container on its way up or down. `marked`: it carries a stuck_reason already."""

    container_id: int
    name: str
    state: str
    state_seconds: float
    marked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One look at the rows.

    `retry_in_seconds` and `lock_in_seconds` are how long until the next task is due or overdue
    (negative: it is), `cleaning_in_seconds` until the next old row of a server may go; None when
    there is none. `forsaken` says whether a task is held by a server that is gone, `queued` whether
    tasks wait for a worker, which is not asked while any are `processing`, `waiting` whether tasks
    wait for a parent's end, `untraced` whether attempts ended whose spans nobody could write.
    """

    servers: tuple[Server, ...] = ()
    containers: tuple[Container, ...] = ()
    queued: bool = False
    processing: int = 0
    forsaken: bool = False
    waiting: bool = False
    untraced: bool = False
    retry_in_seconds: float | None = None
    lock_in_seconds: float | None = None
    cleaning_in_seconds: float | None = None


def facts_of(row: Mapping[str, Any]) -> Facts:
    """From the row of sql/look.sql."""
    return Facts(
        servers=tuple(Server(**server) for server in row["servers"]),
        containers=tuple(Container(**container) for container in row["containers"]),
        queued=row["queued"],
        processing=row["processing"],
        forsaken=row["forsaken"],
        waiting=row["waiting"],
        untraced=row["untraced"],
        retry_in_seconds=row["retry_in_seconds"],
        lock_in_seconds=row["lock_in_seconds"],
        cleaning_in_seconds=row["cleaning_in_seconds"],
    )
