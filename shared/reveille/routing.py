"""Which pool serves a task type: one each, as installed, or one for all where both models fit on
one GPU. Tasks that wait go along; what is being worked on is finished where it is.
"""

from reveille.database import Connection
from reveille.task import COMBINED, POOLS
from reveille.task_types import TASK_TYPES


async def combine(connection: Connection) -> int:
    """All task types to the pool `combined`; how many moved. Raises what the driver raises."""
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO pools (name) VALUES ($1) ON CONFLICT DO NOTHING", COMBINED
        )
        moved = await connection.fetch(
            "UPDATE task_types SET pool = $1 WHERE pool = ANY ($2) RETURNING name",
            COMBINED,
            list(POOLS),
        )
    return len(moved)


async def split(connection: Connection) -> int:
    """Back to a pool each; a task type that is not ours goes to `text`, as when it was adopted."""
    homes = {kind.name: kind.pool for kind in TASK_TYPES}
    async with connection.transaction():
        moved = await connection.fetch(
            "UPDATE task_types t SET pool = coalesce(h.pool, 'text') FROM task_types o "
            "LEFT JOIN unnest($2::text[], $3::text[]) AS h (name, pool) ON h.name = o.name "
            "WHERE t.name = o.name AND t.pool = $1 RETURNING t.name",
            COMBINED,
            list(homes),
            list(homes.values()),
        )
    return len(moved)
