"""`reveille migrate` on a database that has the four tables already.

Two such databases, as different as they come: tables from a hand-written script, and from an object
mapper. Their rows are legacy/rows.sql; what is special to one of them is in its own file.
"""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from reveille.migrate import MigrationError, check_schema, migrate
from reveille.schema_dump import dump
from reveille.testing import Database, eventually

LEGACY = Path(__file__).parent / "legacy"
MAKERS = ("sql_made", "orm_made")
FOUR = ("processing_queue", "processing_servers", "task_dependencies", "processing_progress")

# What adoption leaves alone: taken away before the schema is compared.
OF_THE_BACKEND = {
    "sql_made": """
        DROP MATERIALIZED VIEW tasks_per_day;
        DROP VIEW open_documents, open_tasks;
        DROP TRIGGER audit_updates ON processing_queue;
        DROP TRIGGER audit_steps ON processing_queue;
        DROP FUNCTION write_audit();
        DROP TABLE project_documents, billing_lines, audit_log CASCADE;
        DROP INDEX idx_processing_queue_status, idx_processing_queue_document,
            idx_processing_queue_locked;
        ALTER TABLE task_dependencies DROP CONSTRAINT one_edge;
        ALTER TABLE processing_queue DROP COLUMN notes;
        ALTER TABLE processing_queue_archive DROP COLUMN notes;
    """,
    "orm_made": """
        DROP TABLE project_documents CASCADE;
        DROP TABLE reveille_set_aside;
        DROP TYPE queue_status;
        ALTER TABLE processing_queue DROP COLUMN updated_at;
        ALTER TABLE processing_queue_archive DROP COLUMN updated_at;
    """,
}

# What the existing backend sends, in its order: before, during and after.
ENQUEUE = """
    INSERT INTO processing_queue (document_id, task_type, priority, file_path, company_id,
        processing_options, status, created_at{more})
    VALUES (1, 'slide_feedback', 1, 'a.pdf', 'acme', '{{}}', 'queued', '2026-05-01 09:00:00'{value})
    RETURNING id
"""
STATEMENTS = (
    "SELECT id, status, progress_percentage, current_step FROM processing_queue WHERE document_id = 1",
    "UPDATE processing_queue SET progress_percentage = 40, current_step = 'x',"
    " last_progress_update = CURRENT_TIMESTAMP WHERE id = {id}",
    "INSERT INTO processing_progress (processing_queue_id, step_name, step_status, created_at)"
    " VALUES ({id}, 'slides', 'started', NULL)",
    "INSERT INTO processing_servers (id, server_type, capabilities, current_load, status)"
    " VALUES ('gpu-new-{id}', 'gpu', NULL, NULL, NULL)"
    " ON CONFLICT (id) DO UPDATE SET last_heartbeat = CURRENT_TIMESTAMP, status = 'active'",
    "UPDATE processing_servers SET last_heartbeat = timezone('utc', now()) WHERE id = 'gpu-live'",
    "UPDATE processing_queue SET status = 'failed', last_error = 'x', error_count = error_count + 1,"
    " completed_at = CURRENT_TIMESTAMP WHERE id = {id}",
    "UPDATE processing_queue SET status = 'queued', retry_count = 0, locked_by = NULL WHERE id = {id}",
    "SELECT count(*) FROM processing_queue WHERE status = 'queued' AND created_at < now()",
    "DELETE FROM processing_queue WHERE id = {id}",
)


@pytest.fixture(params=MAKERS)
async def legacy(empty_database: Database, request: pytest.FixtureRequest) -> Database:
    """A database as it is before Reveille comes; its sessions are not in UTC."""
    schema, own_rows = (LEGACY / f"{request.param}.sql").read_text().split("-- rows --")
    await _set_time_zone(empty_database)
    for script in (schema, (LEGACY / "rows.sql").read_text(), own_rows, _sequences(request.param)):
        await empty_database.execute(script)
    return empty_database


@pytest.fixture
def maker(request: pytest.FixtureRequest) -> str:
    """Which of the two `legacy` is."""
    return str(request.node.callspec.params["legacy"])


@pytest.fixture
async def adopted(legacy: Database) -> Database:
    """The same after `reveille migrate`."""
    await migrate(legacy.dsn)
    await legacy.pool.expire_connections()  # statements prepared for the old types
    return legacy


async def _set_time_zone(database: Database) -> None:
    name = await database.fetchval("SELECT current_database()")
    await database.execute(f"ALTER DATABASE \"{name}\" SET timezone = 'America/New_York'")
    await database.pool.expire_connections()


