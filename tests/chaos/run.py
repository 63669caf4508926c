"""One seed from beginning to end: open the stage, load and strike, wait for the dust, count."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.chaos.audit import Finding, audit
from tests.chaos.containers import containers_at_rest
from tests.chaos.faults import strike
from tests.chaos.history import LOAD
from tests.chaos.load import Load
from tests.chaos.plan import Plan
from tests.chaos.stage import HEARTBEAT_SECONDS, LEASE_SECONDS, Stage, stage_for

from reveille.database import DATABASE_ERRORS, Connection, connect
from reveille.testing import eventually

SETTLE_SECONDS_MAX = 150.0
QUIET_SECONDS_MAX = LEASE_SECONDS + 3 * HEARTBEAT_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """A fault that happened. `freed_seconds`: for tasks that the dead held, until somebody else
    had each of them.
    """

    fault: str
    target: str
    struck: bool
    lasted_seconds: float
    freed_seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of one seed. `lacks`: what the machine did not let us have, in words."""

    seed: int
    seconds: float
    settled_seconds: float
    tasks: int
    statuses: dict[str, int]
    attempts: dict[str, int]
    poisoned: int
    restarts: int
    containers: int
    lacks: tuple[str, ...]
    struck: tuple[Struck, ...]
    findings: tuple[Finding, ...]

    def count(self, kind: str) -> int:
        """Cases of one kind: lost, doubled, wrong."""
        return sum(finding.count for finding in self.findings if finding.kind == kind)


async def run_seed(plan: Plan, *, keep: bool, say: Callable[[str], None]) -> Run:
    """Run the plan. The folder with all logs stays when something was found, or with `keep`."""
    folder = Path(tempfile.mkdtemp(prefix=f"reveille-chaos-{plan.seed}-"))
    began = time.monotonic()
    async with stage_for(plan, folder) as stage:
        load = Load(stage.dsn, plan, stage.document_root, stage.gateway_url)
        await load.prepare()
        said: list[tuple[str, str, bool, float, datetime | None, list[int]]] = []
        loading = asyncio.create_task(load.run())
        try:
            await _strike_all(stage, plan, said, say)
            await loading
        finally:
            loading.cancel()
        await stage.heal()
        ended = time.monotonic()
        await _until(stage, _nothing_lives, SETTLE_SECONDS_MAX)
        settled_seconds = time.monotonic() - ended
        await _until(stage, _no_load, QUIET_SECONDS_MAX)
        disagreement = await containers_at_rest(stage)
        connection = await connect(stage.dsn, application_name=LOAD)
        run = Run(
            seed=plan.seed,
            seconds=time.monotonic() - began,
            settled_seconds=settled_seconds,
            tasks=len(load.accepted.ids),
            statuses=await _counts(connection, "processing_queue", "status"),
            attempts=await _counts(connection, "task_attempts", "outcome"),
            poisoned=await connection.fetchval(
                "SELECT count(*) FROM processing_queue WHERE failure_reason = 'poison'"
            ),
            restarts=stage.restarts,
            struck=tuple([await _struck(connection, *facts) for facts in said]),
            containers=await connection.fetchval("SELECT count(*) FROM containers"),
            lacks=stage.lacks,
            findings=(
                *await audit(connection, load.accepted.ids),
                *disagreement,
                *_collapses(stage),
            ),
        )
        await connection.close()
    if run.findings or keep:
        say(f"logs of seed {plan.seed}: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return run


async def _strike_all(
    stage: Stage, plan: Plan, said: list[Any], say: Callable[[str], None]
) -> None:
    began = time.monotonic()

    async def one(number: int) -> None:
        blow = plan.blows[number]
        await asyncio.sleep(max(0.0, began + blow.at_seconds - time.monotonic()))
        at, held = await _held_by(stage, blow.target if blow.fault == "kill" else "")
        struck_at = time.monotonic()
        struck = await strike(stage, blow)
        lasted = time.monotonic() - struck_at
        say(f"  {blow.at_seconds:5.1f} s {blow.fault} {blow.target}{'' if struck else ' (missed)'}")
        said.append((blow.fault, blow.target, struck, lasted, at, held))

    await asyncio.gather(*(one(number) for number in range(len(plan.blows))))


async def _held_by(stage: Stage, slot: str) -> tuple[datetime | None, list[int]]:
    """The database's time, and the leases that a worker slot holds now."""
    if not slot:
        return None, []
    try:
        connection = await connect(stage.dsn, application_name=LOAD)
    except DATABASE_ERRORS:
        return None, []
    try:
        at = await connection.fetchval("SELECT clock_timestamp()")
        rows = await connection.fetch(
            "SELECT q.lease_token FROM processing_queue q JOIN processing_servers s ON s.id = q.locked_by "
            "WHERE q.status = 'processing' AND s.container_id = $1",
            slot,
        )
    except DATABASE_ERRORS:
        return None, []
    finally:
        connection.terminate()
    return at, [row["lease_token"] for row in rows]


async def _struck(
    connection: Connection,
    fault: str,
    target: str,
    struck: bool,
    lasted: float,
    at: datetime | None,
    held: list[int],
) -> Struck:
    """With the times from the kill to each task's next claim, out of the history."""
    rows = await connection.fetch(
        "SELECT extract(epoch FROM min(later.at) - $1::timestamptz)::double precision AS seconds "
        "FROM chaos_history mine JOIN chaos_history later ON later.task_id = mine.task_id "
        "  AND later.became = 'processing' AND later.lease_token > mine.lease_token "
        "WHERE mine.became = 'processing' AND mine.lease_token = ANY ($2::bigint[]) "
        "  AND EXISTS (SELECT 1 FROM task_attempts a WHERE a.lease_token = mine.lease_token AND a.outcome = 'lost') "
        "GROUP BY mine.lease_token",
        at,
        held,
    )
    return Struck(
        fault=fault,
        target=target,
        struck=struck,
        lasted_seconds=lasted,
        freed_seconds=tuple(row["seconds"] for row in rows),
    )


async def _until(stage: Stage, query: str, seconds: float) -> None:
    """Wait for the query's true; being late is for the audit to find."""
    connection = await connect(stage.dsn, application_name=LOAD)
    try:
        await eventually(lambda: connection.fetchval(query), within_seconds=seconds)
    except AssertionError:
        return
    finally:
        connection.terminate()


_nothing_lives = (
    "SELECT NOT EXISTS (SELECT 1 FROM processing_queue "
    "WHERE status IN ('blocked', 'queued', 'processing', 'retry'))"
)
_no_load = "SELECT NOT EXISTS (SELECT 1 FROM processing_servers WHERE current_load <> 0)"


async def _counts(connection: Connection, table: str, column: str) -> dict[str, int]:
    rows = await connection.fetch(
        f"SELECT {column} AS name, count(*) AS rows FROM {table} GROUP BY 1 ORDER BY 1"  # noqa: S608
    )
    return {row["name"]: row["rows"] for row in rows}


def _collapses(stage: Stage) -> list[Finding]:
    return [
        Finding(
            check=f"{collapse.slot} ended by itself",
            kind="wrong",
            count=1,
            cases=(f"exit {collapse.code}: {collapse.log_end}",),
        )
        for collapse in stage.collapses
    ]
