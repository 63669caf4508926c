"""Tasks over HTTP: enqueue, look at, cancel, redrive; and every way to ask for the impossible."""

from collections.abc import AsyncIterator
from io import BytesIO

import pytest

from queue_gateway.testing import RunningGateway, running_gateway
from reveille.task import TaskStatus
from reveille.testing import Database

TASK = {"document_id": 42, "task_type": "visual_analysis"}


@pytest.fixture
async def gateway(database: Database) -> AsyncIterator[RunningGateway]:
    """A gateway on this test's database."""
    async with running_gateway(database.dsn) as gateway:
        yield gateway


async def test_task_posted_is_a_row_with_the_types_defaults(
    gateway: RunningGateway, database: Database
) -> None:
    """Enqueueing over HTTP is the contract's INSERT and nothing else."""
    task = await gateway.post("/api/tasks", TASK, 201)

    row = await database.fetchrow("SELECT * FROM processing_queue WHERE id = $1", task["id"])
    assert row is not None
    assert task["status"] == "queued"
    assert (row["priority"], row["max_retries"], row["file_path"]) == (1, 3, None)
    assert row["traceparent"]
    assert row["tracestate"] == "reveille=minted"


async def test_task_detail_shows_steps_attempts_edges_and_trace(database: Database) -> None:
    """One request tells the whole story of a task."""
    async with running_gateway(database.dsn, jaeger_url="http://jaeger.example/") as gateway:
        parent = await gateway.post("/api/tasks", TASK, 201)
        child = await gateway.post("/api/tasks", {**TASK, "depends_on": [parent["id"]]}, 201)
        await database.execute(
            "INSERT INTO processing_progress (processing_queue_id, step_name, step_status, message) "
            "VALUES ($1, 'slide-1', 'completed', 'one')",
            parent["id"],
        )
        await database.execute(
            "UPDATE processing_queue SET status = 'processing' WHERE id = $1", parent["id"]
        )
        await gateway.post(f"/api/tasks/{parent['id']}/cancel")

        shown = await gateway.get(f"/api/tasks/{parent['id']}")

    assert [step["step_name"] for step in shown["steps"]] == ["slide-1"]
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["cancelled"]
    assert shown["dependencies"] == []
    assert [edge["dependent_task_id"] for edge in shown["dependents"]] == [child["id"]]
    assert shown["trace_url"] == f"http://jaeger.example/trace/{shown['trace_id']}"
    assert "lease_token" not in shown


async def test_tasks_listed_by_filter_in_pages(gateway: RunningGateway) -> None:
    """Filters narrow, and `next_before` leads through all pages without a gap."""
    ids = [(await gateway.post("/api/tasks", TASK, 201))["id"] for _ in range(5)]
    text = await gateway.post(
        "/api/tasks", {"document_id": 7, "task_type": "template_analysis"}, 201
    )

    first = await gateway.get("/api/tasks?task_type=visual_analysis&limit=3")
    rest = await gateway.get(
        f"/api/tasks?pool=visual&status=queued,retry&limit=3&before={first['next_before']}"
    )
    of_document = await gateway.get("/api/tasks?document_id=7")

    pages = [task["id"] for page in (first, rest) for task in page["tasks"]]
    assert pages == sorted(ids, reverse=True)
    assert rest["next_before"] is None
    assert [task["id"] for task in of_document["tasks"]] == [text["id"]]


BAD_VALUES: tuple[tuple[dict[str, object], str], ...] = (
    ({"task_type": "no_such_type"}, "unknown task_type"),
    ({"priority": 9}, "priority"),
    ({"document_id": None}, "document_id"),
    ({"document_id": 2**63}, "document_id"),
    ({"depends_on": [4711]}, "does not exist"),
    ({"processing_options": {"no_such_option": 1}}, "no_such_option"),
    ({"processing_options": [1]}, "processing_options"),
    ({"processing_options": {"depends_on": "soon"}}, "depends_on"),
    ({"file_path": "deck\x00.pdf"}, "invalid byte sequence"),
    ({"company_id": "x" * 256}, "company_id"),
    ({"next_retry_at": "soon"}, "next_retry_at"),
    ({"statsu": "queued"}, "statsu"),
)


async def test_task_with_a_bad_value_is_refused_with_a_reason(
    gateway: RunningGateway, database: Database
) -> None:
    """Each bad input gets a problem that names it, and leaves no row."""
    for change, said in BAD_VALUES:
        problem = await gateway.post("/api/tasks", {**TASK, **change}, 422)
        assert said in problem["detail"], change

    assert await database.fetchval("SELECT count(*) FROM processing_queue") == 0


async def test_unknown_task_type_is_refused_with_the_known_ones(gateway: RunningGateway) -> None:
    """The database's hint reaches the HTTP client."""
    problem = await gateway.post("/api/tasks", {**TASK, "task_type": "nonsense"}, 422)

    assert "visual_analysis" in problem["hint"]


