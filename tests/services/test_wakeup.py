"""No claimable task waits while a free worker sleeps: random interleavings of writers and workers.

The workers are the real ones with trivial handlers; their heartbeats find nothing, so that only
notifications and second looks can wake them. The writers hold transactions open, commit slowly,
roll back, enqueue single rows and batches. The race that all of this is about is also played by
hand, once with second looks and once without: there the task must be missed.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from reveille.notifier import SecondLooks
from reveille.outcome import Done, Outcome
from reveille.settings import WorkerSettings
from reveille.store import Pulse
from reveille.telemetry import configure
from reveille.testing import Database, eventually
from reveille.worker import WorkerService, floors

TASK_TYPE = "deck_date_extraction"
ROUNDS = 50
SEEDS = range(6)
WORKERS, WRITERS = 3, 5
# What is missed here is missed for ever: no heartbeat finds it. A busy machine may take its time.
CLAIM_SECONDS_MAX = 10.0
MISSED_SECONDS = 1.0
# Fires after the wake-up's trigger, so that a commit is slow when its notification was skipped or queued.
SLOW_COMMITS = """\
CREATE FUNCTION slow_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep((NEW.company_id)::double precision);
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER zz_slow_commit AFTER INSERT ON processing_queue
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.company_id IS NOT NULL)
    EXECUTE FUNCTION slow_commit()"""

HOLDS_THE_GATE = """\
SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 5395020
    AND objid = hashtext('text')::bigint & x'ffffffff'::bigint AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""


class Ledger:
    """When each task was committed and when its handler started, by document id."""

    def __init__(self) -> None:
        self.committed_at: dict[int, float] = {}
        self.started_at: dict[int, float] = {}
        self._news = asyncio.Event()

    def committed(self, documents: range) -> None:
        """These are there for everybody to see."""
        now = asyncio.get_running_loop().time()
        self.committed_at |= dict.fromkeys(documents, now)
        self._news.set()

    def started(self, document_id: int) -> None:
        """A handler has it."""
        self.started_at.setdefault(document_id, asyncio.get_running_loop().time())
        self._news.set()

    @property
    def waiting(self) -> set[int]:
        """Committed and not started."""
        return self.committed_at.keys() - self.started_at.keys()

    @property
    def waits_seconds(self) -> list[float]:
        """From commit to start, ascending."""
        return sorted(self.started_at[d] - at for d, at in self.committed_at.items())

    async def until_all_started(self, within_seconds: float = CLAIM_SECONDS_MAX) -> None:
        """Return when nothing waits; raises TimeoutError when something waits too long."""
        async with asyncio.timeout(within_seconds):
            while self.waiting:
                self._news.clear()
                await self._news.wait()


class Sleepy(WorkerService):
    """A worker that hears nothing from its heartbeat about waiting tasks."""

    def _on_pulse(self, pulse: Pulse | None) -> None:
        super()._on_pulse(pulse and replace(pulse, waiting=False))


@asynccontextmanager
async def working(
    database: Database,
    ledger: Ledger,
    server_id: str,
    *,
    kind: type[WorkerService] = Sleepy,
    heartbeat_seconds: float = 3600,
) -> AsyncIterator[WorkerService]:
    """A worker with two slots that needs no model, ready to be woken."""
    chance = random.Random(server_id)

    async def handler(_options: Any, context: Any) -> Outcome:
        ledger.started(context.task.document_id)
        await asyncio.sleep(chance.choice([0, 0, 0.001, 0.005]))
        return Done()

    async def no_model(_models: Any) -> None:
        return None

    settings = WorkerSettings(
        DATABASE_URL=database.dsn, server_id=server_id, slots=2, heartbeat_seconds=heartbeat_seconds
    )
    telemetry = configure("test")
    worker = kind(settings, telemetry, pool="text", handlers={TASK_TYPE: handler})
    worker.model.ready = no_model  # type: ignore[method-assign]
    life = asyncio.create_task(worker.run())
    try:
        await until_active(database, server_id, life)
        yield worker
    finally:
        worker.stopping.set()
        await life
        await telemetry.aclose()


