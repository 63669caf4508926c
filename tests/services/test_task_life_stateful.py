"""The whole life of tasks against a small model: whatever backend, workers, monitor and time do in
whatever order, the rows are what the model says.

The model knows states, attempts, leases, dependencies and due times; it knows nothing of SQL. Time
is the test's: `reveille_now()` stands where the model's clock stands.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from reveille.database import connect
from reveille.outcome import Done, Outcome, Reject, Release, Retry
from reveille.sql import statement
from reveille.store import End, Registration, ServerEntry, Store
from reveille.task import Claim
from reveille.testing import Database, Databases

TASK_TYPE = "deck_date_extraction"
TIMEOUT_SECONDS, LOCK_GRACE_SECONDS, LEASE_SECONDS = 600, 60, 30
DEAD_WORKERS_MAX = 3
RETRY_SECONDS = 20
SERVERS = ("w-1", "w-2")
LIVE = {"blocked", "queued", "processing", "retry"}
ENDED_BADLY = {"failed", "cancelled"}
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
EXAMPLES, STEPS = 250, 50

pick = st.integers(min_value=0, max_value=10**6)


@dataclass(slots=True)
class Task:
    """A task as the model sees it. `waits_for` are the parents that have not let go of it."""

    priority: int
    max_retries: int
    status: str = "queued"
    retry_count: int = 0
    attempt: int = 0
    lost_count: int = 0
    due: float | None = None
    lock_until: float = 0.0
    claim: Claim | None = None
    server: str | None = None
    cancelled_by: int | None = None
    waits_for: dict[int, str] = field(default_factory=dict)  # parent → dependency type


class Model:
    """Tasks by id, servers by their last heartbeat, and the time in seconds."""

    def __init__(self) -> None:
        self.tasks: dict[int, Task] = {}
        self.heard: dict[str, float] = {}
        self.now = 0.0

    # What others do to a task

    def move(self, task_id: int, status: str) -> None:
        """A status that is set from outside, with all that follows from it."""
        task = self.tasks[task_id]
        before = task.status
        if status == before:
            return
        if status in {"queued", "retry"}:
            status = self._startable(task, before)
        if before not in LIVE and status in LIVE:  # redriven: it starts afresh
            task.lost_count = task.retry_count = 0
            task.cancelled_by = None
        self._enter(task, status)
        if task.status == before:
            return
        if before in ENDED_BADLY and task.status not in ENDED_BADLY:
            self._revive_children_of(task_id)
            self._release([task_id])
        if task.status not in LIVE and (before in LIVE or task.status == "completed"):
            self.parent_ended(task_id)

    def _startable(self, task: Task, before: str) -> str:
        held_back = any(p in self.tasks and self.tasks[p].status in LIVE for p in task.waits_for)
        if held_back and before not in {"blocked", "processing"}:
            return "blocked"
        return "retry" if task.due is not None and task.due > self.now else "queued"

    def _enter(self, task: Task, status: str) -> None:
        task.claim = task.server = None
        task.status = status
        if status not in {"retry", "blocked"}:
            task.due = None

    def delete(self, task_id: int) -> None:
        """Its dependents are cancelled."""
        del self.tasks[task_id]
        self.parent_ended(task_id)

    def parent_ended(self, parent: int) -> None:
        """What the end of a task means for those who depend on it."""
        completed = parent in self.tasks and self.tasks[parent].status == "completed"
        freed = []
        for child_id, child in sorted(self.tasks.items()):
            kind = child.waits_for.get(parent)
            if kind is not None and (completed or kind == "finished"):
                del child.waits_for[parent]
                freed.append(child_id)
        self._release(freed)
        if completed:
            return
        for child_id, child in sorted(self.tasks.items()):
            if parent in child.waits_for and child.status == "blocked":
                child.cancelled_by = parent
                self._enter(child, "cancelled")
                self.parent_ended(child_id)

    def _release(self, task_ids: Iterable[int]) -> None:
        for task_id in task_ids:
            task = self.tasks[task_id]
            if task.status == "blocked" and not task.waits_for:
                task.status = self._startable(task, "blocked")

    def _revive_children_of(self, parent: int) -> None:
        for child_id, child in sorted(self.tasks.items()):
            if child.cancelled_by != parent or child.status != "cancelled":
                continue
            others = [
                p
                for p, kind in child.waits_for.items()
                if p != parent and kind != "finished" and self._is_bad(p)
            ]
            if others:
                child.cancelled_by = min(others)
            else:
                self.move(child_id, "blocked")

    def _is_bad(self, parent: int) -> bool:
        return parent not in self.tasks or self.tasks[parent].status in ENDED_BADLY

    # What workers and the monitor do

    def claimable(self) -> list[int]:
        """Best first."""
        queued = [(-t.priority, i) for i, t in self.tasks.items() if t.status == "queued"]
        return [task_id for _, task_id in sorted(queued)]

    def claimed(self, claim: Claim, server: str) -> None:
        """A server has it now."""
        task = self.tasks[claim.task_id]
        task.status, task.claim, task.server = "processing", claim, server
        task.attempt += 1
        task.due = None
        task.lock_until = self.now + TIMEOUT_SECONDS + LOCK_GRACE_SECONDS

    def settled(self, task_id: int, outcome: Outcome) -> None:
        """The attempt of its holder ended."""
        task = self.tasks[task_id]
        match outcome:
            case Done():
                self._end(task_id, "completed")
            case Reject():
                self._end(task_id, "failed")
            case Release():
                task.attempt -= 1
                self._enter(task, "queued")
            case Retry() if task.retry_count >= task.max_retries:
                self._end(task_id, "failed")
            case Retry():
                task.retry_count += 1
                self._enter(task, "retry")
                task.due = self.now + RETRY_SECONDS

    def _end(self, task_id: int, status: str) -> None:
        self._enter(self.tasks[task_id], status)
        self.parent_ended(task_id)

    def recover(self) -> None:
        """Tasks of silent servers and tasks held too long go back."""
        for task_id, task in sorted(self.tasks.items()):
            if task.status != "processing" or task.server is None:
                continue
            silent = self.heard[task.server] < self.now - LEASE_SECONDS
            if not silent and task.lock_until >= self.now:
                continue
            task.lost_count += 1
            if task.lost_count >= DEAD_WORKERS_MAX or task.retry_count >= task.max_retries:
                self._end(task_id, "failed")
            else:
                task.retry_count += 1
                self._enter(task, "queued")

    def queue_due(self) -> None:
        """Retries whose time has come."""
        for task_id, task in sorted(self.tasks.items()):
            if task.status == "retry" and task.due is not None and task.due <= self.now:
                self.move(task_id, "queued")


class OneConnection:
    """A pool of one connection, whose session has the test's time."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.fetch = connection.fetch
        self.fetchval = connection.fetchval
        self.fetchrow = connection.fetchrow
        self.execute = connection.execute

    @asynccontextmanager
    async def acquire(self) -> Any:
        """Always the same."""
        yield self._connection


