"""The life of tasks in a few lines of Python: what the rows must say after each step.

No SQL, no locks, no time but its own. It is written from the contract, so where the database does
something else one of the two is wrong.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

BACKOFF = timedelta(seconds=10)
LEASE = timedelta(seconds=30)
TIME_LIMIT = timedelta(seconds=600 + 60)  # the task type's, and the grace of its lock
DEAD_WORKERS_MAX = 3

FINAL = ("completed", "failed", "cancelled", "deleted")
BROKEN = ("failed", "cancelled", "deleted")  # as a parent: what needed its success is off

Ending = Literal["done", "retry", "reject", "release"]


@dataclass
class Edge:
    """A parent. `any_end`: it only has to end."""

    any_end: bool
    satisfied: bool = False


@dataclass
class Task:
    """A row, as far as it is predicted. `claims` ends as `attempts`, or completes it."""

    task_id: int
    priority: int
    retries_max: int
    status: str = "queued"
    due: datetime | None = None
    parents: dict[int, Edge] = field(default_factory=dict)
    cancelled_by: int | None = None
    server: str | None = None
    token: int | None = None
    locked_at: datetime | None = None
    retries: int = 0
    lost: int = 0
    ended_at: datetime | None = None
    archived: bool = False
    claims: int = 0
    completions: int = 0  # by a worker; the attempts that did otherwise are in task_attempts


@dataclass
class Server:
    """A worker's row. `since`: its registration; `beat`: its last word."""

    alive: bool
    epoch: int
    since: datetime
    beat: datetime


