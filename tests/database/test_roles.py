"""The roles of 0008_roles.sql: each can do its work, and none can do another's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from autoscaler.sql import statement as autoscaler_statement
from heartbeat_monitor.sql import statement as monitor_statement
from reveille.database import connect_pool
from reveille.migrate import migrate
from reveille.outcome import Done, ResultRow
from reveille.sql import statement as worker_statement
from reveille.store import End, Step, Store
from reveille.testing import Database

DENIED = asyncpg.InsufficientPrivilegeError
# Owned by the migrator alone: what they hold is asked for by nobody who serves.
OWNERS_ONLY = {"reveille_privileges", "reveille_set_aside"}
# Leases, results, servers and containers are not the enqueuer's; what a task is, and whether it exists, not the
# worker's; the monitor ends no leases, the autoscaler reads no decks, the gateway moves no containers, and a
# dashboard changes nothing.
FORBIDDEN = {
    "reveille_backend": (
        "UPDATE processing_queue SET lease_token = 1, status = 'processing'",
        "UPDATE processing_queue SET locked_by = 'me'",
        "UPDATE processing_queue SET file_path = 'elsewhere.pdf'",
        "INSERT INTO processing_queue (document_id, task_type, lease_token) VALUES (1, 'slide_feedback', 1)",
        "DELETE FROM processing_queue",
        "INSERT INTO extraction_results (task_id, document_id, kind, model) VALUES (1, 1, 'deck_date', 'me')",
        "UPDATE processing_servers SET status = 'lost'",
        "SELECT * FROM containers",
        "SELECT complete_task(1, true)",
        "SELECT * FROM get_next_processing_task('me', '{}')",
        "SELECT cleanup_expired_locks()",
        "UPDATE task_types SET pool = 'visual'",
        "SELECT nextval('reveille_lease_token')",
    ),
    "reveille_worker": (
        "DELETE FROM processing_queue",
        "INSERT INTO processing_queue (document_id, task_type) VALUES (1, 'slide_feedback')",
        "UPDATE processing_queue SET file_path = 'elsewhere.pdf'",
        "UPDATE processing_queue SET document_id = 1",
        "UPDATE processing_queue SET processing_options = '{}'",
        "UPDATE processing_queue SET priority = 3",
        "UPDATE extraction_results SET value = 'other'",
        "UPDATE documents SET content = ''",
        "UPDATE pools SET paused = true",
        "DELETE FROM processing_servers",
        "SELECT * FROM containers",
        "DELETE FROM task_attempts",
        "TRUNCATE task_checkpoints",
        "SELECT * FROM reveille_privileges",
    ),
    "reveille_monitor": (
        "UPDATE processing_queue SET lease_token = NULL",
        "DELETE FROM processing_queue",
        "SELECT content FROM documents",
        "UPDATE containers SET state = 'stopped'",
        "SELECT * FROM extraction_results",
    ),
    "reveille_autoscaler": (
        "UPDATE processing_queue SET status = 'cancelled'",
        "SELECT file_path FROM processing_queue",
        "SELECT content FROM documents",
        "SELECT * FROM document_results",
        "DELETE FROM containers",
        "UPDATE scaling_decisions SET reason = ''",
    ),
    "reveille_gateway": (
        "DELETE FROM processing_queue",
        "UPDATE containers SET state = 'stopped'",
        "UPDATE leaders SET epoch = 9",
        "UPDATE extraction_results SET value = 'other'",
        "UPDATE processing_queue SET file_path = 'elsewhere.pdf'",
    ),
    "reveille_readonly": (
        "UPDATE processing_queue SET status = 'cancelled'",
        "INSERT INTO processing_queue (document_id, task_type) VALUES (1, 'slide_feedback')",
        "SELECT content FROM documents",
        "SELECT retry_failed_task(1)",
        "SELECT complete_task(1, true)",
        "SELECT reveille_recover_tasks()",
        "SELECT reveille_apply_privileges()",
        "UPDATE pools SET paused = true",
        "CREATE TABLE mine (id integer)",
    ),
}


@asynccontextmanager
async def as_role(database: Database, role: str) -> AsyncIterator[Database]:
    """The database as a login that is only a member of `role` sees it."""
    pool = await connect_pool(f"{database.dsn}?role={role}", application_name="test", max_size=2)
    try:
        yield Database(database.dsn, pool)
    finally:
        pool.terminate()


@pytest.fixture(autouse=True)
async def may_create_roles(database: Database) -> None:
    """A server whose user may not create roles has none to test."""
    if not await database.fetchval(
        "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reveille_worker')"
    ):
        pytest.skip("the test server's user may not create roles")


async def test_backend_enqueues_reads_cancels_and_redrives(queue: Any, database: Database) -> None:
    """The contract's statements need no more than reveille_backend."""
    async with as_role(database, "reveille_backend") as backend:
        plain = await queue.add(by=backend, priority=2, file_path="a.pdf", status="queued")
        after = await queue.add(by=backend, depends_on=[plain])
        ids = [row["id"] for row in await backend.fetch("SELECT * FROM enqueue_document(42) AS id")]
        async with backend.pool.acquire() as connection, connection.transaction():
            held = await queue.add(by=connection)
            await connection.execute(
                "INSERT INTO task_dependencies (dependent_task_id, depends_on_task_id) VALUES ($1, $2)",
                held,
                plain,
            )
        await queue.set_status(plain, "cancelled", by=backend)
        assert await queue.statuses(plain, after, held) == ["cancelled"] * 3
        assert await backend.fetchval("SELECT retry_failed_task($1)", plain)

        assert await queue.statuses(plain, after, held) == ["queued", "blocked", "blocked"]
        assert len(ids) == 11
        assert await backend.fetch("SELECT results FROM document_results") == []
        await database.execute(
            "INSERT INTO containers (name, pool, slot, provider, state, reason, creating_at, price_usd_per_hour) "
            "VALUES ('visual-0', 'visual', 0, 'process', 'booting', 'test', reveille_now() - interval '1 hour', 2)"
        )
        for view in "container_costs", "cost_segments":
            cost = await backend.fetchval(f"SELECT sum(cost_usd) FROM {view}")  # noqa: S608
            assert cost == pytest.approx(2, rel=0.01)