class TaskLife(RuleBasedStateMachine):
    """Runs the same steps on the database and on the model. `runner` and `database` are set by the
    test.
    """

    runner: asyncio.Runner
    database: Database

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.old_claims: list[Claim] = []
        self.connection: Any = None

    def run(self, work: Awaitable[Any]) -> Any:
        """Wait for it."""

        async def wait() -> Any:
            return await work

        return self.runner.run(wait())

    @initialize()
    def open(self) -> None:
        """An empty queue, two servers."""
        self.connection = self.run(connect(self.database.dsn, application_name="test"))
        self.run(self.connection.execute("TRUNCATE processing_queue, processing_servers CASCADE"))
        self.store = Store(OneConnection(self.connection), lock_grace_seconds=LOCK_GRACE_SECONDS)
        self._set_clock()
        self.servers: dict[str, Registration] = {}
        for name in SERVERS:
            self._register(name)

    def teardown(self) -> None:
        """Give the connection back."""
        if self.connection is not None:
            self.run(self.connection.close())

    def _set_clock(self) -> None:
        now = BEGINNING + timedelta(seconds=self.model.now)
        self.run(
            self.connection.execute("SELECT set_config('reveille.now', $1, false)", now.isoformat())
        )

    def _register(self, name: str) -> None:
        entry = ServerEntry(
            server_id=name,
            server_type="text_container",
            pool="text",
            task_types=[TASK_TYPE],
            slots=4,
            version="0",
            has_presence=False,
            status="active",
        )
        self.servers[name] = self.run(self.store.register(entry))
        self.model.heard[name] = self.model.now

    def _choose(self, number: int, *statuses: str) -> int | None:
        ids = [i for i, t in sorted(self.model.tasks.items()) if t.status in statuses]
        return ids[number % len(ids)] if ids else None

    # The backend

    @rule(
        priority=st.integers(1, 3),
        max_retries=st.integers(0, 3),
        parents=st.lists(st.tuples(pick, st.sampled_from(["completion", "finished"])), max_size=2),
        delay=st.sampled_from([None, None, None, 15.0]),
    )
    def insert(
        self, priority: int, max_retries: int, parents: list[tuple[int, str]], delay: float | None
    ) -> None:
        """A task, perhaps with parents, perhaps for later."""
        known = sorted(self.model.tasks)
        edges = {known[number % len(known)]: kind for number, kind in parents if known}
        due = None if delay is None else self.model.now + delay
        task_id = self.run(self._insert(priority, max_retries, edges, due))
        task = Task(priority=priority, max_retries=max_retries, due=due, waits_for=edges)
        self.model.tasks[task_id] = task
        task.status = "blocked" if edges else "retry" if due is not None else "queued"
        for parent in list(edges):
            if self.model.tasks[parent].status not in LIVE:
                self.model.parent_ended(parent)

    async def _insert(
        self, priority: int, max_retries: int, edges: dict[int, str], due: float | None
    ) -> int:
        async with self.connection.transaction():
            task_id: int = await self.connection.fetchval(
                "INSERT INTO processing_queue (document_id, task_type, priority, max_retries, next_retry_at) "
                "VALUES (1, $1, $2, $3, $4) RETURNING id",
                TASK_TYPE,
                priority,
                max_retries,
                None if due is None else BEGINNING + timedelta(seconds=due),
            )
            await self.connection.executemany(
                "INSERT INTO task_dependencies (dependent_task_id, depends_on_task_id, dependency_type) "
                "VALUES ($1, $2, $3)",
                [(task_id, parent, kind) for parent, kind in edges.items()],
            )
        return task_id

    @rule(number=pick, status=st.sampled_from(["queued", "failed", "cancelled", "completed"]))
    def set_status(self, number: int, status: str) -> None:
        """A plain UPDATE from outside."""
        allowed = {"queued", "processing", "retry", "completed", "failed", "cancelled"}
        if status != "queued":
            allowed.add("blocked")  # queueing a blocked task by hand overrides its parents
        task_id = self._choose(number, *allowed)
        if task_id is not None:
            self.run(
                self.connection.execute(
                    "UPDATE processing_queue SET status = $2 WHERE id = $1", task_id, status
                )
            )
            self.model.move(task_id, status)

    @rule(number=pick)
    def redrive(self, number: int) -> None:
        """retry_failed_task."""
        task_id = self._choose(number, "failed", "cancelled", "retry")
        if task_id is not None:
            assert self.run(self.connection.fetchval("SELECT retry_failed_task($1)", task_id))
            self.model.tasks[task_id].due = None
            self.model.move(task_id, "queued")

    @rule(number=pick)
    def delete(self, number: int) -> None:
        """DELETE of the row."""
        task_id = self._choose(number, *LIVE, *ENDED_BADLY, "completed")
        if task_id is not None:
            self.run(self.connection.execute("DELETE FROM processing_queue WHERE id = $1", task_id))
            self.model.delete(task_id)

    # Workers

    @rule(name=st.sampled_from(SERVERS), limit=st.integers(1, 3))
    def claim(self, name: str, limit: int) -> None:
        """The best ones, and no others."""
        expected = self.model.claimable()[:limit]
        claims = self.run(self.store.claim(self.servers[name], [TASK_TYPE], limit))
        assert [claim.task_id for claim in claims] == expected
        for claim in claims:
            self.model.claimed(claim, name)
            self.old_claims.append(claim)

    @precondition(lambda self: self.old_claims)
    @rule(
        number=pick,
        outcome=st.sampled_from(
            [
                Done(),
                Done(),
                Retry(reason="r", error="again", after_seconds=RETRY_SECONDS),
                Reject(reason="r", error="never"),
                Release(),
            ]
        ),
    )
    def settle(self, number: int, outcome: Outcome) -> None:
        """Any claim ever made may be settled; only that of the present holder counts."""
        claim = self.old_claims[number % len(self.old_claims)]
        task = self.model.tasks.get(claim.task_id)
        ours = task is not None and task.claim == claim
        settled = self.run(self.store.settle([End(claim=claim, outcome=outcome)]))
        assert bool(settled) == ours
        if ours:
            self.model.settled(claim.task_id, outcome)

    @rule(name=st.sampled_from(SERVERS))
    def heartbeat(self, name: str) -> None:
        """A sign of life; due retries are queued on the way."""
        held = [t.claim for t in self.model.tasks.values() if t.server == name and t.claim]
        row = self.run(
            self.connection.fetchrow(
                statement("heartbeat"),
                name,
                self.servers[name].epoch,
                len(held),
                [claim.task_id for claim in held],
                [claim.lease_token for claim in held],
                [TASK_TYPE],
            )
        )
        assert row["lost"] == []
        self.model.heard[name] = self.model.now
        self.model.queue_due()

    # The monitor, and time

    @rule()
    def recover(self) -> None:
        """What the dead held goes back."""
        self.run(self.connection.fetch("SELECT * FROM reveille_recover_tasks($1)", LEASE_SECONDS))
        self.model.recover()

    @rule(seconds=st.sampled_from([1.0, 10.0, 25.0, 31.0, 700.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.model.now += seconds
        self._set_clock()

    @invariant()
    def agree(self) -> None:
        """Row by row."""
        if self.connection is None:
            return
        rows = self.run(
            self.connection.fetch(
                "SELECT id, status, retry_count, attempt, lost_count, lease_token, locked_by, "
                "cancelled_by_task_id FROM processing_queue"
            )
        )
        found = {row["id"]: tuple(row.values())[1:] for row in rows}
        assert found == {task_id: _row(task) for task_id, task in self.model.tasks.items()}


def _row(task: Task) -> tuple[Any, ...]:
    token = task.claim.lease_token if task.claim is not None else None
    counts = (task.retry_count, task.attempt, task.lost_count)
    return (task.status, *counts, token, task.server, task.cancelled_by)


def test_rows_agree_with_the_model_whatever_happens_in_whatever_order(
    databases: Databases,
) -> None:
    """No order of events leaves a task in a state that nobody meant."""

    async def opened() -> tuple[Database, Callable[[], Awaitable[Any]]]:
        context = databases.migrated()
        return await context.__aenter__(), lambda: context.__aexit__(None, None, None)

    with asyncio.Runner() as runner:
        database, close = runner.run(opened())
        try:
            machine = type("Life", (TaskLife,), {"runner": runner, "database": database})
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=EXAMPLES,
                    stateful_step_count=STEPS,
                    deadline=None,
                    derandomize=False,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(_closed(close))


async def _closed(close: Callable[[], Awaitable[Any]]) -> None:
    await close()
