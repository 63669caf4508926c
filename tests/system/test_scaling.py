"""Autoscaler and heartbeat monitor as real processes with real workers: up from zero, a worker
that is killed, back to zero.
"""

import asyncio
import hashlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from autoscaler.providers.launch import identity_of
from model_stub.server import Stub
from reveille.costs import costs_of_document, costs_of_month
from reveille.routing import combine
from reveille.testing import Database, eventually

QUICK = {
    "lone_task_delay_seconds": 0,
    "look_seconds": 0.5,
    "process_bound": True,
    "drain_seconds": 2,
}


async def add_task(database: Database, deck: bytes, task_type: str, **columns: Any) -> int:
    document_id = await database.fetchval(
        "INSERT INTO documents (filename, sha256, size_bytes, content) "
        "VALUES ('deck.pdf', $1, $2, $3) RETURNING id",
        hashlib.sha256(deck).hexdigest(),
        len(deck),
        deck,
    )
    names = "".join(f", {name}" for name in columns)
    marks = "".join(f", ${n}" for n in range(3, len(columns) + 3))
    task_id: int = await database.fetchval(
        f"INSERT INTO processing_queue (document_id, task_type{names}) "  # noqa: S608
        f"VALUES ($1, $2{marks}) RETURNING id",
        document_id,
        task_type,
        *columns.values(),
    )
    return task_id


async def until(
    database: Database, query: str, expected: object, *, within_seconds: float = 90.0
) -> None:
    async def reached() -> bool:
        return bool(await database.fetchval(query) == expected)

    await eventually(reached, within_seconds=within_seconds)


async def test_task_brings_a_worker_up_from_zero_and_it_goes_back_to_zero(
    database: Database, processes: Any, deck: bytes, tmp_path: Path
) -> None:
    """A row alone: container, result, container gone, and the autoscaler ends in good order."""
    settings = {**QUICK, "run_dir": tmp_path / "run", "scale_down_delay_seconds": 1}
    processes.start("heartbeat_monitor")
    autoscaler = processes.start("autoscaler", **settings)
    await add_task(database, deck, "startup_name_extraction")
    status = "SELECT status FROM processing_queue"
    await until(database, status, "completed")
    await until(database, "SELECT state FROM containers", "stopped")
    row = await database.fetchrow("SELECT name, reason, provider_ref FROM containers")
    assert row is not None
    assert (row["name"], row["reason"]) == ("reveille-text-0", "drained: its worker has left")
    assert identity_of(int(row["provider_ref"])) is None
    assert await asyncio.to_thread(lambda: autoscaler.stop(wait_seconds=15)) == 0


async def test_combined_pool_serves_both_families_in_one_container(
    database: Database, processes: Any, deck: bytes, tmp_path: Path
) -> None:
    """Where both models fit on one GPU: one cold start, one row of the ledger, both kinds done."""
    await database.execute("UPDATE pools SET replicas_max = 1")
    async with database.connect() as connection:
        await combine(connection)
    processes.start("autoscaler", **QUICK, run_dir=tmp_path / "run", scale_down_delay_seconds=1)
    for kind in ("slide_feedback", "startup_name_extraction"):
        await add_task(database, deck, kind)
    await until(
        database, "SELECT string_agg(status, ' ') FROM processing_queue", "completed completed"
    )
    await until(
        database,
        "SELECT string_agg(name || ' ' || state, ', ') FROM containers",
        "reveille-combined-0 stopped",
    )
    server = await database.fetchrow("SELECT DISTINCT completed_by AS id FROM processing_queue")
    assert server is not None
    assert server["id"].startswith("reveille-combined-0-")


