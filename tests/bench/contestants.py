"""Who takes part: the SQL by which each is fed, asked what is left and emptied, and its worker.

All are fed by the same client with the statement that their own client or documentation uses, so
that no client's speed is measured where the database's is meant. Each statement is run by pgbench
with a prepared statement, and by the harness.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.bench import peers

TASK = "42, 'visual_analysis', 1, 'uploads/42/deck.pdf', 'acme', '{}'"
COLUMNS = "document_id, task_type, priority, file_path, company_id, processing_options"
GRAPHILE_SPEC = "'noop', '{\"n\": 1}'::json"
PGBOSS_CHANNEL = "'pgboss_' || left(encode(sha224('pgboss'::bytea), 'hex'), 24)"
PROCRASTINATE_JOB = (
    "ROW('default', 'noop', 0, NULL, NULL, '{}', NULL)::procrastinate_job_to_defer_v1"
)


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A queue. `many_sql` has COUNT where the number of tasks goes."""

    name: str
    command: tuple[str, ...]
    one_sql: str
    many_sql: str
    remaining_sql: str  # true while a task waits or runs
    empty_sql: str
    needs: str = ""  # the peer whose installation `command` is part of
    options: Mapping[str, str] = field(default_factory=dict)  # for its worker, always

    def many(self, count: int) -> str:
        """The statement that enqueues so many at once."""
        return self.many_sql.replace("COUNT", str(count))

    def check(self) -> None:
        """Raises Absent when what it needs is not there."""
        if self.needs:
            peers.require(self.needs)


def _ours(name: str, child: str, table: str) -> Contestant:
    return Contestant(
        name=name,
        command=(sys.executable, "-m", f"tests.bench.children.{child}"),
        one_sql=f"INSERT INTO {table} ({COLUMNS}) VALUES ({TASK}) RETURNING id",
        many_sql=(f"INSERT INTO {table} ({COLUMNS}) SELECT {TASK} FROM generate_series(1, COUNT)"),
        remaining_sql=(
            f"SELECT EXISTS (SELECT 1 FROM {table} WHERE status = 'queued') OR "
            f"EXISTS (SELECT 1 FROM {table} WHERE status = 'processing')"
        ),
        empty_sql=f"TRUNCATE {table} CASCADE",
        options={"table": table},
    )


REVEILLE = _ours("reveille", "reveille_worker", "processing_queue")
# The limit: the same table without a trigger, and a loop that knows nothing but its two statements.
BARE = _ours("bare", "bare_worker", "bare_queue")
# What most write first: the bare table with a row trigger that notifies.
NOTIFY = _ours("notify-per-insert", "bare_worker", "notifying_queue")

