"""The BEFORE INSERT trigger: what a plain INSERT gets, and what is refused how."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from reveille.outcome import Retry

VALID = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER_COLUMNS = [
    "priority",
    "file_path",
    "company_id",
    "processing_options",
    "depends_on",
    "dedupe_key",
    "next_retry_at",
    "traceparent",
    "tracestate",
    "status",
    "progress_percentage",
    "current_step",
    "progress_message",
    "last_progress_update",
    "created_at",
    "started_at",
    "completed_at",
    "processing_duration_seconds",
    "retry_count",
    "max_retries",
    "error_count",
    "last_error",
    "locked_by",
    "locked_at",
    "lock_expires_at",
    "lease_token",
    "results_file_path",
    "processing_metadata",
]
MINTED = r"^00-[0-9a-f]{32}-[0-9a-f]{16}-01$"


async def test_insert_of_the_two_needed_columns_gets_every_default(queue: Any) -> None:
    """document_id and task_type are all that a backend must give."""
    before = await queue.database.fetchval("SELECT clock_timestamp()")

    task = await queue.row(await queue.add("visual_analysis"))

    expected = {
        "status": "queued",
        "priority": 1,
        "processing_options": {},
        "max_retries": 3,
        "retry_count": 0,
        "error_count": 0,
        "progress_percentage": 0,
        "attempt": 0,
        "lost_count": 0,
        "pool": "visual",
        "lease_token": None,
        "locked_by": None,
        "next_retry_at": None,
    }
    assert {name: task[name] for name in expected} == expected
    assert before <= task["created_at"] == task["claimable_at"] < before + timedelta(seconds=30)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"retry_count": -(2**31)}, (0, 0)),
        ({"retry_count": -1, "error_count": 1}, (0, 1)),  # a sum of nothing
        ({"retry_count": 2**31 - 1, "error_count": 2**31 - 1}, (10**6, 10**6)),
    ],
)
async def test_counters_that_make_no_sense_are_mended(
    queue: Any, given: dict[str, int], kept: tuple[int, int]
) -> None:
    """Below zero there would be no end of retries, and one at its limit could not be raised: the
    attempt's end would be refused for ever.
    """
    task_id = await queue.add(**given)
    row = await queue.row(task_id)
    assert (row["retry_count"], row["error_count"]) == kept

    claim = await queue.claim_one()
    await queue.end(claim, outcome=Retry(reason="timeout", error="too late"))
    assert (await queue.row(task_id))["error_count"] == kept[1] + 1


async def test_task_with_less_than_no_retries_fails_at_its_first_error(queue: Any) -> None:
    """It is tried once, as with none."""
    task_id = await queue.add(max_retries=-5)

    await queue.end(await queue.claim_one(), outcome=Retry(reason="timeout", error="too late"))

    assert await queue.statuses(task_id) == ["failed"]


async def test_insert_with_explicit_nulls_gets_the_defaults(queue: Any) -> None:
    """An ORM that names every column with NULL is served like one that names none."""

    task = await queue.row(await queue.add(**dict.fromkeys(OTHER_COLUMNS)))

    assert (task["status"], task["priority"], task["max_retries"]) == ("queued", 1, 3)
    assert task["processing_options"] == {}
    assert (task["retry_count"], task["error_count"], task["progress_percentage"]) == (0, 0, 0)
    assert task["created_at"] is not None
    assert task["traceparent"] is not None


async def test_insert_takes_priority_and_retries_of_its_task_type(queue: Any) -> None:
    """An operator may set both per task type."""
    await queue.database.execute(
        "UPDATE task_types SET default_priority = 2, max_retries = 7 WHERE name = 'slide_feedback'"
    )

    task = await queue.row(await queue.add("slide_feedback", priority=None))

    assert (task["priority"], task["max_retries"]) == (2, 7)


async def test_unknown_task_type_is_refused_with_the_known_ones(queue: Any) -> None:
    """The error of a typing mistake says what would have been right."""
    with pytest.raises(
        asyncpg.CheckViolationError, match='unknown task_type "visual_analysys"'
    ) as e:
        await queue.add("visual_analysys")

    assert e.value.hint.startswith("Known task types: company_offering_extraction, ")
    assert "visual_analysis" in e.value.hint


@pytest.mark.parametrize("priority", [0, 4, -1, 100])
async def test_priority_out_of_range_is_refused(queue: Any, priority: int) -> None:
    """The message names the three priorities."""
    with pytest.raises(asyncpg.CheckViolationError, match=rf"3 \(critical\), not {priority}"):
        await queue.add(priority=priority)


@pytest.mark.parametrize("missing", ["document_id", "task_type"])
async def test_missing_column_is_refused(queue: Any, missing: str) -> None:
    """A row without document or type is an error and no task."""
    given = {"document_id": 7, "task_type": "visual_analysis", missing: None}
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match=r"null|unknown"):
        await queue.database.execute(
            "INSERT INTO processing_queue (document_id, task_type) VALUES ($1, $2)",
            given["document_id"],
            given["task_type"],
        )

    assert await queue.database.fetchval("SELECT count(*) FROM processing_queue") == 0


OPTIONS = (
    "INSERT INTO processing_queue (document_id, task_type, processing_options) "
    "VALUES (7, 'visual_analysis', $1::text::jsonb) RETURNING processing_options"
)


@pytest.mark.parametrize("options", ["[1]", "12", "true"])
async def test_options_that_are_no_object_are_refused(queue: Any, options: str) -> None:
    """The message says what was given instead."""
    with pytest.raises(
        asyncpg.CheckViolationError, match=r"must be a JSON object, not (array|number|boolean)"
    ):
        await queue.database.fetchval(OPTIONS, options)


@pytest.mark.parametrize(
    ("options", "stored"),
    [
        ('"{\\"a\\": 1}"', {"a": 1}),
        ('"null"', {}),
        ('""', {}),
        ('"[1]"', {"unparsed": [1]}),
        ('"no json"', {"unparsed": "no json"}),
    ],
)
async def test_options_given_as_text(queue: Any, options: str, stored: Any) -> None:
    """Text that holds an object is decoded; what is none is kept for the worker to reject by name."""
    assert await queue.database.fetchval(OPTIONS, options) == stored


async def test_options_that_are_json_null_count_as_none(queue: Any) -> None:
    """Some ORMs write JSON null where nothing was given."""
    stored = await queue.database.fetchval(
        "INSERT INTO processing_queue (document_id, task_type, processing_options) "
        "VALUES (7, 'visual_analysis', 'null') RETURNING processing_options"
    )

    assert stored == {}


async def test_options_that_were_encoded_twice_are_decoded(queue: Any) -> None:
    """json.dumps before a driver that encodes too is a common mistake."""
    parent = await queue.add()

    task_id = await queue.add(processing_options=json.dumps({"a": 1, "depends_on": [parent]}))

    task = await queue.row(task_id)
    assert task["processing_options"] == {"a": 1, "depends_on": [parent]}
    assert task["status"] == "blocked"


async def test_statement_of_the_existing_backend_keeps_working(queue: Any) -> None:
    """It names status and a created_at without a zone; the database's clock counts."""
    async with queue.database.connect() as connection:
        await connection.execute("SET timezone = 'Asia/Kolkata'")
        task_id = await connection.fetchval(
            "INSERT INTO processing_queue (document_id, task_type, priority, file_path, company_id, "
            "processing_options, status, created_at) VALUES "
            "(42, 'extractions_and_template', 2, 'uploads/42/deck.pdf', 'acme', '{}', 'queued', "
            "'2026-01-01 00:00:00'::timestamp) RETURNING id"
        )

    task = await queue.row(task_id)
    now = await queue.database.fetchval("SELECT clock_timestamp()")
    assert (task["status"], task["pool"]) == ("queued", "text")
    assert now - timedelta(seconds=30) < task["created_at"] <= now


