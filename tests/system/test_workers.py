"""Workers as real processes: from a plain INSERT to result rows, and what signals do to them."""

import asyncio
import hashlib
import os
import signal
from typing import Any

from model_stub.server import Stub
from reveille.testing import Database, eventually


async def add_document(database: Database, content: bytes) -> int:
    document_id: int = await database.fetchval(
        "INSERT INTO documents (filename, sha256, size_bytes, content) VALUES ('deck.pdf', $1, $2, $3) RETURNING id",
        hashlib.sha256(content).hexdigest(),
        len(content),
        content,
    )
    return document_id


async def insert(database: Database, document_id: int, task_type: str, **columns: Any) -> int:
    names = ", ".join(["document_id", "task_type", *columns])
    marks = ", ".join(f"${n}" for n in range(1, len(columns) + 3))
    task_id: int = await database.fetchval(
        f"INSERT INTO processing_queue ({names}) VALUES ({marks}) RETURNING id",  # noqa: S608
        document_id,
        task_type,
        *columns.values(),
    )
    return task_id


async def task(database: Database, task_id: int) -> dict[str, Any]:
    row = await database.fetchrow("SELECT * FROM processing_queue WHERE id = $1", task_id)
    assert row is not None
    return row


async def until(
    database: Database, task_id: int, status: str, within_seconds: float = 30
) -> dict[str, Any]:
    async def reached() -> dict[str, Any] | None:
        row = await task(database, task_id)
        ended = {"completed", "failed", "cancelled"} - {status}
        assert row["status"] not in ended, (row["status"], row["last_error"])
        return row if row["status"] == status else None

    found = await eventually(reached, within_seconds=within_seconds)
    assert found is not None
    return found


async def test_plain_insert_leads_to_a_row_per_slide(
    database: Database, processes: Any, deck: bytes
) -> None:
    """The contract's INSERT alone, with a worker that sleeps, ends in results and a completed task."""
    await processes.worker("visual_worker", "v1")
    document_id = await add_document(database, deck)

    task_id = await insert(
        database, document_id, "visual_analysis", priority=1, processing_options={}
    )

    row = await until(database, task_id, "completed")
    slides = await database.fetchval(
        "SELECT count(*) FROM visual_analysis_results WHERE task_id = $1", task_id
    )
    assert slides == 11
    assert row["processing_metadata"]["model"] == "rules-stub"
    assert row["progress_percentage"] == 100


async def test_pipeline_completes_through_both_workers(
    database: Database, processes: Any, deck: bytes
) -> None:
    """enqueue_document ends with every kind of result, each once."""
    await asyncio.gather(
        processes.worker("visual_worker", "v1"), processes.worker("text_worker", "t1", slots=4)
    )
    document_id = await add_document(database, deck)
    ids = [
        r["id"]
        for r in await database.fetch("SELECT * FROM enqueue_document($1) AS id", document_id)
    ]

    async def all_ended() -> bool:
        count = await database.fetchval(
            "SELECT count(*) FROM processing_queue WHERE status IN ('completed', 'failed', 'cancelled')"
        )
        return bool(count == len(ids))

    await eventually(all_ended, within_seconds=60)
    statuses = {
        r["status"] for r in await database.fetch("SELECT DISTINCT status FROM processing_queue")
    }
    assert statuses == {"completed"}
    results = await database.fetchval(
        "SELECT results FROM document_results WHERE document_id = $1", document_id
    )
    assert len(results["slides"]) == len(results["feedback"]) == 11
    assert set(results["extractions"]) == {
        "company_offering",
        "startup_name",
        "healthcare_classification",
        "funding_amount",
        "deck_date",
    }
    assert results["extractions"]["funding_amount"]["evidence_verified"]
    assert len(results["template_analysis"]["chapters"]) == 7
    assert len(results["specialized"]) == 3


async def test_killed_worker_loses_its_lease_and_the_task_resumes_elsewhere(
    database: Database, processes: Any, stub: Stub, deck: bytes
) -> None:
    """SIGKILL in the middle of a deck: another worker has the task within five seconds and does not repeat slides."""
    processes.start("heartbeat_monitor")
    stub.faults.add("slow", seconds=60.0, times=1, contains="[page 4]")  # where it dies
    stub.faults.add("slow", seconds=1.0, times=100, contains="[page")
    first = await processes.worker("visual_worker", "v1")
    document_id = await add_document(database, deck)
    task_id = await insert(database, document_id, "visual_analysis")

    async def some_slides_done() -> bool:
        count = await database.fetchval(
            "SELECT count(*) FROM task_checkpoints WHERE task_id = $1", task_id
        )
        return bool(count >= 3)

    await eventually(some_slides_done, within_seconds=30)
    await processes.worker("visual_worker", "v2")
    assert (await task(database, task_id))["locked_by"] == "v1"
    os.kill(first.process.pid, signal.SIGKILL)

    async def taken_over() -> bool:
        return bool((await task(database, task_id))["locked_by"] == "v2")

    await eventually(taken_over, within_seconds=5)
    row = await until(database, task_id, "completed")
    assert row["processing_metadata"]["resumed_parts"] >= 3
    assert await database.fetchval("SELECT count(*) FROM visual_analysis_results") == 11
    attempts = await database.fetch("SELECT outcome FROM task_attempts WHERE task_id = $1", task_id)
    assert [a["outcome"] for a in attempts] == ["lost"]