PGQUEUER = Contestant(
    name="pgqueuer",
    command=(str(peers.PYTHON), "-m", "tests.bench.children.pgqueuer_worker"),
    needs="pgqueuer",
    one_sql=(
        "WITH inserted AS (INSERT INTO pgqueuer (priority, entrypoint, payload, execute_after, status) "
        "VALUES (0, 'noop', 'x', now(), 'queued') RETURNING id, entrypoint, priority), "
        "logged AS (INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority) "
        "SELECT id, 'queued', entrypoint, priority FROM inserted) SELECT id FROM inserted"
    ),
    many_sql=(
        "WITH inserted AS (INSERT INTO pgqueuer (priority, entrypoint, payload, execute_after, status) "
        "SELECT 0, 'noop', 'x', now(), 'queued' FROM generate_series(1, COUNT) "
        "RETURNING id, entrypoint, priority) "
        "INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority) "
        "SELECT id, 'queued', entrypoint, priority FROM inserted"
    ),
    remaining_sql="SELECT EXISTS (SELECT 1 FROM pgqueuer)",
    empty_sql="TRUNCATE pgqueuer, pgqueuer_log",
)
PROCRASTINATE = Contestant(
    name="procrastinate",
    command=(str(peers.PYTHON), "-m", "tests.bench.children.procrastinate_worker"),
    needs="procrastinate",
    one_sql=f"SELECT unnest(procrastinate_defer_jobs_v1(ARRAY[{PROCRASTINATE_JOB}]))",
    many_sql=(
        f"SELECT count(procrastinate_defer_jobs_v1(ARRAY(SELECT {PROCRASTINATE_JOB} "
        "FROM generate_series(1, COUNT))))"
    ),
    remaining_sql=(
        "SELECT EXISTS (SELECT 1 FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))"
    ),
    empty_sql="TRUNCATE procrastinate_jobs CASCADE",
)
OBAN = Contestant(
    name="oban",
    command=(str(peers.PYTHON_OF_OBAN), "-m", "tests.bench.children.oban_worker"),
    needs="oban",
    one_sql=(
        "WITH inserted AS (INSERT INTO oban_jobs (args, inserted_at, max_attempts, meta, priority, queue, "
        "scheduled_at, state, tags, worker) VALUES ('{}', timezone('UTC', now()), 20, '{}', 0, 'default', "
        "timezone('UTC', now()), 'available', '{}', 'tests.bench.children.oban_worker.noop') "
        "RETURNING id, queue) "
        "SELECT id, pg_notify('public.oban_insert', '{\"queue\":\"' || queue || '\"}') FROM inserted"
    ),
    many_sql=(
        "WITH inserted AS (INSERT INTO oban_jobs (args, inserted_at, max_attempts, meta, priority, queue, "
        "scheduled_at, state, tags, worker) SELECT '{}', timezone('UTC', now()), 20, '{}', 0, 'default', "
        "timezone('UTC', now()), 'available', '{}', 'tests.bench.children.oban_worker.noop' "
        "FROM generate_series(1, COUNT) RETURNING id, queue) "
        "SELECT count(pg_notify('public.oban_insert', '{\"queue\":\"default\"}')) FROM inserted"
    ),
    remaining_sql="SELECT EXISTS (SELECT 1 FROM oban_jobs WHERE state IN ('available', 'executing'))",
    empty_sql="TRUNCATE oban_jobs",
)
GRAPHILE = Contestant(
    name="graphile-worker",
    command=(str(peers.NODE), str(peers.CHILDREN / "graphile_worker.mjs")),
    needs="graphile-worker",
    one_sql=f"SELECT id FROM graphile_worker.add_job({GRAPHILE_SPEC})",
    many_sql=(
        "SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(SELECT json_populate_record("
        'NULL::graphile_worker.job_spec, \'{"identifier": "noop", "payload": {"n": 1}}\') '
        "FROM generate_series(1, COUNT)))"
    ),
    remaining_sql="SELECT EXISTS (SELECT 1 FROM graphile_worker._private_jobs)",
    empty_sql="TRUNCATE graphile_worker._private_jobs",
)
PGBOSS = Contestant(
    name="pg-boss",
    command=(str(peers.NODE), str(peers.CHILDREN / "pgboss_worker.mjs")),
    needs="pg-boss",
    one_sql=(
        "WITH ins AS (INSERT INTO pgboss.job (name, data, policy) VALUES ('noop', '{}', 'standard') "
        f"RETURNING id) SELECT id, pg_notify({PGBOSS_CHANNEL}, 'noop') FROM ins"
    ),
    many_sql=(
        "WITH ins AS (INSERT INTO pgboss.job (name, data, policy) SELECT 'noop', '{}', 'standard' "
        "FROM generate_series(1, COUNT) RETURNING id) "
        f"SELECT pg_notify({PGBOSS_CHANNEL}, 'noop') FROM ins LIMIT 1"
    ),
    remaining_sql="SELECT EXISTS (SELECT 1 FROM pgboss.job WHERE state < 'completed')",
    empty_sql="TRUNCATE pgboss.job",
)

OTHERS = (PGQUEUER, PROCRASTINATE, OBAN, GRAPHILE, PGBOSS)
OTHERS_SHORT = (PGQUEUER, GRAPHILE)  # for the short form: one of each language
CONTESTANTS = (REVEILLE, BARE, NOTIFY, *OTHERS)