async def test_worker_that_is_killed_loses_its_task_within_five_seconds_and_is_replaced(
    database: Database, processes: Any, stub: Stub, deck: bytes, tmp_path: Path
) -> None:
    """SIGKILL in the middle of a model call: noticed by the connection, finished by a successor."""
    stub.faults.add("slow", seconds=30, times=1)
    processes.start("heartbeat_monitor")
    processes.start("autoscaler", **QUICK, run_dir=tmp_path / "run")
    await add_task(database, deck, "startup_name_extraction")
    await eventually(lambda: not stub.faults.waiting(), within_seconds=90)  # in the model call
    await until(database, "SELECT state FROM containers", "ready")
    pid = int(await database.fetchval("SELECT provider_ref FROM containers"))

    os.kill(pid, signal.SIGKILL)
    await until(database, "SELECT count(*) FROM task_attempts", 1, within_seconds=5)
    attempt = await database.fetchrow("SELECT outcome, reason FROM task_attempts")
    assert attempt == {"outcome": "lost", "reason": "server_lost"}
    await until(database, "SELECT status FROM processing_queue", "completed")
    states = [r["state"] for r in await database.fetch("SELECT state FROM containers ORDER BY id")]
    assert states == ["failed", "ready"]


async def test_workers_outlive_an_autoscaler_that_is_killed_and_are_found_again(
    database: Database, processes: Any, deck: bytes, tmp_path: Path
) -> None:
    """Work goes on without the autoscaler; the next one knows what runs and starts nothing twice."""
    settings = {**QUICK, "process_bound": False, "run_dir": tmp_path / "run"}
    first = processes.start("autoscaler", **settings)
    await add_task(database, deck, "startup_name_extraction")
    await until(database, "SELECT state FROM containers", "ready")
    pid = int(await database.fetchval("SELECT provider_ref FROM containers"))
    try:
        os.kill(first.process.pid, signal.SIGKILL)
        await until(database, "SELECT status FROM processing_queue", "completed")
        processes.start("autoscaler", **settings)
        await until(database, "SELECT epoch FROM leaders", 2)
        await database.execute("UPDATE containers SET wish = 'drain'")
        await until(database, "SELECT string_agg(state, ' ') FROM containers", "stopped")
    finally:
        if identity_of(pid) is not None:
            os.kill(pid, signal.SIGKILL)


async def test_burst_is_finished_by_workers_from_zero_and_the_ledger_adds_up(
    database: Database, processes: Any, deck: bytes, tmp_path: Path
) -> None:
    """Real workers of both pools rise, finish a burst, go away; every second they ran is in the
    ledger once, as boot, busy or idle, and every busy second is some task's.
    """
    settings = {**QUICK, "run_dir": tmp_path / "run", "scale_down_delay_seconds": 1}
    processes.start("heartbeat_monitor")
    processes.start("autoscaler", **settings)
    kinds = ["startup_name_extraction", "deck_date_extraction", "slide_feedback"] * 3
    tasks = [await add_task(database, deck, kind) for kind in kinds]
    done = "SELECT count(*) FROM processing_queue WHERE status = 'completed'"
    await until(database, done, len(tasks), within_seconds=110)
    gone = "SELECT bool_and(state = 'stopped') FROM containers"
    await until(database, gone, True, within_seconds=110)

    pools = await database.fetch("SELECT DISTINCT pool FROM containers ORDER BY pool")
    assert [row["pool"] for row in pools] == ["text", "visual"]
    for row in await database.fetch(
        "SELECT c.name, extract(epoch FROM c.ended_at - c.creating_at)::float8 AS life, "
        "c.price_usd_per_hour::float8 AS price, k.* "
        "FROM containers c JOIN container_costs k ON k.id = c.id"
    ):
        parts = row["boot_seconds"] + row["busy_seconds"] + row["idle_seconds"]
        assert parts == pytest.approx(row["life"], abs=1e-3), row
        assert row["cost_usd"] == pytest.approx(row["life"] * row["price"] / 3600)
        assert row["busy_seconds"] > 0, row

    month = await costs_of_month(database.pool, None, 800)
    spent = sum(pool.cost_usd for pool in month.pools)
    assert spent == month.cost_usd == pytest.approx(sum(day.cost_usd for day in month.days))
    overhead = sum(pool.boot_usd + pool.idle_usd for pool in month.pools)
    documents = await database.fetch("SELECT DISTINCT document_id AS id FROM processing_queue")
    costs = [await costs_of_document(database.pool, row["id"]) for row in documents]
    assert sorted(task.task_id for cost in costs for task in cost.tasks) == sorted(tasks)
    assert overhead + sum(cost.cost_usd for cost in costs) == pytest.approx(spent)
    assert overhead + sum(kind.cost_usd for kind in month.task_types) == pytest.approx(spent)
