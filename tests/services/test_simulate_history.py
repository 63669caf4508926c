"""`reveille simulate --from-database`: a deployment's own past, from real rows."""

import asyncio
import json
import os
import sys
from typing import Any

from autoscaler.simulate.history import read_history
from reveille.testing import Database

TASKS = """
INSERT INTO processing_queue
    (document_id, task_type, priority, status, created_at, claimable_at, started_at, completed_at)
SELECT n, CASE n % 2 WHEN 0 THEN 'visual_analysis' ELSE 'deck_date_extraction' END, 2, 'completed',
    t, t + interval '5 s', t + interval '60 s', t + interval '100 s'
FROM (SELECT n, reveille_now() - n * interval '5000 s' AS t FROM generate_series(10, 1, -1) n) moments"""
CONTAINERS = """
INSERT INTO containers (name, pool, slot, state, creating_at, ready_at) VALUES
('a', 'text', 0, 'stopped', reveille_now() - interval '90 s', reveille_now()),
('b', 'text', 1, 'stopped', reveille_now() - interval '70 s', reveille_now()),
('c', 'text', 2, 'failed', reveille_now() - interval '900 s', NULL)"""


async def simulated(database: Database, *arguments: str) -> tuple[int | None, str, str]:
    """What the command says: exit code, output, errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "autoscaler.simulate", "--from-database", *arguments),
        env={**os.environ, "DATABASE_URL": database.dsn},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_own_past_is_played_with_its_pools_and_measured_cold_starts(
    database: Database,
) -> None:
    """Arrivals, work, pools and starts are those of the rows; archived tasks are among them."""
    await database.execute(TASKS)
    await database.execute(CONTAINERS)
    moved = await database.fetchval(
        "SELECT moved FROM reveille_archive_tasks(reveille_now() - interval '20000 s', 0, 100)"
    )
    assert moved == 6
    load, starts = await asyncio.to_thread(read_history, database.dsn, 2)
    assert len(load.tasks) == 10
    assert sorted(load.pools) == ["text", "visual"]
    assert sorted(round(start) for start in starts) == [70, 90]
    code, out, err = await simulated(database, "--days", "2", "--policy", "marginal", "--json")
    assert (code, err) == (0, "")
    scores: list[dict[str, Any]] = json.loads(out)
    assert {score["pool"]: score["tasks"] for score in scores}["all"] == 10
    assert scores[-1]["cold_start_seconds"] == 80.0


async def test_database_without_a_past_is_said_in_a_sentence(database: Database) -> None:
    """No table of zeros."""
    code, out, err = await simulated(database)
    assert (code, out) == (78, "")
    assert err == "reveille simulate: --from-database: no task was completed in 28 days\n"
