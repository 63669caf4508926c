"""External servers over HTTP: register, ask for tasks, report; fenced, woken at once, and nothing lost on the way."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from queue_gateway import long_poll
from queue_gateway.testing import RunningGateway, running_gateway
from reveille.notifier import SecondLooks
from reveille.testing import Database, eventually

INSERT = (
    "INSERT INTO processing_queue (document_id, task_type, file_path, processing_options) "
    "VALUES (42, 'visual_analysis', 'deck.pdf', '{\"template_id\": \"t\"}') RETURNING id"
)
CAN = {"visual_analysis": True, "slide_feedback": False}


@pytest.fixture
async def gateway(database: Database) -> AsyncIterator[RunningGateway]:
    """A gateway at which the server gpu-1 is registered."""
    async with running_gateway(database.dsn) as gateway:
        await gateway.post(
            "/api/internal/register-processing-server",
            {"server_id": "gpu-1", "server_type": "gpu", "capabilities": CAN, "gpu_name": "A100"},
        )
        yield gateway


async def ask(gateway: RunningGateway, server_id: str = "gpu-1", **more: Any) -> dict[str, Any]:
    """The next task for a server."""
    body = {"server_id": server_id, "capabilities": CAN, **more}
    return await gateway.post("/api/internal/get-next-queue-task", body)


async def report(
    gateway: RunningGateway, task_id: int, status: str, code: int = 200, **more: Any
) -> dict[str, Any]:
    """A report by gpu-1, unless said otherwise."""
    body = {"task_id": task_id, "status": status, "message": "m", "server_id": "gpu-1", **more}
    return await gateway.post("/api/internal/update-task-status", body, code)


async def test_server_gets_a_task_reports_progress_and_completes_it(
    gateway: RunningGateway, database: Database
) -> None:
    """The whole life of a task in the hands of an external server, with today's messages."""
    task_id = await database.fetchval(INSERT)

    task = await ask(gateway)
    beat = await gateway.post("/api/internal/server-heartbeat", {"server_id": "gpu-1"})
    working = await report(gateway, task_id, "processing", progress_percentage=40)
    midway = await gateway.get(f"/api/tasks/{task_id}")
    done = await report(gateway, task_id, "completed", metadata={"model": "m"})
    again = await report(gateway, task_id, "completed")

    assert task == {
        "task_id": task_id,
        "document_id": 42,
        "task_type": "visual_analysis",
        "file_path": "deck.pdf",
        "company_id": None,
        "processing_options": {"template_id": "t"},
    }
    assert beat == {"success": True, "server_id": "gpu-1", "status": "active"}
    assert (working["changed"], midway["progress_percentage"]) == (True, 40)
    assert midway["locked_by"] == "gpu-1"
    assert (done["changed"], done["status"]) == (True, "completed")
    assert (again["changed"], again["status"]) == (False, "completed")


async def test_task_with_options_that_python_cannot_read_is_handed_out(
    gateway: RunningGateway, database: Database
) -> None:
    """The claim is committed by then: an error would take the task and give it to nobody."""
    task_id = await database.fetchval(
        "INSERT INTO processing_queue (document_id, task_type, processing_options) VALUES (42, "
        "'visual_analysis', ('{\"a\":' || repeat('[', 300) || repeat(']', 300) || '}')::jsonb) RETURNING id"
    )
    task = await ask(gateway)
    assert task["task_id"] == task_id
    assert [key.partition(" (")[0] for key in task["processing_options"]] == ["unreadable JSON"]


async def test_asking_without_a_task_answers_nulls(gateway: RunningGateway) -> None:
    """An empty queue is no error."""
    answer = await ask(gateway)

    assert answer["task_id"] is None
    assert set(answer.values()) == {None}


async def test_failed_report_keeps_the_message_and_counts_the_attempt(
    gateway: RunningGateway, database: Database
) -> None:
    """A failure is retried by the queue's rules, with the server's words as last_error."""
    task_id = await database.fetchval(INSERT)
    await ask(gateway)

    answer = await report(gateway, task_id, "failed", message="CUDA out of memory")

    task = await gateway.get(f"/api/tasks/{task_id}")
    assert answer["status"] == "retry"
    assert (task["last_error"], task["retry_count"]) == ("CUDA out of memory", 1)