async def test_stopped_worker_that_wakes_up_after_its_lease_changes_nothing(
    database: Database, processes: Any, stub: Stub, deck: bytes
) -> None:
    """SIGSTOP until declared lost, SIGCONT while the successor works: one result, the successor's."""
    stub.faults.add("slow", seconds=0.2, times=100, contains="[page")
    zombie = await processes.worker("visual_worker", "zombie")
    document_id = await add_document(database, deck)
    task_id = await insert(database, document_id, "slide_feedback")
    await until(database, task_id, "processing")
    os.kill(zombie.process.pid, signal.SIGSTOP)
    await database.execute("UPDATE processing_servers SET status = 'lost' WHERE id = 'zombie'")
    await database.execute("SELECT * FROM reveille_recover_tasks()")
    await processes.worker("visual_worker", "successor")
    await until(database, task_id, "processing")
    os.kill(zombie.process.pid, signal.SIGCONT)

    row = await until(database, task_id, "completed")
    assert row["completed_by"] == "successor"
    assert (
        await database.fetchval("SELECT count(*) FROM slide_feedback WHERE task_id = $1", task_id)
        == 11
    )


async def test_sigterm_gives_the_task_back_without_spending_an_attempt(
    database: Database, processes: Any, stub: Stub, deck: bytes
) -> None:
    """A drain whose grace is over releases the task as it was, says goodbye and exits 0."""
    stub.faults.add("hang", times=100, contains="[page")
    worker = await processes.worker("text_worker", "t1", drain_seconds=0.2)
    document_id = await add_document(database, deck)
    task_id = await insert(database, document_id, "deck_date_extraction")
    await until(database, task_id, "processing")

    worker.process.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(worker.process.wait, 20)

    row = await task(database, task_id)
    assert code == 0, worker.log_tail(40)
    assert (row["status"], row["attempt"], row["retry_count"]) == ("queued", 0, 0)
    assert (
        await database.fetchval("SELECT status FROM processing_servers WHERE id = 't1'")
        == "inactive"
    )


async def test_cancel_reaches_a_running_model_call_within_a_second(
    database: Database, processes: Any, stub: Stub, deck: bytes
) -> None:
    """Cancelling frees the model server at once, and the worker takes the next task."""
    stub.faults.add("hang", times=1)
    await processes.worker("text_worker", "t1")
    document_id = await add_document(database, deck)
    task_id = await insert(database, document_id, "deck_date_extraction")
    await stub.requests.until(lambda _: stub.requests.active_peak >= 1, timeout_seconds=20)

    await database.execute(
        "UPDATE processing_queue SET status = 'cancelled' WHERE id = $1", task_id
    )
    await stub.requests.until(lambda _: stub.requests.cancelled >= 1, timeout_seconds=1)

    following = await insert(database, document_id, "deck_date_extraction")
    await until(database, following, "completed")
    assert (await task(database, task_id))["status"] == "cancelled"


async def test_second_process_with_the_same_server_id_is_refused(
    database: Database, processes: Any
) -> None:
    """Two live processes never share a row: the second one exits and says what to do, the first goes on."""
    first = await processes.worker("text_worker", "same")

    second = processes.start("text_worker", server_id="same")
    code = await asyncio.to_thread(second.process.wait, 30)

    assert code == 58
    assert "REVEILLE_SERVER_ID" in second.log_tail()
    assert first.alive
    status = await database.fetchval("SELECT status FROM processing_servers WHERE id = 'same'")
    assert status == "active"


async def test_absent_model_takes_the_server_out_of_service_and_costs_the_task_nothing(
    database: Database, processes: Any, deck: bytes
) -> None:
    """A worker whose model does not exist says so in its row and claims nothing."""
    processes.start("text_worker", server_id="t1", text_model="nosuch")
    document_id = await add_document(database, deck)
    task_id = await insert(database, document_id, "deck_date_extraction")

    async def reason() -> str:
        found = await database.fetchval(
            "SELECT status_reason FROM processing_servers WHERE id = 't1'"
        )
        return str(found or "")

    said = await eventually(reason, within_seconds=30)
    assert "nosuch" in said
    assert (await task(database, task_id))["status"] == "queued"


async def test_idle_worker_that_is_killed_is_noticed_as_soon_as_there_is_work(
    database: Database, processes: Any, deck: bytes
) -> None:
    """Its row says active until somebody looks, and a task that needs it makes the monitor look."""
    processes.start("heartbeat_monitor")
    idle = await processes.worker("text_worker", "t1")
    os.kill(idle.process.pid, signal.SIGKILL)
    document_id = await add_document(database, deck)
    await insert(database, document_id, "deck_date_extraction")

    async def reason() -> str | None:
        return await database.fetchval(
            "SELECT status_reason FROM processing_servers WHERE status = 'lost'"
        )

    said = await eventually(reason, within_seconds=15)  # a heartbeat's silence would take 30
    assert said is not None
    assert "connection is gone" in said
