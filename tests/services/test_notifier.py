"""The LISTEN connection and the second looks, on a real Postgres."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from reveille.notifier import Notifier, SecondLooks
from reveille.store import Store
from reveille.testing import eventually


async def test_notifier_hears_and_reconnects_after_its_backend_is_killed(database: Any) -> None:
    """A listener whose connection dies listens again before it tells anybody to look."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    connected: asyncio.Queue[None] = asyncio.Queue()
    notifier = Notifier(database.dsn, application_name="test listener", ping_seconds=15)
    notifier.on("task_ready", heard.put_nowait)

    async def on_connect() -> None:
        connected.put_nowait(None)

    notifier.on_connect(on_connect)
    listening = asyncio.create_task(notifier.run())
    try:
        async with asyncio.timeout(20):
            await connected.get()
            await database.execute("SELECT pg_notify('task_ready', 'first')")
            assert await heard.get() == "first"

            await database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name LIKE 'test listener%' AND datname = current_database()"
            )
            await connected.get()
            await database.execute("SELECT pg_notify('task_ready', 'second')")
            assert await heard.get() == "second"
        assert notifier.healthy
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_second_looks_go_on_until_the_transaction_in_flight_has_ended(database: Any) -> None:
    """An INSERT whose commit is slow is looked for until it is there, then the looking ends."""
    store = Store(database.pool)
    looks = SecondLooks(store.look_horizon, store.look_settled)
    seen = []
    async with asyncio.timeout(30), database.connect() as writer:
        transaction = writer.transaction()
        await transaction.start()
        await writer.execute(
            "INSERT INTO processing_queue (document_id, task_type) VALUES (1, 'deck_date_extraction')"
        )
        async for _ in looks.moments():
            count = await database.fetchval("SELECT count(*) FROM processing_queue")
            seen.append(count)
            if len(seen) == 4:
                await transaction.commit()

    assert len(seen) >= 5
    assert seen[-1] == 1


async def test_statements_on_the_listener_wait_for_each_other(database: Any) -> None:
    """Pings and session locks share the connection: two at once must not break it."""
    notifier = Notifier(database.dsn, application_name="test listener", ping_seconds=15)
    listening = asyncio.create_task(notifier.run())
    try:
        async with asyncio.timeout(20):
            await notifier.ready.wait()
            answers = await asyncio.gather(*(notifier.fetchval("SELECT 1") for _ in range(20)))
        assert answers == [1] * 20
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_statement_that_waits_on_the_listener_hears_that_it_broke(database: Any) -> None:
    """What waits its turn finds no connection any more: an outage like any other, not a bug's error."""
    notifier = Notifier(database.dsn, application_name="test listener", ping_seconds=15)
    async with running(notifier):
        async with notifier._speaking:
            waiting = asyncio.create_task(notifier.fetchval("SELECT 1"))
            await asyncio.sleep(0)
            await notifier._disconnect()
        with pytest.raises(OSError, match="is down"):
            await waiting


@asynccontextmanager
async def running(*notifiers: Notifier) -> AsyncIterator[None]:
    """They listen until the block ends."""
    tasks = [asyncio.create_task(notifier.run()) for notifier in notifiers]
    try:
        async with asyncio.timeout(20):
            for notifier in notifiers:
                await notifier.ready.wait()
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_ping_of_one_process_is_proof_for_all(database: Any) -> None:
    """Each ping costs each listener of the database a transaction, so who has heard one sends none."""
    talker = Notifier(database.dsn, application_name="test listener", ping_seconds=0.1)
    other = Notifier(database.dsn, application_name="test listener", ping_seconds=3600)
    async with running(other):
        silent_since = time.monotonic()
        async with running(talker):
            await eventually(lambda: time.monotonic() - other.age_seconds > silent_since)


async def test_whatever_is_heard_proves_that_the_connection_hears(database: Any) -> None:
    """A busy system needs no pings."""
    notifier = Notifier(database.dsn, application_name="test listener", ping_seconds=3600)
    notifier.on("task_ready", lambda _: None)
    async with running(notifier):
        silent_since = time.monotonic()
        await database.execute("SELECT pg_notify('task_ready', 'text')")
        await eventually(lambda: time.monotonic() - notifier.age_seconds > silent_since)
