"""A worker whose database, neighbours or handlers misbehave; each of these once cost tasks or time."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from tests.chaos.proxy import Proxy

from model_stub import rules
from model_stub.server import running_stub
from reveille import database as database_module
from reveille.channels import PRESENCE_SPACE
from reveille.context import TaskContext
from reveille.database import connect_pool
from reveille.errors import TaskRetry
from reveille.outcome import Done, Outcome, ResultRow
from reveille.processes import start_module
from reveille.settings import WorkerSettings
from reveille.store import Turn
from reveille.telemetry import configure
from reveille.testing import Database, eventually
from reveille.testing_pdfs import deck
from reveille.worker import WorkerService

TASK_TYPE = "deck_date_extraction"
FACT = {"kind": "deck_date", "value": "2025-03", "model": "rules-stub"}

Handle = Callable[[TaskContext], Awaitable[Outcome]]


async def done(_context: TaskContext) -> Outcome:
    return Done(results=[ResultRow("extraction_results", FACT)])


def worker_of(database: Database, handle: Handle, **settings: Any) -> WorkerService:
    """A worker with two slots whose every task is handled by `handle`; it needs no model."""

    async def handler(_options: Any, context: TaskContext) -> Outcome:
        return await handle(context)

    async def no_model(_models: Any) -> None:
        return None

    given = {"server_id": "w-1", "slots": 2, "heartbeat_seconds": 0.2, **settings}
    worker = WorkerService(
        WorkerSettings(DATABASE_URL=database.dsn, backoff_base_seconds=0.01, **given),
        configure("test"),
        pool="text",
        handlers={TASK_TYPE: handler},
    )
    worker.model.ready = no_model  # type: ignore[method-assign]
    return worker


def after_setup(worker: WorkerService, change: Callable[[], None]) -> None:
    """Change something that the worker's setup makes, before anything runs."""
    setup = worker.setup

    async def setup_and_change() -> None:
        await setup()
        change()

    worker.setup = setup_and_change  # type: ignore[method-assign]


@asynccontextmanager
async def living(worker: WorkerService, database: Database) -> AsyncIterator[asyncio.Task[None]]:
    """The worker, active; stopped and gone at the end of the block."""
    life = asyncio.create_task(worker.run())

    async def active() -> bool:
        if life.done():
            await life
        return await server(database, "status", worker.worker_settings.server_id) == "active"

    try:
        await eventually(active)
        yield life
    finally:
        worker.stopping.set()
        await life
        await worker.telemetry.aclose()


async def server(database: Database, column: str, server_id: str = "w-1") -> Any:
    return await database.fetchval(
        f"SELECT {column} FROM processing_servers WHERE id = $1",  # noqa: S608
        server_id,
    )


async def add(database: Database, **columns: Any) -> int:
    columns = {"document_id": 1, "task_type": TASK_TYPE} | columns
    marks = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
    task_id: int = await database.fetchval(
        f"INSERT INTO processing_queue ({', '.join(columns)}) VALUES ({marks}) RETURNING id",  # noqa: S608
        *columns.values(),
    )
    return task_id


async def ended(database: Database, task_id: int, within_seconds: float = 10) -> dict[str, Any]:
    """The task's row when it is completed, failed or cancelled."""
    return await eventually(
        lambda: database.fetchrow(
            "SELECT * FROM processing_queue WHERE id = $1 "
            "AND status IN ('completed', 'failed', 'cancelled')",
            task_id,
        ),
        within_seconds=within_seconds,
    )  # type: ignore[return-value]


async def set_status(database: Database, task_id: int, status: str) -> None:
    await database.execute("UPDATE processing_queue SET status = $2 WHERE id = $1", task_id, status)


async def test_completed_task_that_is_set_back_has_its_new_results_only(
    database: Database,
) -> None:
    """Run again by hand, a task still has one result set, the latest."""
    async with living(worker_of(database, done), database):
        task_id = await add(database)
        await ended(database, task_id)
        first = await database.fetchval("SELECT id FROM extraction_results")

        await set_status(database, task_id, "queued")
        await ended(database, task_id)

    results = await database.fetch("SELECT id, task_id FROM extraction_results")
    assert [row["task_id"] for row in results] == [task_id]
    assert results[0]["id"] > first


