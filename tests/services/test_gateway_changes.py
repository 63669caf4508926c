"""What a subscriber is told when it is slow: the latest of each task, and everything anew when that is too much."""

from datetime import UTC, datetime

from queue_gateway import changes
from queue_gateway.changes import Interest, Subscription
from queue_gateway.task_view import TaskSummary, all_final, overall
from reveille.task import TaskStatus

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def task(task_id: int, status: str = "processing", progress: int = 0) -> TaskSummary:
    """A task of document 7."""
    known = {"id": task_id, "document_id": 7, "task_type": "t", "status": status, "priority": 1}
    empty = dict.fromkeys(TaskSummary.model_fields)
    counts = {"progress_percentage": progress, "attempt": 1, "retry_count": 0, "created_at": NOW}
    return TaskSummary.model_validate({**empty, **known, **counts})


def test_slow_subscriber_gets_the_latest_state_of_each_task_once() -> None:
    """States that nobody fetched are replaced, so nothing piles up."""
    subscription = Subscription(Interest(document_id=7))

    for progress in range(100):
        subscription.offer([task(1, progress=progress), task(2)])

    assert subscription.changed.is_set()
    assert [(t.id, t.progress_percentage) for t in subscription.take()] == [(1, 99), (2, 0)]
    assert not subscription.changed.is_set()


def test_state_that_was_told_is_not_told_again() -> None:
    """Reading again, as the backstop does, says only what is new."""
    subscription = Subscription(Interest(task_id=1))
    subscription.reset([task(1)])

    subscription.offer([task(1), task(2)])

    assert subscription.take() == []
    assert not subscription.changed.is_set()


def test_subscriber_that_is_far_behind_is_told_to_read_everything_anew() -> None:
    """More pending tasks than allowed are dropped, and the subscriber knows."""
    subscription = Subscription(Interest())

    subscription.offer([task(n) for n in range(changes.PENDING_MAX + 1)])

    assert subscription.overflowed
    assert subscription.changed.is_set()
    assert subscription.take() == []


def test_subscriber_to_everything_forgets_what_has_ended() -> None:
    """A board that is open for a year does not remember every task of it."""
    subscription = Subscription(Interest())
    subscription.offer([task(1), task(2)])
    subscription.offer([task(1, "completed")])

    assert [t.id for t in subscription.known] == [2]
    assert [str(t.status) for t in subscription.take()] == ["completed", "processing"]


def test_overall_state_is_the_worst_end_or_live() -> None:
    """One word for a pipeline: live while anything is, then how its worst task ended."""
    cases = {
        "none": [],
        "live": ["completed", "failed", "retry"],
        "failed": ["completed", "failed", "cancelled"],
        "cancelled": ["completed", "cancelled"],
        "completed": ["completed", "deleted"],
    }
    for word, statuses in cases.items():
        tasks = [task(n, status) for n, status in enumerate(statuses)]
        assert overall(tasks) == word
        assert all_final(tasks) == (word not in {"none", "live"})
    assert task(1, TaskStatus.COMPLETED).final
