"""Hand-written SQL in the shape of Reveille's, without anything else: the limit.

The same columns and indexes; one statement ends what is done and takes what is next; no triggers
but (in `notifying_queue`) the row trigger that most write first. No leases that end, no retries, no dependencies.
"""

import asyncio
import json
import os
import sys
import time
from typing import Any

import asyncpg

from reveille.migrate import migrate

TABLES = """\
CREATE TABLE bare_queue (LIKE processing_queue INCLUDING ALL);
ALTER TABLE bare_queue ALTER COLUMN created_at SET DEFAULT now();
CREATE TABLE notifying_queue (LIKE bare_queue INCLUDING ALL);
CREATE FUNCTION notify_each() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_notify('bare_ready', ''); RETURN NULL; END $$;
CREATE TRIGGER notify_each AFTER INSERT ON notifying_queue FOR EACH ROW EXECUTE FUNCTION notify_each();
"""
TURN = """\
WITH done AS (
    UPDATE {table} SET status = 'completed', lease_token = NULL, locked_by = NULL, completed_at = now(),
        progress_percentage = 100
    WHERE id = ANY ($1::bigint[]) AND status = 'processing'
), picked AS MATERIALIZED (
    SELECT id FROM {table} WHERE status = 'queued' AND task_type = $2
    ORDER BY priority DESC, id LIMIT $3 FOR UPDATE SKIP LOCKED
)
UPDATE {table} SET status = 'processing', locked_by = 'bare', locked_at = now(), started_at = now(),
    lease_token = nextval('reveille_lease_token'), attempt = attempt + 1
WHERE id = ANY (ARRAY(SELECT id FROM picked))
RETURNING id, document_id, task_type, file_path, processing_options"""
IDLE_LOOK_SECONDS = 0.02  # the bare table notifies nobody


async def install(dsn: str) -> None:
    """The tables."""
    await migrate(dsn)
    connection = await asyncpg.connect(dsn)
    await connection.execute(TABLES)
    await connection.close()


async def handle(_row: Any, *, report: bool) -> None:
    """A task."""
    if report:
        os.write(1, f"{time.monotonic_ns()}\n".encode())


async def work(dsn: str, options: dict[str, Any]) -> None:
    """Take, handle, end; LISTEN where somebody notifies."""
    table, task_type = options.get("table", "bare_queue"), "visual_analysis"
    if options.get("other"):
        task_type = "slide_feedback"
    connection = await asyncpg.connect(dsn)
    news = asyncio.Event()
    if table == "notifying_queue":
        ear = await asyncpg.connect(dsn)
        await ear.add_listener("bare_ready", lambda *_: news.set())
    turn = await connection.prepare(TURN.format(table=table))
    os.write(1, b"ready\n")
    ended: list[int] = []
    while True:
        news.clear()
        rows = await turn.fetch(ended, task_type, options.get("slots", 10))
        await asyncio.gather(*(handle(row, report=options.get("report", False)) for row in rows))
        ended = [row["id"] for row in rows]
        if not rows:
            pause = None if table == "notifying_queue" else IDLE_LOOK_SECONDS
            try:
                await asyncio.wait_for(news.wait(), pause)
            except TimeoutError:
                continue


def main() -> None:
    """One verb."""
    verb, dsn, options = sys.argv[1:]
    asyncio.run(install(dsn) if verb == "install" else work(dsn, json.loads(options)))


if __name__ == "__main__":
    main()