async def test_report_of_a_server_that_does_not_hold_the_task_changes_nothing(
    gateway: RunningGateway, database: Database
) -> None:
    """A late or foreign report is a conflict; an unknown task is not found."""
    task_id = await database.fetchval(INSERT)
    await ask(gateway)

    foreign = await report(gateway, task_id, "completed", 409, server_id="gpu-2")
    progress = await report(gateway, task_id, "processing", 409, server_id="gpu-2")
    await database.execute(
        "UPDATE processing_queue SET status = 'cancelled' WHERE id = $1", task_id
    )
    late = await report(gateway, task_id, "completed", 409)
    await report(gateway, 4711, "completed", 404)
    await report(gateway, task_id, "finished-ish", 422)

    assert "not held by gpu-2" in foreign["detail"]
    assert "not held by gpu-2" in progress["detail"]
    assert "cancelled" in late["detail"]
    assert (await gateway.get(f"/api/tasks/{task_id}"))["status"] == "cancelled"


async def test_waiting_server_is_answered_the_moment_a_task_is_there(
    gateway: RunningGateway, database: Database
) -> None:
    """With wait_seconds an INSERT wakes the request that waits for it."""
    waiting = asyncio.create_task(ask(gateway, wait_seconds=60))
    await eventually(lambda: gateway.service.desk.doorbell._waiters)

    task_id = await database.fetchval(INSERT)
    answer = await asyncio.wait_for(waiting, 5)

    assert answer["task_id"] == task_id


async def test_one_of_several_waiting_servers_gets_the_task(
    gateway: RunningGateway, database: Database
) -> None:
    """All are woken, one has the task, the others go on waiting until their time is over."""
    servers = ["gpu-1", "gpu-2", "gpu-3"]
    waiting = [
        asyncio.create_task(ask(gateway, server_id, wait_seconds=1)) for server_id in servers
    ]
    await eventually(lambda: len(gateway.service.desk.doorbell._waiters) == len(servers))

    task_id = await database.fetchval(INSERT)
    answers = await asyncio.gather(*waiting)

    assert sorted((a["task_id"] for a in answers), key=str) == [task_id, None, None]


