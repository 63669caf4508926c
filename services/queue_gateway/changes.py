"""Live changes of tasks, for event streams and for requests that wait for an end.

A notification is a hint: the ids it names are collected, their rows are read once for everybody,
and each subscriber gets those that concern it and differ from what it saw last. A subscriber keeps
the latest state per task only, so a slow client skips states and never makes anything grow.

The database says `task_changed` only while a gateway holds the listening lock, because every NOTIFY
costs its transaction a cluster-wide lock. So the lock is held exactly as long as somebody
subscribes. One of several gateways has it, the others hear as well; when it goes, another takes it
within two seconds. What was changed in between, or said by a transaction that began before the lock
was taken, is found by reading again.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import chain, repeat

import structlog

from queue_gateway.refusal import Refusal
from queue_gateway.store import Store
from queue_gateway.task_view import TaskSummary
from reveille.channels import LOCK_LISTENING, LOCK_SPACE
from reveille.database import DATABASE_ERRORS
from reveille.notifier import Notifier
from reveille.pause import pause

log = structlog.get_logger(__name__)

# A trigger that looks whether somebody listens holds the lock for an instant: ask again soon, then
# leave it to the holder.
LOCK_PAUSES_SECONDS = (0.01, 0.05, 0.2)
LOCK_PAUSE_SECONDS_MAX = 2.0
# Beside the steady re-reading: transactions that were under way when the lock was taken end about
# now.
FIRST_REREADS_SECONDS = (0.2, 1.0)
# Between two reads of changed rows: a client sees at most so many states a second.
READ_PAUSE_SECONDS = 0.05
# Of tasks that are inserted at the same moment only one may be told of (the insert trigger's gate):
# the others are found by reading again, so long after the one.
ARRIVAL_REREAD_SECONDS = 0.5
ARRIVED = frozenset({"queued", "blocked", "retry"})
CHANGED_MAX = 1000  # ids between two reads; beyond, everything is read again
PENDING_MAX = 1000  # tasks that a subscriber has not fetched; beyond, it gets everything anew
LIVE_MAX = 200  # running, and waiting for a retry, that a subscriber to everything is told of
NEXT_MAX = 40  # queued ones of each task type
TASKS_MAX = 500  # tasks of one document


@dataclass(frozen=True, slots=True)
class Interest:
    """One task, one document, or (neither) everything that lives."""

    task_id: int | None = None
    document_id: int | None = None

    def covers(self, task: TaskSummary) -> bool:
        """Whether a change of that task is wanted."""
        if self.task_id is not None:
            return task.id == self.task_id
        return self.document_id is None or task.document_id == self.document_id


class Subscription:
    """What one client has yet to hear."""

    def __init__(self, interest: Interest) -> None:
        self.interest = interest
        self.changed = asyncio.Event()
        self.overflowed = False  # what was pending is dropped: read everything anew
        self._known: dict[int, TaskSummary] = {}
        self._pending: dict[int, TaskSummary] = {}

    def offer(self, tasks: Iterable[TaskSummary]) -> None:
        """Keep those that are of interest and news."""
        for task in tasks:
            if self.interest.covers(task) and self._known.get(task.id) != task:
                self._remember(task)
                self._pending[task.id] = task
        if len(self._pending) > PENDING_MAX:
            self._pending.clear()
            self.overflowed = True
        if self._pending or self.overflowed:
            self.changed.set()

    def take(self) -> list[TaskSummary]:
        """What has changed since the last time."""
        self.changed.clear()
        pending, self._pending = self._pending, {}
        return list(pending.values())

    def reset(self, tasks: Iterable[TaskSummary]) -> None:
        """These have just been read and are about to be told."""
        self.overflowed = False
        self.take()
        self._known.clear()
        for task in tasks:
            self._remember(task)

    @property
    def unfinished_ids(self) -> list[int]:
        """Known tasks that have not ended."""
        return [task.id for task in self._known.values() if not task.final]

    @property
    def known(self) -> list[TaskSummary]:
        """The latest states; of a subscription to everything, only what lives."""
        return list(self._known.values())

    def gone(self, ids: Iterable[int]) -> None:
        """Rows that are no more."""
        known = [self._known[task_id] for task_id in ids if task_id in self._known]
        self.offer([task.model_copy(update={"status": "deleted"}) for task in known])

    def _remember(self, task: TaskSummary) -> None:
        everything = self.interest == Interest()
        if everything and task.final:
            self._known.pop(task.id, None)  # else it would grow for ever
        else:
            self._known[task.id] = task


class Changes:
    """The hub between the notifier and the subscriptions of this process."""

    def __init__(self, store: Store, notifier: Notifier, *, reread_seconds: float = 5.0) -> None:
        self._store = store
        self._notifier = notifier
        self._reread_seconds = reread_seconds
        self._subscriptions: set[Subscription] = set()
        self._somebody = asyncio.Event()
        self._changed_ids: set[int] = set()
        self._look = asyncio.Event()
        self._reread = False
        self._arrived = False  # somebody inserted, perhaps not alone
        self._relock = asyncio.Event()
        self._locked = False

    @property
    def locked(self) -> bool:
        """Whether this process holds the listening lock."""
        return self._locked

    @asynccontextmanager
    async def subscribe(self, interest: Interest) -> AsyncIterator[Subscription]:
        """Hear of changes from now on; begin with `read`."""
        subscription = Subscription(interest)
        self._subscriptions.add(subscription)
        self._somebody.set()
        self._relock.set()
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            if not self._subscriptions:
                self._somebody.clear()
                self._look.set()
                self._relock.set()

    async def read(self, interest: Interest) -> list[TaskSummary]:
        """The tasks as they are now. Raises Refusal when the database is away."""
        if interest.task_id is not None:
            rows = await self._store.rows("tasks_by_id", [interest.task_id])
        elif interest.document_id is not None:
            rows = await self._store.rows(
                "tasks_of_document", interest.document_id, None, None, None, None, TASKS_MAX
            )
        else:
            rows = await self._store.rows("live_tasks", LIVE_MAX, NEXT_MAX)
        return [TaskSummary.model_validate(row) for row in rows]

    def on_task_changed(self, payload: str) -> None:
        """For the notifier; returns at once."""
        if not self._subscriptions:
            return
        try:
            said = json.loads(payload)
            self._changed_ids.add(int(said["id"]))
            self._arrived = self._arrived or said["status"] in ARRIVED
        except (ValueError, TypeError, KeyError):
            log.warning("task_changed_not_understood", payload=payload[:200])
            return
        if len(self._changed_ids) > CHANGED_MAX:
            self._changed_ids.clear()
            self._reread = True
        self._look.set()

    async def on_connect(self) -> None:
        """For the notifier: a new connection holds no lock, and may have missed something."""
        self._locked = False
        self._relock.set()
        self._read_again()

    async def run(self) -> None:
        """Serve the subscriptions until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_lock(), name="listening lock")
            group.create_task(self._serve(), name="changes")

    async def _serve(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await self._somebody.wait()
            pauses = chain(FIRST_REREADS_SECONDS, repeat(self._reread_seconds))
            due = clock() + next(pauses)
            while self._subscriptions:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(due):
                        await self._look.wait()
                self._look.clear()
                if self._arrived:
                    self._arrived = False
                    due = min(due, clock() + ARRIVAL_REREAD_SECONDS)
                if clock() >= due:
                    self._reread = True
                    due = clock() + next(pauses)
                await self._tell()
                await asyncio.sleep(READ_PAUSE_SECONDS)

    async def _tell(self) -> None:
        ids, self._changed_ids = self._changed_ids, set()
        everything, self._reread = self._reread, False
        try:
            if everything:
                await self._tell_everything()
            elif ids:
                await self._tell_of(ids)
        except Refusal as refusal:
            self._reread = True  # the next look makes up for it
            log.warning("changes_not_read", error=refusal.detail)

    async def _tell_everything(self) -> None:
        interests = {subscription.interest for subscription in self._subscriptions}
        for interest in interests:
            if interest.task_id is None:
                tasks = await self.read(interest)
                for subscription in list(self._subscriptions):
                    if subscription.interest == interest:
                        subscription.offer(tasks)
        ids = {interest.task_id for interest in interests if interest.task_id is not None}
        for subscription in self._subscriptions:
            ids.update(subscription.unfinished_ids)
        await self._tell_of(ids)

    async def _tell_of(self, ids: set[int]) -> None:
        if not ids:
            return
        rows = await self._store.rows("tasks_by_id", list(ids))
        tasks = [TaskSummary.model_validate(row) for row in rows]
        gone = ids - {task.id for task in tasks}
        for subscription in list(self._subscriptions):
            subscription.offer(tasks)
            subscription.gone(gone)

    async def _keep_lock(self) -> None:
        pauses = _lock_pauses()
        while True:
            self._relock.clear()
            wanted = bool(self._subscriptions)
            if wanted and not self._locked and await self._try_lock():
                self._read_again()
            elif self._locked and not wanted:
                await self._unlock()
            if self._locked == bool(self._subscriptions):
                pauses = _lock_pauses()
                await self._relock.wait()
                continue
            await pause(next(pauses), self._relock)

    async def _try_lock(self) -> bool:
        with suppress(*DATABASE_ERRORS):
            self._locked = (
                await self._notifier.fetchval(
                    "SELECT pg_try_advisory_lock($1, $2)", LOCK_SPACE, LOCK_LISTENING
                )
                is True
            )
        return self._locked

    async def _unlock(self) -> None:
        self._locked = False
        with suppress(*DATABASE_ERRORS):  # a connection that broke has let go of it
            await self._notifier.fetchval(
                "SELECT pg_advisory_unlock($1, $2)", LOCK_SPACE, LOCK_LISTENING
            )

    def _read_again(self) -> None:
        self._reread = True
        self._look.set()


def _lock_pauses() -> Iterator[float]:
    return chain(LOCK_PAUSES_SECONDS, repeat(LOCK_PAUSE_SECONDS_MAX))
