"""The heartbeat monitor on a real database: rounds one by one, and the running service."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from heartbeat_monitor.config import MonitorSettings
from heartbeat_monitor.service import HeartbeatMonitor
from reveille.channels import PRESENCE_SPACE
from reveille.telemetry import configure
from reveille.testing import Database


class Watched(HeartbeatMonitor):
    """A monitor that tells each pause it decides on, round by round."""

    pauses: asyncio.Queue[float]

    async def round(self) -> float:
        pause = await super().round()
        self.pauses.put_nowait(pause)
        return pause

    async def next_pause(self) -> float:
        async with asyncio.timeout(10):
            return await self.pauses.get()


def monitor_of(database: Database, **settings: Any) -> Watched:
    settings = {"outage_grace_seconds": 0.0, **settings}
    monitor = Watched(MonitorSettings(DATABASE_URL=database.dsn, **settings), configure("test"))
    monitor.pauses = asyncio.Queue()
    return monitor


@pytest.fixture
async def monitor(database: Database) -> AsyncIterator[Watched]:
    """A monitor that does nothing by itself: tests call its rounds."""
    service = monitor_of(database)
    service.pool = database.pool
    await service.setup()
    yield service
    await service.telemetry.aclose()


@asynccontextmanager
async def running(service: Watched) -> AsyncIterator[Watched]:
    life = asyncio.create_task(service.run())
    ready = asyncio.create_task(service.notifier.ready.wait())
    await asyncio.wait({life, ready}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield service
    finally:
        ready.cancel()
        service.stopping.set()
        await life
        await service.telemetry.aclose()


@asynccontextmanager
async def hearing(database: Database, channel: str) -> AsyncIterator[Callable[[], Any]]:
    """Await the returned function for the next payload on `channel`."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with database.connect() as connection:
        await connection.add_listener(channel, lambda *said: heard.put_nowait(said[-1]))

        async def following() -> str:
            async with asyncio.timeout(10):
                return await heard.get()

        yield following


async def add_server(database: Database, server_id: str = "w-1", **columns: Any) -> int:
    """A worker's row; its presence key."""
    values = {"server_type": "text_container", "pool": "text", "status": "active", "epoch": 1}
    values |= {"has_presence": False} | columns
    names = ", ".join(values)
    marks = ", ".join(f"${n}" for n in range(2, len(values) + 2))
    key: int = await database.fetchval(
        f"INSERT INTO processing_servers (id, last_heartbeat, started_at, {names}) "  # noqa: S608
        f"VALUES ($1, reveille_now(), reveille_now(), {marks}) RETURNING presence_key",
        server_id,
        *values.values(),
    )
    return key


async def add_task(database: Database, task_type: str = "deck_date_extraction", **more: Any) -> int:
    names = "".join(f", {name}" for name in more)
    marks = "".join(f", ${n}" for n in range(2, len(more) + 2))
    task_id: int = await database.fetchval(
        f"INSERT INTO processing_queue (document_id, task_type{names}) "  # noqa: S608
        f"VALUES (1, $1{marks}) RETURNING id",
        task_type,
        *more.values(),
    )
    return task_id


async def claim(database: Database, task_id: int, server_id: str = "w-1") -> None:
    await database.execute(
        "UPDATE processing_queue SET status = 'processing', locked_by = $2 WHERE id = $1",
        task_id,
        server_id,
    )


async def held_task(database: Database) -> int:
    """By a server that was heard of just now."""
    await add_server(database)
    task_id = await add_task(database)
    await claim(database, task_id)
    return task_id


async def status_of(database: Database, task_id: int) -> str:
    status: str = await database.fetchval(
        "SELECT status FROM processing_queue WHERE id = $1", task_id
    )
    return status


async def fall_silent(database: Database, server_id: str = "w-1") -> None:
    await database.execute(
        "UPDATE processing_servers SET last_heartbeat = reveille_now() - interval '31 s' "
        "WHERE id = $1",
        server_id,
    )


async def test_silent_server_is_lost_and_its_task_goes_back(
    database: Database, monitor: Watched
) -> None:
    """A dead server's work is done by another."""
    task_id = await held_task(database)
    await fall_silent(database)

    await monitor.round()

    row = await database.fetchrow("SELECT status, status_reason FROM processing_servers")
    assert row == {"status": "lost", "status_reason": "no heartbeat for 31 s"}
    assert await status_of(database, task_id) == "queued"
    attempt = await database.fetchrow("SELECT outcome, server_id FROM task_attempts")
    assert attempt == {"outcome": "lost", "server_id": "w-1"}