@pytest.mark.parametrize("status", ["pending", "blocked", "retry", "waiting"])
async def test_other_first_status_means_queued(queue: Any, status: str) -> None:
    """What the first state is follows from parents and time, not from what the row says."""
    assert await queue.statuses(await queue.add(status=status)) == ["queued"]


async def test_history_keeps_its_times(queue: Any) -> None:
    """Finished rows can be brought along from elsewhere without becoming work."""
    long_ago = datetime(2024, 5, 1, tzinfo=UTC)

    task = await queue.row(
        await queue.add(status="completed", created_at=long_ago, completed_at=long_ago)
    )

    assert (task["status"], task["created_at"], task["completed_at"]) == (
        "completed",
        long_ago,
        long_ago,
    )
    assert task["claimable_at"] is None


async def test_insert_as_processing_gets_a_lease(queue: Any) -> None:
    """Who inserts and starts at once is held to the type's time limit."""
    task = await queue.row(await queue.add(status="processing", locked_by="old-gpu"))

    assert task["lease_token"] is not None
    assert task["lock_expires_at"] - task["created_at"] == timedelta(seconds=600)


async def test_next_retry_at_schedules_a_task(queue: Any) -> None:
    """A task for later waits outside the claim; one whose time has passed does not."""
    now = await queue.database.fetchval("SELECT clock_timestamp()")

    later = await queue.row(await queue.add(next_retry_at=now + timedelta(hours=1)))
    past = await queue.row(await queue.add(next_retry_at=now - timedelta(hours=1)))

    assert (later["status"], later["claimable_at"]) == ("retry", None)
    assert (past["status"], past["next_retry_at"]) == ("queued", None)


