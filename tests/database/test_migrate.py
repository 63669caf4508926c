"""The migrator: what it applies, what it refuses, and how it behaves beside others."""

import asyncio
import re
from pathlib import Path

import asyncpg
import pytest

from reveille import migrate as migrator
from reveille.channels import LOCK_MIGRATOR, LOCK_SPACE
from reveille.errors import SchemaMismatch
from reveille.migrate import (
    MigrationError,
    applied,
    check_schema,
    migrate,
    migrations_directory,
    pending,
    pending_sql,
    read_migrations,
)
from reveille.testing import Database

FIRST = "-- breaking: no\nCREATE TABLE lamps (id int PRIMARY KEY);\n"
SECOND = "-- breaking: no\nALTER TABLE lamps ADD COLUMN lit boolean NOT NULL DEFAULT false;\n"


class Folder:
    """A folder of migrations that a test writes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **files: str) -> "Folder":
        """`_0001_name="SQL"`: one file each."""
        for name, sql in files.items():
            (self.path / f"{name.lstrip('_')}.sql").write_text(sql)
        return self


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Two migrations: a table, a column."""
    return Folder(tmp_path).write(_0001_lamps=FIRST, _0002_lit=SECOND)


async def test_migrate_applies_files_in_order_and_records_them(
    empty_database: Database, folder: Folder
) -> None:
    """An empty database gets every file, and remembers which."""
    done = await migrate(empty_database.dsn, directory=folder.path)

    assert [one.title for one in done] == ["0001_lamps", "0002_lit"]
    assert await empty_database.fetch("SELECT id, lit FROM lamps") == []
    async with empty_database.connect() as connection:
        assert await applied(connection) == done


async def test_migrate_does_nothing_when_up_to_date(
    empty_database: Database, folder: Folder
) -> None:
    """A second run applies nothing and says so."""
    await migrate(empty_database.dsn, directory=folder.path)

    assert await migrate(empty_database.dsn, directory=folder.path) == []


async def test_migrate_takes_an_open_connection(empty_database: Database, folder: Folder) -> None:
    """A caller may bring its own connection, which stays open and holds no lock afterwards."""
    async with empty_database.connect() as connection:
        await migrate(connection, directory=folder.path)

        assert not connection.is_closed()
    assert (
        await empty_database.fetchval(
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE datname = current_database() AND locktype = 'advisory' AND classid = $1",
            LOCK_SPACE,
        )
        == 0
    )


async def test_migrate_refuses_a_file_edited_after_it_was_applied(
    empty_database: Database, folder: Folder
) -> None:
    """Two databases with the same version must not differ: the edited file is named."""
    await migrate(empty_database.dsn, directory=folder.path)
    folder.write(_0001_lamps=FIRST + "-- a second thought\n")

    with pytest.raises(MigrationError, match=r"0001_lamps\.sql was edited"):
        await migrate(empty_database.dsn, directory=folder.path)


async def test_checksum_ignores_line_ends(empty_database: Database, folder: Folder) -> None:
    """A checkout with Windows line ends is not an edit."""
    await migrate(empty_database.dsn, directory=folder.path)
    (folder.path / "0001_lamps.sql").write_bytes(FIRST.replace("\n", "\r\n").encode())

    assert await migrate(empty_database.dsn, directory=folder.path) == []


async def test_failing_file_leaves_the_ones_before_it_and_nothing_of_itself(
    empty_database: Database, folder: Folder
) -> None:
    """Each file is one transaction: half a migration is never left behind."""
    folder.write(_0003_broken="-- breaking: no\nDROP TABLE lamps;\nSELECT 1 FROM nowhere;\n")

    with pytest.raises(MigrationError, match=r'0003_broken: relation "nowhere" does not exist'):
        await migrate(empty_database.dsn, directory=folder.path)

    async with empty_database.connect() as connection:
        assert [one.version for one in await applied(connection)] == [1, 2]
    assert await empty_database.fetch("SELECT lit FROM lamps") == []


