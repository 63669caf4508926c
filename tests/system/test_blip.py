"""A worker whose way to the database breaks for a moment, with all settings as they come."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tests.chaos.proxy import Proxy
from tests.system.conftest import Processes
from tests.system.test_workers import add_document, insert, until

from model_stub.server import Stub
from reveille.testing import Database, eventually

BLIP_SECONDS = 1.5  # the monitor's grace is 3 s; the rest is for a busy machine to reconnect in
WORKERS = "application_name IN ('reveille text-worker', 'reveille text-worker listener', 'reveille heartbeat')"


async def test_blip_of_a_workers_connections_re_runs_nothing(
    database: Database, stub: Stub, deck: bytes, tmp_path: Path
) -> None:
    """All its connections gone and no new ones for 1.5 s, noticed by the monitor: the task goes on where it is."""
    where = urlsplit(database.dsn)
    proxy = Proxy(where.port or 5432)
    await proxy.start()
    netloc = f"{where.username}@127.0.0.1:{proxy.port}"
    through = Database(urlunsplit(where._replace(netloc=netloc)), database.pool)
    direct = Processes(database, stub, tmp_path / "monitor")
    cut = Processes(through, stub, tmp_path / "workers")
    stub.faults.add("slow", seconds=6.0, times=1)
    try:
        direct.start("heartbeat_monitor")
        worker = await cut.worker("text_worker", "t1")
        document_id = await add_document(database, deck)
        task_id = await insert(database, document_id, "deck_date_extraction")
        await until(database, task_id, "processing")
        await stub.requests.until(lambda _: stub.requests.active_peak >= 1, timeout_seconds=30)

        proxy.cut_off()
        gone = await database.fetchval(
            f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {WORKERS} "  # noqa: S608
            "AND datname = current_database()"
        )
        assert gone >= 3
        blip = asyncio.create_task(asyncio.sleep(BLIP_SECONDS))
        await eventually(lambda: missing(database), within_seconds=BLIP_SECONDS)
        await blip
        proxy.heal()
        await eventually(lambda: back(database), within_seconds=30)

        row = await until(database, task_id, "completed")
        assert (row["attempt"], row["lost_count"], row["completed_by"]) == (1, 0, "t1")
        assert worker.alive
        assert await database.fetch("SELECT 1 FROM task_attempts") == []
        assert stub.requests.active_peak == 1
    finally:
        await asyncio.to_thread(direct.stop_all)
        await asyncio.to_thread(cut.stop_all)
        await proxy.stop()


async def missing(database: Database) -> Any:
    return await database.fetchval("SELECT disconnected_at FROM processing_servers WHERE id = 't1'")


async def back(database: Database) -> bool:
    return await missing(database) is None
