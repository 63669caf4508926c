"""What the database tests share: a queue to write to and look into, and an ear at a channel."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from reveille.outcome import Done, Outcome, Reject
from reveille.store import End, Registration, ServerEntry, Store
from reveille.task import Claim
from reveille.testing import Database, eventually

TASK_TYPES = (
    "visual_analysis",
    "slide_feedback",
    "company_offering_extraction",
    "startup_name_extraction",
    "healthcare_classification",
    "funding_amount_extraction",
    "deck_date_extraction",
    "template_analysis",
    "specialized_clinical",
    "specialized_regulatory",
    "specialized_science",
    "extractions_and_template",
)
HEAR_SECONDS_MAX = 10.0


class Ear:
    """What was notified on one channel."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._payloads: list[str] = []
        self._fenced = asyncio.Event()

    def on_payload(self, *notification: Any) -> None:
        """The driver's callback."""
        self._payloads.append(notification[-1])

    def on_fence(self, *_: Any) -> None:
        """The driver's callback for our own mark."""
        self._fenced.set()

    async def heard(self) -> list[str]:
        """All payloads of transactions that have committed since the last call.

        Notifications arrive in the order of commits: when ours is here, the others are.
        """
        self._fenced.clear()
        await self._database.execute("SELECT pg_notify('fence', '')")
        async with asyncio.timeout(HEAR_SECONDS_MAX):
            await self._fenced.wait()
        payloads, self._payloads = self._payloads, []
        return payloads


class Queue:
    """The queue as a backend, a worker and a test see it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = Store(database.pool, backoff_base_seconds=10, backoff_max_seconds=10)

    async def add(
        self, task_type: str = "deck_date_extraction", *, by: Any = None, **columns: Any
    ) -> int:
        """INSERT one task; `by` is the connection, else one of the pool."""
        columns = {"document_id": 7, **columns}
        marks = ", ".join(f"${n}" for n in range(2, len(columns) + 2))
        task_id: int = await (by or self.database).fetchval(
            f"INSERT INTO processing_queue (task_type, {', '.join(columns)}) "  # noqa: S608
            f"VALUES ($1, {marks}) RETURNING id",
            task_type,
            *columns.values(),
        )
        return task_id

    async def row(self, task_id: int) -> dict[str, Any]:
        """All columns of a task."""
        row = await self.database.fetchrow("SELECT * FROM processing_queue WHERE id = $1", task_id)
        assert row is not None
        return row

    async def statuses(self, *task_ids: int) -> list[str]:
        """The status of each, in this order; "gone" where there is no row."""
        rows = await self.database.fetch(
            "SELECT id, status FROM processing_queue WHERE id = ANY ($1)", task_ids
        )
        found = {row["id"]: row["status"] for row in rows}
        return [found.get(task_id, "gone") for task_id in task_ids]

    async def set_status(self, task_id: int, status: str, *, by: Any = None) -> None:
        """A plain UPDATE, as anybody may send it."""
        await (by or self.database).execute(
            "UPDATE processing_queue SET status = $2 WHERE id = $1", task_id, status
        )

    async def server(
        self, server_id: str = "worker-1", *, status: str = "active", has_presence: bool = True
    ) -> Registration:
        """Register a worker that takes everything."""
        return await self.store.register(
            ServerEntry(
                server_id=server_id,
                server_type="text_container",
                pool="text",
                task_types=TASK_TYPES,
                slots=2,
                version="test",
                has_presence=has_presence,
                status=status,
            )
        )

    async def claim(self, registration: Registration, limit: int = 1) -> Sequence[Claim]:
        """Claim up to `limit` tasks of any type."""
        return await self.store.claim(registration, TASK_TYPES, limit)

    async def claim_one(self, registration: Registration | None = None) -> Claim:
        """Claim the best task; by `worker-1`, registered anew, when no registration is given."""
        (claim,) = await self.claim(registration or await self.server())
        return claim

    async def end(self, *claims: Claim, outcome: Outcome | None = None) -> None:
        """Settle all in one batch: Done unless told otherwise."""
        await self.store.settle([End(claim=claim, outcome=outcome or Done()) for claim in claims])

    async def fail(self, *claims: Claim, error: str = "no pages") -> None:
        """Settle all as failed for good."""
        await self.end(*claims, outcome=Reject(reason="bad_input", error=error))

    async def parents(self, task_id: int) -> dict[int, str]:
        """The declared parents of a task and the type of each edge."""
        rows = await self.database.fetch(
            "SELECT depends_on_task_id, dependency_type FROM task_dependencies "
            "WHERE dependent_task_id = $1 ORDER BY 1",
            task_id,
        )
        return {row["depends_on_task_id"]: row["dependency_type"] for row in rows}

    async def attempts(self, task_id: int) -> list[tuple[str, str | None]]:
        """Outcome and reason of the attempts that did not complete the task, in order."""
        rows = await self.database.fetch(
            "SELECT outcome, reason FROM task_attempts WHERE task_id = $1 ORDER BY lease_token",
            task_id,
        )
        return [(row["outcome"], row["reason"]) for row in rows]

    @asynccontextmanager
    async def listening(self, channel: str) -> AsyncIterator[Ear]:
        """An ear at `channel`."""
        ear = Ear(self.database)
        async with self.database.connect() as connection:
            await connection.add_listener(channel, ear.on_payload)
            await connection.add_listener("fence", ear.on_fence)
            yield ear

    async def until_waiting(self, connection: Any) -> None:
        """Return when `connection` waits for somebody's lock."""
        await eventually(
            lambda: self.database.fetchval(
                "SELECT cardinality(pg_blocking_pids($1)) > 0", connection.get_server_pid()
            )
        )


@pytest.fixture
def queue(database: Database) -> Queue:
    """The queue of this test's own database."""
    return Queue(database)