async def test_worker_lives_its_whole_life(queue: Any, database: Database) -> None:
    """Register, beat, claim, report, checkpoint, settle with a result, recover, retire."""
    await queue.add()
    async with as_role(database, "reveille_worker") as role:
        store = Store(role.pool)
        queue.store = store
        registration = await queue.server()
        claim = await queue.claim_one(registration)
        pulse = await role.fetchrow(
            worker_statement("heartbeat"),
            *("worker-1", registration.epoch, 1),
            *([claim.task_id], [claim.lease_token], ["deck_date_extraction"], True),
        )
        assert pulse == {"status": "active", "lost": [], "waiting": False}
        await store.report([Step(claim=claim, percentage=50, name="half")])
        await store.save_checkpoint(claim, "page-1", {"seen": True})
        assert await store.load_checkpoints(claim.task_id) == {"page-1": {"seen": True}}
        row = ResultRow("extraction_results", {"kind": "deck_date", "value": "2026", "model": "m"})
        await store.settle([End(claim=claim, outcome=Done(results=(row,)))])
        await store.retire(registration, "done")

    assert (await queue.row(claim.task_id))["status"] == "completed"
    assert await database.fetchval("SELECT count(*) FROM extraction_results") == 1
    assert await database.fetchval("SELECT count(*) FROM task_checkpoints") == 0


@pytest.mark.parametrize("role", FORBIDDEN)
async def test_role_may_not_do_what_is_others(database: Database, role: str) -> None:
    """Each statement of FORBIDDEN is refused for want of a privilege."""
    allowed = []
    async with as_role(database, role) as member:
        for statement in FORBIDDEN[role]:
            try:
                await member.execute(statement)
            except DENIED:
                continue
            allowed.append(statement)
    assert allowed == []


