"""The LISTEN connection and the second looks, on a real Postgres."""

import asyncio
from typing import Any

from reveille.notifier import Notifier, SecondLooks
from reveille.store import Store


async def test_notifier_hears_and_reconnects_after_its_backend_is_killed(database: Any) -> None:
    """A listener whose connection dies listens again before it tells anybody to look."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    connected: asyncio.Queue[None] = asyncio.Queue()
    notifier = Notifier(database.dsn, application_name="test listener", ping_seconds=15)
    notifier.on("task_ready", heard.put_nowait)

    async def on_connect() -> None:
        connected.put_nowait(None)

    notifier.on_connect(on_connect)
    running = asyncio.create_task(notifier.run())
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
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


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
    running = asyncio.create_task(notifier.run())
    try:
        async with asyncio.timeout(20):
            await notifier.ready.wait()
            answers = await asyncio.gather(*(notifier.fetchval("SELECT 1") for _ in range(20)))
        assert answers == [1] * 20
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
