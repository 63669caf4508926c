"""Pools, event by event: tasks arrive, replicas start, work, fail and go, as `decide` says.

Like the autoscaler, a pool decides when there is news, at most once in `LOOK_SECONDS` (more seldom in
a load of millions), and when a decision asked to be made again; what is known of its past comes from
the run itself.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import islice
from typing import Any, Literal

from autoscaler.decide import decide
from autoscaler.learning import IN_SECONDS, Parent, smoothed, upcoming_of
from autoscaler.policies.slots import free_in_of
from autoscaler.scaling_file import PoolScaling
from autoscaler.simulate.almanac import FRESH_SECONDS, Almanac
from autoscaler.simulate.load import Load, Task
from autoscaler.simulate.weather import Dice, Weather
from autoscaler.state import (
    LISTED_MAX,
    UNLISTED_MAX,
    Decision,
    PoolState,
    Replica,
    Unlisted,
    Upcoming,
    Waiting,
)

GAPS_MAX = 300
MONDAY_SECONDS = 4 * 86_400.0  # the load begins on a Monday at midnight UTC; 1970 did not
LOOK_SECONDS = 1.0
LOOKS_FINE_TASKS = 50_000  # a load that is n times as large is looked at n times as seldom
NEVER = float("inf")

What = Literal["arrival", "ready", "broken", "done", "crash"]


@dataclass(slots=True, eq=False)
class Simulated:
    """A replica; times in seconds since the start of the load, `task` is an index."""

    number: int
    started_at: float
    ready: bool = False
    idle_at: float = 0.0
    task: int | None = None
    begun_at: float = 0.0
    stopped_at: float | None = None
    name: str = ""
    busy: Replica | None = None  # what policies are told while it works; its age is of then

    def __post_init__(self) -> None:
        """Named uniquely in its pool."""
        self.name = f"r-{self.number}"


@dataclass(frozen=True, slots=True)
class Moment:
    """The pool after a decision; `replica_seconds` is what was billed until then."""

    at: float
    waiting: int
    replicas: int
    ready: int
    replica_seconds: float


@dataclass(slots=True)
class Run:
    """What came of one pool: its tasks in the order in which they became claimable, and when each
    was begun (for the last time) and done; None of what never came about.
    """

    tasks: list[Task] = field(default_factory=list)
    arrived_at: list[float] = field(default_factory=list)
    started_at: list[float | None] = field(default_factory=list)
    done_at: list[float | None] = field(default_factory=list)
    replicas: list[Simulated] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    start_seconds: list[float] = field(default_factory=list)  # of the starts that succeeded
    decisions: int = 0
    ended_at: float = 0.0

    @property
    def replica_seconds(self) -> float:
        """Billed time: from the start of each replica to its stop."""
        return sum((r.stopped_at or self.ended_at) - r.started_at for r in self.replicas)


def simulate(
    load: Load, scaling: Mapping[str, PoolScaling], weather: Weather, horizon: float
) -> dict[str, Run]:
    """Play `load` until nothing is left to happen, and at least to `horizon`; a run per pool."""
    return _World(load, scaling, weather).play(horizon)


class _World:
    """The clock, the events, and the pools that share them."""

    def __init__(self, load: Load, scaling: Mapping[str, PoolScaling], weather: Weather) -> None:
        self.load = load
        self.now = 0.0
        count = len(load.tasks) + sum(map(len, load.followers))
        self.look_seconds = LOOK_SECONDS * max(1.0, count / LOOKS_FINE_TASKS)
        self.events: list[tuple[float, int, What, _Pool, Any]] = []
        self._number = 0
        dice = Dice(weather)
        self.pools = {name: _Pool(self, name, scaling[name], dice) for name in load.pools}
        self.behind = list(self._behind())
        self._arrived = 0

    def _behind(self) -> Iterator[Mapping[str, Sequence[str]]]:
        """For each task of the load, by pool, the types of those that it will set free."""
        load = self.load
        shared: dict[tuple[str, ...], dict[str, list[str]]] = {}
        for task, followers in zip(load.tasks, load.followers, strict=False):
            types = tuple([follower.task_type for follower in followers])
            if types not in shared:
                shared[types] = {}
                for name in types:
                    shared[types].setdefault(load.pool_of(name), []).append(name)
            self.pools[load.pool_of(task.task_type)].feeds.update(shared[types])
            yield shared[types]

    def later(self, seconds: float, what: What, pool: "_Pool", subject: Any) -> None:
        self._number += 1
        heappush(self.events, (self.now + seconds, self._number, what, pool, subject))

    def play(self, horizon: float) -> dict[str, Run]:
        pools, events, tasks = list(self.pools.values()), self.events, self.load.tasks
        count = len(tasks)
        while True:
            at = min(pool.look_at for pool in pools)
            if events and events[0][0] < at:
                at = events[0][0]
            if self._arrived < count and tasks[self._arrived].arrival_s < at:
                at = tasks[self._arrived].arrival_s
            if at == NEVER or (at > horizon and self._is_over()):
                break
            self.now = at
            while self._arrived < count and tasks[self._arrived].arrival_s <= at:
                task = tasks[self._arrived]
                self.pools[self.load.pool_of(task.task_type)].arrive(task, self._arrived)
                self._arrived += 1
            while events and events[0][0] <= at:
                _, _, what, pool, subject = heappop(events)
                pool.happen(what, subject)
            looked = False
            for pool in pools:  # what one has decided tells the next what lies ahead
                if pool.look_at <= at or (looked and self.load.followers):
                    pool.look()
                    looked = True
        for pool in pools:
            pool.run.ended_at = max(horizon, self.now)
        return {name: pool.run for name, pool in self.pools.items()}

    def _is_over(self) -> bool:
        """Nothing arrives or runs any more, and what waits would wait for ever."""
        return (
            self._arrived == len(self.load.tasks)
            and not self.events
            and not any(pool.may_shrink() for pool in self.pools.values())
        )


class _Pool:
    def __init__(self, world: _World, name: str, config: PoolScaling, dice: Dice) -> None:
        self.run = Run()
        self.look_at = 0.0
        self.state = PoolState(pool=name)
        self.feeds: set[str] = set()  # the pools for which its tasks set others free
        self._world, self._name, self._config, self._dice = world, name, config, dice
        self._origin: list[int | None] = []  # of each task, its number in the load
        self._queues: tuple[deque[int], ...] = (deque(), deque(), deque())  # critical first
        self._waiting = 0
        self._waiting_of: Counter[str] = Counter()  # by task type
        self._live: dict[int, Simulated] = {}
        self._idle: list[Simulated] = []  # the most recently busy last
        self._busy = 0
        self._looked_at = -NEVER
        self._memory: Mapping[str, Any] = {}
        self._service: dict[str, float] = {}
        self._cold_start: float | None = None
        self._gaps: deque[float] = deque(maxlen=GAPS_MAX)
        self._gaps_seen: tuple[float, ...] | None = ()
        self._quiet_since: float | None = None
        self._failures = 0
        self._failed_at: float | None = None
        self._almanac = Almanac(MONDAY_SECONDS, config)
        self._billed, self._billed_until = 0.0, 0.0

    # Events

    def happen(self, what: What, subject: Any) -> None:
        """One event; what it means for replicas and tasks."""
        if what == "arrival":
            self.arrive(subject, None)
            return
        replica: Simulated = subject
        if what == "ready":
            self._ready(replica)
        elif what == "broken":
            self._fail(replica)
        elif what == "done":
            self._done(replica)
        else:
            task = replica.task
            assert task is not None  # noqa: S101
            self._busy -= 1
            self.run.started_at[task] = None
            self._queues[3 - self.run.tasks[task].priority].appendleft(task)
            self._waits(task, 1)
            self._fail(replica)

    def arrive(self, task: Task, origin: int | None) -> None:
        """A task is claimable; `origin` is its number in the load, None for one set free."""
        run, now = self.run, self._world.now
        number = len(run.tasks)
        run.tasks.append(task)
        run.arrived_at.append(now)
        run.started_at.append(None)
        run.done_at.append(None)
        self._origin.append(origin)
        self._almanac.note(now + MONDAY_SECONDS)
        if self._quiet_since is not None:
            self._gaps.append(now - self._quiet_since)
            self._quiet_since, self._gaps_seen = None, None
        if self._idle:
            self._begin(self._idle.pop(), number)
        else:
            self._queues[3 - task.priority].append(number)
            self._waits(number, 1)
        self._news()

    def _waits(self, number: int, change: int) -> None:
        self._waiting += change
        self._waiting_of[self.run.tasks[number].task_type] += change

    def _news(self) -> None:
        due = max(self._world.now, self._looked_at + self._world.look_seconds)
        self.look_at = min(self.look_at, due)

    def _ready(self, replica: Simulated) -> None:
        replica.ready = True
        took = self._world.now - replica.started_at
        self._cold_start = smoothed(self._cold_start, took)
        self.run.start_seconds.append(took)
        self._failures = 0
        self._next(replica)
        self._news()

    def _done(self, replica: Simulated) -> None:
        assert replica.task is not None  # noqa: S101
        number = replica.task
        task = self.run.tasks[number]
        self.run.done_at[number] = self._world.now
        self._service[task.task_type] = smoothed(self._service.get(task.task_type), task.service_s)
        self._busy -= 1
        replica.task = replica.busy = None
        origin = self._origin[number]
        if origin is not None and self._world.load.followers:
            for follower in self._world.load.followers[origin]:
                pool = self._world.pools[self._world.load.pool_of(follower.task_type)]
                pool.happen("arrival", follower)
        self._next(replica)

    def _next(self, replica: Simulated) -> None:
        """Its next task, or rest."""
        replica.idle_at = self._world.now
        for queue in self._queues:
            if queue:
                number = queue.popleft()
                self._waits(number, -1)
                self._begin(replica, number)
                return
        self._idle.append(replica)
        if not self._busy:
            self._quiet_since = self._world.now
        self._news()

    def _begin(self, replica: Simulated, number: int) -> None:
        world = self._world
        replica.task, replica.begun_at = number, world.now
        self.run.started_at[number] = world.now
        self._busy += 1
        seconds = self.run.tasks[number].service_s
        crash = self._dice.crash_after(seconds)
        if crash is None:
            world.later(seconds, "done", self, replica)
        else:
            world.later(crash, "crash", self, replica)

    def _fail(self, replica: Simulated) -> None:
        self._bill()
        replica.task, replica.stopped_at = None, self._world.now
        del self._live[replica.number]
        self._failures += 1
        self._failed_at = self._world.now
        self._news()

    # Decisions

    def may_shrink(self) -> bool:
        """Whether idle replicas still have to go."""
        return not self._waiting and len(self._live) > self._config.min_replicas

    def look(self) -> None:
        """Decide and apply; when to look again without news."""
        now = self._world.now
        self.state = self._observe(now)
        decision = decide(self.state, now + MONDAY_SECONDS, self._config)
        self.run.decisions += 1
        self._memory, self._looked_at = decision.memory, now
        self._bill()
        changed = self._apply(decision)
        live = len(self._live)
        ready = len(self._idle) + self._busy
        self.run.moments.append(Moment(now, self._waiting, live, ready, self._billed))
        again = decision.look_again_seconds
        self.look_at = now + self._world.look_seconds if changed else NEVER
        if again is not None:
            self.look_at = min(self.look_at, now + max(again, 0.01))
        if self._config.forecast is not None:  # what it expects changes without news, too
            self.look_at = min(self.look_at, now + FRESH_SECONDS)

    def _bill(self) -> None:
        """Before the number of replicas changes."""
        now = self._world.now
        self._billed += len(self._live) * (now - self._billed_until)
        self._billed_until = now

    def _apply(self, decision: Decision) -> bool:
        live, now = self._live, self._world.now
        missing = decision.wanted - len(live)
        for _ in range(missing):
            replica = Simulated(len(self.run.replicas), now)
            self.run.replicas.append(replica)
            live[replica.number] = replica
            took = self._dice.start_seconds()
            limit = self._config.startup_timeout
            if took is None or took > limit:
                self._world.later(limit, "broken", self, replica)
            else:
                self._world.later(took, "ready", self, replica)
        leaving = set(decision.spare[: max(0, -missing)])
        if leaving:
            for replica in [r for r in self._idle if r.name in leaving]:
                replica.stopped_at = now
                self._idle.remove(replica)
                del live[replica.number]
        return missing != 0

    def _observe(self, now: float) -> PoolState:
        if self._gaps_seen is None:
            self._gaps_seen = tuple(self._gaps)
        listed = tuple(self._shown(now))
        return PoolState(
            pool=self._name,
            waiting=listed,
            unlisted=self._unlisted(listed, now),
            processing=self._busy,
            replicas=tuple([_as_replica(r, now) for r in self._live.values()]),
            service_seconds=self._service,
            cold_start_seconds=self._cold_start,
            idle_gaps=self._gaps_seen,
            upcoming=tuple(sorted(self._upcoming(now), key=IN_SECONDS)),
            likely=self._almanac.likely(now + MONDAY_SECONDS),
            failures=self._failures,
            failed_seconds_ago=None if self._failed_at is None else now - self._failed_at,
            memory=self._memory,
        )

    def _shown(self, now: float) -> Iterator[Waiting]:
        if not self._waiting:
            return
        tasks, arrived_at = self.run.tasks, self.run.arrived_at
        for queue in self._queues:
            for number in islice(queue, LISTED_MAX):
                task = tasks[number]
                yield Waiting(number, task.task_type, task.priority, now - arrived_at[number])

    def _unlisted(self, listed: Sequence[Waiting], now: float) -> tuple[Unlisted, ...]:
        """How many wait behind the listed ones; their age is that of the last in line."""
        if len(listed) == self._waiting:
            return ()
        behind = self._waiting_of - Counter(task.task_type for task in listed)
        last = next(queue[-1] for queue in reversed(self._queues) if len(queue) > LISTED_MAX)
        age = now - self.run.arrived_at[last]
        return tuple(
            Unlisted(name, min(n, UNLISTED_MAX), age) for name, n in sorted(behind.items())
        )

    def _upcoming(self, now: float) -> Iterator[Upcoming]:
        """What all pools, this one among them, will set free for this one."""
        for pool in self._world.pools.values():
            if self._name in pool.feeds:
                yield from pool.announce(self._name, now)

    def announce(self, pool: str, now: float) -> Sequence[Upcoming]:
        """What this pool will set free for `pool`, as its own last state has it."""
        if not self._busy and not self._waiting:
            return ()
        parents = [
            self._parent(r.task, pool, now - r.begun_at)
            for r in self._live.values()
            if r.task is not None
        ]
        for queue in self._queues:
            parents += [self._parent(number, pool, None) for number in islice(queue, 50)]
        parents = [parent for parent in parents if parent.behind]
        if not parents:
            return ()
        state, config = self._observe_slots(now), self._config
        return upcoming_of(parents, free_in_of(state, config), state, config.service_time)

    def _observe_slots(self, now: float) -> PoolState:
        return PoolState(
            pool=self._name,
            processing=self._busy,
            replicas=tuple([_as_replica(r, now) for r in self._live.values()]),
            service_seconds=self._service,
            cold_start_seconds=self._cold_start,
        )

    def _parent(self, number: int, pool: str, running_seconds: float | None) -> Parent:
        origin, behind = self._origin[number], self._world.behind
        return Parent(
            task_type=self.run.tasks[number].task_type,
            running_seconds=running_seconds,
            behind=behind[origin].get(pool, ()) if origin is not None and behind else (),
        )


def _as_replica(replica: Simulated, now: float) -> Replica:
    if replica.task is not None:
        if replica.busy is None:
            age = replica.begun_at - replica.started_at
            replica.busy = Replica(name=replica.name, phase="busy", age_seconds=age)
        return replica.busy
    return Replica(
        name=replica.name,
        phase="idle" if replica.ready else "starting",
        age_seconds=now - replica.started_at,
        idle_seconds=now - replica.idle_at if replica.ready else 0.0,
        free_slots=int(replica.ready),
    )