def _sequences(maker: str) -> str:
    """Rows with higher ids once existed: their ids must not come again."""
    return "SELECT setval('processing_queue_id_seq', 200)" if maker == "sql_made" else "SELECT 1"


async def _count(database: Database) -> dict[str, int]:
    return {
        table: await database.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608 - of FOUR
        for table in FOUR
    }


@contextlib.asynccontextmanager
async def _backend(database: Database) -> AsyncIterator[Any]:
    """The backend's connection: a driver that prepares nothing and knows nothing of us."""
    connection = await asyncpg.connect(database.dsn, statement_cache_size=0)
    try:
        yield connection
    finally:
        await connection.close()


async def _work_as_the_backend(connection: Any, maker: str) -> None:
    more, value = (", updated_at", ", '2026-05-01'") if maker == "orm_made" else ("", "")
    task = await connection.fetchval(ENQUEUE.format(more=more, value=value))
    for statement in STATEMENTS:
        await connection.execute(statement.format(id=task))


# The schema


async def test_schema_of_an_adopted_database_equals_a_fresh_one(
    adopted: Database, maker: str, databases: Any
) -> None:
    """Apart from the order of columns, and from what is the backend's own, there is one schema."""
    await adopted.execute(OF_THE_BACKEND[maker])
    async with adopted.connect() as connection:
        await check_schema(connection)
        of_adopted = await dump(connection, columns_sorted=True)
    async with databases.migrated() as fresh, fresh.connect() as connection:
        of_fresh = await dump(connection, columns_sorted=True)

    assert of_adopted.splitlines() == of_fresh.splitlines()


async def test_second_run_changes_nothing(adopted: Database) -> None:
    """Adoption happens once."""
    assert await migrate(adopted.dsn) == []


# The rows


async def test_no_row_is_lost(legacy: Database) -> None:
    """Every row is where it was; edges and steps that belong to no task are kept aside."""
    before = await _count(legacy)
    edges = "SELECT count(DISTINCT (dependent_task_id, depends_on_task_id)) FROM task_dependencies"
    await legacy.fetchval(edges)
    await migrate(legacy.dsn)
    await legacy.pool.expire_connections()
    after = await _count(legacy)
    aside: list[dict[str, Any]] = []
    if await legacy.fetchval("SELECT to_regclass('reveille_set_aside')") is not None:
        aside = await legacy.fetch("SELECT * FROM reveille_set_aside")

    assert after["processing_queue"] == before["processing_queue"]
    assert after["processing_servers"] == before["processing_servers"]
    for table in ("processing_progress", "task_dependencies"):
        kept_aside = sum(row["table_name"] == table for row in aside)
        from_options = 4 if table == "task_dependencies" else 0  # 13, 14 (twice), 15 said it there
        assert before[table] <= after[table] + kept_aside <= before[table] + from_options


@pytest.mark.parametrize("legacy", ["orm_made"], indirect=True)
async def test_rows_of_nothing_are_kept_aside_with_the_reason(adopted: Database) -> None:
    """Whoever misses an edge or a step finds it, and why it is not in its table."""
    rows = await adopted.fetch("SELECT table_name, why, content FROM reveille_set_aside")

    found = {(row["table_name"], row["why"], _short(row["content"])) for row in rows}
    assert found == {
        ("task_dependencies", "no such task", "9999-5"),
        ("task_dependencies", "no such task", "None-5"),
        ("task_dependencies", "said twice", "12-5"),
        ("processing_progress", "no such task", "of a task that is gone"),
        ("processing_progress", "no such task", "of none"),
    }


def _short(content: dict[str, Any]) -> str:
    if "step_name" in content:
        return str(content["step_name"])
    return f"{content['dependent_task_id']}-{content['depends_on_task_id']}"


async def test_live_tasks_stay_live_and_ended_ones_ended(adopted: Database) -> None:
    """Nothing that was to be done is dropped, nothing that was done is done again."""
    rows = await adopted.fetch("SELECT id, status FROM processing_queue WHERE id < 100")

    assert {row["id"]: row["status"] for row in rows} == {
        1: "completed",
        2: "failed",
        3: "queued",
        4: "queued",
        5: "processing",
        6: "processing",
        7: "retry",
        8: "retry",
        9: "retry",
        10: "queued",
        11: "queued",
        12: "blocked",  # by 5, in task_dependencies
        13: "blocked",  # by 12, in processing_options
        14: "blocked",  # by 12; 1 is done
        15: "queued",  # 1 is done
        16: "blocked",  # 2 failed; goes on when that is redriven
        17: "queued",  # the parent does not exist
        18: "retry",  # scheduled for later
    }


