"""A page that takes a minute to render, with everything as it is set by default."""

import time
from typing import Any

import pytest
from tests.services.test_render import opened
from tests.system.test_workers import add_document, insert, until

from reveille import testing_pdfs
from reveille.testing import Database

RENDER_SECONDS = 60.0
DEPTH = 3  # a tenth of a second to some, for each of the calls on the page


async def slow_page() -> bytes:
    """A PDF whose page takes this machine's renderer about two minutes, so that it is one at least."""
    calls, took = 1, 0.0
    while took < 3.0:
        calls *= 2
        async with opened(
            testing_pdfs.nested_forms(DEPTH, first=calls), render_seconds_max=60
        ) as pdf:
            began = time.monotonic()
            async for _ in pdf.pages():
                pass
            took = time.monotonic() - began
    return testing_pdfs.nested_forms(DEPTH, first=round(calls * 2 * RENDER_SECONDS / took))


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_worker_that_renders_for_a_minute_never_looks_dead(
    database: Database, processes: Any
) -> None:
    """Within its limits a page may take its time: nobody takes the task away, and its server stays active."""
    content = await slow_page()
    processes.start("heartbeat_monitor")
    await processes.worker("visual_worker", "v1", render_seconds_max=600)
    await database.execute(
        "CREATE TABLE seen AS SELECT status, status_reason FROM processing_servers; "
        "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
        "$$ BEGIN INSERT INTO seen VALUES (NEW.status, NEW.status_reason); RETURN NULL; END $$; "
        "CREATE TRIGGER see AFTER UPDATE ON processing_servers FOR EACH ROW EXECUTE FUNCTION see()"
    )
    task_id = await insert(database, await add_document(database, content), "visual_analysis")

    row = await until(database, task_id, "completed", within_seconds=600)

    took = (row["completed_at"] - row["started_at"]).total_seconds()
    print(f"took {took:.1f} s")  # noqa: T201 - for whoever asks with -s
    assert took > RENDER_SECONDS
    assert (row["attempt"], row["lost_count"], row["retry_count"]) == (1, 0, 0)
    assert await database.fetch("SELECT DISTINCT status FROM seen") == [{"status": "active"}]
    assert row["completed_by"] == "v1"