async def test_body_that_is_no_json_is_refused(gateway: RunningGateway) -> None:
    """Garbage is 400, another media type 415, too much 413; all as problem+json."""
    json = {"Content-Type": "application/json"}
    broken = await gateway.ask("POST", "/api/tasks", 400, data=b'{"document', headers=json)
    surrogate = await gateway.ask(
        "POST", "/api/tasks", 400, data=b'{"task_type": "\\ud800"}', headers=json
    )
    form = await gateway.ask("POST", "/api/tasks", 415, data={"document_id": "1"})
    large = await gateway.ask(
        "POST", "/api/tasks", 413, data=BytesIO(b" " * 2_000_000), headers=json
    )

    titles = [answer["title"] for answer in (broken, surrogate, form)]
    assert titles == ["Bad Request", "Bad Request", "Unsupported Media Type"]
    assert large["status"] == 413


async def test_thing_that_does_not_exist_is_a_404_problem(gateway: RunningGateway) -> None:
    """What is not there is said in the same form everywhere."""
    for path in ("/api/tasks/4711", "/api/tasks/4711/events", "/api/nothing", "/api/documents/1"):
        async with gateway.session.get(gateway.url + path) as answer:
            problem = await answer.json(content_type="application/problem+json")
        assert (answer.status, problem["status"]) == (404, 404), path


async def test_parameter_that_makes_no_sense_is_refused_by_name(gateway: RunningGateway) -> None:
    """A misspelt filter fails instead of showing everything."""
    for path, field in (
        ("/api/tasks/x", "id"),
        ("/api/tasks?limit=0", "limit"),
        ("/api/tasks?status=odd", "status.0"),
        ("/api/tasks?colour=red", "colour"),
    ):
        problem = await gateway.get(path, 422)
        assert [error["field"] for error in problem["errors"]] == [field]
    odd = await gateway.get("/api/tasks?status=odd", 422)
    assert all(f"'{status}'" in odd["detail"] for status in TaskStatus)


async def test_dedupe_key_that_is_taken_is_a_conflict_that_names_the_task(
    gateway: RunningGateway,
) -> None:
    """Whoever enqueues twice learns which task is there already."""
    task = await gateway.post("/api/tasks", {**TASK, "dedupe_key": "deck 42"}, 201)

    problem = await gateway.post("/api/tasks", {**TASK, "dedupe_key": "deck 42"}, 409)

    assert problem["existing_task_id"] == task["id"]
    assert "dedupe_key" in problem["detail"]


async def test_cancel_and_retry_follow_the_state(gateway: RunningGateway) -> None:
    """A live task can be cancelled once, a cancelled one be redriven, a queued one neither redriven."""
    task_id = (await gateway.post("/api/tasks", TASK, 201))["id"]

    early = await gateway.post(f"/api/tasks/{task_id}/retry", status=409)
    cancelled = await gateway.post(f"/api/tasks/{task_id}/cancel", {"reason": "wrong deck"})
    twice = await gateway.post(f"/api/tasks/{task_id}/cancel", status=409)
    redriven = await gateway.post(f"/api/tasks/{task_id}/retry")

    assert "queued" in early["detail"]
    assert (cancelled["status"], cancelled["last_error"]) == ("cancelled", "cancelled: wrong deck")
    assert "cancelled" in twice["detail"]
    assert redriven["status"] == "queued"
    await gateway.post("/api/tasks/4711/cancel", status=404)
    await gateway.post("/api/tasks/4711/retry", status=404)


async def test_retry_of_a_child_is_refused_while_its_parent_failed(
    gateway: RunningGateway, database: Database
) -> None:
    """The answer says which task to retry instead, and that one revives the child."""
    parent = (await gateway.post("/api/tasks", TASK, 201))["id"]
    child = (await gateway.post("/api/tasks", {**TASK, "depends_on": [parent]}, 201))["id"]
    await database.execute("UPDATE processing_queue SET status = 'failed' WHERE id = $1", parent)

    problem = await gateway.post(f"/api/tasks/{child}/retry", status=409)
    await gateway.post(f"/api/tasks/{parent}/retry")

    assert problem["parents"] == [{"id": parent, "status": "failed"}]
    assert (await gateway.get(f"/api/tasks/{child}"))["status"] == "blocked"


async def test_traceparent_of_the_caller_reaches_the_row(
    gateway: RunningGateway, database: Database
) -> None:
    """Without a collector of the gateway's own, the task's trace begins at the caller's span."""
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    task = await gateway.post("/api/tasks", TASK, 201, headers={"traceparent": caller})

    row = await database.fetchrow(
        "SELECT traceparent, tracestate FROM processing_queue WHERE id = $1", task["id"]
    )
    assert row == {"traceparent": caller, "tracestate": None}


async def test_values_of_another_type_are_refused(gateway: RunningGateway) -> None:
    """false is not 0 and "3" is not 3: what the document calls an integer is one."""
    for member, value in (("max_retries", False), ("document_id", "7"), ("priority", True)):
        body = {"document_id": 7, "task_type": "visual_analysis", member: value}
        refused = await gateway.post("/api/tasks", body, 422)
        assert refused["errors"][0]["field"] == member
