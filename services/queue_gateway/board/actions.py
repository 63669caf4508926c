"""What the board's forms do: each is a handler of the API with the form's fields, and a sentence
about what came of it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from queue_gateway import containers, pools, servers, tasks
from queue_gateway.board.door import Handler, Said, back, check_proof
from queue_gateway.desk import Desk
from queue_gateway.pages import page
from queue_gateway.refusal import Refusal
from queue_gateway.route import Call, invalid
from queue_gateway.shapes import Body, ById
from reveille.tokens import Scope

BULK_MAX = 500  # tasks of one form: as many as a page shows

Form = Mapping[str, Any]
Do = Callable[[Desk, web.Request, Form], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Action:
    """A form's address, the scope it needs, and what it does; the sentence is shown afterwards."""

    path: str
    scope: Scope
    do: Do


def add_actions(application: web.Application, desk: Desk) -> None:
    """Add all forms."""
    for action in ACTIONS:
        application.router.add_post(action.path, _acting(desk, action))


def _acting(desk: Desk, action: Action) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            desk.access.admit(request, action.scope, form=True)
            form = await request.post()
            check_proof(request, form)
        except Refusal as refusal:
            if refusal.status == 401:
                raise web.HTTPSeeOther("/login") from None
            return page("refusal.html", refusal.status, refusal=refusal)
        try:
            said = Said(sentence=await action.do(desk, request, form), good=True)
        except Refusal as refusal:
            said = Said(sentence=refusal.detail, good=False)
        except ValidationError as error:
            said = Said(sentence=invalid(error, "The form").detail, good=False)
        return back(request, form.get("back"), said)

    return handle


async def _cancel(desk: Desk, request: web.Request, form: Form) -> str:
    await tasks.cancel(Call(desk, request, ById(id=form.get("id")), _reason()))
    return f"Task {form['id']} is cancelled."


async def _retry(desk: Desk, request: web.Request, form: Form) -> str:
    task = await tasks.retry(Call(desk, request, ById(id=form.get("id")), Body()))
    return f"Task {task.id} is {task.status} again."


async def _cancel_chosen(desk: Desk, request: web.Request, form: Form) -> str:
    async def cancel(task_id: str) -> None:
        await tasks.cancel(Call(desk, request, ById.model_validate({"id": task_id}), _reason()))

    return await _of_chosen(form, cancel, "cancelled")


async def _retry_chosen(desk: Desk, request: web.Request, form: Form) -> str:
    async def retry(task_id: str) -> None:
        await tasks.retry(Call(desk, request, ById.model_validate({"id": task_id}), Body()))

    return await _of_chosen(form, retry, "queued again")


async def _of_chosen(form: Form, do: Callable[[str], Awaitable[None]], done: str) -> str:
    """Parents first, because a parent that is retried brings back those it cancelled."""
    chosen = sorted({str(value) for value in form.getall("task", [])}, key=lambda i: (len(i), i))  # type: ignore[attr-defined]
    if not chosen:
        raise Refusal(422, "No task was chosen.")
    if len(chosen) > BULK_MAX:
        raise Refusal(422, f"Choose {BULK_MAX} tasks at most.")
    changed, first = 0, ""
    for task_id in chosen:
        try:
            await do(task_id)
            changed += 1
        except Refusal as refusal:
            if refusal.status >= 500:
                raise
            first = first or refusal.detail
    left = len(chosen) - changed
    rest = f" {left} left as they were: {first}" if left else ""
    return f"{changed} task{'' if changed == 1 else 's'} {done}.{rest}"


def _reason() -> tasks.Cancellation:
    return tasks.Cancellation(reason="from the board")


async def _drain_server(desk: Desk, request: web.Request, form: Form) -> str:
    params = servers.ServerById(id=form.get("id", ""))
    server = await servers.drain(Call(desk, request, params, Body()))
    return f"Server {server.id} drains: it finishes {server.holding} and takes nothing new."


def _container(do: Callable[[Call[Any, Any]], Awaitable[Any]], what: str) -> Do:
    async def act(desk: Desk, request: web.Request, form: Form) -> str:
        params = containers.ContainerByName(name=form.get("name", ""))
        container = await do(Call(desk, request, params, containers.Wish()))
        return f"Container {container.name} {what}."

    return act


def _pool(paused: bool, what: str) -> Do:
    async def act(desk: Desk, request: web.Request, form: Form) -> str:
        params = pools.PoolByName(name=form.get("name", ""))
        await pools.change(Call(desk, request, params, pools.PoolChange(paused=paused)))
        return f"Pool {params.name} {what}."

    return act


ACTIONS = (
    Action("/tasks/cancel", "operate", _cancel),
    Action("/tasks/retry", "operate", _retry),
    Action("/tasks/cancel-chosen", "operate", _cancel_chosen),
    Action("/tasks/retry-chosen", "operate", _retry_chosen),
    Action("/servers/drain", "operate", _drain_server),
    Action("/containers/drain", "operate", _container(containers.drain, "will drain, then stop")),
    Action("/containers/stop", "operate", _container(containers.stop, "is stopped")),
    Action("/containers/start", "operate", _container(containers.start, "is wanted")),
    Action("/containers/pin", "operate", _container(containers.pin, "stays, however idle")),
    Action("/containers/unpin", "operate", _container(containers.unpin, "may go again")),
    Action("/pools/pause", "operate", _pool(True, "is paused: it starts and claims nothing")),
    Action("/pools/resume", "operate", _pool(False, "goes on")),
)
