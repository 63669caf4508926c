"""The backend of a soak: transactions at a steady rate, whatever becomes of them, and what was heard
of each task.

A wait counts from the moment at which the INSERT is sent: it holds the commit, too.
"""

import asyncio
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.soak.worker import FAILS_ONCE

from reveille.database import Pool

WRITERS = 16  # enough for 200 a second where a commit takes 50 ms
SINGLE = "INSERT INTO processing_queue (document_id, task_type, priority) VALUES ($1, $2, $3) RETURNING id"
MARKED = "INSERT INTO processing_queue (document_id, task_type, company_id) VALUES ($1, $2, $3) RETURNING id"
SCHEDULED = (
    "INSERT INTO processing_queue (document_id, task_type, next_retry_at) "
    "VALUES ($1, $2, reveille_now() + interval '5 seconds') RETURNING id"
)
DEPENDENT = (
    "INSERT INTO processing_queue (document_id, task_type, depends_on) VALUES ($1, $2, ARRAY[$3::bigint]) "
    "RETURNING id"
)
CANCEL = "UPDATE processing_queue SET status = 'cancelled' WHERE id = $1"
TASK_TYPES = ("visual_analysis", "deck_date_extraction", "startup_name_extraction")
KINDS = (("single", 93), ("pair", 2), ("fails", 1), ("scheduled", 1), ("cancelled", 1))


@dataclass(slots=True)
class Ledger:
    """What was acknowledged and what began. Times are monotonic seconds; waits of a window are
    handed over by `take_waits`.
    """

    committed: int = 0
    began: int = 0
    again: int = 0  # attempts after a task's first
    doubled: int = 0  # the same attempt of a task began twice
    acknowledged: dict[int, float] = field(default_factory=dict)  # by task, until it begins
    _early: dict[int, float] = field(default_factory=dict)  # began before its answer was here
    _last: dict[int, int] = field(
        default_factory=dict
    )  # the latest attempt of what was tried again
    _waits: list[float] = field(default_factory=list)

    def commit(self, task_id: int, at: float, *, at_once: bool) -> None:
        """It is there; `at_once`: it can be claimed, so that its wait counts."""
        self.committed += 1
        began = self._early.pop(task_id, None)
        if not at_once:
            return
        if began is None:
            self.acknowledged[task_id] = at
        else:
            self._waits.append(max(0.0, began - at))

    def begin(self, task_id: int, attempt: int, at: float) -> None:
        """A handler has it."""
        self.began += 1
        if attempt > 1:
            self.again += 1
            self.doubled += self._last.get(task_id) == attempt
            self._last[task_id] = attempt
            return
        committed = self.acknowledged.pop(task_id, None)
        if committed is not None:
            self._waits.append(max(0.0, at - committed))
        else:
            self._early[task_id] = at

    def take_waits(self) -> list[float]:
        """Of the tasks that began since the last call, in seconds, ascending."""
        waits, self._waits = self._waits, []
        now = time.monotonic()
        self._early = {task: at for task, at in self._early.items() if now - at < 60}
        return sorted(waits)


class Ear(asyncio.DatagramProtocol):
    """Hears the workers' handlers."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def datagram_received(self, data: bytes, _address: Any) -> None:
        """One attempt began."""
        task_id, attempt, nanoseconds = map(int, data.split())
        self._ledger.begin(task_id, attempt, nanoseconds / 1e9)


class Load:
    """`rate` tasks a second through `pool`, until `stop`."""

    def __init__(self, pool: Pool, ledger: Ledger, *, rate: float) -> None:
        self._pool = pool
        self._ledger = ledger
        self._rate = rate
        self._random = Random(1)
        self.stop = asyncio.Event()
        self.documents = 0

    async def run(self) -> None:
        """Open loop: what is late is caught up with."""
        began, due = time.monotonic(), 0.0
        async with asyncio.TaskGroup() as group:
            while not self.stop.is_set():
                kind = self._random.choices([k for k, _ in KINDS], [w for _, w in KINDS])[0]
                group.create_task(self._submit(kind))
                due += (2 if kind == "pair" else 1) / self._rate
                await asyncio.sleep(max(0.0, began + due - time.monotonic()))

    async def _submit(self, kind: str) -> None:
        self.documents += 1
        document, task_type = self.documents, self._random.choice(TASK_TYPES)
        async with self._pool.acquire() as connection:
            match kind:
                case "single":
                    priority = self._random.choices((1, 2, 3), (90, 9, 1))[0]
                    await self._add(connection, SINGLE, document, task_type, priority)
                case "fails":
                    await self._add(connection, MARKED, document, task_type, FAILS_ONCE)
                case "scheduled":
                    await self._add(connection, SCHEDULED, document, task_type, at_once=False)
                case "pair":
                    parent = await self._add(connection, SINGLE, document, task_type, 1)
                    await self._add(
                        connection, DEPENDENT, document, task_type, parent, at_once=False
                    )
                case "cancelled":
                    later = await self._add(
                        connection, SCHEDULED, document, task_type, at_once=False
                    )
                    await connection.execute(CANCEL, later)

    async def _add(
        self, connection: Any, statement: str, *values: object, at_once: bool = True
    ) -> int:
        sent_at = time.monotonic()
        task_id: int = await connection.fetchval(statement, *values)
        self._ledger.commit(task_id, sent_at, at_once=at_once)
        return task_id