async def test_server_that_speaks_between_look_and_verdict_is_spared(
    database: Database, monitor: Watched
) -> None:
    """The statement checks its reason again: facts are old by the time they are acted on."""
    await add_server(database)
    await fall_silent(database)
    look = monitor.ledger.look

    async def look_then_heartbeat() -> Any:
        facts = await look()
        await database.execute("UPDATE processing_servers SET last_heartbeat = reveille_now()")
        return facts

    monitor.ledger.look = look_then_heartbeat  # type: ignore[method-assign]
    await monitor.round()
    assert await database.fetchval("SELECT status FROM processing_servers") == "active"


async def test_worker_present_by_its_lock_is_left_alone(
    database: Database, monitor: Watched
) -> None:
    """The lock is found by the key in the row, in this database."""
    key = await add_server(database, has_presence=True)
    async with database.connect() as connection:
        await connection.fetchval("SELECT pg_advisory_lock($1, $2)", PRESENCE_SPACE, key)
        await monitor.round()
        assert await database.fetchval("SELECT disconnected_at FROM processing_servers") is None


async def test_blip_of_a_connection_re_runs_nothing(database: Database, monitor: Watched) -> None:
    """Gone and back within the grace: the task stays with its worker."""
    key = await add_server(database, has_presence=True)
    task_id = await add_task(database)
    await claim(database, task_id)
    await monitor.round()
    assert await database.fetchval("SELECT disconnected_at FROM processing_servers") is not None
    async with database.connect() as connection:
        await connection.fetchval("SELECT pg_advisory_lock($1, $2)", PRESENCE_SPACE, key)
        await database.execute(
            "UPDATE processing_servers SET disconnected_at = reveille_now() - interval '9 s'"
        )
        await monitor.round()
    row = await database.fetchrow("SELECT status, disconnected_at FROM processing_servers")
    assert row == {"status": "active", "disconnected_at": None}
    assert await status_of(database, task_id) == "processing"


async def test_task_of_a_worker_that_is_killed_goes_back_within_five_seconds(
    database: Database,
) -> None:
    """The connection goes with the process; nobody waits for the heartbeat's lease."""
    key = await add_server(database, has_presence=True)
    async with running(monitor_of(database)), hearing(database, "task_ready") as next_wake:
        async with database.connect() as worker:
            await worker.fetchval("SELECT pg_advisory_lock($1, $2)", PRESENCE_SPACE, key)
            task_id = await add_task(database)
            await claim(database, task_id)
            assert await next_wake() == "text"
        async with asyncio.timeout(5):
            assert await next_wake() == "text"
    assert await status_of(database, task_id) == "queued"
    row = await database.fetchrow("SELECT status, status_reason FROM processing_servers")
    assert row is not None
    assert row["status"] == "lost"
    assert row["status_reason"].startswith("its connection is gone for 3")


async def test_task_held_beyond_its_lock_goes_back(database: Database, monitor: Watched) -> None:
    """Even a server that lives may not keep a task for ever."""
    task_id = await held_task(database)
    await database.execute(
        "UPDATE processing_queue SET lock_expires_at = reveille_now() - interval '1 s'"
    )
    await monitor.round()
    assert await status_of(database, task_id) == "queued"
    assert await database.fetchval("SELECT status FROM processing_servers") == "active"


async def test_floor_of_looks_is_forgotten_with_the_connection(
    database: Database, monitor: Watched
) -> None:
    """A database that crashed or failed over draws lease tokens anew, lower than what was seen before."""
    task_id = await held_task(database)
    await database.execute("UPDATE processing_queue SET lock_expires_at = reveille_now()")
    above = await database.fetchval("SELECT lease_token + 1 FROM processing_queue")
    await monitor._on_connect()
    monitor.ledger._held._token, monitor.ledger._held._whole_due_at = above, float("inf")
    await monitor.round()
    assert await status_of(database, task_id) == "processing"
    await monitor._on_connect()
    await monitor.round()
    assert await status_of(database, task_id) == "queued"


async def test_task_that_killed_three_workers_is_set_aside(
    database: Database, monitor: Watched
) -> None:
    """A poison task must not take the whole pool down, one worker after the other."""
    task_id = await add_task(database)
    for number in range(3):
        server_id = f"w-{number}"
        await add_server(database, server_id)
        await claim(database, task_id, server_id)
        await fall_silent(database, server_id)
        await monitor.round()
    row = await database.fetchrow("SELECT status, failure_reason FROM processing_queue")
    assert row == {"status": "failed", "failure_reason": "poison"}


