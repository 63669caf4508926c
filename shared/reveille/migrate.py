"""Brings a database to the schema that this program needs: numbered SQL files, each applied once.

A file is `NNNN_name.sql` and begins with `-- breaking: no`, or `yes` when programs that were
written before it cannot work after it. Each runs in a transaction of its own; one whose second line
is `-- joined: yes` shares that of the file before it, because what lies between would not work. A
short lock_timeout and further tries keep it from standing in a queue of locks on a busy database,
that everybody else would have to join. What was applied is kept with its checksum in `reveille_migrations`; a
file that was edited afterwards is an error, because no two databases would then be alike.
"""

import asyncio
import hashlib
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import asyncpg

from reveille.channels import LOCK_MIGRATOR, LOCK_SPACE
from reveille.database import DATABASE_ERRORS, connect, is_transient
from reveille.errors import ReveilleError, SchemaMismatch

SERVER_MAJOR_MIN = 15
ANOTHER_RUN_PAUSE_SECONDS = 0.25
LOCK_SECONDS_MAX = 5.0
TRIES_MAX = 20
BUSY_PAUSE_SECONDS_MAX = 10.0

FILE_NAME = re.compile(r"(?P<version>\d{4})_(?P<name>[a-z0-9_]+)\.sql")
HEADER = re.compile(r"-- breaking: (?P<breaking>yes|no)\n(-- joined: (?P<joined>yes|no)\n)?")

CREATE_TABLE = """\
CREATE TABLE IF NOT EXISTS reveille_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    breaking boolean NOT NULL,
    duration_ms integer NOT NULL
)"""
# Functions that keep the search_path of their definition must not keep that of whoever ran them.
SEARCH_PATH = """\
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true)"""
# What the new files made is granted to the roles of 0008_roles.sql.
GRANT = """\
DO $$ BEGIN
    IF to_regprocedure('reveille_apply_privileges()') IS NOT NULL THEN
        PERFORM reveille_apply_privileges();
    END IF;
END $$"""
INSERT = """\
INSERT INTO reveille_migrations (version, name, checksum, breaking, duration_ms)
VALUES ($1, $2, $3, $4, $5)"""


class MigrationError(ReveilleError):
    """A migration cannot be applied; the message says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file.

    `breaking`: programs that were written before it cannot work after it. `joined`: it shares the
    transaction of the one before.
    """

    version: int
    name: str
    sql: str
    breaking: bool
    joined: bool = False

    @property
    def title(self) -> str:
        """The file's name without its ending."""
        return f"{self.version:04}_{self.name}"

    @property
    def checksum(self) -> str:
        """SHA-256 of the text; line ends do not count, because git may change them."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that the database has. `duration_ms` is what it took."""

    version: int
    name: str
    checksum: str
    breaking: bool
    duration_ms: int

    @property
    def title(self) -> str:
        """As Migration.title."""
        return f"{self.version:04}_{self.name}"


def migrations_directory() -> Path:
    """`db/migrations` of the source checkout, else the copy in the installed package."""
    checkout = Path(__file__).resolve().parents[2] / "db" / "migrations"
    if checkout.is_dir():
        return checkout
    return Path(str(resources.files("reveille") / "_migrations"))


def read_migrations(directory: Path | None = None) -> tuple[Migration, ...]:
    """The files in order. Raises MigrationError for a name, a number or a header that is wrong."""
    directory = directory or migrations_directory()
    if not directory.is_dir():
        raise MigrationError(f"no folder of migrations at {directory}")
    migrations = [_read(path) for path in sorted(directory.glob("*.sql"))]
    for expected, migration in enumerate(migrations, start=1):
        if migration.version != expected:
            raise MigrationError(
                f"{migration.title}.sql should have the number {expected:04}: "
                "numbers go up one by one from 0001"
            )
    return tuple(migrations)


