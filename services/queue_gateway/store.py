"""The gateway's way to the database: statements by name, and the database's refusals as answers.

The only module of the gateway that knows the driver. What the schema refuses (an unknown task type,
a bad priority, a cycle, a dedupe key that is taken) arrives with the schema's own message and hint,
so there is one wording for SQL and HTTP clients.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import asyncpg

from queue_gateway.refusal import Refusal
from queue_gateway.sql import statement
from reveille.database import DATABASE_ERRORS, is_transient

Row = dict[str, Any]
T = TypeVar("T")

# SQLSTATE, or its class of two letters, to status: what is wrong with the values is the caller's to
# mend.
_STATUS = {"23505": 409, "55000": 409, "23": 422, "22": 422, "54": 422}

# Constraints whose names say more to us than PostgreSQL's sentence says to a caller.
_SENTENCES = {
    "processing_queue_dedupe": "A live task with this dedupe_key exists already.",
    "pools_min_not_over_max": "replicas_min must not be greater than replicas_max.",
}


class Statements:
    """Runs the files of `sql/` on a pool or on one connection (inside a transaction)."""

    def __init__(self, target: asyncpg.Pool | asyncpg.Connection) -> None:
        self._target = target

    async def rows(self, name: str, *arguments: object) -> list[Row]:
        """All rows, as dictionaries. Raises Refusal."""
        with refusing():
            return [dict(row) for row in await self._target.fetch(statement(name), *arguments)]

    async def row(self, name: str, *arguments: object) -> Row | None:
        """The first row. Raises Refusal."""
        with refusing():
            found = await self._target.fetchrow(statement(name), *arguments)
            return None if found is None else dict(found)

    async def value(self, name: str, *arguments: object) -> Any:
        """The first column of the first row. Raises Refusal."""
        with refusing():
            return await self._target.fetchval(statement(name), *arguments)


class Store(Statements):
    """The pool, and transactions on it."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        super().__init__(pool)
        self._pool = pool

    async def ask(self, work: Callable[[asyncpg.Pool], Awaitable[T]]) -> T:
        """What `work` reads from the pool: questions that others than the gateway ask too. Raises
        Refusal.
        """
        with refusing():
            return await work(self._pool)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Statements]:
        """Several statements as one; what a deferred trigger refuses at the end is a Refusal too."""
        with refusing():
            async with self._pool.acquire() as connection, connection.transaction():
                yield Statements(connection)


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what the database refuses into a Refusal, and its absence into a 503. The rest passes:
    it is a bug.
    """
    try:
        yield
    except DATABASE_ERRORS as error:
        refusal = _refusal(error)
        if refusal is None:
            raise
        raise refusal from error


def _refusal(error: Exception) -> Refusal | None:
    if is_transient(error) or isinstance(error, asyncpg.QueryCanceledError) or _closing(error):
        return _unavailable(error)
    if getattr(error, "severity", "") == "FATAL":  # it did not even let us in
        return _unavailable(error)
    if not isinstance(error, asyncpg.PostgresError):
        return None
    code = str(error.sqlstate or "")
    status = _STATUS.get(code) or _STATUS.get(code[:2])
    if status is None:
        return None
    message = _SENTENCES.get(error.constraint_name or "", str(error.message))
    return Refusal(status, message, **({"hint": error.hint} if error.hint else {}))


def _closing(error: Exception) -> bool:
    """Whether the pool is being closed: this process stops."""
    return isinstance(error, asyncpg.InterfaceError) and "pool is clos" in str(error)


def _unavailable(error: BaseException) -> Refusal:
    return Refusal(
        503,
        f"The database does not answer at the moment ({type(error).__name__}). Try again.",
        headers={"Retry-After": "2"},
    )