async def test_waiting_server_is_woken_by_the_bell_while_second_looks_are_under_way(
    gateway: RunningGateway, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Second looks that drag on, as beside an old transaction, do not hold up the next wake-up."""
    monkeypatch.setattr(SecondLooks, "PAUSES_SECONDS", (3600.0, 3600.0))
    monkeypatch.setattr(long_poll, "LOOK_SECONDS", 3600.0)
    waiting = asyncio.create_task(ask(gateway, wait_seconds=60))
    await eventually(lambda: gateway.service.desk.doorbell._waiters)

    task_id = await database.fetchval(INSERT)
    answer = await asyncio.wait_for(waiting, 10)

    assert answer["task_id"] == task_id


async def test_client_that_hung_up_while_waiting_gets_no_task(
    gateway: RunningGateway, database: Database
) -> None:
    """A task that comes after the client has left stays in the queue for the next one."""
    waiting = asyncio.create_task(ask(gateway, wait_seconds=60))
    await eventually(lambda: gateway.service.desk.doorbell._waiters)
    waiting.cancel()
    await asyncio.wait({waiting})

    task_id = await database.fetchval(INSERT)
    await eventually(lambda: not gateway.service.desk.doorbell._waiters)
    task = await gateway.get(f"/api/tasks/{task_id}")

    assert (task["status"], task["attempt"]) == ("queued", 0)


async def test_task_whose_answer_cannot_be_delivered_goes_back_unharmed(
    gateway: RunningGateway, database: Database
) -> None:
    """A client that leaves between claim and answer costs the task no attempt."""
    task_id = await database.fetchval(INSERT)
    blocker_ready, let_go = asyncio.Event(), asyncio.Event()

    async def hold_the_server_row() -> None:
        # The claim writes the server's heartbeat first: so it waits here while the client leaves.
        async with database.connect() as connection, connection.transaction():
            await connection.execute("SELECT 1 FROM processing_servers FOR UPDATE")
            blocker_ready.set()
            await let_go.wait()

    holding = asyncio.create_task(hold_the_server_row())
    await blocker_ready.wait()
    asking = asyncio.create_task(ask(gateway))
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    await eventually(lambda: database.fetchval(waits))
    asking.cancel()
    await asyncio.wait({asking})
    let_go.set()
    await holding

    async def released() -> Any:
        return await database.fetch(
            "SELECT outcome, reason FROM task_attempts WHERE task_id = $1", task_id
        )

    attempts = await eventually(released)
    task = await gateway.get(f"/api/tasks/{task_id}")
    assert attempts == [{"outcome": "released", "reason": "undelivered"}]
    assert (task["status"], task["attempt"]) == ("queued", 0)


async def test_unregistering_gives_back_what_the_server_holds(
    gateway: RunningGateway, database: Database
) -> None:
    """A server that leaves in good order costs its tasks no attempt, and gets none any more."""
    task_id = await database.fetchval(INSERT)
    await ask(gateway)

    left = await gateway.post("/api/internal/unregister-processing-server", {"server_id": "gpu-1"})

    task = await gateway.get(f"/api/tasks/{task_id}")
    assert left["status"] == "inactive"
    assert (task["status"], task["attempt"], task["locked_by"]) == ("queued", 0, None)
    await gateway.post(
        "/api/internal/unregister-processing-server", {"server_id": "nobody"}, status=404
    )


async def test_capabilities_may_be_a_list_or_left_to_the_registration(
    gateway: RunningGateway, database: Database
) -> None:
    """Both spellings in use mean the same."""
    first, second = await database.fetchval(INSERT), await database.fetchval(INSERT)

    none = await ask(gateway, capabilities=["slide_feedback"])
    listed = await ask(gateway, capabilities=["visual_analysis"])
    registered = await ask(gateway, capabilities=None)

    assert [answer["task_id"] for answer in (none, listed, registered)] == [None, first, second]


async def test_draining_server_gets_no_task_and_a_lost_one_comes_back(
    gateway: RunningGateway, database: Database
) -> None:
    """What an operator drained stays drained; a server that was given up works again when it is heard."""
    task_id = await database.fetchval(INSERT)
    await gateway.post("/api/servers/gpu-1/drain")
    drained = await ask(gateway)
    beat = await gateway.post("/api/internal/server-heartbeat", {"server_id": "gpu-1"})
    await database.execute("UPDATE processing_servers SET status = 'lost'")
    back = await gateway.post("/api/internal/server-heartbeat", {"server_id": "gpu-1"})

    assert (drained["task_id"], beat["status"], back["status"]) == (None, "draining", "active")
    assert (await ask(gateway))["task_id"] == task_id


async def test_id_of_a_worker_of_ours_cannot_be_borrowed(
    gateway: RunningGateway, database: Database
) -> None:
    """An external server under a worker's id would take tasks that the worker does not know of."""
    await database.execute(
        "INSERT INTO processing_servers (id, server_type, has_presence) VALUES ('w', 'cpu', true)"
    )
    for name, more in (
        ("register-processing-server", {"server_type": "gpu"}),
        ("server-heartbeat", {}),
        ("get-next-queue-task", {}),
        ("unregister-processing-server", {}),
    ):
        problem = await gateway.post(f"/api/internal/{name}", {"server_id": "w", **more}, 409)
        assert "worker" in problem["detail"], name


async def test_unknown_server_must_register_before_it_is_heard(gateway: RunningGateway) -> None:
    """A heartbeat of nobody is not found; bad registrations name the field."""
    await gateway.post("/api/internal/server-heartbeat", {"server_id": "gpu-9"}, 404)
    problem = await gateway.post("/api/internal/register-processing-server", {"server_id": ""}, 422)

    assert {error["field"] for error in problem["errors"]} == {"server_id", "server_type"}
