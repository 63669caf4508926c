"""What is measured, every few seconds, and kept as lines of JSON."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.soak.stage import Stage

from reveille.database import Connection

MIB = 1024 * 1024
# Sizes and counts as Postgres keeps them. `bytes` are the queue's table and all its indexes; live
# tasks are few, so that counting them costs little.
DATABASE = """
SELECT
    pg_table_size('processing_queue') AS table_bytes,
    pg_indexes_size('processing_queue') AS index_bytes,
    pg_relation_size('processing_queue_claimable') AS claimable_bytes,
    coalesce((SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('processing_queue_archive')), 0)::bigint
        AS archive_bytes,
    pg_database_size(current_database()) AS database_bytes,
    (SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'processing_queue') AS dead_rows,
    (SELECT n_live_tup FROM pg_stat_user_tables WHERE relname = 'processing_queue') AS live_rows,
    (SELECT autovacuum_count FROM pg_stat_user_tables WHERE relname = 'processing_queue') AS vacuums,
    coalesce((SELECT max(age(backend_xmin)) FROM pg_stat_activity WHERE datname = current_database()), 0)
        AS horizon_transactions
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """From the INSERT, sent, to the handler's first line, in milliseconds, of the tasks of one interval."""

    count: int
    p50: float
    p95: float
    p99: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Memory that is its own (not shared, not files), open files, and processor seconds so far."""

    memory_mib: float
    files: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One moment. `backlog`: acknowledged and not begun. `load`: the machine's, over a minute."""

    at_seconds: float
    reader: bool
    committed: int
    began: int
    backlog: int
    waits: Waits | None
    database: dict[str, int]
    processes: dict[str, Process]
    load: float


class Sampler:
    """Takes samples of a stage."""

    def __init__(self, stage: Stage, began: float) -> None:
        self._stage = stage
        self._began = began

    async def take(self, *, reader: bool) -> Sample:
        """Now."""
        ledger = self._stage.ledger
        return Sample(
            at_seconds=round(time.monotonic() - self._began, 1),
            reader=reader,
            committed=ledger.committed,
            began=ledger.began,
            backlog=len(ledger.acknowledged),
            waits=waits_of(ledger.take_waits()),
            database=await _database(self._stage.admin),
            processes=self._processes(),
            load=os.getloadavg()[0],
        )

    def _processes(self) -> dict[str, Process]:
        found = {
            name: process_of([child.process.pid])
            for name, child in self._stage.children.items()
            if child.alive
        }
        return found | {"postgres": process_of(_family(self._stage.postgres.pid))}


def waits_of(ascending: list[float]) -> Waits | None:
    """Percentiles; None of nothing."""
    if not ascending:
        return None

    def at(share: float) -> float:
        return round(ascending[min(len(ascending) - 1, int(len(ascending) * share))] * 1000, 2)

    return Waits(count=len(ascending), p50=at(0.5), p95=at(0.95), p99=at(0.99), most=at(1.0))


def process_of(pids: list[int]) -> Process:
    """The sum over these."""
    anonymous, files, ticks = 0, 0, 0
    for pid in pids:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            files += len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - a count, no paths
        except OSError:  # ended meanwhile
            continue
        anonymous += next(
            (int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0
        )
        ticks += int(stat[11]) + int(stat[12])
    return Process(
        memory_mib=round(anonymous / 1024, 2),
        files=files,
        cpu_seconds=round(ticks / os.sysconf("SC_CLK_TCK"), 2),
    )


def _family(pid: int) -> list[int]:
    """The process and its children."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *map(int, children)]


async def _database(connection: Connection) -> dict[str, int]:
    row: Any = await connection.fetchrow(DATABASE)
    return {name: int(value) for name, value in row.items()}