async def test_retry_becomes_claimable_when_it_is_due(database: Database) -> None:
    """The monitor sleeps to the moment, and a new timer wakes it from a longer sleep."""
    async with running(monitor_of(database)), hearing(database, "task_ready") as next_wake:
        row = await database.fetchrow("SELECT reveille_now() + interval '400 ms' AS due")
        assert row is not None
        task_id = await add_task(database, next_retry_at=row["due"])
        assert await status_of(database, task_id) == "retry"
        assert await next_wake() == "text"
        late = await database.fetchval(
            "SELECT extract(epoch FROM claimable_at - $1::timestamptz)::float8 "
            "FROM processing_queue",
            row["due"],
        )
        assert 0 <= late < 1


async def test_stranded_dependents_are_freed_or_cancelled_by_the_audit(
    database: Database, monitor: Watched
) -> None:
    """The backstop does what a trigger that was switched off did not."""
    done = await add_task(database)
    failed = await add_task(database)
    freed = await add_task(database, depends_on=[done])
    cancelled = await add_task(database, depends_on=[failed])
    loose = await add_task(database, depends_on=[done])
    async with database.connect() as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(
            "UPDATE processing_queue SET status = 'completed' WHERE id = $1", done
        )
        await connection.execute(
            "UPDATE processing_queue SET status = 'failed' WHERE id = $1", failed
        )
        await connection.execute(
            "DELETE FROM task_dependencies WHERE dependent_task_id = $1", loose
        )
    await monitor.round()
    assert await status_of(database, freed) == "queued"
    assert await status_of(database, loose) == "queued"
    assert await status_of(database, cancelled) == "cancelled"


async def test_stuck_container_is_marked_until_its_state_changes(
    database: Database, monitor: Watched
) -> None:
    """Operators see it; the autoscaler's next step clears it."""
    await database.execute(
        "INSERT INTO containers (name, pool, slot, provider, state, state_changed_at) "
        "VALUES ('reveille-text-0', 'text', 0, 'process', 'booting', reveille_now() - interval '11 min')"
    )
    await monitor.round()
    reason = await database.fetchval("SELECT stuck_reason FROM containers")
    assert reason == "booting for 660 s, the limit is 600 s"
    await database.execute("UPDATE containers SET state = 'failed'")
    assert await database.fetchval("SELECT stuck_reason FROM containers") is None


async def test_rows_of_servers_long_gone_are_removed(database: Database, monitor: Watched) -> None:
    """The table does not grow with every container that ever lived."""
    await add_server(database, "old", status="inactive")
    await add_server(database, "young", status="lost")
    await database.execute(
        "UPDATE processing_servers SET updated_at = reveille_now() - interval '25 h' "
        "WHERE id = 'old'"
    )
    await monitor.round()
    assert await database.fetch("SELECT id FROM processing_servers") == [{"id": "young"}]


async def test_two_monitors_at_once_give_a_task_back_once(
    database: Database, monitor: Watched
) -> None:
    """Several may run: a lost task counts one lost worker, not two."""
    other = monitor_of(database)
    other.pool = database.pool
    await other.setup()
    await held_task(database)
    await fall_silent(database)
    await asyncio.gather(monitor.round(), other.round())
    await monitor.round()
    row = await database.fetchrow("SELECT status, lost_count FROM processing_queue")
    assert row == {"status": "queued", "lost_count": 1}
    await other.telemetry.aclose()


async def test_monitor_outlives_its_connections_and_spares_the_silent_for_a_while(
    database: Database,
) -> None:
    """After an outage everybody gets the time to be heard again."""
    async with running(monitor_of(database, outage_grace_seconds=60.0)) as monitor:
        await monitor.next_pause()
        monitor.notifier.ready.clear()
        await database.break_connections()
        await monitor.notifier.ready.wait()
        await add_server(database)
        await fall_silent(database)
        while not monitor.pauses.empty():
            monitor.pauses.get_nowait()
        assert await monitor.next_pause() <= monitor.monitor_settings.tick_seconds
        assert await database.fetchval("SELECT status FROM processing_servers") == "active"


