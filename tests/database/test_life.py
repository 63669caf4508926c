"""The whole life of tasks against a small model: any order of any steps, with time passing."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.database.life_model import Edge, Life, Server, Task

from reveille.database import connect_pool
from reveille.outcome import Done, Reject, Release, ResultRow, Retry
from reveille.store import End, Registration, ServerEntry, Step, Store
from reveille.task import Claim
from reveille.testing import Databases

TYPE = "deck_date_extraction"
SERVERS = ("worker-1", "worker-2")
BEGINNING = datetime(2026, 1, 31, 23, 58, tzinfo=UTC)  # the archive's months change on the way
TASKS_MAX = 5  # few, so that steps meet each other
ANY = st.integers(0, TASKS_MAX - 1)
OUTCOMES = {
    "done": Done(
        results=[
            ResultRow(
                "extraction_results", {"kind": "deck_date", "value": "May 2026", "model": "m"}
            )
        ]
    ),
    "retry": Retry(reason="model_busy", error="the model is busy", after_seconds=10),
    "reject": Reject(reason="bad_input", error="no pages"),
    "release": Release(),
}
# How many lives the suite tries; more by hand: REVEILLE_LIVES=2000 pytest tests/database/test_life.py
LIVES = int(os.environ.get("REVEILLE_LIVES", "100"))


def steps() -> st.SearchStrategy[tuple[Any, ...]]:
    """A method of Both with its arguments; what moves tasks comes more often."""
    name = st.sampled_from(SERVERS)
    outcome = st.sampled_from(sorted(OUTCOMES))
    insert = st.tuples(
        st.just("insert"),
        st.integers(1, 3),
        st.integers(0, 3),
        st.sampled_from([0, 0, 0, 20]),
        st.lists(st.tuples(ANY, st.booleans()), max_size=2),
    )
    claim = st.tuples(st.just("claim"), name, st.integers(1, 3))
    settle = st.tuples(st.just("settle"), st.lists(st.tuples(ANY, outcome), min_size=1, max_size=3))
    time_passes = st.tuples(st.just("time_passes"), st.sampled_from([1, 10, 31, 661]))
    said = st.sampled_from(["queued", "completed", "failed", "cancelled"])
    return st.one_of(
        insert,
        insert,
        claim,
        claim,
        settle,
        settle,
        time_passes,
        st.tuples(st.just("crash"), name),
        st.tuples(st.just("set_status"), ANY, said),
        st.tuples(st.just("retry"), st.integers(0, TASKS_MAX)),
        st.tuples(st.sampled_from(["delete", "report"]), ANY),
        st.tuples(
            st.sampled_from(["heartbeat", "come_back", "lose", "claim_by_a_replaced_one"]), name
        ),
        st.tuples(st.sampled_from(["recover", "queue_due", "archive"])),
    )


class Both:
    """The database and the model. Each method does one thing in both and compares the answers; one
    for which there is no task or no claim yet does nothing.
    """

    def __init__(self, run: Callable[[Coroutine[Any, Any, Any]], Any], pool: Any) -> None:
        self.life = Life(BEGINNING)
        self.claims: list[Claim] = []  # all ever made; whether they still hold is the question
        self.store = Store(pool)
        self.pool = pool
        self.run = run
        self.registrations: dict[str, list[Registration]] = {name: [] for name in SERVERS}
        self._fetch(
            "TRUNCATE processing_queue, processing_queue_archive, processing_servers, "
            "task_dependencies, extraction_results CASCADE"
        )
        self._set_clock()
        for name in SERVERS:
            self._register(name)

    # The backend's

    def insert(
        self,
        priority: int,
        retries_max: int,
        delay_seconds: int,
        parents: list[tuple[int, bool]],
    ) -> None:
        if len(self._present()) >= TASKS_MAX:
            return
        known = [t.task_id for t in self.life.tasks.values() if t.status != "deleted"][-TASKS_MAX:]
        edges = {known[n % len(known)]: Edge(any_end) for n, any_end in parents if known}
        due = self.life.now + timedelta(seconds=delay_seconds) if delay_seconds else None
        task_id: int = self.run(self._insert(priority, retries_max, due, edges))
        self.life.insert(
            Task(task_id, priority=priority, retries_max=retries_max, due=due, parents=edges)
        )

    def set_status(self, n: int, status: str) -> None:
        if not self._present():
            return
        task = self._pick(self._present(), n)
        self._fetch("UPDATE processing_queue SET status = $2 WHERE id = $1", task, status)
        self.life.set_status(task, status)

    def retry(self, n: int) -> None:
        if not self.life.tasks:
            return
        stopped = [
            t.task_id for t in self.life.tasks.values() if t.status in ("failed", "cancelled")
        ]
        task = self._pick([*stopped, *self.life.tasks], n)
        ((retried,),) = self._fetch("SELECT retry_failed_task($1)", task)
        assert retried == self.life.retry(task)

    def delete(self, n: int) -> None:
        if not self._present():
            return
        task = self._pick(self._present(), n)
        self._fetch("DELETE FROM processing_queue WHERE id = $1", task)
        self.life.delete(task)

    # The workers'

    def claim(self, name: str, limit: int) -> None:
        server, registration = self.life.servers[name], self.registrations[name][-1]
        expected = self.life.claimable(limit) if server.alive else []
        claims = self.run(self.store.claim(registration, [TYPE], limit))
        assert [c.task_id for c in claims] == [t.task_id for t in expected]
        for claim, task in zip(claims, expected, strict=True):
            self.life.claim(task, name, claim.lease_token)
        self.claims += claims

    def claim_by_a_replaced_one(self, name: str) -> None:
        for registration in self.registrations[name][:-1]:
            assert self.run(self.store.claim(registration, [TYPE], 3)) == []

    def settle(self, picked: list[tuple[int, Any]]) -> None:
        if not self.claims:
            return
        newest = self.claims[: -1 - TASKS_MAX : -1]
        ends = {self._pick(newest, n).task_id: (self._pick(newest, n), how) for n, how in picked}
        settled = self.run(
            self.store.settle([End(claim=c, outcome=OUTCOMES[how]) for c, how in ends.values()])
        )
        assert settled == self.life.settle(
            [(c.task_id, c.lease_token, how) for c, how in ends.values()]
        )

    def report(self, n: int) -> None:
        if not self.claims:
            return
        claim = self._pick(self.claims[::-1], n)
        step = Step(claim=claim, percentage=50, name="half", record=False)
        holds = claim.lease_token in self.run(self.store.report([step])).ours
        assert holds == self.life.holds(claim.task_id, claim.lease_token)

    def heartbeat(self, name: str) -> None:
        server = self.life.servers[name]
        rows = self._fetch(
            "UPDATE processing_servers SET last_heartbeat = reveille_now() "
            "WHERE id = $1 AND epoch = $2 AND status <> 'lost' RETURNING id",
            name,
            server.epoch,
        )
        assert bool(rows) == server.alive
        if server.alive:
            server.beat = self.life.now

    def come_back(self, name: str) -> None:
        self._register(name)

    # The monitor's, and time

    def lose(self, name: str) -> None:
        self._fetch("UPDATE processing_servers SET status = 'lost' WHERE id = $1", name)
        self.life.servers[name].alive = False

    def crash(self, name: str) -> None:
        """A worker dies with what it has just claimed, which the monitor sees; another is started."""
        self.claim(name, 1)
        self.lose(name)
        self.recover()
        self.come_back(name)

    def recover(self) -> None:
        rows = self._fetch("SELECT task_id FROM reveille_recover_tasks()")
        assert {row["task_id"] for row in rows} == self.life.recover()

    def queue_due(self) -> None:
        rows = self._fetch(
            "UPDATE processing_queue SET status = 'queued' "
            "WHERE status = 'retry' AND next_retry_at <= reveille_now() RETURNING id"
        )
        assert {row["id"] for row in rows} == self.life.queue_due()

    def archive(self) -> None:
        ((moved,),) = self._fetch(
            "SELECT moved FROM reveille_archive_tasks(reveille_now(), 0, 1000)"
        )
        assert moved == len(self.life.archive())

    def time_passes(self, seconds: int) -> None:
        self.life.now += timedelta(seconds=seconds)
        self._set_clock()

    # What always holds

    def compare_rows(self) -> None:
        rows = self._fetch(
            "SELECT q.id, status, locked_by, lease_token, retry_count, lost_count, "
            "reveille_history IS NOT NULL AS archived FROM processing_queue_all q"
        )
        assert {tuple(row) for row in rows} == {
            (t.task_id, t.status, t.server, t.token, t.retries, t.lost, t.archived)
            for t in self.life.tasks.values()
            if t.status != "deleted"
        }

    def compare_what_is_kept(self) -> None:
        """Each claim ended once, and each task that a worker completed has one result."""
        rows = self._fetch(
            "SELECT id, (SELECT count(*) FROM task_attempts a WHERE a.task_id = q.id) "
            "+ coalesce(jsonb_array_length(reveille_history -> 'attempts'), 0) AS attempts, "
            "(SELECT count(*) FROM extraction_results r WHERE r.task_id = q.id) AS results "
            "FROM processing_queue_all q"
        )
        for row in rows:
            task = self.life.tasks[row["id"]]
            runs = task.status == "processing"
            assert row["attempts"] + task.completions + runs == task.claims
            assert row["results"] == min(task.completions, 1)

    # Doing it

    def _present(self) -> list[int]:
        return [
            t.task_id for t in self.life.tasks.values() if t.status != "deleted" and not t.archived
        ]

    def _pick(self, some: Any, n: int) -> Any:
        return some[n % len(some)]

    def _fetch(self, query: str, *arguments: object) -> Any:
        return self.run(self._fetched(query, *arguments))

    async def _fetched(self, query: str, *arguments: object) -> Any:
        return await self.pool.fetch(query, *arguments)

    def _set_clock(self) -> None:
        self._fetch("SELECT set_config('reveille.now', $1, false)", self.life.now.isoformat())

    def _register(self, name: str) -> None:
        entry = ServerEntry(
            server_id=name,
            server_type="text_container",
            pool="text",
            task_types=[TYPE],
            slots=3,
            version="test",
            status="active",
        )
        registration = self.run(self.store.register(entry))
        self.registrations[name].append(registration)
        now = self.life.now
        self.life.servers[name] = Server(True, registration.epoch, since=now, beat=now)
        self.life.recover(only=name)  # what its predecessor held

    async def _insert(
        self, priority: int, retries_max: int, due: datetime | None, edges: dict[int, Edge]
    ) -> int:
        needed = [parent for parent, edge in edges.items() if not edge.any_end]
        async with self.pool.acquire() as connection, connection.transaction():
            task_id: int = await connection.fetchval(
                "INSERT INTO processing_queue (document_id, task_type, priority, max_retries, "
                "next_retry_at, depends_on) VALUES (7, $1, $2, $3, $4, $5) RETURNING id",
                TYPE,
                priority,
                retries_max,
                due,
                needed or None,
            )
            await connection.executemany(
                "INSERT INTO task_dependencies (dependent_task_id, depends_on_task_id, "
                "dependency_type) VALUES ($1, $2, 'finished')",
                [(task_id, parent) for parent, edge in edges.items() if edge.any_end],
            )
            return task_id


@pytest.fixture
def begin(databases: Databases) -> Iterator[Callable[[], Both]]:
    """Both, empty, on a database of this test's own; its one connection keeps the clock that is set."""
    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner())
        opened = databases.migrated()
        database = runner.run(opened.__aenter__())
        stack.callback(lambda: runner.run(opened.__aexit__(None, None, None)))
        pool = runner.run(connect_pool(database.dsn, application_name="test life", max_size=1))
        stack.callback(pool.terminate)
        yield lambda: Both(runner.run, pool)


def test_life_of_tasks_is_as_the_model_says(begin: Callable[[], Both]) -> None:
    """Whatever is done in whatever order, no row says anything else than the contract."""

    @settings(
        max_examples=LIVES,
        derandomize="REVEILLE_LIVES" not in os.environ,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(steps(), min_size=30, max_size=50))
    def live(life: list[tuple[Any, ...]]) -> None:
        both = begin()
        for name, *arguments in life:
            getattr(both, name)(*arguments)
            both.compare_rows()
        both.compare_what_is_kept()

    live()
