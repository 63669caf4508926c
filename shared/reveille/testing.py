"""For tests of programs that use Reveille, its own included: databases to throw away, and patience.

`Databases` makes one migrated template per server and a fresh copy of it per test (50 ms);
`Database` is such a copy. testing_server.py finds the server. Nothing here is imported in
production.
"""

import asyncio
import inspect
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from reveille.database import connect, connect_pool
from reveille.migrate import migrate

T = TypeVar("T")
POLL_SECONDS = 0.02
TEMPLATE_LOCK = 5395020  # one process makes the template, the others wait for it


class Database:
    """One database of a test. `pool` has at most 8 connections; more: `connect`."""

    def __init__(self, dsn: str, pool: Any) -> None:
        self.dsn = dsn
        self.pool = pool

    async def execute(self, query: str, *arguments: object) -> str:
        """As asyncpg.Pool.execute; so the next three."""
        status: str = await self.pool.execute(query, *arguments)
        return status

    async def fetch(self, query: str, *arguments: object) -> list[dict[str, Any]]:
        """Rows as dicts, to be compared at once."""
        return [dict(row) for row in await self.pool.fetch(query, *arguments)]

    async def fetchrow(self, query: str, *arguments: object) -> dict[str, Any] | None:
        """The first row as a dict."""
        row = await self.pool.fetchrow(query, *arguments)
        return None if row is None else dict(row)

    async def fetchval(self, query: str, *arguments: object) -> Any:
        """The first column of the first row."""
        return await self.pool.fetchval(query, *arguments)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Any]:
        """A connection of one's own: for LISTEN, for session locks, to be killed."""
        connection = await connect(self.dsn, application_name="test")
        try:
            yield connection
        finally:
            connection.terminate()

    async def set_now(self, moment: datetime | None) -> None:
        """Let `reveille_now()` stand still at `moment`; None: the true time again.

        For connections opened from now on; the pool's are replaced, other processes keep theirs.
        """
        name = urlsplit(self.dsn).path[1:]
        value = f"= '{moment.isoformat()}'" if moment else "TO DEFAULT"
        await self.execute(f'ALTER DATABASE "{name}" SET reveille.now {value}')
        await self.pool.expire_connections()

    async def break_connections(self) -> int:
        """End every other connection to this database, as a server that restarts does; how many."""
        broken: int = await self.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return broken


class Databases:
    """Databases on one server, whose names begin with `prefix`; `dsn` may create databases."""

    def __init__(self, dsn: str, *, prefix: str, migrations: Path | None = None) -> None:
        self._dsn = dsn
        self._prefix = prefix
        self._migrations = migrations

    @asynccontextmanager
    async def migrated(self) -> AsyncIterator[Database]:
        """A database with the schema, dropped afterwards."""
        async with self._admin() as admin:
            template = await self._template(admin)
            name = await self._create(admin, template)
        async with self._opened(name) as database:
            yield database

    @asynccontextmanager
    async def empty(self) -> AsyncIterator[Database]:
        """A database without any table of ours, dropped afterwards."""
        async with self._admin() as admin:
            name = await self._create(admin, "template0")
        async with self._opened(name) as database:
            yield database

    async def drop_all(self) -> None:
        """Drop the template and whatever a killed test left behind."""
        async with self._admin() as admin:
            for row in await admin.fetch(
                "SELECT datname FROM pg_database WHERE starts_with(datname, $1)", self._prefix
            ):
                await admin.execute(f'DROP DATABASE "{row["datname"]}" WITH (FORCE)')

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[Any]:
        connection = await connect(self._dsn, application_name="test administration")
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def _opened(self, name: str) -> AsyncIterator[Database]:
        dsn = with_database(self._dsn, name)
        pool = await connect_pool(dsn, application_name="test", max_size=8)
        try:
            yield Database(dsn, pool)
        finally:
            pool.terminate()
            async with self._admin() as admin:
                await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    async def _create(self, admin: Any, template: str) -> str:
        name = f"{self._prefix}_{secrets.token_hex(6)}"
        await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    async def _template(self, admin: Any) -> str:
        """Its name. It gets it when it is complete, so that nobody copies half a schema."""
        name = f"{self._prefix}_template"
        known = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)"
        if await admin.fetchval(known, name):
            return name
        await admin.execute("SELECT pg_advisory_lock($1)", TEMPLATE_LOCK)
        try:
            if not await admin.fetchval(known, name):
                unfinished = await self._create(admin, "template0")
                await migrate(with_database(self._dsn, unfinished), directory=self._migrations)
                await admin.execute(f'ALTER DATABASE "{unfinished}" RENAME TO "{name}"')
        finally:
            await admin.execute("SELECT pg_advisory_unlock($1)", TEMPLATE_LOCK)
        return name


def with_database(dsn: str, name: str) -> str:
    """The address of another database on the same server; `dsn` is a URL."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


async def eventually(
    predicate: Callable[[], T | Awaitable[T]], *, within_seconds: float = 10.0
) -> T:
    """The first true answer of `predicate`, asked every 20 ms; raises AssertionError when late.

    For what happens in other processes. Within one process wait for the event itself.
    """
    deadline = time.monotonic() + within_seconds
    while True:
        answer = predicate()
        value: T = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_seconds} s; the last answer was {value!r}")
        await asyncio.sleep(POLL_SECONDS)