@pytest.mark.parametrize("legacy", ["orm_made"], indirect=True)
async def test_odd_rows_are_mended_or_say_what_is_wrong(adopted: Database) -> None:
    """Unknown words become a failure that names them; odd numbers and options are put right."""
    rows = await adopted.fetch(
        "SELECT id, status, priority, retry_count, progress_percentage, processing_options,"
        " last_error FROM processing_queue WHERE id > 100 ORDER BY id"
    )
    assert [tuple(row.values()) for row in rows] == [
        (101, "queued", 1, 0, 0, {}, None),
        (102, "queued", 2, 0, 100, {"unparsed": "not json"}, None),
        (
            103,
            "failed",
            1,
            0,
            0,
            {"unparsed": [1, 2]},
            'adopted with the unknown status "paused"',
        ),
        (
            *(104, "failed", 1, 0, 0, {"depends_on": "soon"}),
            'adopted with the task type "Old Style-Type", which nobody can claim',
        ),
        (105, "queued", 1, 0, 0, {"depends_on": 105}, None),
        (106, "blocked", 1, 0, 0, {"depends_on": [3]}, None),
    ]


async def test_counters_are_numbers_and_priorities_in_range(adopted: Database) -> None:
    """NULL and the priorities 0 and 5 are what old rows have; ours never do."""
    rows = await adopted.fetch(
        "SELECT id, priority, retry_count, max_retries, error_count, progress_percentage,"
        " processing_options FROM processing_queue WHERE id IN (4, 10, 11) ORDER BY id"
    )
    assert [tuple(row.values()) for row in rows] == [
        (4, 1, 0, 3, 0, 0, {}),
        (10, 1, 0, 3, 0, 0, {}),
        (11, 3, 0, 3, 0, 0, {}),
    ]


async def test_times_are_the_same_moments(adopted: Database) -> None:
    """The old times were UTC without saying so, whatever zone the sessions are in."""
    row = await adopted.fetchrow(
        "SELECT created_at, started_at, completed_at FROM processing_queue WHERE id = 1"
    )
    assert row == {
        "created_at": datetime(2026, 3, 1, 10, 0, tzinfo=UTC),
        "started_at": datetime(2026, 3, 1, 10, 1, tzinfo=UTC),
        "completed_at": datetime(2026, 3, 1, 10, 9, tzinfo=UTC),
    }


async def test_live_tasks_get_a_trace(adopted: Database) -> None:
    """A trace context is never empty, not even for tasks that are older than tracing."""
    without = await adopted.fetch(
        "SELECT id FROM processing_queue WHERE traceparent IS NULL"
        " AND status IN ('queued', 'processing', 'retry', 'blocked')"
    )
    assert without == []


async def test_ids_go_on_where_the_sequence_stood(adopted: Database, maker: str) -> None:
    """An id that was given out once is not given out again, and nextval by the old name works."""
    sequence = "processing_queue_id_seq" if maker == "sql_made" else "queue_numbers"

    assert await adopted.fetchval(f"SELECT nextval('{sequence}')") == 201
    async with _backend(adopted) as backend:
        await _work_as_the_backend(backend, maker)


async def test_servers_keep_what_they_said(adopted: Database, maker: str) -> None:
    """A list of task types means the same as an object; a bare row gets the defaults."""
    rows = await adopted.fetch(
        "SELECT id, status, capabilities, max_concurrent_tasks FROM processing_servers ORDER BY id"
    )
    expected = [
        ("gpu-bare", "active", {}, 5),
        ("gpu-live", "active", {"visual_analysis": True}, 2),
    ]
    if maker == "orm_made":
        expected += [
            ("orm-list", "active", {"visual_analysis": True, "slide_feedback": True}, 5),
            ("orm-odd", "inactive", {}, 5),
        ]
    assert [tuple(row.values()) for row in rows] == expected


# The tasks afterwards


async def test_stuck_task_goes_back_and_the_held_one_stays(adopted: Database) -> None:
    """Days in `processing` under a server that does not exist end; a live server's work does not."""
    await adopted.execute("SELECT cleanup_expired_locks()")

    rows = await adopted.fetch("SELECT id, status FROM processing_queue WHERE id IN (5, 6)")
    assert {row["id"]: row["status"] for row in rows} == {5: "processing", 6: "queued"}


