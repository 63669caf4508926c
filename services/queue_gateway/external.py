"""Servers that are not workers of ours: they register, ask for tasks, and report, over HTTP as they
always did.

New is that asking may wait: with `wait_seconds` the answer comes the moment a task is there.
Whatever such a server reports about a task counts only while it holds that task. Members that this
module does not know are ignored: the callers exist.
"""

from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from queue_gateway.desk import Desk
from queue_gateway.long_poll import await_task, release
from queue_gateway.refusal import Refusal, not_found
from queue_gateway.route import JSON, Call, Route
from queue_gateway.shapes import Answer, Id, Params, not_a_truth_value
from queue_gateway.waiting import WaitSeconds, gone

ServerId = Annotated[str, Field(min_length=1, max_length=255)]


def _capabilities(value: object) -> object:
    """A list of task types means the same as an object of trues."""
    return dict.fromkeys(value, True) if isinstance(value, list) else value


Capabilities = Annotated[dict[str, Any], BeforeValidator(_capabilities)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    server_id: ServerId

    # No member is a truth value; but "5" may pass for 5: the callers exist.
    _numbers = field_validator("*", mode="before")(not_a_truth_value)


class Registering(_Message):
    """A server says what it is. `capabilities`: {"visual_analysis": true, …} or a list of task
    types.
    """

    server_type: Annotated[str, Field(min_length=1, max_length=50)]
    capabilities: Capabilities = {}
    max_concurrent_tasks: Annotated[int, Field(ge=1, le=10_000)] = 5
    container_id: Annotated[str, Field(max_length=255)] | None = None


class Heartbeat(_Message):
    """A server says that it lives."""


class Unregistering(_Message):
    """A server goes away; what it still holds goes back to the queue."""


class AskingForTask(_Message):
    """Without capabilities those of the registration count."""

    capabilities: Capabilities | None = None
    wait_seconds: WaitSeconds = 0


class Reporting(_Message):
    """How a task is going. `message` is the error of a failed one, the current step of one in
    progress.
    """

    task_id: Id
    status: Literal["processing", "in_progress", "completed", "success", "failed", "error"]
    message: str | None = None
    progress_percentage: Annotated[int, Field(ge=0, le=100)] | None = None
    results_path: str | None = None
    metadata: dict[str, Any] | None = None


class ServerAnswer(Answer):
    """`status` is the server's now: one that is draining gets no tasks."""

    success: Literal[True] = True
    server_id: str
    status: str


class NextTask(Answer):
    """A task to work on, or nulls."""

    task_id: int | None = None
    document_id: int | None = None
    task_type: str | None = None
    file_path: str | None = None
    company_id: str | None = None
    processing_options: dict[str, Any] | None = None


class ReportAnswer(Answer):
    """`changed` is false for a report that was made before. `status` is the task's now."""

    success: Literal[True] = True
    changed: bool
    task_id: int
    status: str


async def register(call: Call[Params, Registering]) -> ServerAnswer:
    """Enter a server, or renew its entry."""
    new = call.body
    status = await call.desk.store.value(
        "register_external_server",
        new.server_id,
        new.server_type,
        new.capabilities,
        new.max_concurrent_tasks,
        new.container_id,
    )
    if status is None:
        raise _ours(new.server_id)
    return ServerAnswer(server_id=new.server_id, status=status)


async def heartbeat(call: Call[Params, Heartbeat]) -> ServerAnswer:
    """Keep a server from being given up."""
    server_id = call.body.server_id
    status = await call.desk.store.value("heartbeat_external_server", server_id)
    if status is None:
        await _known(call.desk, server_id)
        raise not_found("server", server_id)
    return ServerAnswer(server_id=server_id, status=status)


async def next_task(call: Call[Params, AskingForTask]) -> web.StreamResponse:
    """Claim one task. Whoever hangs up before the answer is on its way gets none."""
    desk, asking = call.desk, call.body
    known = await _known(desk, asking.server_id)
    capabilities = asking.capabilities
    if capabilities is None:
        capabilities = known["capabilities"] if known else {}
    task = await await_task(desk, call.request, asking.server_id, capabilities, asking.wait_seconds)
    answer = NextTask() if task is None else NextTask(**task)
    response = web.Response(body=answer.model_dump_json().encode(), content_type=JSON)
    if task is None:
        return response
    try:
        await response.prepare(call.request)
        await response.write_eof()
        delivered = not gone(call.request)
    except ConnectionError:
        delivered = False
    if not delivered:
        await release(desk, asking.server_id, task["task_id"], "undelivered")
    return response


async def report(call: Call[Params, Reporting]) -> ReportAnswer:
    """What a server says of a task that it holds; of any other, nothing changes."""
    store, said = call.desk.store, call.body
    if said.status in {"processing", "in_progress"}:
        changed = await store.value(
            "progress_external_task",
            said.task_id,
            said.server_id,
            said.progress_percentage,
            said.message or "processing",
            said.message,
        )
    else:
        success = said.status in {"completed", "success"}
        changed = await store.value(
            "complete_external_task",
            said.task_id,
            said.server_id,
            success,
            said.results_path,
            None if success else said.message,
            said.metadata,
        )
    return await _reported(call.desk, said, changed=bool(changed))


async def _reported(desk: Desk, said: Reporting, *, changed: bool) -> ReportAnswer:
    row = await desk.store.row("task_holder", said.task_id)
    if row is None:
        raise not_found("task", said.task_id)
    repeated = (
        said.status in {"completed", "success"}
        and row["status"] == "completed"
        and row["completed_by"] == said.server_id
    )
    if not changed and not repeated:
        raise Refusal(
            409,
            f"Task {said.task_id} is {row['status']} and not held by {said.server_id}: "
            "the report changes nothing.",
        )
    return ReportAnswer(changed=changed, task_id=said.task_id, status=row["status"])


async def unregister(call: Call[Params, Unregistering]) -> ServerAnswer:
    """A server goes away in good order."""
    desk, server_id = call.desk, call.body.server_id
    await _known(desk, server_id)
    if await desk.store.value("unregister_external_server", server_id) is None:
        raise not_found("server", server_id)
    await release(desk, server_id, None, "unregistered")
    return ServerAnswer(server_id=server_id, status="inactive")


async def _known(desk: Desk, server_id: str) -> dict[str, Any] | None:
    row = await desk.store.row("external_server", server_id)
    if row is not None and row["has_presence"]:
        raise _ours(server_id)
    return row


def _ours(server_id: str) -> Refusal:
    return Refusal(409, f"{server_id} is the id of a worker of this system: choose another one.")


def _route(
    name: str,
    summary: str,
    handler: Any,
    body: type[BaseModel],
    answer: type[BaseModel],
    *refuses: int,
) -> Route[Any, Any]:
    return Route(
        method="POST",
        path=f"/api/internal/{name}",
        tag="external servers",
        summary=summary,
        scope="work",
        handler=handler,
        params=Params,
        body=body,
        answer=answer,
        refuses=refuses,
    )


ROUTES: tuple[Route[Any, Any], ...] = (
    _route(
        "register-processing-server",
        "Register a server of one's own",
        register,
        Registering,
        ServerAnswer,
        409,
    ),
    _route(
        "server-heartbeat",
        "Say that the server lives",
        heartbeat,
        Heartbeat,
        ServerAnswer,
        404,
        409,
    ),
    _route(
        "get-next-queue-task",
        "Claim the next task; with wait_seconds the answer comes the moment there is one",
        next_task,
        AskingForTask,
        NextTask,
        409,
    ),
    _route(
        "update-task-status",
        "Report progress or the end of a task",
        report,
        Reporting,
        ReportAnswer,
        404,
        409,
    ),
    _route(
        "unregister-processing-server",
        "Leave; what the server holds goes back to the queue",
        unregister,
        Unregistering,
        ServerAnswer,
        404,
        409,
    ),
)
