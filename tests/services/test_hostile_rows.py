"""What a backend with the least rights may write, at its worst: refused with a sentence, or borne by every
service. Nobody's rounds, lists or metrics end because of one row.
"""

import contextlib
from typing import Any

import asyncpg
import pytest
from tests.services.test_heartbeat_monitor import monitor_of, running

from queue_gateway.testing import running_gateway
from reveille.testing import Database, eventually

INSERT = "INSERT INTO processing_queue (document_id, task_type"
FACT = "(1, 'deck_date_extraction'"
LONG = "a" * 2_000_000

REFUSED = {
    f"{INSERT}, priority) VALUES {FACT}, 0)": "priority must be 1",
    f"{INSERT}, priority) VALUES {FACT}, -2147483648)": "priority must be 1",
    f"{INSERT}, processing_options) VALUES {FACT}, '[1]')": "must be a JSON object",
    f"{INSERT}, processing_options) VALUES {FACT}, '7')": "must be a JSON object",
    f'{INSERT}, processing_options) VALUES {FACT}, \'{{"a": "\\u0000"}}\')': "Unicode",
    f"{INSERT}, processing_options) VALUES {FACT}, '{{\"depends_on\": 1.5}}')": "must be a task id",
    f'{INSERT}, processing_options) VALUES {FACT}, \'{{"depends_on": {{"a": 1}}}}\')': "must be a task id",
    f"{INSERT}, processing_options) VALUES {FACT}, '{{\"depends_on\": 99999999999999999999}}')": "must be a task id",
    f"{INSERT}, depends_on) VALUES {FACT}, '{{-1}}')": "does not exist",
    f"{INSERT}, next_retry_at) VALUES {FACT}, 'infinity')": "within the next 100 years",
    f"{INSERT}, next_retry_at) VALUES {FACT}, '294276-01-01')": "within the next 100 years",
    f"{INSERT}, status, created_at) VALUES {FACT}, 'failed', '4000-01-01 BC')": "since 1970",
    f"{INSERT}, status, created_at) VALUES {FACT}, 'completed', 'infinity')": "since 1970",
    f"{INSERT}, dedupe_key) VALUES {FACT}, '{LONG}')": "index row",
    f"{INSERT}, company_id) VALUES {FACT}, repeat('x', 300))": "too long",
    f"{INSERT}) VALUES (1, NULL)": "unknown task_type",
    f"{INSERT}) VALUES (1, '<script>')": "unknown task_type",
    f"{INSERT}) VALUES (NULL, 'deck_date_extraction')": "document_id",
    f"{INSERT}) VALUES (9223372036854775808, 'deck_date_extraction')": "out of range",
    "UPDATE processing_queue SET status = NULL": "status",
    "UPDATE processing_queue SET status = 'nonsense'": "unknown status",
    "INSERT INTO task_dependencies (dependent_task_id, depends_on_task_id) VALUES (1, 1)": "itself",
    "INSERT INTO task_dependencies (dependent_task_id, depends_on_task_id) VALUES (1, 2), (2, 1)": "on it already",
    "INSERT INTO task_dependencies (dependent_task_id, depends_on_task_id) VALUES (1, 999)": "does not exist",
    "SELECT enqueue_document(NULL)": "document_id",
}
BORNE = (
    f"{INSERT}) VALUES (-9223372036854775808, 'deck_date_extraction')",
    f"{INSERT}, priority) VALUES {FACT}, NULL)",
    f"{INSERT}, max_retries) VALUES {FACT}, -5)",
    f"{INSERT}, max_retries) VALUES {FACT}, 2147483647)",
    f"{INSERT}, processing_options) VALUES {FACT}, NULL)",
    f"{INSERT}, processing_options) VALUES {FACT}, 'null')",
    f"{INSERT}, processing_options) VALUES {FACT}, '\"{LONG}\"')",
    f'{INSERT}, processing_options) VALUES {FACT}, \'{{"a": "{LONG}", "": {{"b": [1e308, -0.0]}}}}\')',
    f"{INSERT}, processing_options) VALUES {FACT}, ('{{\"a\":' || repeat('[', 300) || repeat(']', 300) || '}}')::json)",
    f"{INSERT}, processing_options) VALUES {FACT}, ('{{\"a\":' || repeat('7', 5000) || '}}')::jsonb)",
    f"{INSERT}, file_path) VALUES {FACT}, '{LONG}')",
    f"{INSERT}, file_path) VALUES {FACT}, E'../a\\n\\x1b[2J')",
    f"{INSERT}, company_id) VALUES {FACT}, E'\\x1b[31m<script>')",
    f"{INSERT}, traceparent, tracestate) VALUES {FACT}, 'nonsense', E'a=b\\nc=\\x01')",
    f"{INSERT}, traceparent, tracestate) VALUES {FACT}, "
    "'00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', E'a=b\\nc=\\x01')",
    f"{INSERT}, depends_on) VALUES {FACT}, '{{}}')",
    f"{INSERT}, depends_on) VALUES {FACT}, '{{NULL}}')",
    f"{INSERT}, depends_on) VALUES {FACT}, '{{{{1}},{{1}}}}')",
    f"{INSERT}, next_retry_at) VALUES {FACT}, '-infinity')",
    f"{INSERT}, next_retry_at) VALUES {FACT}, '4000-01-01 BC')",
    f"{INSERT}, next_retry_at) VALUES {FACT}, reveille_now() + interval '99 years')",
    f"{INSERT}, created_at) VALUES {FACT}, 'infinity')",
    f"{INSERT}, status) VALUES {FACT}, 'nonsense')",
    "UPDATE processing_queue SET status = 'processing' WHERE id = 1",
    "UPDATE processing_queue SET status = 'completed' WHERE id = 2",
    "UPDATE processing_queue SET status = 'retry' WHERE id = 2",
    "UPDATE processing_queue SET status = 'blocked' WHERE id = 2",
    "SELECT retry_failed_task(-1), retry_failed_task(NULL)",
    "INSERT INTO documents (filename, sha256, size_bytes, content) VALUES (E'../../\\x1b', 'zz', -5, '')",
    "INSERT INTO documents (filename, sha256, size_bytes) VALUES ('x', '', 9223372036854775807)",
    "SELECT pg_notify(channel, payload) FROM unnest(ARRAY['task_ready', 'task_changed', 'task_cancel', "
    "'server_changed', 'scaling_changed', 'timer_changed']) AS channel, "
    "unnest(ARRAY['', E'\\n', '{', '{\"id\": \"x\"}', '[]', 'null', repeat('9', 7000)]) AS payload",
)


