"""The autoscaler's statements as methods. Those that write carry the leader's epoch, and tell by
an empty answer that it is over or that the row has moved on; the next look shows which.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from autoscaler.container import Container, container_of
from autoscaler.offers import Failures, PricedOffer, PriceKey
from autoscaler.provider import Price, Trouble
from autoscaler.sql import statement
from autoscaler.state import CRITICAL_PRIORITY, LISTED_MAX, UNLISTED_MAX, Decision
from reveille.channels import LEADER_NAME
from reveille.database import Pool

Row = Mapping[str, Any]

CRITICAL_MAX = 100  # fewer than are listed
# Of the past: tasks from the queue and as many from the archive, and starts of each pool.
EXPERIENCE_TASKS_MAX, EXPERIENCE_STARTS_MAX = 2000, 30
WEEKS_MAX, QUARTER_TASKS_MAX = 8, 200
PARENTS_HELD_MAX, PARENTS_WAITING_MAX = 200, 50
# What waits is walked over in the index's order, to its bound and no further, whatever the statistics say. A long
# queue is estimated so dear that each look would be compiled anew: 50 ms for nothing.
LOOK_PLAN = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off"
DECISIONS_FORGOTTEN_MAX = 1000  # at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """A pool's month so far, and what an hour costs at the moment, in US dollars."""

    spent_usd: float
    usd_per_hour: float