async def test_results_that_the_database_refuses_fail_their_own_task_only(
    database: Database,
) -> None:
    """A handler's slip must not be sent for ever, with everybody else's results behind it."""

    async def handle(context: TaskContext) -> Outcome:
        kind = "nonsense" if context.task.document_id == 2 else "deck_date"
        return Done(results=[ResultRow("extraction_results", FACT | {"kind": kind})])

    async with living(worker_of(database, handle), database):
        bad = await add(database, document_id=2, max_retries=1)
        good = await add(database)
        assert (await ended(database, good))["status"] == "completed"
        row = await ended(database, bad)

    assert (row["status"], row["failure_reason"]) == ("failed", "results_refused")
    assert "extraction_results_kind_check" in row["last_error"]


@pytest.mark.parametrize(
    "options",
    [
        "'{\"a\":' || repeat('[', 300) || repeat(']', 300) || '}'",
        "'{\"a\":' || repeat('7', 5000) || '}'",
    ],
)
async def test_options_that_python_cannot_read_fail_their_own_task_only(
    database: Database, options: str
) -> None:
    """Postgres takes JSON that the parser does not: the claim of such a row once ended worker after worker."""
    await database.execute("UPDATE pools SET paused = true")
    insert = "INSERT INTO processing_queue (document_id, task_type, processing_options)"
    bad = await database.fetchval(
        f"{insert} VALUES (1, '{TASK_TYPE}', ({options})::jsonb) RETURNING id"
    )
    good = [await add(database) for _ in range(3)]
    async with living(worker_of(database, done, slots=4), database) as life:
        await database.execute("UPDATE pools SET paused = false")
        row = await ended(database, bad)
        for task_id in good:
            assert (await ended(database, task_id))["status"] == "completed"
        assert not life.done()

    assert (row["status"], row["failure_reason"], row["lost_count"]) == ("failed", "bad_options", 0)
    assert "unreadable JSON" in row["last_error"]


async def others_end_beside_a_locked_row(
    database: Database, worker: WorkerService, started: asyncio.Event, go_on: asyncio.Event
) -> list[int]:
    """A forgotten session keeps the row of a running task: the others that end meanwhile, and it does
    once it may. The handler of document 2 says `started` and waits for `go_on`.
    """
    async with living(worker, database), database.connect() as forgotten:
        locked = await add(database, document_id=2)
        async with asyncio.timeout(20):
            await started.wait()
        transaction = forgotten.transaction()
        await transaction.start()
        await forgotten.execute("SELECT 1 FROM processing_queue WHERE id = $1 FOR UPDATE", locked)
        go_on.set()
        others = [await add(database) for _ in range(3)]
        for task_id in others:
            assert (await ended(database, task_id))["status"] == "completed"
        await transaction.rollback()
        assert (await ended(database, locked))["status"] == "completed"
    return others


async def test_row_that_somebody_keeps_locked_holds_up_its_own_end_only(
    database: Database,
) -> None:
    """A forgotten session in psql may not stop a worker."""
    started, go_on = asyncio.Event(), asyncio.Event()

    async def handle(context: TaskContext) -> Outcome:
        if context.task.document_id == 2:
            started.set()
            await go_on.wait()
        return await done(context)

    worker = worker_of(database, handle)
    worker.lock_seconds_max = 0.2
    await others_end_beside_a_locked_row(database, worker, started, go_on)


async def test_row_that_somebody_keeps_locked_holds_up_its_own_progress_only(
    database: Database,
) -> None:
    """One statement writes the reports of all: it may not wait for one, and the ends of the others not for it."""
    started, go_on = asyncio.Event(), asyncio.Event()

    async def handle(context: TaskContext) -> Outcome:
        if context.task.document_id == 2:
            started.set()
            await go_on.wait()
        await context.progress(50, "half")
        return await done(context)

    worker = worker_of(database, handle)
    others = await others_end_beside_a_locked_row(database, worker, started, go_on)

    written = await database.fetch("SELECT DISTINCT processing_queue_id FROM processing_progress")
    assert {row["processing_queue_id"] for row in written} >= set(others)


async def test_task_that_comes_back_while_its_old_attempt_runs_is_not_mistaken_for_it(
    database: Database,
) -> None:
    """Set back by hand and claimed by the same worker at once: the old attempt goes, the new one stays."""
    attempts: list[int] = []
    go_on = asyncio.Event()

    async def handle(context: TaskContext) -> Outcome:
        attempts.append(context.task.attempt)
        if len(attempts) == 1:
            try:
                await asyncio.Event().wait()
            finally:
                await go_on.wait()  # an attempt that takes its time to die
        await go_on.wait()
        return await done(context)

    async with living(worker_of(database, handle), database):
        task_id = await add(database)
        await eventually(lambda: attempts == [1])
        await set_status(database, task_id, "queued")
        await eventually(lambda: attempts == [1, 2])
        beat = await server(database, "last_heartbeat")
        # Heartbeats with both attempts at hand have come and gone.
        await eventually(lambda: _later(database, beat))
        go_on.set()
        row = await ended(database, task_id)

    assert (row["status"], row["attempt"], attempts) == ("completed", 2, [1, 2])