@contextlib.asynccontextmanager
async def backend(database: Database) -> Any:
    async with database.connect() as connection:
        await connection.execute("SET ROLE reveille_backend")
        for _ in range(3):
            await connection.execute(f"{INSERT}) VALUES {FACT})")
        yield connection


async def test_rows_that_make_no_sense_are_refused_with_a_sentence(database: Database) -> None:
    """The backend's programmer reads what is wrong, and the queue never sees it."""
    async with backend(database) as connection:
        for statement, said in REFUSED.items():
            with pytest.raises(asyncpg.PostgresError, match=said):
                await connection.execute(statement)


async def test_worst_rows_end_nobodys_rounds_lists_or_metrics(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the triggers let pass, monitor and gateway go on: looks, pages, lists, metrics, live events."""
    async with (
        running(monitor_of(database)) as monitor,
        running_gateway(database.dsn) as gateway,
        backend(database) as connection,
        gateway.events("/api/events") as events,
    ):
        for statement in BORNE:
            await connection.execute(statement)
        rounds = monitor.rounds
        await eventually(lambda: monitor.rounds > rounds + 2)
        await events.next()
        for path in ("/api/tasks?limit=500", "/api/queue", "/api/documents", "/metrics"):
            async with gateway.session.get(gateway.url + path) as answer:
                assert answer.status == 200, (path, await answer.text())
        ids = [task["id"] for task in (await gateway.get("/api/tasks?limit=500"))["tasks"]]
        tasks = [path for one in ids for path in (f"/tasks/{one}", f"/api/tasks/{one}")]
        for path in ("/", "/tasks", *tasks):
            async with gateway.session.get(gateway.url + path) as answer:
                assert answer.status == 200, path
        async with gateway.session.get(f"{monitor.http.url}/metrics") as answer:
            assert answer.status == 200
    assert not [r for r in caplog.records if "round_failed" in r.getMessage() or r.exc_info]


async def test_time_that_is_infinite_in_spite_of_the_triggers_is_borne(database: Database) -> None:
    """Triggers switched off, or a row from before: the monitor's rounds go on, and due tasks are queued."""
    task_id = await database.fetchval(f"{INSERT}) VALUES {FACT}) RETURNING id")
    due = await database.fetchval(
        f"{INSERT}, next_retry_at) VALUES {FACT}, reveille_now() + interval '0.3 s') RETURNING id"
    )
    async with database.connect() as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(
            "UPDATE processing_queue SET status = 'retry', next_retry_at = 'infinity', "
            "claimable_at = NULL WHERE id = $1",
            task_id,
        )
        await connection.execute(
            "INSERT INTO processing_queue (document_id, task_type, pool, status, traceparent, "
            "lease_token, lock_expires_at, claimable_at, created_at, max_retries, priority) "
            "SELECT document_id, task_type, pool, 'processing', traceparent, "
            "nextval('reveille_lease_token'), 'infinity', created_at, created_at, 3, 1 "
            "FROM processing_queue WHERE id = $1",
            task_id,
        )
        await connection.execute(
            "INSERT INTO processing_servers (id, server_type, last_heartbeat) VALUES ('x', 'gpu', 'infinity'), "
            "('y', 'gpu', '-infinity')"
        )
    async with running(monitor_of(database, outage_grace_seconds=0)):

        async def queued() -> bool:
            return bool(
                await database.fetchval(
                    "SELECT status = 'queued' FROM processing_queue WHERE id = $1", due
                )
            )

        await eventually(queued)

        async def lost() -> bool:
            return bool(
                await database.fetchval(
                    "SELECT status = 'lost' FROM processing_servers WHERE id = 'y'"
                )
            )

        await eventually(lost)