class Ledger:
    """Rows, as the autoscaler reads and writes them. Raises one of DATABASE_ERRORS.

    `epoch` is the leader's; 0 leads nobody.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.epoch = 0

    async def lead(self, holder: str) -> int:
        """Begin to lead; the new epoch."""
        self.epoch = await self._pool.fetchval(statement("lead"), LEADER_NAME, holder)
        return self.epoch

    # Looks

    async def look(self) -> tuple[list[Row], list[Container]]:
        """Pools and live containers, from one snapshot."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await connection.execute(LOOK_PLAN)
            pools = await connection.fetch(
                statement("look_pools"), LEADER_NAME, self.epoch, LISTED_MAX, UNLISTED_MAX
            )
            containers = await connection.fetch(statement("look_containers"))
        return list(pools), [container_of(row) for row in containers]

    async def look_critical(self) -> list[int]:
        """Ids of waiting critical tasks, the first of each task type."""
        rows = await self._pool.fetch(statement("look_critical"), CRITICAL_PRIORITY, CRITICAL_MAX)
        return [row["task_id"] for row in rows]

    async def look_spending(self) -> dict[str, Spending]:
        """Per pool."""
        rows = await self._pool.fetch(statement("look_spending"))
        return {
            row["pool"]: Spending(spent_usd=row["spent_usd"], usd_per_hour=row["usd_per_hour"])
            for row in rows
        }

    async def look_experience(self) -> list[Row]:
        """What each pool has been through; a bounded part of its history."""
        return list(
            await self._pool.fetch(
                statement("look_experience"), EXPERIENCE_TASKS_MAX, EXPERIENCE_STARTS_MAX
            )
        )

    async def look_weeks(self) -> list[Row]:
        """When in the week work came: pool, weeks on record, quarter, weeks with work in it."""
        return list(await self._pool.fetch(statement("look_weeks"), WEEKS_MAX, QUARTER_TASKS_MAX))

    async def look_parents(self) -> list[Row]:
        """Tasks with others blocked behind them, in the order in which they will be done."""
        return list(
            await self._pool.fetch(statement("look_parents"), PARENTS_HELD_MAX, PARENTS_WAITING_MAX)
        )

    async def look_shadows(self, policies: Sequence[str]) -> list[Row]:
        """What these policies decided last without being applied, per pool."""
        return list(await self._pool.fetch(statement("look_shadows"), list(policies)))

    async def look_failures(self) -> list[Failures]:
        """What failed in a row lately, per pool and offer."""
        rows = await self._pool.fetch(statement("look_failures"))
        return [Failures(**row) for row in rows]

    async def look_prices(self) -> dict[PriceKey, float]:
        """US dollars per hour, by provider, GPU, region and spot."""
        rows = await self._pool.fetch(statement("look_prices"))
        return {(r["provider"], r["gpu"], r["region"], r["spot"]): r["usd_per_hour"] for r in rows}

    async def look_strays(self, names: Sequence[str]) -> dict[str, Row]:
        """Live servers inside containers that have no row, by the container's name."""
        rows = await self._pool.fetch(statement("look_strays"), list(names))
        return {row["name"]: row for row in rows}

    async def waiting_task(self, task_id: int) -> Row | None:
        """Id, creation time and trace context; None when it is gone."""
        row: Row | None = await self._pool.fetchrow(statement("waiting_task"), task_id)
        return row

    # Fenced writes

    async def add_decision(
        self,
        pool: str,
        policy: str,
        before: int,
        decision: Decision,
        inputs: Mapping[str, Any],
        *,
        applied: bool = True,
    ) -> bool:
        """Keep a decision with its inputs; False when this process leads no longer."""
        return await self._written(
            "add_decision",
            pool,
            policy,
            before,
            decision.wanted,
            decision.reason,
            dict(inputs),
            dict(decision.memory),
            applied,
        )

    async def forget_decisions(self, older_than_seconds: float) -> bool:
        """Delete what is older, a batch of it; whether there may be more."""
        row = await self._fenced("forget_decisions", older_than_seconds, DECISIONS_FORGOTTEN_MAX)
        return row is not None and row["forgotten"] == DECISIONS_FORGOTTEN_MAX

    async def intend(
        self,
        name: str,
        *,
        pool: str,
        slot: int,
        offer: PricedOffer,
        reason: str,
        waited_for: int | None,
    ) -> bool:
        """The row of a container that is going to be."""
        return await self._written(
            "intend_container",
            name,
            pool,
            slot,
            offer.provider,
            reason,
            waited_for,
            offer.gpu,
            offer.region,
            offer.spot,
            offer.usd_per_hour,
        )

    async def begin(self, container: Container, offer: PricedOffer) -> Row | None:
        """To `creating`; its server_id and what it is to be, or None when it may not be created
        any more. `offer` counts only for a row that an operator inserted.
        """
        return await self._fenced(
            "begin_container",
            container.container_id,
            offer.provider,
            offer.gpu,
            offer.region,
            offer.spot,
            offer.usd_per_hour,
        )

    async def move(
        self,
        container: Container,
        to: str,
        reason: str,
        *,
        ref: str | None = None,
        server_id: str | None = None,
        error: str | None = None,
        trouble: Trouble | None = None,
        also_from: Sequence[str] = (),
    ) -> Row | None:
        """Another state; the row's times, or None when it was in another state than we saw."""
        return await self._fenced(
            "move_container",
            container.container_id,
            [container.state, *also_from],
            to,
            reason,
            ref,
            server_id,
            error,
            trouble,
        )

    async def may_end(self, container: Container, *, even_busy: bool) -> bool:
        """Whether it may be ended now; its server takes no more tasks from then on. False: it
        holds a task, the row has moved on, or this process leads no longer.
        """
        return await self._written(
            "end_container",
            container.container_id,
            [container.state],
            container.server_id,
            even_busy,
        )

    async def drain(self, container: Container, reason: str, *, even_busy: bool = False) -> bool:
        """Tell its worker to finish; False when it holds a task, or has left."""
        return await self._written(
            "drain_container", container.container_id, reason, container.server_id, even_busy
        )

    async def revive(self, container: Container, reason: str) -> bool:
        """Take a draining one back; False when its worker has left."""
        return await self._written(
            "revive_container", container.container_id, reason, container.server_id
        )

    async def note_idle(self, changes: Sequence[tuple[int, bool]]) -> None:
        """Containers that became busy or idle: (container_id, idle)."""
        await self._fenced("note_idle", [i for i, _ in changes], [idle for _, idle in changes])

    async def adopt(
        self,
        name: str,
        *,
        pool: str,
        slot: int,
        offer: PricedOffer,
        ref: str,
        server_id: str,
        started_at: datetime,
    ) -> bool:
        """A row for a container that a provider runs and nobody knew of."""
        return await self._written(
            "adopt_container",
            name,
            pool,
            slot,
            offer.provider,
            ref,
            server_id,
            started_at,
            offer.gpu,
            offer.region,
            offer.spot,
            offer.usd_per_hour,
        )

    async def look_stacked(self, provider: str) -> list[str]:
        """Names of the live containers that `provider` was asked for."""
        rows = await self._pool.fetch(statement("look_stacked"), provider)
        return [row["name"] for row in rows]

    async def recall_worker(self, name: str) -> None:
        """Tell a worker that registered from inside `name` before this life of it to leave."""
        await self._fenced("recall_worker", name)

    async def note_stages(self, seen: Sequence[tuple[int, bool, bool, bool]]) -> None:
        """How far containers have come up: (container_id, has a GPU, has its image, its worker
        has registered).
        """
        columns = [list(column) for column in zip(*seen, strict=True)]
        await self._fenced("note_stages", *columns)

    async def keep_prices(self, provider: str, prices: Sequence[Price]) -> None:
        """A provider's price list, in place of its last one."""
        await self._fenced(
            "keep_prices",
            provider,
            [p.gpu for p in prices],
            [p.region for p in prices],
            [p.spot for p in prices],
            [p.usd_per_hour for p in prices],
        )

    async def _written(self, name: str, *arguments: object) -> bool:
        return await self._fenced(name, *arguments) is not None

    async def _fenced(self, name: str, *arguments: object) -> Row | None:
        row: Row | None = await self._pool.fetchrow(
            statement(name), LEADER_NAME, self.epoch, *arguments
        )
        return row