class Life:
    """All tasks and servers. Every method is one statement."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.tasks: dict[int, Task] = {}
        self.servers: dict[str, Server] = {}

    # From outside

    def insert(self, task: Task) -> None:
        self.tasks[task.task_id] = task
        if task.parents:
            task.status = "blocked"
            self._parents_ended(p for p in task.parents if self.tasks[p].status in FINAL)
        elif task.due is not None and task.due > self.now:
            task.status = "retry"
        else:
            task.due = None

    def set_status(self, task_id: int, status: str) -> None:
        task = self.tasks[task_id]
        if task.status == status:
            return
        before = task.status
        self._give_up(task)
        if status == "queued":
            self._queue(task, before)
        else:
            self._end(task, status)
        self._moved([(task, before)])

    def retry(self, task_id: int) -> bool:
        task = self.tasks[task_id]
        if task.status not in ("failed", "cancelled", "retry"):
            return False
        task.archived, task.due, before = False, None, task.status
        self._queue(task, before)
        self._moved([(task, before)])
        return True

    def delete(self, task_id: int) -> None:
        task = self.tasks[task_id]
        task.status, task.parents = "deleted", {}
        self._parents_ended([task_id])

    # By workers

    def claimable(self, limit: int) -> list[Task]:
        queued = [t for t in self.tasks.values() if t.status == "queued"]
        return sorted(queued, key=lambda t: (-t.priority, t.task_id))[:limit]

    def claim(self, task: Task, server: str, token: int) -> None:
        task.status, task.server, task.token, task.locked_at = "processing", server, token, self.now
        task.due = None
        task.claims += 1

    def holds(self, task_id: int, token: int) -> bool:
        task = self.tasks[task_id]
        return task.status == "processing" and task.token == token

    def settle(self, ends: Iterable[tuple[int, int, Ending]]) -> dict[int, str]:
        moved = []
        for task_id, token, ending in ends:
            if not self.holds(task_id, token):
                continue
            task = self.tasks[task_id]
            self._give_up(task)
            if ending == "done":
                task.completions += 1
                self._end(task, "completed")
            elif ending == "release":
                task.status = "queued"
            elif ending == "retry" and task.retries < task.retries_max:
                task.status, task.due = "retry", self.now + BACKOFF
                task.retries += 1
            else:
                self._end(task, "failed")
            moved.append((task, "processing"))
        self._moved(moved)
        return {task.task_id: task.status for task, _ in moved}

    # By the monitor

    def recover(self, only: str | None = None) -> set[int]:
        moved = []
        for task in self.tasks.values():
            if task.status != "processing" or only not in (None, task.server):
                continue
            died = self._has_died(task)
            if not died and task.locked_at + TIME_LIMIT >= self.now:
                continue
            self._give_up(task)
            task.lost += died
            if (died and task.lost >= DEAD_WORKERS_MAX) or task.retries >= task.retries_max:
                self._end(task, "failed")
            else:
                task.status = "queued"
                task.retries += 1
            moved.append((task, "processing"))
        self._moved(moved)
        return {task.task_id for task, _ in moved}

    def queue_due(self) -> set[int]:
        due = [t for t in self.tasks.values() if t.status == "retry" and t.due <= self.now]
        for task in due:
            self._queue(task, "retry")
        return {task.task_id for task in due}

    def archive(self) -> set[int]:
        gone = [t for t in self.tasks.values() if self._may_be_archived(t)]
        for task in gone:
            task.archived, task.parents = True, {}  # whom it waited for is history
        return {task.task_id for task in gone}

    # How one thing leads to another

    def _has_died(self, task: Task) -> bool:
        server = self.servers[task.server]
        return not server.alive or server.beat < self.now - LEASE or task.locked_at < server.since

    def _may_be_archived(self, task: Task) -> bool:
        return (
            task.status in ("completed", "failed", "cancelled")
            and not task.archived
            and task.ended_at < self.now
            and not any(
                child.status not in FINAL and not child.parents[task.task_id].satisfied
                for child in self._children(task.task_id)
            )
        )

    def _children(self, parent: int) -> list[Task]:
        return [t for t in self.tasks.values() if parent in t.parents]

    def _give_up(self, task: Task) -> None:
        task.server = task.token = task.locked_at = None

    def _end(self, task: Task, status: str) -> None:
        task.status, task.ended_at, task.due = status, self.now, None

    def _queue(self, task: Task, before: str) -> None:
        """To be claimed, unless it has to wait."""
        if before in FINAL:
            task.retries = task.lost = 0
            task.cancelled_by = None
        waits_for = (p for p, edge in task.parents.items() if not edge.satisfied)
        if before not in ("blocked", "processing") and any(
            self.tasks[p].status not in FINAL for p in waits_for
        ):
            task.status = "blocked"
        elif before != "retry" and task.due is not None and task.due > self.now:
            task.status = "retry"
        else:
            task.status, task.due = "queued", None

    def _moved(self, moved: list[tuple[Task, str]]) -> None:
        """What changes of status in one statement mean for others."""
        revived = [
            t.task_id
            for t, was in moved
            if was in BROKEN and t.status not in ("failed", "cancelled")
        ]
        ended = [
            t.task_id
            for t, was in moved
            if t.status != was
            and (t.status == "completed" or (t.status in FINAL and was not in FINAL))
        ]
        self._parents_revived(revived)
        self._release(self.tasks[r] for r in revived)
        self._parents_ended(ended)

    def _release(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            if task.status == "blocked" and all(e.satisfied for e in task.parents.values()):
                self._queue(task, "blocked")

    def _parents_ended(self, parents: Iterable[int]) -> None:
        parents = sorted(parents)
        freed, off = [], {}
        for parent in parents:
            for child in self._children(parent):
                edge = child.parents[parent]
                if edge.satisfied:
                    continue
                if edge.any_end or self.tasks[parent].status == "completed":
                    edge.satisfied = True
                    freed.append(child)
                elif self.tasks[parent].status in BROKEN:
                    off.setdefault(child.task_id, parent)
        self._release(freed)
        moved = []
        for child_id, parent in off.items():
            child = self.tasks[child_id]
            if child.status == "blocked":
                self._end(child, "cancelled")
                child.cancelled_by = parent
                moved.append((child, "blocked"))
        if moved:
            self._moved(moved)

    def _parents_revived(self, parents: list[int]) -> None:
        moved = []
        for child in self.tasks.values():
            if child.status != "cancelled" or child.cancelled_by not in parents or child.archived:
                continue
            others = [
                p
                for p, edge in child.parents.items()
                if p not in parents
                and not edge.satisfied
                and not edge.any_end
                and self.tasks[p].status in BROKEN
            ]
            if others:
                child.cancelled_by = min(others)
            else:
                child.status, child.cancelled_by = "blocked", None
                child.retries = child.lost = 0
                moved.append((child, "cancelled"))
        if moved:
            self._moved(moved)
