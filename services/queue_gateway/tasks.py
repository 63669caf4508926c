"""Tasks: create, list, show, cancel, retry."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from queue_gateway.refusal import Refusal, not_found
from queue_gateway.route import Call, Reply, Route
from queue_gateway.shapes import (
    Answer,
    Body,
    ById,
    Id,
    Params,
    SentPriority,
    Several,
)
from queue_gateway.store import Statements
from queue_gateway.submit import check_options, sending
from queue_gateway.task_view import TaskSummary
from reveille.task import Pool, TaskStatus
from reveille.trace_context import trace_id_of

STEPS_MAX = 500  # of one task, the newest


class NewTask(Body):
    """The columns of the contract's INSERT. Only document_id and task_type are needed."""

    document_id: Id
    task_type: Annotated[str, Field(max_length=50, examples=["visual_analysis"])]
    priority: SentPriority | None = Field(
        None, description="1 normal, 2 high, 3 critical; unset: the task type's default"
    )
    file_path: Annotated[str, Field(max_length=4096)] | None = None
    company_id: Annotated[str, Field(max_length=255)] | None = None
    processing_options: dict[str, Any] = Field(default_factory=dict)
    depends_on: Annotated[list[Id], Field(max_length=1000)] | None = Field(
        None, description="ids of tasks that must complete first"
    )
    dedupe_key: Annotated[str, Field(max_length=500)] | None = Field(
        None, description="unique among live tasks"
    )
    next_retry_at: datetime | None = Field(None, description="not before this time")
    max_retries: Annotated[int, Field(ge=0, le=1000)] | None = None


class TaskFilter(Params):
    """Which tasks to list. Pages are linked by `before`: the smallest id of the page before."""

    status: Several[TaskStatus] = ()
    task_type: Several[str] = ()
    document_id: Id | None = None
    pool: Pool | None = None
    before: Id | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50


class TaskList(Answer):
    """`next_before` asks for the next page; null on the last one."""

    tasks: list[TaskSummary]
    next_before: int | None


class Step(Answer):
    """A row of processing_progress."""

    id: int
    step_name: str | None
    step_status: str | None
    progress_percentage: int | None
    message: str | None
    step_data: Any
    created_at: datetime


class Attempt(Answer):
    """An attempt that ended otherwise than well."""

    attempt: int
    server_id: str | None
    started_at: datetime | None
    ended_at: datetime
    outcome: str
    reason: str | None
    error: str | None


class Edge(Answer):
    """`dependent_task_id` waits for `depends_on_task_id`; satisfied_at null: still."""

    dependent_task_id: int
    depends_on_task_id: int
    dependency_type: str
    satisfied_at: datetime | None
    parent_status: str | None
    parent_task_type: str | None
    child_status: str | None
    child_task_type: str | None


class TaskDetail(TaskSummary):
    """A task with its history. `trace_url` is there when a trace viewer is configured."""

    processing_options: dict[str, Any]
    dedupe_key: str | None
    last_progress_update: datetime | None
    locked_at: datetime | None
    lock_expires_at: datetime | None
    lost_count: int
    error_count: int
    completed_by: str | None
    cancelled_by_task_id: int | None
    results_file_path: str | None
    processing_metadata: Any
    timeout_seconds: int | None
    archived_at: datetime | None
    trace_id: str | None
    trace_url: str | None
    steps: list[Step]
    attempts: list[Attempt]
    dependencies: list[Edge]
    dependents: list[Edge]


class Cancellation(Body):
    """Why; it becomes the task's last_error."""

    reason: Annotated[str, Field(min_length=1, max_length=500)] | None = None


async def create(call: Call[Params, NewTask]) -> Reply:
    """One INSERT. What the triggers refuse is refused with their words."""
    new, store = call.body, call.desk.store
    check_options(new.task_type, new.processing_options)
    with sending(new.task_type, new.document_id, call.request) as send:
        try:
            async with store.transaction() as inside:
                task_id: int = await inside.value(
                    "insert_task",
                    new.document_id,
                    new.task_type,
                    new.priority,
                    new.file_path,
                    new.company_id,
                    new.processing_options,
                    new.depends_on or None,
                    new.dedupe_key,
                    new.next_retry_at,
                    new.max_retries,
                    send.traceparent,
                    send.tracestate,
                )
        except Refusal as refusal:
            if refusal.status == 409 and new.dedupe_key is not None:
                refusal.extra["existing_task_id"] = await store.value(
                    "task_of_dedupe_key", new.dedupe_key
                )
            raise
        send.sent(task_id)
    task = await summary(store, task_id)
    return Reply(task, 201, {"Location": f"/api/tasks/{task_id}"})


async def list_tasks(call: Call[TaskFilter, Body]) -> TaskList:
    """Newest first."""
    return await tasks_matching(call.desk.store, call.params)