async def until_active(database: Database, server_id: str, life: asyncio.Task[None]) -> None:
    """Return when the server's row says active, or raise what ended it."""
    changed = asyncio.Event()
    async with database.connect() as connection:
        await connection.add_listener("server_changed", lambda *_: changed.set())
        life.add_done_callback(lambda _: changed.set())
        while not await database.fetchval(
            "SELECT EXISTS (SELECT FROM processing_servers WHERE id = $1 AND status = 'active')",
            server_id,
        ):
            await changed.wait()
            changed.clear()
            if life.done():
                await life


async def write(connection: Any, chance: random.Random, documents: range, ledger: Ledger) -> None:
    """One transaction of a backend, of a random kind; `documents` are its rows."""
    insert = (
        f"INSERT INTO processing_queue (document_id, task_type, priority, company_id) "  # noqa: S608
        f"SELECT n, '{TASK_TYPE}', $3, CASE WHEN n = $1 THEN $4 END FROM generate_series($1::bigint, $2) n"
    )
    slow = chance.choice([None] * 5 + ["0.001", "0.01", "0.01", "0.03", "0.03", "0.2"])
    values = (documents.start, documents.stop - 1, chance.choice([1, 1, 2, 3]), slow)
    await asyncio.sleep(chance.choice([0, 0, 0.001, 0.003, 0.02]))
    if chance.random() < 0.3:
        await connection.execute(insert, *values)
        ledger.committed(documents)
        return
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(insert, *values)
    await asyncio.sleep(chance.choice([0, 0.001, 0.002, 0.005, 0.01, 0.03, 0.03, 0.2]))
    if chance.random() < 0.2:
        await transaction.rollback()
        return
    await transaction.commit()
    ledger.committed(documents)


async def burst(connections: list[Any], chance: random.Random, first: int, ledger: Ledger) -> int:
    """Several writers at once; the next free document id."""
    jobs = []
    for connection in chance.sample(connections, chance.randint(1, WRITERS)):
        documents = range(first, first + chance.choice([1, 1, 1, 2, 20]))
        first = documents.stop
        jobs.append(write(connection, chance, documents, ledger))
    await asyncio.gather(*jobs)
    return first


@asynccontextmanager
async def stage(database: Database, ledger: Ledger) -> AsyncIterator[list[Any]]:
    """Workers at work, writers connected: the writers' connections."""
    await database.execute(SLOW_COMMITS)
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(database.connect()) for _ in range(WRITERS)]
        for n in range(WORKERS):
            await stack.enter_async_context(working(database, ledger, f"worker-{n}"))
        yield connections


