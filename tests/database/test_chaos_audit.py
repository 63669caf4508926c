"""The chaos suite's audit: each thing it is to find is planted once, and found."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.chaos.audit import audit
from tests.chaos.history import keep_history
from tests.chaos.plan import Submission

from reveille.database import connect
from reveille.testing import Database

COMPLETE = "UPDATE processing_queue SET status = 'completed' WHERE id = 1"
REQUEUE = "UPDATE processing_queue SET status = 'queued'"
CLAIM = "UPDATE processing_queue SET status = 'processing', locked_by = 'w-1'"
CHILD = (
    "INSERT INTO processing_queue (document_id, task_type, depends_on) "
    "VALUES (1, 'deck_date_extraction', '{1}')"
)
RESULT = (
    "INSERT INTO extraction_results (task_id, document_id, kind, model) "
    "VALUES (1, 1, 'deck_date', 'm')"
)
CHECKPOINT = "INSERT INTO task_checkpoints (task_id, key, value) VALUES (1, 'k', '1')"
SERVER = "INSERT INTO processing_servers (id, server_type, current_load) VALUES ('s', 'gpu', 2)"


def trigger(name: str, state: str) -> str:
    return f"ALTER TABLE processing_queue {state} TRIGGER {name}"


PLANTED = {
    "an acknowledged task is gone": [
        trigger("chaos_went", "DISABLE"),
        "DELETE FROM processing_queue",
    ],
    "a task has not ended": [],
    "a task was completed more often than it was set back by hand": [
        COMPLETE,
        trigger("chaos_changed", "DISABLE"),
        REQUEUE,
        trigger("chaos_changed", "ENABLE"),
        COMPLETE,
    ],
    "a service moved a task that had ended": [COMPLETE, REQUEUE, COMPLETE],
    "a completed task's results are not one set": [COMPLETE],
    "results were not written by the transaction that completed their task": [COMPLETE, RESULT],
    "a lease without a running task, or a running task without a lease": [
        COMPLETE,
        "UPDATE processing_queue SET locked_by = 'nobody'",
    ],
    "two attempts held one task at the same time": [
        CLAIM,
        "UPDATE processing_queue SET lease_token = lease_token + 7, locked_by = 'w-2'",
    ],
    "a dependent was stranded": [CHILD, trigger("reveille_40_after_update", "DISABLE"), COMPLETE],
    "a task ran before its parent had ended, and nobody had queued it by hand": [
        CHILD,
        f"{CLAIM} WHERE id = 2",
    ],
    "a server counts load that it does not have": [SERVER],
    "checkpoints outlived their task's completion": [COMPLETE, CHECKPOINT],
    "a task ended as it should not": ["UPDATE processing_queue SET status = 'failed'"],
}


@pytest.fixture
async def service(database: Database) -> AsyncIterator[Any]:
    """A connection that looks like a service's, on a database that keeps history; task 1 is queued."""
    connection = await connect(database.dsn, application_name="reveille text-worker")
    await connection.execute("SET ROLE NONE")  # its own tables are no service's
    await keep_history(connection)
    await connection.execute(
        "INSERT INTO processing_queue (document_id, task_type) VALUES (1, 'deck_date_extraction')"
    )
    yield connection
    await connection.close()


def submission() -> Submission:
    return Submission(
        number=0,
        at_seconds=0,
        kind="single",
        task_types=("deck_date_extraction",),
        priority=1,
        pages=1,
        by_path=False,
        by_http=False,
        open_seconds=0,
        meddling=None,
        after_seconds=0,
    )


@pytest.mark.parametrize("check", PLANTED)
async def test_audit_finds_what_was_planted(service: Any, check: str) -> None:
    """An audit that cannot fail proves nothing."""
    for statement in PLANTED[check]:
        await service.execute(statement)
    assert check in {finding.check for finding in await audit(service, {1: submission()})}


async def test_audit_of_a_task_that_went_well_finds_nothing(service: Any) -> None:
    """Nor may it cry wolf."""
    await service.execute(CLAIM)
    async with service.transaction():
        await service.execute(COMPLETE)
        await service.execute(RESULT)
    assert await audit(service, {1: submission()}) == []