async def test_naive_schedule_is_read_in_the_zone_of_its_session(queue: Any) -> None:
    """A time without a zone means what it means everywhere in Postgres."""
    async with queue.database.connect() as connection:
        await connection.execute("SET timezone = 'America/New_York'")
        at = await connection.fetchval(
            "INSERT INTO processing_queue (document_id, task_type, next_retry_at) "
            "VALUES (7, 'visual_analysis', '2099-07-01 12:00') RETURNING next_retry_at"
        )

    assert at == datetime(2099, 7, 1, 16, tzinfo=UTC)


async def test_dedupe_key_is_unique_among_live_tasks(queue: Any) -> None:
    """A second task under the same key is refused while the first one lives, and only then."""
    first = await queue.add(dedupe_key="deck-42")
    with pytest.raises(asyncpg.UniqueViolationError, match="processing_queue_dedupe"):
        await queue.add(dedupe_key="deck-42")
    await queue.set_status(first, "cancelled")

    second = await queue.add(dedupe_key="deck-42")

    with pytest.raises(asyncpg.UniqueViolationError):
        await queue.set_status(first, "queued")
    assert await queue.statuses(first, second) == ["cancelled", "queued"]


async def test_dedupe_key_works_with_on_conflict(queue: Any) -> None:
    """Enqueue-unless-there in one statement."""
    statement = (
        "INSERT INTO processing_queue (document_id, task_type, dedupe_key) "
        "VALUES (7, 'visual_analysis', 'k') ON CONFLICT DO NOTHING RETURNING id"
    )

    assert await queue.database.fetchval(statement) is not None
    assert await queue.database.fetchval(statement) is None


async def test_trace_context_of_the_backend_is_kept(queue: Any) -> None:
    """The task belongs to the trace of whoever enqueued it."""
    task = await queue.row(await queue.add(traceparent=VALID, tracestate="vendor=1"))

    assert (task["traceparent"], task["tracestate"]) == (VALID, "vendor=1")


async def test_trace_context_of_a_later_version_is_kept(queue: Any) -> None:
    """The format may grow at its end in later versions."""
    later = VALID.replace("00-", "01-", 1) + "-more"

    assert (await queue.row(await queue.add(traceparent=later)))["traceparent"] == later


@pytest.mark.parametrize(
    "traceparent",
    [
        None,
        "",
        "garbage",
        VALID.upper(),
        VALID + "-more",
        VALID.replace("00-", "ff-", 1),
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
    ],
)
async def test_missing_or_broken_trace_context_is_replaced(queue: Any, traceparent: Any) -> None:
    """Every task has a trace, and one that the database drew says so."""
    task = await queue.row(await queue.add(traceparent=traceparent, tracestate="vendor=1"))

    assert await queue.database.fetchval("SELECT $1::text ~ $2", task["traceparent"], MINTED)
    assert task["tracestate"] == "reveille=minted"


async def test_minted_trace_contexts_differ(queue: Any) -> None:
    """Two tasks never share a trace by accident."""
    await queue.database.execute(
        "INSERT INTO processing_queue (document_id, task_type) "
        "SELECT n, 'visual_analysis' FROM generate_series(1, 200) n"
    )

    assert (
        await queue.database.fetchval(
            "SELECT count(DISTINCT traceparent) FROM processing_queue WHERE tracestate = 'reveille=minted'"
        )
        == 200
    )


async def test_minted_trace_ids_are_sampled_evenly(queue: Any) -> None:
    """A ratio sampler looks at the lower half of the trace id: every first digit occurs there."""
    await queue.database.execute(
        "INSERT INTO processing_queue (document_id, task_type) "
        "SELECT n, 'visual_analysis' FROM generate_series(1, 400) n"
    )
    digits = await queue.database.fetchval(
        "SELECT count(DISTINCT substr(traceparent, 20, 1)) FROM processing_queue"
    )
    assert digits == 16