async def migrate(
    database: str | asyncpg.Connection,
    *,
    directory: Path | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> list[Applied]:
    """Apply what is pending and return it; nothing when the database is up to date.

    `database` is a DSN, or a direct connection (not through a transaction pooler). A second run at
    the same time waits for the first. Raises MigrationError, SchemaMismatch, a database error.
    """
    migrations = read_migrations(directory)
    async with _connection(database) as connection:
        _check_server(connection)
        async with _alone(connection, on_progress):
            await connection.execute(CREATE_TABLE)
            done = await applied(connection)
            _check_unedited(migrations, done)
            _check_not_newer(migrations, done)
            new: list[Applied] = []
            with _warnings(connection, on_progress):
                for together in _batches(_not_in(done, migrations)):
                    new += await _apply(connection, together, on_progress)
                if new:
                    await connection.execute(GRANT)
            return new


async def applied(connection: asyncpg.Connection) -> list[Applied]:
    """What the database has, in order; nothing when no migration ever ran."""
    if await connection.fetchval("SELECT to_regclass('reveille_migrations')") is None:
        return []
    rows = await connection.fetch(
        "SELECT version, name, checksum, breaking, duration_ms FROM reveille_migrations "
        "ORDER BY version"
    )
    return [Applied(**row) for row in rows]


async def pending(
    connection: asyncpg.Connection, *, directory: Path | None = None
) -> tuple[Migration, ...]:
    """What `migrate` would apply. Raises MigrationError when an applied file was edited."""
    migrations = read_migrations(directory)
    done = await applied(connection)
    _check_unedited(migrations, done)
    return _not_in(done, migrations)


async def check_schema(connection: asyncpg.Connection, *, directory: Path | None = None) -> None:
    """The boot guard: raises SchemaMismatch unless this program can work with the database."""
    migrations = read_migrations(directory)
    done = await applied(connection)
    missing = _not_in(done, migrations)
    if missing:
        has = done[-1].title if done else "no schema of Reveille"
        raise SchemaMismatch(
            f"the database has {has}, this program needs {missing[-1].title}: run `reveille migrate`"
        )
    _check_not_newer(migrations, done)


async def pending_sql(dsn: str | None, *, directory: Path | None = None) -> str:
    """The SQL of what is pending, for a person to read or to feed to psql; nothing is applied.

    All of it when there is no `dsn` or nobody answers there. Each file records itself, so that
    `migrate` afterwards knows of it.
    """
    missing = read_migrations(directory)
    heading = "-- no database was asked: all migrations\n"
    if dsn is not None:
        try:
            async with _connection(dsn) as connection:
                missing = await pending(connection, directory=directory)
            heading = "" if missing else "-- nothing is pending\n"
        except DATABASE_ERRORS as error:
            if not is_transient(error):
                raise
    scripts = [_script(together) for together in _batches(missing)]
    return heading + "\n".join([f"{CREATE_TABLE};\n", *scripts, f"{GRANT};\n"] if scripts else [])


def _read(path: Path) -> Migration:
    name = FILE_NAME.fullmatch(path.name)
    if name is None:
        raise MigrationError(f"{path.name} is no name of a migration: 0001_lower_case.sql is")
    sql = path.read_text(encoding="utf-8")  # universal line ends
    header = HEADER.match(sql)
    if header is None:
        raise MigrationError(f"{path.name} must begin with `-- breaking: no` or `-- breaking: yes`")
    return Migration(
        version=int(name["version"]),
        name=name["name"],
        sql=sql,
        breaking=header["breaking"] == "yes",
        joined=header["joined"] == "yes",
    )


def _script(together: Sequence[Migration]) -> str:
    lines = ["BEGIN;"]
    for one in together:
        breaking = str(one.breaking).lower()
        values = f"{one.version}, '{one.name}', '{one.checksum}', {breaking}, 0"
        insert = INSERT.replace("$1, $2, $3, $4, $5", values)
        lines += [f"-- {one.title}", f"{SEARCH_PATH};", one.sql.rstrip(), f"\n{insert};"]
    return "\n".join([*lines, "COMMIT;\n"])


def _not_in(done: Sequence[Applied], migrations: Sequence[Migration]) -> tuple[Migration, ...]:
    versions = {one.version for one in done}
    return tuple(one for one in migrations if one.version not in versions)


def _check_server(connection: asyncpg.Connection) -> None:
    version = connection.get_server_version()
    if version.major < SERVER_MAJOR_MIN:
        raise MigrationError(
            f"the server is Postgres {version.major}.{version.minor}; "
            f"Reveille needs {SERVER_MAJOR_MIN} or newer"
        )


def _check_unedited(migrations: Sequence[Migration], done: Sequence[Applied]) -> None:
    by_version = {one.version: one for one in migrations}
    for one in done:
        file = by_version.get(one.version)
        if file is not None and file.checksum != one.checksum:
            raise MigrationError(
                f"{file.title}.sql was edited after it had been applied as {one.title}: "
                "restore the file and put the change into a new migration"
            )


def _check_not_newer(migrations: Sequence[Migration], done: Sequence[Applied]) -> None:
    newest = migrations[-1].version if migrations else 0
    for one in done:
        if one.version > newest and one.breaking:
            raise SchemaMismatch(
                f"the database has {one.title}, which this program is too old for: "
                "update the program"
            )


@asynccontextmanager
async def _connection(database: str | asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    """An open connection: the caller's, or one of our own without limits on what a file may take."""
    if not isinstance(database, str):
        yield database
        return
    connection = await connect(
        database,
        application_name="reveille migrate",
        statement_seconds_max=0,
        lock_seconds_max=0,
        idle_in_transaction_seconds_max=0,
    )
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


@contextmanager
def _warnings(connection: asyncpg.Connection, on_progress: Callable[[str], None]) -> Iterator[None]:
    """While open, the server's warnings go to `on_progress`, each once."""
    said: set[str] = set()

    def hear(_: asyncpg.Connection, message: asyncpg.PostgresLogMessage) -> None:
        if message.severity_en == "WARNING" and message.message not in said:
            said.add(message.message)
            hint = f" ({message.hint})" if message.hint else ""
            on_progress(f"warning: {message.message}{hint}")

    connection.add_log_listener(hear)
    try:
        yield
    finally:
        connection.remove_log_listener(hear)


@asynccontextmanager
async def _alone(
    connection: asyncpg.Connection, on_progress: Callable[[str], None]
) -> AsyncIterator[None]:
    """Hold the migrators' lock. Asked for again and again: a waiting statement pins the horizon."""
    waited = False
    while not await connection.fetchval(
        "SELECT pg_try_advisory_lock($1, $2)", LOCK_SPACE, LOCK_MIGRATOR
    ):
        if not waited:
            on_progress("another migration is running on this database: waiting for its end")
        waited = True
        await asyncio.sleep(ANOTHER_RUN_PAUSE_SECONDS)
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1, $2)", LOCK_SPACE, LOCK_MIGRATOR)


def _batches(migrations: Sequence[Migration]) -> list[list[Migration]]:
    """Those that share a transaction, together."""
    batches: list[list[Migration]] = []
    for migration in migrations:
        if migration.joined and batches:
            batches[-1].append(migration)
        else:
            batches.append([migration])
    return batches


async def _apply(
    connection: asyncpg.Connection,
    together: Sequence[Migration],
    on_progress: Callable[[str], None],
) -> list[Applied]:
    first = together[0].title
    for attempt in range(1, TRIES_MAX + 1):
        try:
            async with connection.transaction():
                done = [await _apply_one(connection, migration) for migration in together]
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            if attempt == TRIES_MAX:
                raise MigrationError(
                    f"{first} did not get its locks in {TRIES_MAX} tries ({error}): "
                    "look for long transactions in pg_stat_activity and run it again"
                ) from error
            pause_seconds = random.uniform(0.5, 1) * min(2**attempt / 4, BUSY_PAUSE_SECONDS_MAX)
            on_progress(f"{first}: the tables are busy, again in {pause_seconds:.1f} s")
            await asyncio.sleep(pause_seconds)
        else:
            for one in done:
                on_progress(f"{one.title}: applied in {one.duration_ms} ms")
            return done
    raise AssertionError("unreachable: the last try raises")


async def _apply_one(connection: asyncpg.Connection, migration: Migration) -> Applied:
    started = time.monotonic()
    transaction = await connection.fetchval("SELECT pg_current_xact_id()::text")
    await connection.execute(f"SET LOCAL lock_timeout = {int(LOCK_SECONDS_MAX * 1000)}")
    await connection.execute(SEARCH_PATH)
    try:
        await connection.execute(migration.sql)
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        raise
    except asyncpg.PostgresError as error:
        raise MigrationError(f"{migration.title}: {_described(error)}") from error
    if transaction != await connection.fetchval("SELECT pg_current_xact_id()::text"):
        raise MigrationError(f"{migration.title} ends its transaction: take out COMMIT")
    row = (migration.version, migration.name, migration.checksum, migration.breaking)
    duration_ms = round((time.monotonic() - started) * 1000)
    await connection.execute(INSERT, *row, duration_ms)
    return Applied(*row, duration_ms)


def _described(error: asyncpg.PostgresError) -> str:
    parts = (
        error.message,
        error.detail and f"detail: {error.detail}",
        error.hint and f"hint: {error.hint}",
        error.context and f"at: {error.context}",
    )
    return "\n  ".join(part for part in parts if part)
