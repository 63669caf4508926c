"""Connections: json both ways, limits in force, and which errors are worth another try."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from reveille.database import connect, connect_pool, is_transient, retrying
from reveille.testing import Database


@pytest.mark.parametrize("kind", ["json", "jsonb"])
async def test_json_travels_as_python_objects(empty_database: Database, kind: str) -> None:
    """Nobody has to encode or decode by hand, and what JSON has no word for becomes null."""
    value = {"name": "Ωmega", "slides": [1, 2.5, None, True], "ratio": float("nan")}

    answer = await empty_database.fetchval(f"SELECT $1::{kind}", value)

    assert answer == value | {"ratio": None}


async def test_limits_are_set_on_the_server(empty_database: Database) -> None:
    """A client that vanished cannot hold a lock for ever."""
    connection = await connect(
        empty_database.dsn,
        application_name="limits",
        statement_seconds_max=1.5,
        lock_seconds_max=0.5,
        idle_in_transaction_seconds_max=7,
    )
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")

    values = [await connection.fetchval(f"SHOW {name}") for name in names]
    await connection.close()

    assert values == ["1500ms", "500ms", "7s"]


async def test_pooler_mode_sends_no_settings_and_keeps_no_statements(
    empty_database: Database,
) -> None:
    """A transaction pooler would refuse the one and mix up the other."""
    pool = await connect_pool(empty_database.dsn, application_name="pooled", pooler=True)

    assert await pool.fetchval("SHOW statement_timeout") == "0"
    assert await pool.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0
    await pool.close()


async def test_pooled_connection_comes_back_without_a_transaction(
    empty_database: Database,
) -> None:
    """Leaving out the reset query must not leave a failed transaction to the next user."""
    pool = await connect_pool(empty_database.dsn, application_name="reset", max_size=1)
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT 1 / 0")

    assert await pool.fetchval("SELECT 1") == 1
    await pool.close()


async def test_retrying_outlives_a_broken_connection(empty_database: Database) -> None:
    """A statement on a connection that the server ended is sent again on a new one."""
    await empty_database.fetchval("SELECT 1")
    async with empty_database.connect() as other:
        await other.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    assert await retrying(lambda: empty_database.fetchval("SELECT 7"), for_seconds=10) == 7


async def test_connection_found_broken_is_transient(empty_database: Database) -> None:
    """The driver says so by words alone; this test notices when it changes them."""
    async with empty_database.connect() as connection:
        connection.terminate()
        with pytest.raises(asyncpg.InterfaceError) as caught:
            await connection.execute("SELECT 1")

    assert is_transient(caught.value)


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (asyncpg.DeadlockDetectedError("x"), True),
        (asyncpg.SerializationError("x"), True),
        (asyncpg.AdminShutdownError("x"), True),
        (asyncpg.CannotConnectNowError("x"), True),
        (asyncpg.UniqueViolationError("x"), False),
        (asyncpg.UndefinedTableError("x"), False),
        (asyncpg.InterfaceError("another operation is in progress"), False),
        (ValueError(), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_only_what_may_pass_is_transient(error: Exception, transient: bool) -> None:
    """A wrong statement is wrong the second time too."""
    assert is_transient(error) is transient


def _failing(error: Exception) -> tuple[list[int], Callable[[], Awaitable[None]]]:
    calls: list[int] = []

    async def operation() -> None:
        calls.append(1)
        raise error

    return calls, operation


async def test_retrying_raises_at_once_what_another_try_cannot_mend() -> None:
    """One call, one error."""
    calls, operation = _failing(asyncpg.UniqueViolationError("taken"))

    with pytest.raises(asyncpg.UniqueViolationError):
        await retrying(operation)

    assert len(calls) == 1


async def test_retrying_gives_up_in_time() -> None:
    """The last error comes out when the time is over."""
    calls, operation = _failing(ConnectionRefusedError())

    with pytest.raises(ConnectionRefusedError):
        await retrying(operation, for_seconds=0.3)

    assert len(calls) > 1


async def test_retrying_ends_soon_after_a_stop() -> None:
    """A service that is told to stop does not wait for its database first."""
    calls, operation = _failing(ConnectionRefusedError())
    stop = asyncio.Event()
    asyncio.get_running_loop().call_soon(stop.set)

    with pytest.raises(ConnectionRefusedError):
        async with asyncio.timeout(5):
            await retrying(operation, stop=stop)

    assert 1 <= len(calls) <= 3
