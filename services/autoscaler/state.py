"""The nouns of a decision: what a policy is told about a pool, and what it answers.

A policy gets no connection, no clock and no dice: everything it may go by is in `PoolState`, and
what it wants to remember travels in `memory`, which is a column. So a decision can be replayed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

Phase = Literal["starting", "idle", "busy", "draining"]
CRITICAL_PRIORITY = 3
# So many waiting tasks of each type (of each priority in the simulator) are listed one by one. What waits behind them
# is judged as a stream (policies/marginal.py), so more is not better: see docs/simulation.md for what was played.
LISTED_MAX = 200
# Of each task type so many are counted behind those that are listed. What 50,000 tasks of s seconds take within
# a goal of 300 s is the work of 167 x s replicas.
UNLISTED_MAX = 50_000


class Waiting(NamedTuple):
    """A claimable task. `age_seconds` counts from when it became claimable. A tuple, like the next
    one, because the simulator makes millions of them.
    """

    task_id: int
    task_type: str
    priority: int
    age_seconds: float


class Unlisted(NamedTuple):
    """Claimable tasks of a type behind those that are listed one by one: how many (at most
    UNLISTED_MAX), and for how long the youngest of them has waited.
    """

    task_type: str
    tasks: int
    age_seconds: float


class Upcoming(NamedTuple):
    """A task that waits for its parent, which has a slot: when it should become claimable."""

    task_type: str
    in_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A container of the pool. A starting one is never idle, however long it takes.

    `idle_seconds` counts from its last task, or from when it became ready. `revivable`: it drains
    because a policy wanted it to, and its worker has not left yet. `pinned`: an operator wants it to
    stay, so no decision may name it as spare.
    """

    name: str
    phase: Phase
    age_seconds: float = 0.0
    idle_seconds: float = 0.0
    free_slots: int = 0
    revivable: bool = False
    pinned: bool = False


@dataclass(frozen=True, kw_only=True)  # without slots, so that what is asked often is kept
class PoolState:
    """A pool at one moment.

    `waiting` are the first of each task type in the order of claiming, `unlisted` what waits behind them.
    `other_servers` are live servers that serve it and are nobody's container here (a dedicated
    machine). `service_seconds` is how long a task of each type takes, as far as it was measured;
    `cold_start_seconds` likewise. `idle_gaps` are the latest times for which the pool had nothing
    to do, in seconds. `upcoming` is work that is known ahead, soonest first; `likely` are the quarters
    of the week (floor.py) in which work is to be expected. `doubt` says in words
    why these facts cannot be trusted; then nothing changes.
    `replicas` are in the order of their slots; `ends_highest_first`: none can end before those above
    it. `failures` counts containers that failed in a row, `failed_seconds_ago` is the age of
    the last. `refusal` says why none of the pool's offers can be had. `spent_usd` is what all pools
    cost this calendar month, None when it is not known; `usd_per_hour` what all their containers
    cost now, `start_usd_per_hour` what one more would.
    """

    pool: str
    waiting: tuple[Waiting, ...] = ()
    unlisted: tuple[Unlisted, ...] = ()
    processing: int = 0
    replicas: tuple[Replica, ...] = ()
    other_servers: int = 0
    other_free_slots: int = 0
    service_seconds: Mapping[str, float] = field(default_factory=dict)
    cold_start_seconds: float | None = None
    idle_gaps: tuple[float, ...] = ()
    upcoming: tuple[Upcoming, ...] = ()
    likely: frozenset[int] = frozenset()
    paused: bool = False
    can_start: bool = True
    ends_highest_first: bool = False
    failures: int = 0
    failed_seconds_ago: float | None = None
    refusal: str = ""
    spent_usd: float | None = 0.0
    usd_per_hour: float = 0.0
    start_usd_per_hour: float = 0.0
    memory: Mapping[str, Any] = field(default_factory=dict)
    doubt: str = ""

    @cached_property
    def backlog(self) -> int:
        """Tasks that wait, listed or not."""
        return len(self.waiting) + sum(part.tasks for part in self.unlisted)

    @property
    def depth(self) -> int:
        """Tasks that wait or are being worked on: a queue that is all claimed is not empty."""
        return self.backlog + self.processing

    @cached_property
    def present(self) -> tuple[Replica, ...]:
        """Replicas that count: those that do not drain."""
        return tuple(r for r in self.replicas if r.phase != "draining")

    @property
    def starting(self) -> tuple[Replica, ...]:
        """Replicas on their way up."""
        return tuple(r for r in self.replicas if r.phase == "starting")

    @property
    def revivable(self) -> tuple[Replica, ...]:
        """Replicas that could be taken back for nothing."""
        return tuple(r for r in self.replicas if r.phase == "draining" and r.revivable)

    @property
    def own_free_slots(self) -> int:
        """Slots of ready replicas that a waiting task can have at once."""
        return sum(r.free_slots for r in self.present)

    @cached_property
    def oldest(self) -> Waiting | None:
        """The task that has waited longest."""
        return max(self.waiting, key=lambda task: task.age_seconds, default=None)

    @cached_property
    def critical(self) -> tuple[Waiting, ...]:
        """Waiting tasks of the highest priority."""
        return tuple(t for t in self.waiting if t.priority >= CRITICAL_PRIORITY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How many replicas there should be, and why.

    `spare` names the replicas that may go, best first; only idle ones may be named. `waited_for` is
    the task whose wait asked for more. `urgent` passes the soft budget cap. `memory` is for the
    next decision, `memory_if_held` in its place when a guard holds this one back (None: the same).
    `look_again_seconds`: when it could differ without any news; None: never. `held` are the words
    of the guard that holds it.
    """

    wanted: int
    reason: str
    spare: tuple[str, ...] = ()
    waited_for: int | None = None
    urgent: bool = False
    memory: Mapping[str, Any] = field(default_factory=dict)
    memory_if_held: Mapping[str, Any] | None = None
    look_again_seconds: float | None = None
    held: str = ""
