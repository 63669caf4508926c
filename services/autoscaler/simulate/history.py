"""The deployment's own past as a load: what arrived, and how long it took.

Reads the queue, its archive and the containers, and writes nothing. What one task set free comes
as an arrival of its own, at the moment at which it became claimable then.
"""

import asyncio
from collections.abc import Sequence

from autoscaler.ledger import Row
from autoscaler.simulate.load import Load, Task
from autoscaler.sql import statement
from reveille.database import DATABASE_ERRORS, connect
from reveille.errors import ConfigurationError


def read_history(dsn: str, days: int) -> tuple[Load, tuple[float, ...]]:
    """The last `days` days, and how long the cold starts in them took, in seconds. Raises
    ConfigurationError when nothing was completed in them, or the database does not answer.
    """
    try:
        rows, starts = asyncio.run(_rows(dsn, days))
    except DATABASE_ERRORS as error:
        raise ConfigurationError(f"--from-database: {error or type(error).__name__}") from None
    if not rows:
        raise ConfigurationError(f"--from-database: no task was completed in {days} days")
    first = float(rows[0]["arrival_s"])
    tasks = [
        Task(r["arrival_s"] - first, max(r["service_s"], 0.001), r["priority"], r["task_type"])
        for r in rows
    ]
    return Load(tasks, routes={row["task_type"]: row["pool"] for row in rows}), starts


async def _rows(dsn: str, days: int) -> tuple[Sequence[Row], tuple[float, ...]]:
    connection = await connect(dsn, application_name="reveille simulate")
    try:
        rows: Sequence[Row] = await connection.fetch(statement("load_history"), days)
        starts = await connection.fetch(statement("load_starts"), days)
    finally:
        await connection.close(timeout=5)
    return rows, tuple(row["seconds"] for row in starts)
