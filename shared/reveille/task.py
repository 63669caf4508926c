"""The nouns of the queue: what a task is, which states it has, and what a worker holds when it has
claimed one.

Nothing here does I/O. Column names and states are those of the public contract (db/README.md).
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Literal

Pool = Literal["visual", "text", "combined"]
POOLS: tuple[Pool, ...] = ("visual", "text")
COMBINED: Pool = "combined"  # serves the task types of both where they are led to it: routing.py


class TaskStatus(StrEnum):
    """The value of `processing_queue.status`."""

    BLOCKED = "blocked"
    QUEUED = "queued"
    PROCESSING = "processing"
    RETRY = "retry"  # not before next_retry_at: a retry, or a task scheduled for later
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


LIVE: frozenset[TaskStatus] = frozenset(
    {TaskStatus.BLOCKED, TaskStatus.QUEUED, TaskStatus.PROCESSING, TaskStatus.RETRY}
)
FINAL: frozenset[TaskStatus] = frozenset(TaskStatus) - LIVE


class Priority(IntEnum):
    """The value of `processing_queue.priority`; the existing backend calls 3 urgent."""

    NORMAL = 1
    HIGH = 2
    CRITICAL = 3


@dataclass(slots=True)  # not frozen, made by position: 0.5 of 4 µs, for each task
class Claim:
    """One task in the hands of one server: everything a handler needs, and the token that fences
    it. Nobody writes to it.

    `attempt` counts from 1. `lease_token` is drawn anew by each claim: a write that carries an old
    one changes nothing. `stall_seconds` is how long the task may show no progress.
    """

    task_id: int
    lease_token: int
    document_id: int
    task_type: str
    priority: int
    attempt: int
    max_retries: int
    timeout_seconds: float
    created_at: datetime
    claimable_at: datetime
    started_at: datetime
    file_path: str | None = None
    company_id: str | None = None
    processing_options: dict[str, Any] = field(default_factory=dict)
    traceparent: str | None = None
    tracestate: str | None = None
    previous_traceparent: str | None = None  # the process span of the attempt before this one
    depends_on: list[int] | None = None
    stall_seconds: float = 900.0