async def test_no_role_hangs_our_trigger_functions_on_its_own_table(database: Database) -> None:
    """They run with the owner's rights: fed with forged rows they would write what the role may not."""
    functions = await database.fetch(
        "SELECT proname FROM pg_proc WHERE prorettype = 'trigger'::regtype "
        "AND proname LIKE 'reveille%' ORDER BY 1"
    )
    async with database.connect() as connection:
        for role in FORBIDDEN:
            await connection.execute(
                f"SET ROLE {role}; CREATE TEMPORARY TABLE bait AS SELECT 1 AS id"
            )
            for function in functions:
                with pytest.raises(DENIED):
                    await connection.execute(
                        "CREATE TRIGGER hook BEFORE UPDATE ON bait "
                        f"EXECUTE FUNCTION {function['proname']}()"
                    )
            await connection.execute("DROP TABLE bait; RESET ROLE")
    assert len(functions) > 10


async def test_functions_with_their_owners_rights_are_not_for_everybody(database: Database) -> None:
    """A new SECURITY DEFINER function needs a row in reveille_privileges, and a pinned search_path."""
    loose = await database.fetch(
        """
        SELECT p.oid::regprocedure::text AS function FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace AND p.prosecdef
          AND (NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c LIKE 'search_path=%pg_temp')
               OR EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                          WHERE a.grantee = 0))
        """
    )
    assert loose == []


async def test_dashboards_see_every_table(database: Database) -> None:
    """A new table or view gets a row in reveille_privileges, for reveille_readonly at least."""
    unseen = await database.fetch(
        """
        SELECT c.relname AS name FROM pg_class c
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
          AND NOT c.relispartition AND NOT has_any_column_privilege('reveille_readonly', c.oid, 'SELECT')
        """
    )
    # Working state of attempts, of no interest once they have ended.
    assert {row["name"] for row in unseen} <= OWNERS_ONLY | {"task_checkpoints"}


async def test_monitor_statements_run_under_its_role(queue: Any, database: Database) -> None:
    """Every file of the monitor's sql/ is allowed to it, with arguments that match nothing."""
    arguments: dict[str, tuple[Any, ...]] = {
        "clean_servers": (1.0,),
        "end_parents": ([await queue.add()],),
        "look": (1.0, 1.0, 0),
        "lose_disconnected": (["x"], [1], ["why"]),
        "lose_silent": (["x"], [1], ["why"], 1.0),
        "mark_stuck": ([1], ["why"]),
        "note_back": (["x"],),
        "note_missing": (["x"],),
        "queue_due": (1,),
        "recover_tasks": (1.0, 1, 1),
        "release_tasks": ([await queue.add()],),
        "stranded_parents": (1,),
        "stranded_tasks": (1,),
        "take_untraced": (1,),
        "workers_to_be_had": (1.0,),
        "forget_uptime": (),
    }
    async with as_role(database, "reveille_monitor") as monitor:
        for name in (
            "gauge_containers",
            "gauge_queue",
            "gauge_servers",
            "gauge_uptime",
            *arguments,
        ):
            await monitor.fetch(monitor_statement(name), *arguments.get(name, ()))


