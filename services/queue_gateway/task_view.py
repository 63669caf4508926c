"""How a task looks from outside: the columns that lists, live events and pipelines show."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from queue_gateway.shapes import Answer
from reveille.task import FINAL, TaskStatus

Status = TaskStatus | Literal["deleted"]


class TaskSummary(Answer):
    """A row of processing_queue, without its payload. `deleted` is said of a row that is gone."""

    id: int
    document_id: int
    task_type: str
    pool: str | None
    status: Status
    priority: int
    progress_percentage: int
    current_step: str | None
    progress_message: str | None
    created_at: datetime
    claimable_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    next_retry_at: datetime | None
    processing_duration_seconds: int | None
    attempt: int
    retry_count: int
    max_retries: int | None
    locked_by: str | None
    last_error: str | None
    failure_reason: str | None
    company_id: str | None
    file_path: str | None

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.status == "deleted" or self.status in FINAL


def all_final(tasks: Iterable[TaskSummary]) -> bool:
    """Whether there are tasks and all have ended."""
    known = list(tasks)
    return bool(known) and all(task.final for task in known)


def overall(tasks: Iterable[TaskSummary]) -> str:
    """One word for several tasks: none, live, completed, or how the worst of them ended."""
    statuses = {str(task.status) for task in tasks if task.status != "deleted"}
    if not statuses:
        return "none"
    if statuses - FINAL:
        return "live"
    return next(word for word in ("failed", "cancelled", "completed") if word in statuses)