async def test_first_connection_is_no_outage(database: Database) -> None:
    """A monitor that has just started judges at once: the dead of before its start are dead."""
    async with running(monitor_of(database, outage_grace_seconds=60.0)) as monitor:
        await monitor.next_pause()
        async with hearing(database, "server_changed") as next_change:
            await add_server(database)
            await fall_silent(database)
            assert [await next_change(), await next_change()] == ["w-1", "w-1"]
        assert await database.fetchval("SELECT status FROM processing_servers") == "lost"


async def test_monitor_that_is_idle_makes_no_rounds(database: Database) -> None:
    """No task, no server: nothing is asked until something is heard."""
    async with running(monitor_of(database, attention_seconds=0.0)) as monitor:
        assert await monitor.next_pause() == monitor.monitor_settings.backstop_seconds


async def test_metrics_show_the_rows_when_scraped(database: Database, monitor: Watched) -> None:
    """The gauges are read at the scrape, so they are never old."""
    from heartbeat_monitor.gauges import Gauges

    await add_task(database, priority=3)
    await add_server(database)
    await Gauges(monitor.telemetry.metrics, monitor.ledger).refresh()
    text = monitor.telemetry.metrics_text().decode()
    depth = 'reveille_queue_depth{pool="text",priority="3",task_type="deck_date_extraction"} 1.0'
    assert depth in text
    assert 'reveille_servers{pool="text",status="active"} 1.0' in text


async def test_metrics_of_an_idle_system_are_zero_and_not_absent(
    database: Database, monitor: Watched
) -> None:
    """That nothing waits is a measurement; a dashboard without data looks broken."""
    from heartbeat_monitor.gauges import Gauges

    await Gauges(monitor.telemetry.metrics, monitor.ledger).refresh()
    text = monitor.telemetry.metrics_text().decode()
    for line in (
        'reveille_queue_depth{pool="visual",priority="1",task_type="visual_analysis"} 0.0',
        'reveille_queue_oldest_seconds{pool="text",priority="1",task_type="template_analysis"} 0.0',
        'reveille_servers{pool="visual",status="active"} 0.0',
        'reveille_containers{pool="text",state="ready"} 0.0',
        'reveille_tasks_recovered_total{status="queued"} 0.0',
    ):
        assert line in text


async def test_metrics_show_how_the_database_bears_it(database: Database, monitor: Watched) -> None:
    """A transaction left open is seen on the dashboard before the queue gets slow."""
    from heartbeat_monitor.gauges import Gauges

    async with database.connect() as idle:
        await idle.execute("BEGIN")
        await idle.execute("INSERT INTO leaders (name) VALUES ('open')")
        await Gauges(monitor.telemetry.metrics, monitor.ledger).refresh()
        await idle.execute("ROLLBACK")
    found = dict(
        line.rsplit(" ", 1)
        for line in monitor.telemetry.metrics_text().decode().splitlines()
        if line.startswith("reveille_")
    )
    assert float(found["reveille_horizon_age_seconds"]) > 0
    assert 0 <= float(found["reveille_notify_queue_used_ratio"]) < 1
    assert float(found['reveille_table_size_bytes{table="processing_queue"}']) > 0
    assert 'reveille_horizon_age_transactions{holder="prepared"}' in found


async def test_price_of_a_task_is_its_share_of_the_busy_time(
    database: Database, monitor: Watched
) -> None:
    """Two tasks side by side cost half each: a GPU hour is paid once."""
    from heartbeat_monitor.gauges import Gauges

    await database.execute(
        "INSERT INTO containers (name, pool, slot, provider, state, server_id, price_usd_per_hour, "
        "intended_at, creating_at) SELECT 'c', 'text', 0, 'p', 'ready', 'w-1', 3.6, at, at "
        "FROM (SELECT reveille_now() - interval '100 seconds') AS past (at)"
    )
    for _ in range(2):
        await database.execute(
            "UPDATE processing_queue SET status = 'completed', completed_by = 'w-1', "
            "started_at = reveille_now() - interval '100 seconds', completed_at = reveille_now() "
            "WHERE id = $1",
            await add_task(database),
        )
    await Gauges(monitor.telemetry.metrics, monitor.ledger).refresh()
    (line,) = (
        line
        for line in monitor.telemetry.metrics_text().decode().splitlines()
        if line.startswith("reveille_task_cost_usd{")
    )
    assert 'task_type="deck_date_extraction"' in line
    # 100 s at 0.001 USD a second, shared by two
    assert float(line.rsplit(" ", 1)[1]) == pytest.approx(0.05, rel=0.05)