async def test_file_that_commits_is_refused(empty_database: Database, folder: Folder) -> None:
    """A COMMIT inside a file would take away the promise of all or nothing."""
    folder.write(_0003_commits="-- breaking: no\nCOMMIT;\nCREATE TABLE stray ();\n")

    with pytest.raises(MigrationError, match="0003_commits ends its transaction"):
        await migrate(empty_database.dsn, directory=folder.path)

    async with empty_database.connect() as connection:
        assert [one.version for one in await applied(connection)] == [1, 2]


async def test_second_run_at_the_same_time_waits_and_then_does_nothing(
    empty_database: Database, folder: Folder
) -> None:
    """Two deployments that start together apply each file once, and the second says what it waits for."""
    said: list[str] = []
    waiting = asyncio.Event()

    def hear(sentence: str) -> None:
        said.append(sentence)
        waiting.set()

    async with empty_database.connect() as other:
        await other.execute("SELECT pg_advisory_lock($1, $2)", LOCK_SPACE, LOCK_MIGRATOR)
        late = asyncio.create_task(
            migrate(empty_database.dsn, directory=folder.path, on_progress=hear)
        )
        await waiting.wait()
        await other.execute("SELECT pg_advisory_unlock($1, $2)", LOCK_SPACE, LOCK_MIGRATOR)
        first = await migrate(other, directory=folder.path)
        second = await late

    assert "another migration is running" in said[0]
    assert sorted([len(first), len(second)]) == [0, 2]


async def test_busy_table_is_left_alone_between_tries(
    empty_database: Database, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration that cannot have its lock lets go of the queue of locks, and comes back."""
    monkeypatch.setattr(migrator, "LOCK_SECONDS_MAX", 0.05)
    (folder.path / "0002_lit.sql").unlink()
    await migrate(empty_database.dsn, directory=folder.path)
    folder.write(_0002_lit=SECOND)
    async with empty_database.connect() as reader:
        transaction = reader.transaction()
        await transaction.start()
        await reader.fetch("SELECT id FROM lamps")
        busy = asyncio.Event()
        late = asyncio.create_task(
            migrate(empty_database.dsn, directory=folder.path, on_progress=lambda _: busy.set())
        )
        await busy.wait()

        assert await empty_database.execute("INSERT INTO lamps VALUES (1)") == "INSERT 0 1"
        await transaction.rollback()
        assert [one.version for one in await late] == [2]


async def test_busy_table_ends_in_an_error_that_says_where_to_look(
    empty_database: Database, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tries have an end."""
    monkeypatch.setattr(migrator, "LOCK_SECONDS_MAX", 0.01)
    monkeypatch.setattr(migrator, "TRIES_MAX", 1)
    await empty_database.execute("CREATE TABLE lamps (id int PRIMARY KEY)")
    (folder.path / "0001_lamps.sql").write_text("-- breaking: no\nDROP TABLE lamps;\n")
    async with empty_database.connect() as reader, reader.transaction():
        await reader.fetch("SELECT id FROM lamps")

        with pytest.raises(MigrationError, match="pg_stat_activity"):
            await migrate(empty_database.dsn, directory=folder.path)


async def test_functions_keep_a_search_path_without_the_users_own_schema(
    empty_database: Database, folder: Folder
) -> None:
    """`SET search_path FROM CURRENT` must not depend on who migrates, nor trust temporary objects first."""
    folder.write(
        _0003_function="-- breaking: no\nCREATE FUNCTION one() RETURNS int LANGUAGE sql "
        "SET search_path FROM CURRENT RETURN 1;\n"
    )
    await migrate(empty_database.dsn, directory=folder.path)

    kept = await empty_database.fetchval("SELECT proconfig FROM pg_proc WHERE proname = 'one'")
    assert kept == ["search_path=public, pg_temp"]


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"_1_short": FIRST}, "1_short.sql is no name"),
        ({"_0001_a": FIRST, "_0003_c": FIRST}, "0003_c.sql should have the number 0002"),
        ({"_0001_a": FIRST, "_0001_b": FIRST}, "0001_b.sql should have the number 0002"),
        ({"_0001_a": "SELECT 1;\n"}, "0001_a.sql must begin with `-- breaking: no`"),
    ],
    ids=["name", "gap", "double", "header"],
)
def test_folder_with_a_mistake_is_refused(
    tmp_path: Path, files: dict[str, str], complaint: str
) -> None:
    """Mistakes in a folder are named before a database is touched."""
    with pytest.raises(MigrationError, match=re.escape(complaint)):
        read_migrations(Folder(tmp_path).write(**files).path)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    """A wrong --dir is an error, not an empty schema."""
    with pytest.raises(MigrationError, match="no folder of migrations"):
        read_migrations(tmp_path / "elsewhere")