async def tasks_matching(store: Statements, wanted: TaskFilter) -> TaskList:
    """One page of the tasks that the filter lets through, newest first."""
    filters = (
        list(wanted.status) or None,
        list(wanted.task_type) or None,
        wanted.pool,
        wanted.before,
        wanted.limit,
    )
    if wanted.document_id is None:
        rows = await store.rows("list_tasks", *filters)
    else:
        rows = await store.rows("tasks_of_document", wanted.document_id, *filters)
    tasks = [TaskSummary.model_validate(row) for row in rows]
    full = len(tasks) == wanted.limit
    return TaskList(tasks=tasks, next_before=tasks[-1].id if full else None)


async def show(call: Call[ById, Body]) -> TaskDetail:
    """Everything that is known of a task."""
    return await detail(call.desk.store, call.params.id, call.desk.settings.jaeger_url)


async def cancel(call: Call[ById, Cancellation]) -> TaskSummary:
    """From any live state; a running attempt is told to stop."""
    reason = f"cancelled: {call.body.reason}" if call.body.reason else "cancelled by request"
    store, task_id = call.desk.store, call.params.id
    if await store.value("cancel_task", task_id, reason) is None:
        task = await summary(store, task_id)
        raise Refusal(409, f"Task {task_id} is {task.status}: only a live task can be cancelled.")
    return await summary(store, task_id)


async def retry(call: Call[ById, Body]) -> TaskSummary:
    """A failed or cancelled task starts afresh, a waiting retry becomes due."""
    task_id = call.params.id
    async with call.desk.store.transaction() as inside:
        status = await inside.value("lock_task", task_id)
        if status is None:
            raise not_found("task", task_id)
        if status not in {TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.RETRY}:
            raise Refusal(409, f"Task {task_id} is {status}: there is nothing to retry.")
        await _refuse_hopeless(inside, task_id)
        await inside.value("retry_task", task_id)
    return await summary(call.desk.store, task_id)


async def _refuse_hopeless(inside: Statements, task_id: int) -> None:
    parents = await inside.rows("parents_in_the_way", task_id)
    if parents:
        first = parents[0]
        raise Refusal(
            409,
            f"Task {task_id} depends on task {first['id']}, which is {first['status']}: "
            "retry that one, and this one follows by itself.",
            parents=parents,
        )


async def summary(store: Statements, task_id: int) -> TaskSummary:
    """The task as lists show it. Raises Refusal 404."""
    row = await store.row("tasks_by_id", [task_id])
    if row is None:
        raise not_found("task", task_id)
    return TaskSummary.model_validate(row)


async def detail(store: Statements, task_id: int, jaeger_url: str | None) -> TaskDetail:
    """The task with its history. Raises Refusal 404."""
    found = await summary(store, task_id)
    more = await store.row("show_task", task_id)
    if more is None:
        raise not_found("task", task_id)
    edges = await store.rows("task_edges", [task_id])
    trace_id = trace_id_of(more["traceparent"])
    viewer = f"{jaeger_url.rstrip('/')}/trace/{trace_id}" if jaeger_url and trace_id else None
    return TaskDetail(
        **found.model_dump(),
        **{name: more[name] for name in TaskDetail.model_fields if name in more},
        trace_id=trace_id,
        trace_url=viewer,
        steps=[Step(**row) for row in await store.rows("task_steps", task_id, STEPS_MAX)],
        attempts=[Attempt(**row) for row in await store.rows("task_attempts", task_id)],
        dependencies=[Edge(**e) for e in edges if e["dependent_task_id"] == task_id],
        dependents=[Edge(**e) for e in edges if e["depends_on_task_id"] == task_id],
    )


ROUTES: tuple[Route[Any, Any], ...] = (
    Route(
        method="POST",
        path="/api/tasks",
        tag="tasks",
        summary="Enqueue one task",
        scope="submit",
        handler=create,
        params=Params,
        body=NewTask,
        answer=TaskSummary,
        status=201,
        refuses=(409,),
        traced=True,
    ),
    Route(
        method="GET",
        path="/api/tasks",
        tag="tasks",
        summary="List tasks, newest first",
        scope="read",
        handler=list_tasks,
        params=TaskFilter,
        body=Body,
        answer=TaskList,
    ),
    Route(
        method="GET",
        path="/api/tasks/{id}",
        tag="tasks",
        summary="Show a task with its steps, attempts, dependencies and trace",
        scope="read",
        handler=show,
        params=ById,
        body=Body,
        answer=TaskDetail,
        refuses=(404,),
    ),
    Route(
        method="POST",
        path="/api/tasks/{id}/cancel",
        tag="tasks",
        summary="Cancel a live task; a running attempt stops",
        scope="operate",
        handler=cancel,
        params=ById,
        body=Cancellation,
        answer=TaskSummary,
        refuses=(404, 409),
        traced=True,
    ),
    Route(
        method="POST",
        path="/api/tasks/{id}/retry",
        tag="tasks",
        summary="Redrive a failed or cancelled task, or make a waiting retry due",
        scope="operate",
        handler=retry,
        params=ById,
        body=Body,
        answer=TaskSummary,
        refuses=(404, 409),
        traced=True,
    ),
)