async def _later(database: Database, beat: Any) -> bool:
    return (await server(database, "last_heartbeat") - beat).total_seconds() > 0.5


async def test_database_that_breaks_during_registration_is_waited_for(database: Database) -> None:
    """A restart of Postgres at the wrong moment may not end the process."""
    worker = worker_of(database, done)
    failures = [ConnectionResetError("gone"), ConnectionError("the LISTEN connection is down")]

    def make_fragile() -> None:
        register = worker.store.register

        async def fragile(entry: Any) -> Any:
            if failures:
                raise failures.pop()
            return await register(entry)

        worker.store.register = fragile  # type: ignore[method-assign]

    after_setup(worker, make_fragile)
    async with living(worker, database):
        assert not failures
        assert (await ended(database, await add(database)))["status"] == "completed"


async def test_presence_is_taken_again_when_the_phantom_lets_go_of_it(database: Database) -> None:
    """A half-open connection that ends a minute late must not look like the worker's death."""
    async with living(worker_of(database, done), database) as _:
        key = await server(database, "presence_key")
        phantom_here, lock_is_free = (
            "pg_try_advisory_lock($1, $2)",
            "SELECT pg_advisory_lock($1, $2)",
        )
        async with database.connect() as phantom:
            waiting = asyncio.create_task(phantom.fetchval(lock_is_free, PRESENCE_SPACE, key))
            # Whoever waits in line gets it when the listener's session is ended.
            await eventually(lambda: _waits(database))
            await database.fetchval(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name LIKE '%listener'"
            )
            await waiting
            await eventually(lambda: _listens(database))
        async with database.connect() as connection:
            await eventually(lambda: _held(connection, key))
            assert not await connection.fetchval(f"SELECT {phantom_here}", PRESENCE_SPACE, key)


async def _waits(database: Database) -> bool:
    return bool(
        await database.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
        )
    )


async def _listens(database: Database) -> bool:
    return bool(
        await database.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name LIKE '%listener')"
        )
    )


async def _held(connection: Any, key: int) -> bool:
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted "
            "AND classid = $1 AND objid = $2 AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database()))",
            PRESENCE_SPACE,
            key,
        )
    )


async def test_announcement_that_was_lost_is_made_again(database: Database) -> None:
    """A row that says starting for ever would keep a ready worker without work."""
    async with living(worker_of(database, done), database):
        await database.execute("UPDATE processing_servers SET status = 'starting'")
        task_id = await add(database)
        assert (await ended(database, task_id))["status"] == "completed"


async def test_drain_waits_for_the_claim_that_is_under_way(database: Database) -> None:
    """What is claimed at the moment of SIGTERM is finished or given back, not left behind."""
    worker = worker_of(database, done, heartbeat_seconds=60)
    claimed, go_on = asyncio.Event(), asyncio.Event()

    def slow_down() -> None:
        turn = worker.store.turn

        async def slow_turn(*arguments: Any, **named: Any) -> Turn:
            taken = await turn(*arguments, **named)
            if taken.claims:
                claimed.set()
                await go_on.wait()
            return taken

        worker.store.turn = slow_turn  # type: ignore[method-assign]

    after_setup(worker, slow_down)
    async with living(worker, database):
        task_id = await add(database)
        await claimed.wait()
        worker.stopping.set()
        await eventually(lambda: _is(database, "draining"))
        go_on.set()

    row = await database.fetchrow(
        "SELECT status, lost_count FROM processing_queue WHERE id = $1", task_id
    )
    assert row == {"status": "completed", "lost_count": 0}


async def _is(database: Database, status: str) -> bool:
    return bool(await server(database, "status") == status)


async def test_load_is_reported_as_nothing_after_a_task_was_taken_away(database: Database) -> None:
    """current_load is what dashboards and the autoscaler go by; an idle worker says 0 soon."""
    async with living(worker_of(database, _never, heartbeat_seconds=60, slots=1), database) as _:
        task_id = await add(database)
        await eventually(lambda: _status_is(database, task_id, "processing"))
        await database.execute("SELECT pg_notify('server_changed', 'w-1')")
        await eventually(lambda: _load_is(database, 1))
        await set_status(database, task_id, "cancelled")
        await eventually(lambda: _load_is(database, 0))


async def _never(_context: TaskContext) -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError


async def _status_is(database: Database, task_id: int, status: str) -> bool:
    found = await database.fetchval("SELECT status FROM processing_queue WHERE id = $1", task_id)
    return bool(found == status)


async def _load_is(database: Database, load: int) -> bool:
    return bool(await server(database, "current_load") == load)


async def test_task_without_progress_is_stopped_and_tried_again(database: Database) -> None:
    """The stall limit is about progress: a long task that moves is left alone."""
    await database.execute("UPDATE task_types SET stall_seconds = 1")
    tries: list[int] = []

    async def handle(context: TaskContext) -> Outcome:
        if context.task.document_id == 2:  # slow, but it moves: longer in all than the limit
            for part in range(8):
                await asyncio.wait([asyncio.create_task(asyncio.Event().wait())], timeout=0.2)
                await context.progress(10 * part, f"part-{part}")
        else:
            tries.append(context.task.attempt)
            if len(tries) == 1:
                await asyncio.Event().wait()
        return await done(context)

    async with living(worker_of(database, handle), database):
        slow, stalled = await add(database, document_id=2), await add(database)
        assert (await ended(database, stalled))["status"] == "completed"
        assert (await ended(database, slow))["attempt"] == 1

    attempts = await database.fetch("SELECT task_id, outcome, reason FROM task_attempts")
    assert attempts == [{"task_id": stalled, "outcome": "retry", "reason": "stalled"}]


async def test_hung_call_ends_at_the_time_limit_of_its_task_type(database: Database) -> None:
    """A model that never answers costs an attempt, not a slot for ever."""
    await database.execute("UPDATE task_types SET timeout_seconds = 1")
    async with living(worker_of(database, _never), database):
        task_id = await add(database, max_retries=0)
        row = await ended(database, task_id)
    assert (row["status"], row["failure_reason"]) == ("failed", "timeout")


async def test_idle_worker_notices_that_its_model_server_is_away_and_back(
    database: Database,
) -> None:
    """The row says why nothing is claimed, before a task has found out the hard way."""
    healthy = asyncio.Event()
    healthy.set()

    async def health(*_: Any) -> None:
        if not healthy.is_set():
            raise TaskRetry("model_unreachable", "the model server is away")

    worker = worker_of(database, done, model_health_seconds=0.1)
    worker.model.health = worker.model.ready = health  # type: ignore[method-assign, assignment]
    async with living(worker, database):
        healthy.clear()
        await eventually(lambda: _is(database, "starting"))
        assert await server(database, "status_reason") == "the model server is away"
        healthy.set()
        await eventually(lambda: _is(database, "active"))


async def test_handler_that_fails_on_closing_ends_its_attempt(database: Database) -> None:
    """A slot may not leak because a document could not be closed."""
    worker = worker_of(database, done)
    broken = [True]

    def break_it() -> None:
        outcome_of = worker.attempts._outcome

        async def failing(running: Any) -> Outcome:
            outcome = await outcome_of(running)
            if broken:
                broken.pop()
                raise RuntimeError("could not close")
            return outcome

        worker.attempts._outcome = failing  # type: ignore[method-assign]

    after_setup(worker, break_it)
    async with living(worker, database):
        task_id = await add(database)
        row = await ended(database, task_id)
    assert (row["status"], row["attempt"]) == ("completed", 2)


async def test_task_that_is_cancelled_while_its_last_progress_is_written_frees_its_slot(
    database: Database,
) -> None:
    """Its outcome was on the way: whoever interrupted it then lost the slot for good."""
    writing, may_write = asyncio.Event(), asyncio.Event()

    async def step_and_done(context: TaskContext) -> Outcome:
        if not may_write.is_set():
            await context.progress(50, "half")
        return Done()

    worker = worker_of(database, step_and_done, slots=1)

    def hold_the_writing_up() -> None:
        flush = worker.reporter.flush

        async def slow_flush() -> None:
            writing.set()
            await may_write.wait()
            await flush()

        worker.reporter.flush = slow_flush  # type: ignore[method-assign]

    after_setup(worker, hold_the_writing_up)
    async with living(worker, database):
        first = await add(database)
        await writing.wait()
        (running,) = worker.held
        await set_status(database, first, "cancelled")
        await eventually(lambda: running.ending or running.lost)
        worker.held.lose(frozenset({running.claim.lease_token}))  # as the heartbeat does
        may_write.set()
        row = await ended(database, await add(database))
        assert row["status"] == "completed"
    assert worker.slots.busy == 0