async def test_holder_from_before_completes_and_its_dependents_follow(adopted: Database) -> None:
    """The server that was at work during the migration reports its end by the old function."""
    await adopted.execute("SELECT complete_task(5, true, 'results/5.json', NULL, '{}'::jsonb)")

    statuses = "SELECT id, status FROM processing_queue WHERE id IN (5, 12, 13, 14) ORDER BY id"
    assert [row["status"] for row in await adopted.fetch(statuses)] == [
        *("completed", "queued", "blocked", "blocked")
    ]
    await adopted.execute("UPDATE processing_queue SET status = 'completed' WHERE id = 12")
    assert {row["status"] for row in await adopted.fetch(statuses + " OFFSET 2")} == {"queued"}


async def test_redriven_parent_frees_who_waited_for_it(adopted: Database) -> None:
    """A task behind a parent that failed before the migration is not lost: redrive the parent."""
    await adopted.execute("SELECT retry_failed_task(2)")
    await adopted.execute("UPDATE processing_queue SET status = 'completed' WHERE id = 2")

    assert await adopted.fetchval("SELECT status FROM processing_queue WHERE id = 16") == "queued"


async def test_time_that_never_comes_does_not_refuse_the_end_of_a_parent(
    legacy: Database,
) -> None:
    """Task 16 waits for the failed task 2: redriven, that one could not complete."""
    await legacy.execute("UPDATE processing_queue SET next_retry_at = 'infinity' WHERE id = 16")
    await migrate(legacy.dsn)
    await legacy.pool.expire_connections()

    await legacy.execute("SELECT retry_failed_task(2)")
    await legacy.execute("UPDATE processing_queue SET status = 'completed' WHERE id = 2")

    assert await legacy.fetchval("SELECT status FROM processing_queue WHERE id = 16") == "retry"


async def test_external_server_takes_every_claimable_task_once(adopted: Database) -> None:
    """The functions keep their arguments; what waits is claimed best first, what is blocked is not."""
    claimable = {
        row["id"]
        for row in await adopted.fetch(
            "SELECT id FROM processing_queue WHERE status = 'queued'"
            " OR (status = 'retry' AND next_retry_at <= now())"
        )
    }
    takes = {row["name"]: True for row in await adopted.fetch("SELECT name FROM task_types")}
    got: list[int] = []
    while (
        task := await adopted.fetchval(
            "SELECT task_id FROM get_next_processing_task('gpu-live', $1::jsonb)", takes
        )
    ) is not None:
        got.append(task)

    assert got[0] == 11
    assert sorted(got) == sorted(claimable)


# The backend


async def test_backends_statements_work_before_and_after(legacy: Database, maker: str) -> None:
    """What the existing backend sends today it may send tomorrow."""
    async with _backend(legacy) as backend:
        await _work_as_the_backend(backend, maker)
        await migrate(legacy.dsn)
        await _work_as_the_backend(backend, maker)


async def test_backend_with_its_old_rights_only_goes_on(legacy: Database, maker: str) -> None:
    """A backend that does not own the tables needs no new rights: none on tables it never heard of."""
    role = f"backend_{secrets.token_hex(4)}"
    try:
        await legacy.execute(f"CREATE ROLE {role}")
    except asyncpg.InsufficientPrivilegeError:
        pytest.skip("this server's user may not create roles")
    try:
        await legacy.execute(
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};"
            f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"
        )
        async with _backend(legacy) as backend:
            await backend.execute(f"SET ROLE {role}")
            await _work_as_the_backend(backend, maker)
            await migrate(legacy.dsn)
            await _work_as_the_backend(backend, maker)
            await backend.execute("SELECT * FROM get_next_processing_task('gpu-live', '{}')")
            sequence = "processing_queue_id_seq" if maker == "sql_made" else "queue_numbers"
            assert await backend.fetchval(f"SELECT nextval('{sequence}')") > 200
    finally:
        await legacy.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_backends_statements_work_during_the_migration(legacy: Database, maker: str) -> None:
    """Nobody gets an error, also not who inserts a document and its task in one transaction."""
    over = asyncio.Event()

    async def backend_at_work() -> int:
        turns = 0
        async with _backend(legacy) as backend:
            while not over.is_set() or turns == 0:
                async with backend.transaction():
                    await backend.execute("INSERT INTO project_documents (file_name) VALUES ('c')")
                    await _work_as_the_backend(backend, maker)
                turns += 1
            await _work_as_the_backend(backend, maker)
        return turns

    async with asyncio.TaskGroup() as group:
        at_work = [group.create_task(backend_at_work()) for _ in range(4)]
        try:
            await migrate(legacy.dsn)
        finally:
            over.set()

    assert min(task.result() for task in at_work) >= 1


