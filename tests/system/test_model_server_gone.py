"""A model server that dies: its worker leaves service by itself, says why, and comes back by itself."""

import asyncio
from pathlib import Path
from typing import Any

from tests.system.test_workers import add_document, insert, task, until

from reveille.processes import Child, start_module
from reveille.stack import free_port
from reveille.testing import Database, eventually


def model_server(folder: Path, port: int, service_seconds: float) -> Child:
    return start_module(
        "model_stub",
        environment={
            "REVEILLE_STUB_PORT": str(port),
            "REVEILLE_STUB_SERVICE_SECONDS": str(service_seconds),
        },
        log_path=folder / "model.log",
    )


async def standing(database: Database) -> dict[str, Any]:
    row = await database.fetchrow(
        "SELECT status, status_reason FROM processing_servers WHERE id = 't1'"
    )
    assert row is not None
    return row


async def test_model_server_that_dies_takes_its_worker_out_of_service_until_it_is_back(
    database: Database, processes: Any, deck: bytes, tmp_path: Path
) -> None:
    """Idle or in the middle of an answer: the row says what is wrong, and no task loses an attempt."""
    port = free_port()
    slow = model_server(tmp_path, port, service_seconds=60)
    swift: Child | None = None
    try:
        document_id = await add_document(database, deck)
        processes.ask_model_at(f"http://127.0.0.1:{port}")
        await processes.worker("text_worker", "t1", model_health_seconds=0.3)
        under_way = await insert(database, document_id, "deck_date_extraction")
        await until(database, under_way, "processing")
        slow.process.kill()
        slow.process.wait()

        async def out_of_service() -> bool:
            return (await standing(database))["status"] == "starting"

        await eventually(out_of_service, within_seconds=20)
        assert "model" in ((await standing(database))["status_reason"] or "")
        waiting = await insert(database, document_id, "startup_name_extraction")
        given_back = await until(database, under_way, "queued")
        assert (given_back["attempt"], given_back["retry_count"]) == (0, 0)
        assert (await task(database, waiting))["status"] == "queued"

        swift = model_server(tmp_path, port, service_seconds=0)
        for task_id in (under_way, waiting):
            assert (await until(database, task_id, "completed"))["attempt"] == 1

        swift.process.kill()  # and now while nothing runs
        swift.process.wait()
        await eventually(out_of_service, within_seconds=20)
    finally:
        for child in (slow, swift):
            if child is not None:
                await asyncio.to_thread(child.stop, wait_seconds=5)