async def test_pool_outlives_a_connection_that_hears_nothing_any_more(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half-open: the statement ends in time, and the next one gets another connection."""
    monkeypatch.setattr(database_module, "CLIENT_GRACE_SECONDS", 0.1)
    monkeypatch.setattr(database_module, "RELEASE_SECONDS_MAX", 0.1)
    parts = urlsplit(database.dsn)
    proxy = Proxy(parts.port or 5432)
    await proxy.start()
    address = parts.netloc.replace(f":{parts.port}", f":{proxy.port}")
    pool = await connect_pool(
        urlunsplit(parts._replace(netloc=address)),
        application_name="test",
        max_size=1,
        statement_seconds_max=0.2,
    )
    try:
        assert await pool.fetchval("SELECT 1") == 1
        proxy.swallow()
        async with asyncio.timeout(5):
            with pytest.raises(TimeoutError):
                await pool.fetchval("SELECT 1")
            assert await pool.fetchval("SELECT 2") == 2
    finally:
        pool.terminate()
        await proxy.stop()


async def test_second_sigterm_ends_the_process_at_once(database: Database, tmp_path: Any) -> None:
    """Whoever has no patience for a drain gets an immediate end; the monitor gives the task back."""
    async with running_stub(answerer=rules.answer) as stub:
        child = start_module(
            "text_worker",
            environment={
                "DATABASE_URL": database.dsn,
                "OLLAMA_HOST": stub.url,
                "REVEILLE_SERVER_ID": "w-1",
            },
            log_path=tmp_path / "worker.log",
        )
        try:
            await eventually(lambda: _is(database, "active"), within_seconds=30)
            stub.faults.add("hang")
            await database.execute(
                "INSERT INTO documents (id, filename, sha256, size_bytes, content) "
                "VALUES (1, 'd.pdf', '', 1, $1)",
                deck("Pitch", "March 2025"),
            )
            await add(database)
            await stub.requests.until(
                lambda requests: requests.active_peak >= 1, timeout_seconds=20
            )
            os.kill(child.process.pid, signal.SIGTERM)
            await eventually(lambda: _is(database, "draining"))
            os.kill(child.process.pid, signal.SIGTERM)
            code = await asyncio.to_thread(child.process.wait, 5)
        finally:
            with suppress(ProcessLookupError):
                child.process.kill()
            child.process.wait()
    assert code == 128 + signal.SIGTERM


async def test_task_taken_away_while_its_last_report_is_written_keeps_no_slot(
    database: Database,
) -> None:
    """An attempt that had its outcome, and waited for its progress to be written, was cancelled there
    and never let its slot go: a worker counted one running task for ever.
    """
    writing, go_on = asyncio.Event(), asyncio.Event()

    async def handle(context: TaskContext) -> Outcome:
        if context.task.document_id == 2 and context.task.attempt == 1:
            await context.progress(40, "first")
            await writing.wait()
            await context.progress(80, "second")
        return await done(context)

    worker = worker_of(database, handle, slots=1, heartbeat_seconds=3600)

    def hold_reports() -> None:
        report = worker.store.report

        async def held(steps: Any) -> Any:
            writing.set()
            await go_on.wait()
            return await report(steps)

        worker.store.report = held  # type: ignore[method-assign]

    after_setup(worker, hold_reports)
    async with living(worker, database):
        taken = await add(database, document_id=2)
        async with asyncio.timeout(20):
            await writing.wait()
        await eventually(lambda: worker.reporter.pending(taken))
        await set_status(database, taken, "cancelled")
        go_on.set()
        after = await add(database)
        assert (await ended(database, after))["status"] == "completed"
        assert (await ended(database, taken))["status"] == "cancelled"
        await eventually(lambda: not worker.held)
        assert worker.slots.busy == 0


async def test_claim_whose_answer_was_lost_goes_back_though_the_next_try_succeeded(
    database: Database,
) -> None:
    """A connection broke between the commit and the answer: the task must not hang until its lock expires."""
    worker, lost = worker_of(database, done), asyncio.Event()

    def lose_one_answer() -> None:
        turn = worker.store._turn

        async def loses(*arguments: Any) -> Turn:
            answer = await turn(*arguments)
            if answer.claims and not lost.is_set():
                lost.set()
                raise asyncpg.ConnectionDoesNotExistError("gone before the answer came")
            return answer

        worker.store._turn = loses  # type: ignore[method-assign]

    after_setup(worker, lose_one_answer)
    async with living(worker, database):
        task_id = await add(database)
        await lost.wait()
        await database.execute(
            "UPDATE processing_queue SET locked_at = locked_at - interval '16 seconds'"
        )
        row = await ended(database, task_id)

    assert (row["status"], row["attempt"], row["retry_count"]) == ("completed", 1, 0)