async def test_task_inserted_while_the_migration_waits_is_adopted_too(
    legacy: Database, maker: str
) -> None:
    """Whoever commits before the switch is in the old form and converted; who comes after is not."""
    more, value = (", updated_at", ", '2026-05-01'") if maker == "orm_made" else ("", "")
    busy = asyncio.Event()
    async with _backend(legacy) as backend:
        transaction = backend.transaction()
        await transaction.start()
        task = await backend.fetchval(ENQUEUE.format(more=more, value=value))
        late = asyncio.create_task(migrate(legacy.dsn, on_progress=lambda _: busy.set()))
        async with _backend(legacy) as watcher:
            await eventually(
                lambda: watcher.fetchval(
                    "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted) OR $1", busy.is_set()
                )
            )
        await transaction.commit()
        await late

    await legacy.pool.expire_connections()
    row = await legacy.fetchrow("SELECT * FROM processing_queue WHERE id = $1", task)
    assert row is not None
    assert (row["status"], row["attempt"], row["error_count"]) == ("queued", 0, 0)
    assert row["created_at"] == datetime(2026, 5, 1, 9, tzinfo=UTC)
    assert row["traceparent"]


@pytest.mark.parametrize("legacy", ["sql_made"], indirect=True)
async def test_backends_own_objects_stay(legacy: Database) -> None:
    """Views with their comment, rights and indexes; columns, foreign keys and triggers."""
    await legacy.execute("GRANT SELECT ON open_tasks TO PUBLIC")
    await migrate(legacy.dsn)
    await legacy.pool.expire_connections()

    assert await legacy.fetchval("SELECT count(*) FROM open_tasks") == 17
    assert await legacy.fetchval("SELECT count(*) FROM open_documents") == 17
    await legacy.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY tasks_per_day")
    assert await legacy.fetchval("SELECT obj_description('open_tasks'::regclass)") == (
        "the dashboard reads this"
    )
    assert await legacy.fetchval("SELECT has_table_privilege('public', 'open_tasks', 'SELECT')")
    assert await legacy.fetchval("SELECT count(*) FROM audit_log") == 0
    await legacy.execute("UPDATE processing_queue SET current_step = 'seen' WHERE id = 3")
    assert {row["said"] for row in await legacy.fetch("SELECT said FROM audit_log")} == {
        "audit_updates",
        "audit_steps",
    }
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await legacy.execute(
            "INSERT INTO processing_queue (document_id, task_type) VALUES (999, 'slide_feedback')"
        )
    await legacy.execute("DELETE FROM project_documents WHERE id = 1")
    assert await legacy.fetchval("SELECT count(*) FROM processing_queue WHERE document_id = 1") == 0


@pytest.mark.parametrize("legacy", ["orm_made"], indirect=True)
async def test_columns_that_only_the_backend_knows_do_not_refuse_our_rows(
    adopted: Database,
) -> None:
    """The pipeline is enqueued by SQL that names no column of the backend's."""
    ids = await adopted.fetch("SELECT enqueue_document(1, 'a.pdf')")

    assert len(ids) == 11


async def test_names_that_are_taken_stop_the_adoption_and_change_nothing(legacy: Database) -> None:
    """A table of the backend's that is in the way is named; everything stays as it was."""
    await legacy.execute("CREATE TABLE slide_feedback (id int)")
    before = await legacy.fetch("SELECT * FROM processing_queue ORDER BY id")
    async with legacy.connect() as connection:
        schema = await dump(connection)

    with pytest.raises(MigrationError, match="needs: slide_feedback"):
        await migrate(legacy.dsn)

    async with legacy.connect() as connection:
        await connection.execute("DROP TABLE reveille_migrations")
        assert await dump(connection) == schema
    assert await legacy.fetch("SELECT * FROM processing_queue ORDER BY id") == before


@pytest.mark.parametrize("legacy", ["sql_made"], indirect=True)
async def test_task_without_a_document_stops_the_adoption_with_advice(legacy: Database) -> None:
    """What only a person can decide is left to one."""
    await legacy.execute("ALTER TABLE processing_queue ALTER COLUMN document_id DROP NOT NULL")
    await legacy.execute("UPDATE processing_queue SET document_id = NULL WHERE id = 3")

    with pytest.raises(MigrationError, match="have no document_id") as caught:
        await migrate(legacy.dsn)

    assert "hint: Give them one or delete them" in json.dumps(str(caught.value))