async def test_autoscaler_leads_and_moves_containers_under_its_role(database: Database) -> None:
    """Lead, look, intend, begin, move: what the ledger writes."""
    now = await database.fetchval("SELECT reveille_now()")
    async with as_role(database, "reveille_autoscaler") as scaler:

        async def run(name: str, *arguments: Any) -> Any:
            return await scaler.fetch(autoscaler_statement(name), *arguments)

        await run("lead", "autoscaler", "me")
        await run("look_pools", "autoscaler", 1, 5, 5)
        offer = ("H100", "north", True, 1.5)
        (made,) = await run(
            *("intend_container", "autoscaler", 1, "c-text-0", "text", 0, "process", "why", None),
            *offer,
        )
        await run("begin_container", "autoscaler", 1, made["id"], "process", *offer)
        await run(
            *("move_container", "autoscaler", 1, made["id"], ["creating"]),
            *("booting", "why", "ref", None, None, None),
        )
        await run("add_decision", "autoscaler", 1, "text", "marginal", 0, 1, "why", {}, {}, True)
        await run("look_shadows", ["threshold"])
        await run("look_experience", 10, 10)
        await run("look_parents", 10, 10)
        await run("forget_decisions", "autoscaler", 1, 86400.0, 10)
        await run("note_stages", "autoscaler", 1, [made["id"]], [True], [True], [False])
        await run("end_container", "autoscaler", 1, made["id"], ["booting"], "s", False)
        for price in (2.0, 3.0):
            await run(
                *("keep_prices", "autoscaler", 1, "process"),
                *(["H100"], ["north"], [False], [price]),
            )
        (listed,) = await run("look_prices")
        assert listed["usd_per_hour"] == 3.0
        for name in ("look_containers", "look_spending", "look_failures"):
            await run(name)
        await run("look_strays", ["c-text-0"])
        await run("waiting_task", 1)
        await run("note_idle", "autoscaler", 1, [made["id"]], [True])
        await run("drain_container", "autoscaler", 1, made["id"], "why", "x", False)
        await run("revive_container", "autoscaler", 1, made["id"], "why", "x")
        await run(
            *("adopt_container", "autoscaler", 1, "c-text-1", "text", 1, "process", "ref", "s"),
            *(now, *offer),
        )

    assert await database.fetchval("SELECT count(*) FROM containers") == 2


async def test_two_migrations_at_once_share_the_roles(databases: Any) -> None:
    """Roles belong to the cluster: the slower of two databases finds them made."""
    async with databases.empty() as one, databases.empty() as other:
        await asyncio.gather(migrate(one.dsn), migrate(other.dsn))

        for database in (one, other):
            assert await database.fetchval(
                "SELECT has_table_privilege('reveille_readonly', 'pools', 'SELECT')"
            )


async def test_migration_without_the_right_to_create_roles_warns_and_works(
    empty_database: Database,
) -> None:
    """Managed Postgres often gives no CREATEROLE; then everything works as its owner."""
    name = empty_database.dsn.rsplit("/", 1)[-1]
    said: list[str] = []
    async with empty_database.connect() as connection:
        # A name that no role of the cluster has, as if the migration could not have made it.
        await connection.execute(
            f"CREATE ROLE {name}_poor NOLOGIN; GRANT CREATE ON SCHEMA public TO {name}_poor"
        )
        try:
            await connection.execute(f"SET ROLE {name}_poor")
            await migrate(connection)
            await connection.execute(
                "INSERT INTO reveille_privileges VALUES ('reveille_absentee', 'SELECT', 'TABLE', 'pools')"
            )
            connection.add_log_listener(lambda _, message: said.append(message.message))
            await connection.execute("SELECT reveille_apply_privileges()")
            await connection.execute(
                "INSERT INTO processing_queue (document_id, task_type) VALUES (1, 'slide_feedback')"
            )
        finally:
            await connection.execute(
                f"RESET ROLE; DROP OWNED BY {name}_poor; DROP ROLE {name}_poor"
            )

    assert said == ["roles that do not exist are granted nothing: reveille_absentee"]


async def test_adopted_backend_that_is_not_the_owner_keeps_its_functions(
    empty_database: Database,
) -> None:
    """Whoever could UPDATE the queue before Reveille came can still call what he called."""
    name = empty_database.dsn.rsplit("/", 1)[-1]
    async with empty_database.connect() as connection:
        await connection.execute(
            "CREATE TABLE processing_queue (id serial PRIMARY KEY, document_id integer, task_type varchar(50), "
            f"status varchar(20)); CREATE ROLE {name}_old NOLOGIN; "
            f"GRANT SELECT, INSERT, UPDATE ON processing_queue TO {name}_old"
        )
        try:
            await migrate(connection)
            await connection.execute(f"SET ROLE {name}_old")
            await connection.fetch("SELECT * FROM get_next_processing_task('old-gpu', '{}')")
            with pytest.raises(DENIED):
                await connection.execute("SELECT reveille_apply_privileges()")
        finally:
            await connection.execute(f"RESET ROLE; DROP OWNED BY {name}_old; DROP ROLE {name}_old")