async def test_boot_guard_refuses_an_empty_database(
    empty_database: Database, folder: Folder
) -> None:
    """A service that is started before the migration says which command is missing."""
    async with empty_database.connect() as connection:
        with pytest.raises(SchemaMismatch, match="run `reveille migrate`"):
            await check_schema(connection, directory=folder.path)


async def test_boot_guard_refuses_an_older_database(
    empty_database: Database, folder: Folder
) -> None:
    """Both versions are in the sentence."""
    await migrate(empty_database.dsn, directory=folder.path)
    folder.write(_0003_more="-- breaking: no\nSELECT 1;\n")
    async with empty_database.connect() as connection:
        with pytest.raises(SchemaMismatch, match="has 0002_lit, this program needs 0003_more"):
            await check_schema(connection, directory=folder.path)


@pytest.mark.parametrize(("breaking", "works"), [("no", True), ("yes", False)])
async def test_boot_guard_takes_a_newer_database_unless_it_broke_with_us(
    empty_database: Database, folder: Folder, breaking: str, works: bool
) -> None:
    """Old programs go on beside a new schema during a deployment, except where it says they cannot."""
    folder.write(_0003_more=f"-- breaking: {breaking}\nSELECT 1;\n")
    await migrate(empty_database.dsn, directory=folder.path)
    (folder.path / "0003_more.sql").unlink()
    async with empty_database.connect() as connection:
        if works:
            await check_schema(connection, directory=folder.path)
            return
        with pytest.raises(SchemaMismatch, match="update the program"):
            await check_schema(connection, directory=folder.path)
        with pytest.raises(SchemaMismatch, match="update the program"):
            await migrate(connection, directory=folder.path)


async def test_pending_sql_by_hand_counts_as_applied(
    empty_database: Database, folder: Folder
) -> None:
    """What `--print` prints can be run by a person, and the migrator then knows of it."""
    await empty_database.execute(await pending_sql(empty_database.dsn, directory=folder.path))

    async with empty_database.connect() as connection:
        assert await pending(connection, directory=folder.path) == ()
        await check_schema(connection, directory=folder.path)
    assert "nothing is pending" in await pending_sql(empty_database.dsn, directory=folder.path)


@pytest.mark.parametrize("dsn", [None, "postgresql://postgres@127.0.0.1:9/none"])
async def test_pending_sql_prints_everything_without_a_database(
    folder: Folder, dsn: str | None
) -> None:
    """A reviewer needs no database to read the SQL."""
    printed = await pending_sql(dsn, directory=folder.path)

    assert "no database was asked" in printed
    assert FIRST.strip() in printed
    assert SECOND.strip() in printed


async def test_old_server_is_refused_with_its_version(
    empty_database: Database, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres 14 is told so, before anything is created."""
    monkeypatch.setattr(migrator, "SERVER_MAJOR_MIN", 99)

    with pytest.raises(MigrationError, match="Reveille needs 99 or newer"):
        await migrate(empty_database.dsn, directory=folder.path)

    assert await empty_database.fetchval("SELECT to_regclass('reveille_migrations')") is None


async def test_own_migrations_are_found_and_pass_the_boot_guard(database: Database) -> None:
    """The project's own folder is the default, and the test template was made from it."""
    assert migrations_directory().name in {"migrations", "_migrations"}
    async with database.connect() as connection:
        await check_schema(connection)


async def test_unreachable_database_is_the_drivers_own_error(folder: Folder) -> None:
    """Nothing is wrapped when there is no server: the caller decides whether to try again."""
    with pytest.raises((OSError, asyncpg.PostgresError)):
        await migrate("postgresql://postgres@127.0.0.1:9/none", directory=folder.path)
