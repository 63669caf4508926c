"""The functions for external servers: the arguments and answers of the system they know."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

EVERYTHING = {"visual_analysis": True, "deck_date_extraction": True, "slide_feedback": True}


async def next_task(
    queue: Any, server_id: str = "old-gpu", capabilities: Any = EVERYTHING, *, by: Any = None
) -> Any:
    row = await (by or queue.database).fetchrow(
        "SELECT * FROM get_next_processing_task($1, $2)", server_id, capabilities
    )
    return None if row is None else dict(row)


async def complete(queue: Any, task_id: int, success: bool, **more: Any) -> bool:
    names = "".join(f", {name} => ${n}" for n, name in enumerate(more, start=3))
    answer: bool = await queue.database.fetchval(
        f"SELECT complete_task($1, $2{names})",
        task_id,
        success,
        *more.values(),
    )
    return answer


async def test_next_task_has_the_columns_that_the_server_knows(queue: Any) -> None:
    """Names, order and values are those of the existing function."""
    task_id = await queue.add(
        "visual_analysis", file_path="a.pdf", company_id="acme", processing_options={"a": 1}
    )

    task = await next_task(queue)

    assert list(task.items()) == [
        ("task_id", task_id),
        ("document_id", 7),
        ("task_type", "visual_analysis"),
        ("file_path", "a.pdf"),
        ("company_id", "acme"),
        ("processing_options", {"a": 1}),
    ]
    held = await queue.row(task_id)
    assert (held["status"], held["locked_by"], held["attempt"]) == ("processing", "old-gpu", 1)
    assert held["lease_token"] is not None
    assert held["lock_expires_at"] - held["started_at"] == timedelta(seconds=1800)


async def test_next_task_is_the_best_of_all_types(queue: Any) -> None:
    """Priority first, then age, across the types."""
    await queue.add("visual_analysis")
    high = await queue.add("deck_date_extraction", priority=2)
    await queue.add("visual_analysis", priority=2)

    assert (await next_task(queue))["task_id"] == high


@pytest.mark.parametrize(
    "capabilities",
    [
        {},
        None,
        {"visual_analysis": False},
        {"visual_analysis": None},
        {"slide_feedback": True},
        {"gpu": True},
    ],
)
async def test_next_task_needs_the_capability(queue: Any, capabilities: Any) -> None:
    """A server gets only what it says that it takes."""
    await queue.add("visual_analysis")

    assert await next_task(queue, capabilities=capabilities) is None


async def test_two_servers_that_ask_at_once_get_different_tasks(queue: Any) -> None:
    """While one claim is not committed the other one finds the next task, also of another type."""
    first, second = await queue.add("visual_analysis"), await queue.add("slide_feedback")
    async with queue.database.connect() as one, one.transaction():
        assert (await next_task(queue, "gpu-1", by=one))["task_id"] == first

        assert (await next_task(queue, "gpu-2"))["task_id"] == second
        assert await next_task(queue, "gpu-2") is None


async def test_many_servers_never_get_the_same_task(queue: Any) -> None:
    """However they interleave, each task is handed out once and none is left."""
    ids = [await queue.add("visual_analysis") for _ in range(40)]

    got = await asyncio.gather(*(next_task(queue, f"gpu-{n}") for n in range(40)))
    while (more := await next_task(queue)) is not None:
        got.append(more)

    assert sorted(task["task_id"] for task in got if task) == ids


async def test_asking_counts_as_a_heartbeat_and_enters_unknown_servers(queue: Any) -> None:
    """The existing server may never have registered."""
    assert await next_task(queue) is None
    await queue.database.execute(
        "UPDATE processing_servers SET status = 'lost', last_heartbeat = NULL"
    )
    await next_task(queue)

    server = await queue.database.fetchrow("SELECT * FROM processing_servers")
    assert (server["id"], server["server_type"], server["status"]) == ("old-gpu", "gpu", "active")
    assert server["capabilities"] == EVERYTHING
    assert server["last_heartbeat"] is not None
    assert not server["has_presence"]


async def test_draining_server_gets_nothing_and_stays_draining(queue: Any) -> None:
    """An operator can take the dedicated server out of service."""
    await next_task(queue)
    await queue.database.execute("UPDATE processing_servers SET status = 'draining'")
    await queue.add("visual_analysis")

    assert await next_task(queue) is None
    assert await queue.database.fetchval("SELECT status FROM processing_servers") == "draining"


async def test_next_task_of_a_paused_pool_or_type_is_held_back(queue: Any) -> None:
    """A pause holds for external servers too."""
    await queue.add("visual_analysis")
    await queue.database.execute("UPDATE pools SET paused = true WHERE name = 'visual'")
    assert await next_task(queue) is None
    await queue.database.execute("UPDATE pools SET paused = false")
    await queue.database.execute("UPDATE task_types SET paused = true WHERE pool = 'visual'")
    assert await next_task(queue) is None
    await queue.database.execute("UPDATE task_types SET paused = false")

    assert await next_task(queue) is not None


async def test_asking_makes_due_retries_claimable(queue: Any) -> None:
    """With nothing but the old server running, retries still come back."""
    now = await queue.database.fetchval("SELECT reveille_now()")
    task_id = await queue.add("visual_analysis", next_retry_at=now + timedelta(minutes=1))
    assert await next_task(queue) is None
    await queue.database.set_now(now + timedelta(minutes=2))

    assert (await next_task(queue))["task_id"] == task_id


async def test_complete_task_with_success(queue: Any) -> None:
    """Result path and metadata are kept, the lease ends, dependents move."""
    task_id = await queue.add("visual_analysis")
    child = await queue.add(depends_on=[task_id])
    await next_task(queue)

    assert await complete(queue, task_id, True, results_path="r.json", metadata={"model": "m"})

    task = await queue.row(task_id)
    expected = {
        "status": "completed",
        "results_file_path": "r.json",
        "processing_metadata": {"model": "m"},
        "progress_percentage": 100,
        "completed_by": "old-gpu",
        "lease_token": None,
        "locked_by": None,
    }
    assert {name: task[name] for name in expected} == expected
    assert await queue.statuses(child) == ["queued"]
    assert await queue.attempts(task_id) == []


async def test_complete_task_with_failure_retries_until_no_attempt_is_left(queue: Any) -> None:
    """A reported failure is treated like a worker's: backoff, then failed with the message."""
    task_id = await queue.add("visual_analysis", max_retries=1)
    await next_task(queue)

    assert await complete(queue, task_id, False, error_message="out of memory")
    waiting = await queue.row(task_id)
    await queue.set_status(task_id, "queued")
    await next_task(queue)
    assert await complete(queue, task_id, False, error_message="again")

    assert (waiting["status"], waiting["retry_count"], waiting["last_error"]) == (
        "retry",
        1,
        "out of memory",
    )
    failed = await queue.row(task_id)
    assert (
        failed["status"],
        failed["last_error"],
        failed["failure_reason"],
        failed["error_count"],
    ) == (
        "failed",
        "again",
        "reported",
        2,
    )
    assert await queue.attempts(task_id) == [("retry", "reported"), ("failed", "reported")]