@pytest.mark.parametrize("seed", SEEDS)
async def test_no_claimable_task_waits_while_a_free_worker_sleeps(
    database: Database, seed: int
) -> None:
    """Whatever the interleaving of open, slow and undone commits, no task is left lying."""
    chance, ledger, documents = random.Random(seed), Ledger(), 1
    async with stage(database, ledger) as connections:
        for number in range(ROUNDS):
            documents = await burst(connections, chance, documents, ledger)
            if chance.random() < 0.7:  # else the next burst begins in the middle of this one's work
                try:
                    await ledger.until_all_started()
                except TimeoutError:
                    pytest.fail(f"round {number}: documents {sorted(ledger.waiting)} wait")
        await ledger.until_all_started()

    waits = ledger.waits_seconds
    assert waits[len(waits) // 2] < 0.5


async def test_no_claimable_task_waits_when_looks_begin_at_floors(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same beside an old snapshot: each look begins late, and surveys find what it left out."""
    monkeypatch.setattr(floors, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(floors, "PAUSE_SECONDS_MIN", 0.05)
    chance, ledger, documents = random.Random(7), Ledger(), 1
    async with stage(database, ledger) as connections:
        for _ in range(ROUNDS):
            documents = await burst(connections, chance, documents, ledger)
            await ledger.until_all_started()
        # Old tasks are wanted again, below every floor.
        await database.execute("UPDATE processing_queue SET company_id = NULL")
        ledger.started_at.clear()
        ledger.committed_at.clear()
        await database.execute(
            "UPDATE processing_queue SET status = 'queued' WHERE document_id <= 5"
        )
        rows = await database.fetch(
            "SELECT document_id FROM processing_queue WHERE document_id <= 5"
        )
        assert rows
        for row in rows:
            ledger.committed(range(row["document_id"], row["document_id"] + 1))
        await ledger.until_all_started()


async def skip(database: Database, ledger: Ledger) -> None:
    """The race that the gate leaves open: one skips its notification, because another is about to
    send one, and commits after it.
    """
    insert = (
        "INSERT INTO processing_queue (document_id, task_type, company_id) "
        "VALUES ($1, 'deck_date_extraction', $2)"
    )
    async with database.connect() as holder, database.connect() as skipper:
        holding = asyncio.create_task(holder.execute(insert, 1, "0.2"))
        await eventually(lambda: database.fetchval(HOLDS_THE_GATE))
        skipping = asyncio.create_task(skipper.execute(insert, 2, "0.5"))
        await holding
        ledger.committed(range(1, 2))
        await skipping
        ledger.committed(range(2, 3))


async def test_skipper_that_commits_after_the_holder_is_found(database: Database) -> None:
    """The second looks go on until the skipper's commit is there."""
    ledger = Ledger()
    await database.execute(SLOW_COMMITS)
    async with working(database, ledger, "w"):
        await skip(database, ledger)
        await ledger.until_all_started()


async def test_skipper_is_missed_by_a_worker_that_does_not_look_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without second looks its task waits: the tests above can fail."""

    async def never(_looks: SecondLooks) -> AsyncIterator[None]:
        return
        yield

    monkeypatch.setattr(SecondLooks, "moments", never)
    ledger = Ledger()
    await database.execute(SLOW_COMMITS)
    async with working(database, ledger, "w"):
        await skip(database, ledger)
        with pytest.raises(TimeoutError):
            await ledger.until_all_started(MISSED_SECONDS)

    assert ledger.waiting == {2}


async def test_skipped_wake_up_whose_holder_is_undone_is_found_by_the_heartbeat(
    database: Database,
) -> None:
    """Who held the gate and then rolled back notified nobody: the backstop finds what the others left to it."""
    ledger = Ledger()
    insert = f"INSERT INTO processing_queue (document_id, task_type) VALUES ($1, '{TASK_TYPE}')"  # noqa: S608
    one = working(database, ledger, "w", kind=WorkerService, heartbeat_seconds=0.2)
    async with one, database.connect() as holder:
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute(insert, 1)
        await holder.execute("SET CONSTRAINTS ALL IMMEDIATE")
        await database.execute(insert, 2)
        await transaction.rollback()
        ledger.committed(range(2, 3))

        await ledger.until_all_started()


async def test_rescue_by_the_heartbeat_is_counted(database: Database) -> None:
    """A notification that never comes is seen on a dashboard, not only felt as a delay."""
    ledger = Ledger()
    one = working(database, ledger, "w", kind=WorkerService, heartbeat_seconds=0.2)
    async with one as worker:
        await eventually(lambda: worker.turns.looks is not None)  # the looks after the first turn,
        await eventually(lambda: worker.turns.looks is None)  # and their end: now it sleeps
        await database.execute(
            "ALTER TABLE processing_queue DISABLE TRIGGER reveille_20_after_insert"
        )
        await database.execute(
            f"INSERT INTO processing_queue (document_id, task_type) VALUES (1, '{TASK_TYPE}')"  # noqa: S608
        )
        ledger.committed(range(1, 2))
        await ledger.until_all_started()
        text = worker.telemetry.metrics_text().decode()
    assert 'reveille_wakeup_rescues_total{pool="text"} 1.0' in text
