"""The monitor's statements as methods. Each is safe to repeat, and checks in SQL what it acts on."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from heartbeat_monitor.config import MonitorSettings
from heartbeat_monitor.facts import Facts, facts_of
from heartbeat_monitor.held_floor import HeldFloor
from heartbeat_monitor.sql import statement
from heartbeat_monitor.verdict import Loss
from reveille.database import Pool
from reveille.sql import statement as shared_statement

Row = Mapping[str, Any]


class Ledger:
    """Rows, as the monitor reads and writes them. Raises one of DATABASE_ERRORS."""

    def __init__(self, pool: Pool, settings: MonitorSettings) -> None:
        self._pool = pool
        self._settings = settings
        self._held = HeldFloor(self._horizon)

    async def look(self) -> Facts:
        """The facts of one round, from one snapshot."""
        settings, held = self._settings, self._held
        begun = time.monotonic()
        row = await self._pool.fetchrow(
            statement("look"),
            settings.server_keep_seconds,
            settings.lease_seconds,
            held.floor(),
        )
        await held.looked(time.monotonic() - begun, row["first_token"], row["oldest_transaction"])
        return facts_of(row)

    @property
    def whole_look_in_seconds(self) -> float:
        """How long a look may be put off at the most."""
        return self._held.whole_in_seconds

    def look_at_everything(self) -> None:
        """Forget what was seen: a database that crashed or failed over may draw lease tokens anew."""
        self._held = HeldFloor(self._horizon)

    async def _horizon(self) -> int:
        horizon: int = await self._pool.fetchval(shared_statement("look_horizon"))
        return horizon

    async def lose_silent(self, losses: Sequence[Loss]) -> list[str]:
        """Declare silent servers lost; those that were."""
        return await self._lose("lose_silent", losses, self._settings.lease_seconds)

    async def lose_disconnected(self, losses: Sequence[Loss]) -> list[str]:
        """Declare workers lost whose connection is gone; those that were."""
        return await self._lose("lose_disconnected", losses)

    async def _lose(self, name: str, losses: Sequence[Loss], *more: float) -> list[str]:
        rows = await self._pool.fetch(
            statement(name),
            [loss.server_id for loss in losses],
            [loss.epoch for loss in losses],
            [loss.reason for loss in losses],
            *more,
        )
        return [row["id"] for row in rows]

    async def note_missing(self, servers: Sequence[str]) -> None:
        """Begin the grace of workers whose connection is gone."""
        await self._pool.execute(statement("note_missing"), list(servers))

    async def note_back(self, servers: Sequence[str]) -> None:
        """End the grace of workers whose connection is there again."""
        await self._pool.execute(statement("note_back"), list(servers))

    async def recover(self) -> list[Row]:
        """Give back tasks of the lost and the overdue: task_id, server_id, fate."""
        return list(
            await self._pool.fetch(
                statement("recover_tasks"),
                self._settings.lease_seconds,
                self._settings.rows_max,
                self._settings.dead_workers_max,
            )
        )

    async def take_untraced(self) -> list[Row]:
        """Attempts whose spans nobody could write; from here on they are the caller's to write."""
        return list(await self._pool.fetch(statement("take_untraced"), self._settings.rows_max))

    async def queue_due(self) -> int:
        """Make due tasks claimable; how many."""
        return len(await self._pool.fetch(statement("queue_due"), self._settings.rows_max))

    async def audit(self) -> tuple[list[int], list[int]]:
        """Do what a trigger should have done: (parents ended anew, blocked tasks released)."""
        limit = self._settings.rows_max
        parents = [
            row["parent_id"] for row in await self._pool.fetch(statement("stranded_parents"), limit)
        ]
        if parents:
            await self._pool.execute(statement("end_parents"), parents)
        tasks = [row["id"] for row in await self._pool.fetch(statement("stranded_tasks"), limit)]
        if tasks:
            await self._pool.execute(statement("release_tasks"), tasks)
        return parents, tasks

    async def workers_to_be_had(self) -> bool:
        """Whether no task has waited too long without any server for it."""
        longest = self._settings.waiting_seconds_max
        return bool(await self._pool.fetchval(statement("workers_to_be_had"), longest))

    async def forget_uptime(self) -> None:
        """Delete spans of uptime that no report can reach."""
        await self._pool.execute(statement("forget_uptime"))

    async def mark_stuck(self, stuck: Sequence[tuple[int, str]]) -> list[Row]:
        """Mark containers; those that were not yet: name, pool, stuck_reason."""
        rows = await self._pool.fetch(
            statement("mark_stuck"), [i for i, _ in stuck], [reason for _, reason in stuck]
        )
        return list(rows)

    async def clean(self) -> list[str]:
        """Delete rows of servers long gone; their ids."""
        rows = await self._pool.fetch(
            statement("clean_servers"), self._settings.server_keep_seconds
        )
        return [row["id"] for row in rows]

    async def gauge(self, what: str) -> list[Row]:
        """The rows behind a gauge: what sql/gauge_<what>.sql says."""
        return list(await self._pool.fetch(statement(f"gauge_{what}")))
