"""Live progress in the terminal: a line per task while people watch, a line per change where
nobody does.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from reveille.channels import LOCK_LISTENING, LOCK_SPACE, Channel
from reveille.cli.session import STATUS_STYLES, console
from reveille.database import Connection
from reveille.pause import pause
from reveille.task import FINAL

READ_AGAIN_SECONDS = 1.0  # times and containers move without a notification
FRAME_SECONDS = 0.1
ROOMY = 100  # columns from which there is room for the steps beside the bars

_BAD = frozenset({"failed", "cancelled", "retry"})

_TASKS = """
SELECT q.id, q.task_type, t.pool, q.status, q.progress_percentage, q.progress_message, q.last_error,
       CASE WHEN q.status NOT IN ('blocked', 'retry') THEN
           extract(epoch FROM coalesce(q.started_at, reveille_now()) - q.claimable_at)::float8 END AS waited_seconds,
       extract(epoch FROM coalesce(q.completed_at, reveille_now()) - q.started_at)::float8 AS ran_seconds
FROM processing_queue q JOIN task_types t ON t.name = q.task_type WHERE q.id = ANY ($1) ORDER BY q.id"""
_CONTAINERS = """
SELECT pool, state, count(*)::int AS n FROM containers WHERE state NOT IN ('stopped', 'failed')
GROUP BY pool, state ORDER BY pool, state"""


async def follow_document(connection: Connection, task_ids: Sequence[int]) -> bool:
    """Show these tasks until all have ended; whether all completed."""
    news = asyncio.Event()
    await connection.add_listener(Channel.TASK_CHANGED, lambda *_: news.set())
    listening = False
    started = time.monotonic()
    said: dict[int, tuple[str, int]] = {}
    watched = console.is_terminal
    with Live(console=console, refresh_per_second=10, transient=False) as live:
        while True:
            news.clear()
            if not listening:  # task_changed is sent only while somebody holds this lock
                listening = await connection.fetchval(
                    "SELECT pg_try_advisory_lock($1, $2)", LOCK_SPACE, LOCK_LISTENING
                )
            tasks = [dict(row) for row in await connection.fetch(_TASKS, task_ids)]
            containers = [dict(row) for row in await connection.fetch(_CONTAINERS)]
            if watched:
                live.update(_picture(tasks, containers, time.monotonic() - started))
            else:
                _say_changes(tasks, said)
            if all(task["status"] in FINAL for task in tasks):
                live.stop()
                if watched:
                    _say_failures(tasks)
                return all(task["status"] == "completed" for task in tasks)
            await pause(READ_AGAIN_SECONDS, news)
            await asyncio.sleep(FRAME_SECONDS)  # coalesces a burst of changes into one picture


def _picture(
    tasks: list[dict[str, Any]], containers: list[dict[str, Any]], seconds: float
) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    roomy = console.width >= ROOMY
    right = {"done", "waited", "ran"}
    for name in ("task", "type", "state", "", "done", "waited", "ran"):
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    if roomy:
        table.add_column("", overflow="ellipsis")
    for task in tasks:
        row: list[RenderableType] = [
            str(task["id"]),
            task["task_type"],
            Text(task["status"], style=STATUS_STYLES.get(task["status"], "")),
            ProgressBar(
                total=100, completed=task["progress_percentage"], width=16 if roomy else 10
            ),
            f"{task['progress_percentage']} %",
            _seconds(task["waited_seconds"]),
            _seconds(task["ran_seconds"]),
        ]
        if roomy:
            row.append(_news(task))
        table.add_row(*row)
    fleet = ", ".join(f"{c['n']} {c['pool']} {c['state']}" for c in containers) or "none"
    table.caption = f"{seconds:.0f} s · containers: {fleet}"
    table.caption_justify = "left"
    return table


def _news(task: dict[str, Any]) -> Text:
    error = task["last_error"] if task["status"] in _BAD else None
    words = _clean(error or task["progress_message"] or "")
    return Text(words, style="red" if error else "dim", no_wrap=True)


def _say_failures(tasks: list[dict[str, Any]]) -> None:
    """In full, since the picture has room for a few words of each."""
    for task in tasks:
        if task["status"] == "failed":
            said = f"task {task['id']} ({task['task_type']}) failed: {_clean(task['last_error'] or 'no reason given')}"
            console.print(Text(said, style="red"))


def _say_changes(tasks: list[dict[str, Any]], said: dict[int, tuple[str, int]]) -> None:
    for task in tasks:
        now = (task["status"], task["progress_percentage"] // 25)
        if said.get(task["id"]) == now:
            continue
        said[task["id"]] = now
        detail = task["last_error"] if task["status"] == "failed" else task["progress_message"]
        console.print(
            Text(
                f"{task['id']:>5} {task['task_type']:<28} {task['status']:<11}"
                f"{task['progress_percentage']:>4} %  {_clean(detail or '')[:70]}"
            )
        )


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{max(0.0, value):.1f} s"


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
