"""A pool, event by event: tasks arrive, replicas start, work and go, as `decide` says."""

from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Literal

from autoscaler.decide import decide
from autoscaler.scaling_file import PoolScaling
from autoscaler.simulate.load import Task
from autoscaler.state import Decision, PoolState, Replica, Waiting

WAITING_MAX = 200  # as many waiting tasks as the real look shows to a policy
NEVER = float("inf")
LOOK_SECONDS_MIN = 0.01


@dataclass(slots=True)
class Simulated:
    """A replica; times in seconds since the start of the load, `task` is an index."""

    name: str
    started_at: float
    ready: bool = False
    idle_at: float = 0.0
    task: int | None = None
    stopped_at: float | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """The pool after something happened."""

    at: float
    waiting: int
    replicas: int
    ready: int


@dataclass(slots=True)
class Run:
    """What came of it. `started_at` and `done_at` are None of tasks that were never begun."""

    started_at: list[float | None]
    done_at: list[float | None]
    replicas: list[Simulated] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    ended_at: float = 0.0

    @property
    def replica_seconds(self) -> float:
        """Billed time: from the start of each replica to its stop."""
        return sum((r.stopped_at or self.ended_at) - r.started_at for r in self.replicas)


def simulate(tasks: Sequence[Task], config: PoolScaling, cold_start: float, horizon: float) -> Run:
    """Play `tasks` (by arrival) until nothing is left to happen, and at least to `horizon`."""
    return _Pool(tasks, config, cold_start).play(horizon)


class _Pool:
    def __init__(self, tasks: Sequence[Task], config: PoolScaling, cold_start: float) -> None:
        self._tasks, self._config, self._cold_start = tasks, config, cold_start
        nothing: list[float | None] = [None] * len(tasks)
        self.run = Run(list(nothing), list(nothing))
        self._now = 0.0
        self._events: list[tuple[float, int, Literal["ready", "done"], Simulated]] = []
        self._live: list[Simulated] = []
        self._waiting: list[tuple[int, int]] = []  # -priority, index: the order of claiming
        self._arrived = 0
        self._memory: Mapping[str, Any] = {}
        self._service: dict[str, tuple[float, int]] = {}

    def play(self, horizon: float) -> Run:
        look_at = 0.0
        while True:
            at = min(self._next_event(), look_at)
            if at == NEVER or (at > horizon and self._is_over()):
                break
            self._now = at
            self._happen()
            look_at = self._settle()
        self.run.ended_at = max(horizon, self._now)
        return self.run

    def _is_over(self) -> bool:
        """Nothing arrives or runs any more, and what waits would wait for ever."""
        return self._arrived == len(self._tasks) and not self._events and not self._may_shrink()

    def _may_shrink(self) -> bool:
        return not self._waiting and len(self._live) > self._config.min_replicas

    def _next_event(self) -> float:
        event = self._events[0][0] if self._events else NEVER
        if self._arrived == len(self._tasks):
            return event
        return min(event, self._tasks[self._arrived].arrival_s)

    def _happen(self) -> None:
        """Everything that is due now."""
        tasks = self._tasks
        while self._arrived < len(tasks) and tasks[self._arrived].arrival_s <= self._now:
            insort(self._waiting, (-tasks[self._arrived].priority, self._arrived))
            self._arrived += 1
        while self._events and self._events[0][0] <= self._now:
            _, _, what, replica = heappop(self._events)
            if what == "done":
                self._finish(replica)
            replica.ready, replica.idle_at, replica.task = True, self._now, None
        idle = sorted((r for r in self._live if r.ready and r.task is None), key=_recency)
        while idle and self._waiting:
            self._begin(idle.pop(), self._waiting.pop(0)[1])

    def _begin(self, replica: Simulated, task: int) -> None:
        replica.task = task
        self.run.started_at[task] = self._now
        self._later(self._tasks[task].service_s, "done", replica)

    def _finish(self, replica: Simulated) -> None:
        assert replica.task is not None  # noqa: S101
        self.run.done_at[replica.task] = self._now
        task = self._tasks[replica.task]
        total, count = self._service.get(task.task_type, (0.0, 0))
        self._service[task.task_type] = (total + task.service_s, count + 1)

    def _later(self, seconds: float, what: Literal["ready", "done"], replica: Simulated) -> None:
        heappush(self._events, (self._now + seconds, id_of(replica), what, replica))

    def _settle(self) -> float:
        """Decide and apply; when to look again without news."""
        decision = decide(self._state(), self._now, self._config)
        self._memory = decision.memory
        changed = self._apply(decision)
        ready = sum(r.ready for r in self._live)
        self.run.moments.append(Moment(self._now, len(self._waiting), len(self._live), ready))
        if changed:
            return self._now + LOOK_SECONDS_MIN
        again = decision.look_again_seconds
        return NEVER if again is None else self._now + max(again, LOOK_SECONDS_MIN)

    def _apply(self, decision: Decision) -> bool:
        missing = decision.wanted - len(self._live)
        for _ in range(missing):
            replica = Simulated(f"r-{len(self.run.replicas)}", self._now)
            self.run.replicas.append(replica)
            self._live.append(replica)
            self._later(self._cold_start, "ready", replica)
        leaving = set(decision.spare[: max(0, -missing)])
        for replica in self._live:
            if replica.name in leaving:
                replica.stopped_at = self._now
        self._live = [r for r in self._live if r.stopped_at is None]
        return missing != 0

    def _state(self) -> PoolState:
        return PoolState(
            pool="simulated",
            waiting=tuple(self._shown(index) for _, index in self._waiting[:WAITING_MAX]),
            processing=sum(r.task is not None for r in self._live),
            replicas=tuple(self._as_replica(r) for r in self._live),
            service_seconds={kind: total / n for kind, (total, n) in self._service.items()},
            memory=self._memory,
        )

    def _shown(self, index: int) -> Waiting:
        task = self._tasks[index]
        return Waiting(
            task_id=index,
            task_type=task.task_type,
            priority=task.priority,
            age_seconds=self._now - task.arrival_s,
        )

    def _as_replica(self, replica: Simulated) -> Replica:
        free = replica.ready and replica.task is None
        return Replica(
            name=replica.name,
            phase="idle" if free else "busy" if replica.ready else "starting",
            age_seconds=self._now - replica.started_at,
            idle_seconds=self._now - replica.idle_at if free else 0.0,
            free_slots=int(free),
        )


def _recency(replica: Simulated) -> tuple[float, int]:
    """The most recently busy one is taken first, so that the others can go."""
    return replica.idle_at, id_of(replica)


def id_of(replica: Simulated) -> int:
    """Its number: what breaks ties, always in the same way."""
    return int(replica.name.removeprefix("r-"))
