"""How many replicas each pool's StatefulSet should have: read from rows, so every autoscaler, leading
or not, says the same.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping

from autoscaler.sql import statement
from reveille.database import Pool


class Published:
    """The numbers, and word of their changes. Raises one of DATABASE_ERRORS."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._changed = asyncio.Condition()
        self._known: Mapping[str, int] = {}

    async def read(self) -> Mapping[str, int]:
        """Pool → replicas, now; those who wait for a change hear of it."""
        rows = await self._pool.fetch(statement("look_published"))
        known = {row["pool"]: row["replicas"] for row in rows}
        async with self._changed:
            if known != self._known:
                self._known = known
                self._changed.notify_all()
        return known

    async def follow(self, pool: str) -> AsyncIterator[int]:
        """The pool's number, and again each time that it has changed."""
        said = (await self.read()).get(pool, 0)
        yield said
        while True:
            async with self._changed:
                while self._known.get(pool, 0) == said:
                    await self._changed.wait()
                said = self._known.get(pool, 0)
            yield said
