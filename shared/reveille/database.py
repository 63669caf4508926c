"""Connections to Postgres: how they are opened, what limits they carry, what to do when they break.

Every limit is set on the server's side too, so that a client that vanished cannot hold a lock or
pin the vacuum horizon: no statement, no wait for a lock and no idle transaction goes on for ever.
json and jsonb travel as Python objects; what Python cannot read does as an object that says so.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg
import structlog
from pydantic_core import from_json, to_json

from reveille.dsn import CertificateRefused, check_dsn, reading_dsn
from reveille.pause import pause

log = structlog.get_logger(__name__)
T = TypeVar("T")

Connection = asyncpg.Connection
Pool = asyncpg.Pool

CONNECT_SECONDS_MAX = 10.0
CLIENT_GRACE_SECONDS = 5.0  # the server cancels first, and says why
RELEASE_SECONDS_MAX = 5.0
RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 0.05, 5.0
RETRYING_SECONDS = 60.0

# In place of JSON beyond the limits of the parser, under a name that no options model knows.
UNREADABLE = "unreadable JSON (deeper than 200 levels, or a number of more than 4300 digits)"
UNREADABLE_BYTES_SHOWN = 200

# A plan may be made while the queue is empty and used when it is full: it must be the index's. What has
# to read all of a small table nevertheless looks so dear then that it would be compiled, for seconds.
PLAN_ONCE = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "jit": "off"}

# Whatever talking to a database can raise: the server's complaints, the driver's, the network's.
# InternalClientError comes up too: the server's farewell and our next statement may cross.
DATABASE_ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

# The same statement, sent again, may well succeed.
TRANSIENT = (
    OSError,  # refused, reset, unreachable; TimeoutError is one
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,  # starting up, shutting down, in recovery
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
)

REFUSALS = (
    CertificateRefused,
    asyncpg.InvalidAuthorizationSpecificationError,  # no such role, wrong password, pg_hba.conf
    asyncpg.InvalidCatalogNameError,  # no such database
)


class _Pool(asyncpg.Pool):  # type: ignore[misc]  # asyncpg has no annotations
    """A pool that does not wait for ever for a connection that hears nothing any more.

    A statement that ran out of time is cancelled on the server, and the driver waits for word of
    that when the connection is handed back: through a half-open connection it never comes.
    """

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncpg's
        await super().release(connection, timeout=timeout or RELEASE_SECONDS_MAX)


async def connect(
    dsn: str,
    *,
    application_name: str,
    statement_seconds_max: float = 30.0,
    lock_seconds_max: float = 10.0,
    idle_in_transaction_seconds_max: float = 60.0,
    pooler: bool = False,
) -> asyncpg.Connection:
    """One connection; 0 switches a limit off.

    `pooler=True` speaks through a transaction pooler: no prepared statements kept, no settings
    sent. Raises one of DATABASE_ERRORS, and ConfigurationError for a DSN that makes no sense.
    """
    check_dsn(dsn)
    options = _options(
        application_name,
        statement_seconds_max,
        lock_seconds_max,
        idle_in_transaction_seconds_max,
        pooler,
    )
    with reading_dsn():
        connection = await asyncpg.connect(dsn, **options)
    await _speak_json(connection)
    return connection


async def connect_pool(
    dsn: str,
    *,
    application_name: str,
    min_size: int = 1,
    max_size: int = 4,
    statement_seconds_max: float = 30.0,
    lock_seconds_max: float = 10.0,
    idle_in_transaction_seconds_max: float = 60.0,
    pooler: bool = False,
    plan_once: bool = False,
) -> asyncpg.Pool:
    """A pool of such connections, none of which carries state of its session from user to user.

    `plan_once` is for statements whose plan does not depend on their values: Postgres then plans
    each once per connection. Left to itself it plans the claim anew every time, which takes as long
    as running it (docs/performance.md).

    So whoever needs LISTEN, a session's advisory lock or SET (not SET LOCAL) takes `connect`:
    a pooled connection is handed back without the usual reset, which would cost a round trip.
    """
    check_dsn(dsn)
    options = _options(
        application_name,
        statement_seconds_max,
        lock_seconds_max,
        idle_in_transaction_seconds_max,
        pooler,
    )
    if plan_once and not pooler:
        options["server_settings"] |= PLAN_ONCE
    with reading_dsn():
        pool: asyncpg.Pool = await _Pool(
            dsn,
            connection_class=asyncpg.Connection,
            record_class=asyncpg.Record,
            min_size=min_size,
            max_size=max_size,
            max_queries=50_000,  # this and the next as create_pool has them
            max_inactive_connection_lifetime=300.0,
            setup=None,
            init=_speak_json,
            reset=_keep_as_is,
            loop=None,
            **options,
        )
    return pool


def is_transient(error: BaseException) -> bool:
    """Whether the same statement may succeed in a moment, perhaps on another connection."""
    if isinstance(error, asyncpg.InterfaceError):
        # the driver has one class for a connection that broke between two statements and for
        # misuse of its interface; only its words tell them apart
        return "connection is closed" in str(error)
    return isinstance(error, TRANSIENT) and not isinstance(error, CertificateRefused)


def is_refusal(error: BaseException) -> bool:
    """Whether the database, or we, will not have the connection as DATABASE_URL describes it."""
    return isinstance(error, REFUSALS)


async def retrying(
    operation: Callable[[], Awaitable[T]],
    *,
    stop: asyncio.Event | None = None,
    for_seconds: float | None = None,
    unless: type[BaseException] | None = None,
) -> T:
    """`await operation()` until it succeeds or fails in a way that another try cannot mend.

    Gives up after `for_seconds`, by default 60; with a `stop` event it goes on until that is set.
    Then the last error is raised, and one of the kind `unless` is at once. `operation` must be
    safe to run twice: an answer may be lost after the commit.
    """
    if for_seconds is None and stop is None:
        for_seconds = RETRYING_SECONDS
    deadline = float("inf") if for_seconds is None else time.monotonic() + for_seconds
    pause_seconds_max = RETRY_SECONDS_MIN
    while True:
        try:
            return await operation()
        except DATABASE_ERRORS as error:
            pause_seconds = random.uniform(0, pause_seconds_max)
            late = time.monotonic() + pause_seconds > deadline
            hopeless = not is_transient(error) or (unless and isinstance(error, unless))
            if late or hopeless or (stop is not None and stop.is_set()):
                raise
            log.warning("database_retry", error=str(error) or type(error).__name__)
        pause_seconds_max = min(pause_seconds_max * 2, RETRY_SECONDS_MAX)
        await pause(pause_seconds, stop or asyncio.Event())  # a stop leaves one last try


def _options(
    application_name: str,
    statement_seconds_max: float,
    lock_seconds_max: float,
    idle_in_transaction_seconds_max: float,
    pooler: bool,
) -> dict[str, Any]:
    limits = {
        "statement_timeout": statement_seconds_max,
        "lock_timeout": lock_seconds_max,
        "idle_in_transaction_session_timeout": idle_in_transaction_seconds_max,
    }
    settings = {name: str(int(seconds * 1000)) for name, seconds in limits.items()}
    # a client that lost its power is noticed within a minute: its session locks end with it
    keepalives = {"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10"}
    options: dict[str, Any] = {
        "timeout": CONNECT_SECONDS_MAX,
        "server_settings": {"application_name": application_name[:63]},
    }
    if pooler:
        return options | {"statement_cache_size": 0}
    options["server_settings"] |= settings | keepalives | {"tcp_keepalives_count": "3"}
    if statement_seconds_max:
        options["command_timeout"] = statement_seconds_max + CLIENT_GRACE_SECONDS
    return options


async def _speak_json(connection: asyncpg.Connection) -> None:
    codec = {"schema": "pg_catalog", "format": "binary"}
    await connection.set_type_codec("json", encoder=_encoded, decoder=_decoded, **codec)
    # jsonb's binary form is a version byte, 1, before the text
    await connection.set_type_codec(
        "jsonb",
        encoder=lambda value: b"\x01" + _encoded(value),
        decoder=lambda data: _decoded(data[1:]),
        **codec,
    )


def _encoded(value: object) -> bytes:
    return to_json(value, inf_nan_mode="null")


def _decoded(data: bytes) -> Any:
    """Postgres takes what this cannot read: an error here would fail all rows of an answer for the one."""
    try:
        return from_json(data)
    except ValueError:
        return {UNREADABLE: data[:UNREADABLE_BYTES_SHOWN].decode("utf-8", "replace")}


async def _keep_as_is(_connection: asyncpg.Connection) -> None:
    """In place of the reset query; asyncpg itself still rolls back and forgets listeners."""