async def test_complete_task_without_a_message_still_says_something(queue: Any) -> None:
    """last_error is never empty on a failed attempt."""
    task_id = await queue.add("visual_analysis")
    await next_task(queue)

    await complete(queue, task_id, False)

    assert (await queue.row(task_id))["last_error"] == "reported as failed"


@pytest.mark.parametrize("status", ["queued", "completed", "cancelled"])
async def test_complete_task_that_is_not_processed_changes_nothing(queue: Any, status: str) -> None:
    """Late, doubled and mistaken reports are answered with false."""
    task_id = await queue.add("visual_analysis")
    await queue.set_status(task_id, status)
    before = await queue.row(task_id)

    assert not await complete(queue, task_id, True, results_path="r.json")
    assert not await complete(queue, 999, True)
    assert await queue.row(task_id) == before


async def test_update_task_progress_moves_the_task_and_adds_a_step(queue: Any) -> None:
    """As the existing server reports it, also without message and data."""
    task_id = await queue.add("visual_analysis")
    await next_task(queue)

    update = "SELECT update_task_progress($1, $2, $3)"
    assert await queue.database.fetchval(update, task_id, 40, "slides")
    assert await queue.database.fetchval(
        "SELECT update_task_progress($1, 250, 'end', 'nearly', '{\"slide\": 9}')", task_id
    )

    task = await queue.row(task_id)
    assert (task["progress_percentage"], task["current_step"], task["progress_message"]) == (
        100,
        "end",
        "nearly",
    )
    assert await queue.database.fetch(
        "SELECT step_name, step_status, progress_percentage, message, step_data "
        "FROM processing_progress ORDER BY id"
    ) == [
        {
            "step_name": "slides",
            "step_status": "started",
            "progress_percentage": 40,
            "message": None,
            "step_data": None,
        },
        {
            "step_name": "end",
            "step_status": "completed",
            "progress_percentage": 100,
            "message": "nearly",
            "step_data": {"slide": 9},
        },
    ]


async def test_update_task_progress_of_a_task_that_is_not_processed_is_refused(queue: Any) -> None:
    """False tells the server to stop."""
    task_id = await queue.add("visual_analysis")
    update = "SELECT update_task_progress($1, 40, 'slides')"

    assert not await queue.database.fetchval(update, task_id)
    assert not await queue.database.fetchval(update, 999)
    assert await queue.database.fetchval("SELECT count(*) FROM processing_progress") == 0


@pytest.mark.parametrize(
    ("status", "accepted"),
    [
        ("failed", True),
        ("cancelled", True),
        ("retry", True),
        ("completed", False),
        ("queued", False),
    ],
)
async def test_retry_failed_task_redrives_what_has_failed(
    queue: Any, status: str, accepted: bool
) -> None:
    """Failed and cancelled start afresh, a waiting retry becomes due; the rest is left alone."""
    task_id = await queue.add()
    await queue.database.execute(
        "UPDATE processing_queue SET status = $1, next_retry_at = now() + interval '1 hour'", status
    ) if status == "retry" else await queue.set_status(task_id, status)

    assert await queue.database.fetchval("SELECT retry_failed_task($1)", task_id) is accepted
    assert await queue.statuses(task_id) == ["queued" if accepted else status]


async def test_retry_of_an_unknown_task_is_answered_with_false(queue: Any) -> None:
    """No error, no row."""
    assert not await queue.database.fetchval("SELECT retry_failed_task(999)")


async def test_capabilities_may_be_a_list_or_a_json_string(queue: Any) -> None:
    """As they may in the server's row: a server that names its types so would ask forever."""
    wanted = sorted([await queue.add("visual_analysis"), await queue.add("visual_analysis")])

    by_list = await next_task(queue, "list", ["visual_analysis"])
    by_string = await next_task(queue, "string", '{"visual_analysis": true}')

    assert sorted(task["task_id"] for task in (by_list, by_string)) == wanted
    assert await next_task(queue, "number", 7) is None
