"""One replica more only where it pays: the next one is judged by what it would change.

The backlog, and the work that is known ahead (tasks whose parents are being worked on), is
list-scheduled over the slots that are free, busy and on their way. Another replica is added only
if the last of it would otherwise miss `wait_goal`, and if the new one, ready after a cold start,
would start it sooner by more than what the start costs: a cold start where the goal is just missed,
a smaller share of it the further it is missed, half of it from twice the goal on. The first replica
starts for any task that has waited for `lone_task_delay` (here 0 unless given: waiting longer makes
starts fewer), or so that it is ready when the first task known ahead is. A critical task that finds
no slot starts one at once.

Of a backlog too long to be listed the rest is work of the mean of its types behind what is listed. It is
a stream rather than a burst, and among many replicas one more moves the last start by little, though it
does its full share: there the goal says how many, and one more pays while it would still work for the
said share of a cold start before the last task starts.

The last idle replica is kept for as long as the gaps seen so far make cheapest (keeping.py), and
while work known ahead comes sooner than a new one could. Those that were added for a burst go when
it is over: while few others are busy, the next burst is as far away as the next task.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING

from autoscaler.learning import IN_SECONDS, service_seconds
from autoscaler.policies.keeping import keep_seconds
from autoscaler.policies.schedule import Work, last_behind, last_of
from autoscaler.policies.slots import OTHERS_PATIENCE_SECONDS, cold_start_of, free_in_of
from autoscaler.policies.threshold import unserved_critical
from autoscaler.state import Decision, PoolState, Replica, Upcoming, Waiting

if TYPE_CHECKING:
    from autoscaler.scaling_file import PoolScaling

BURST_KEEP_SECONDS = 10.0  # of a replica that is not the last: the lull within a burst
# With so many others busy, tasks come so often that an idle one is soon needed: ski rental.
DENSE_FROM_BUSY = 4

LEAST_GAIN = 0.5  # what starts the last task sooner by less of a cold start came too late

BY_ID, BY_PRIORITY = attrgetter("task_id"), attrgetter("priority")


def decide(state: PoolState, now: float, config: "PoolScaling") -> Decision:
    """The next number of replicas. Remembers nothing: what it learned is in the state."""
    cold_start = cold_start_of(state, config)
    have = len(state.present)
    more = _growth(state, config, cold_start) if have < config.max_replicas else None
    if more is not None:
        count, reason, task = more
        return Decision(
            wanted=have + count,
            reason=reason,
            waited_for=None if task is None else task.task_id,
            urgent=bool(state.critical),
        )
    keep = keep_seconds(state.idle_gaps, cold_start, config.scale_down_delay)
    spare = _spare(state, config, keep, cold_start)
    if spare:
        return Decision(
            wanted=have - len(spare),
            reason=f"{len(spare)} idle for {keep:.0f} s or above the maximum",
            spare=spare,
        )
    return Decision(
        wanted=have,
        reason=f"nothing to change at depth {state.depth}",
        look_again_seconds=_look_again(state, config, keep, cold_start),
    )


def _growth(
    state: PoolState, config: "PoolScaling", cold_start: float
) -> tuple[int, str, Waiting | None] | None:
    """How many more, why, and for which task."""
    oldest = state.oldest
    free = state.own_free_slots + state.other_free_slots
    if state.revivable and state.backlog > free:
        return 1, f"{state.backlog} waiting while one drains: taken back", oldest
    if oldest is None and not state.upcoming:
        return None
    critical = unserved_critical(state)
    free_in = free_in_of(state, config)
    first = 0
    if critical is not None or (not state.present and _first_is_due(state, config, cold_start)):
        free_in.append(cold_start)
        first = 1
    elif not state.present:
        return None
    count, wait = _worthwhile(state, config, cold_start, free_in, first)
    if not count:
        return None
    if count > first:
        known = _foreseen(state, cold_start)
        reason = f"the last of {known} would wait {wait:.0f} s > {config.wait_goal:g} s"
    elif critical is not None:
        return 1, f"critical task {critical.task_id} waits and no slot is free", critical
    elif oldest is None:
        reason = f"work known ahead comes in {state.upcoming[0].in_seconds:.0f} s"
    else:
        reason = f"task {oldest.task_id} has waited for {oldest.age_seconds:.0f} s"
    return count, reason, critical or oldest


def _first_is_due(state: PoolState, config: "PoolScaling", cold_start: float) -> bool:
    """Whether a task has waited long enough, or one known ahead will need what starts now."""
    if state.upcoming and state.upcoming[0].in_seconds <= cold_start:
        return True
    oldest = state.oldest
    if oldest is None:
        return False
    delay = config.lone_task_delay or 0.0
    if state.backlog <= state.other_free_slots:
        delay = max(delay, OTHERS_PATIENCE_SECONDS)  # a free slot elsewhere may have it first
    return oldest.age_seconds >= delay


def _worthwhile(
    state: PoolState,
    config: "PoolScaling",
    cold_start: float,
    free_in: list[float],
    count: int,
) -> tuple[int, float]:
    """`count` and as many more as help, and the longest wait foreseen before the last was added."""
    room = config.max_replicas - len(state.present)
    if state.unlisted:
        return _worthwhile_behind(state, config, cold_start, free_in, count, room)
    work = _work(state, config, cold_start)
    if not work:
        return count, 0.0
    missed = 0.0
    wait, start = last_of(free_in, work)
    while count < room and wait > config.wait_goal:
        wait_then, sooner = last_of([*free_in, cold_start], work)
        if start - sooner <= cold_start * max(LEAST_GAIN, config.wait_goal / wait):
            break
        missed = wait
        free_in.append(cold_start)
        wait, start = wait_then, sooner
        count += 1
    return count, missed


def _worthwhile_behind(
    state: PoolState,
    config: "PoolScaling",
    cold_start: float,
    free_in: Sequence[float],
    count: int,
    room: int,
) -> tuple[int, float]:
    """The same where more waits than is listed; `free_in` has the `count` that start anyway.

    Each one more makes both the wait and what the next could do less, so that where it stops paying is
    found by halving.
    """
    work = _work(replace(state, upcoming=()), config, cold_start)
    tasks, seconds, age = _behind(state, config, cold_start)

    def last(more: int) -> float:
        return last_behind([*free_in, *[cold_start] * more], work, tasks, seconds)

    def stops(more: int) -> bool:
        wait = age + last(more)
        if wait <= config.wait_goal:
            return True
        share = max(LEAST_GAIN, config.wait_goal / wait)
        return last(more + 1) - cold_start <= cold_start * share

    most = max(0, room - count)
    more = bisect_left(range(most), True, key=stops)
    return count + more, age + last(more - 1) if more else 0.0


def _behind(state: PoolState, config: "PoolScaling", cold_start: float) -> tuple[int, float, float]:
    """Tasks that are not listed and those known ahead, their mean seconds, and the age of the last."""
    parts = [(part.task_type, part.tasks) for part in state.unlisted]
    soon = bisect_right(state.upcoming, cold_start, key=IN_SECONDS)
    parts += [(task.task_type, 1) for task in state.upcoming[:soon]]
    tasks = sum(count for _, count in parts)
    total = sum(n * service_seconds(state, name, config.service_time) for name, n in parts)
    return tasks, total / tasks, min(part.age_seconds for part in state.unlisted)


def _work(state: PoolState, config: "PoolScaling", cold_start: float) -> Sequence[Work]:
    """What waits, in the order of claiming, then what comes before a new replica would."""
    order = sorted(state.waiting, key=BY_ID)
    order.sort(key=BY_PRIORITY, reverse=True)  # stable: within a priority still by id
    soon = _soon(state, cold_start)
    seconds = {
        name: service_seconds(state, name, config.service_time)
        for name in {t.task_type for t in order} | {t.task_type for t in soon}
    }
    waiting = [(0.0, age, seconds[name]) for _, name, _, age in order]
    ahead = [(at, -at, seconds[name]) for name, at in soon]
    return [*waiting, *ahead]


def _soon(state: PoolState, cold_start: float) -> Sequence[Upcoming]:
    """What comes before a new replica would."""
    return state.upcoming[: bisect_right(state.upcoming, cold_start, key=IN_SECONDS)]


def _foreseen(state: PoolState, cold_start: float) -> int:
    """How many tasks the longest wait was foreseen for; behind a long list those ahead are not asked."""
    return state.depth if state.unlisted else state.depth + len(_soon(state, cold_start))


def _spare(
    state: PoolState, config: "PoolScaling", keep: float, cold_start: float
) -> tuple[str, ...]:
    """Idle replicas that may go, the longest idle first: while nothing waits, or above the max."""
    over = len(state.present) - config.max_replicas
    room = max(0, len(state.present) - config.min_replicas)
    awaited = _awaited(state, cold_start)
    burst = _burst_keep(state, keep, cold_start)
    spare: list[str] = []
    idle = _longest_idle_first(state)
    for place, replica in enumerate(idle):
        left = len(state.present) - len(spare)
        due = replica.idle_seconds >= (keep if left == 1 else burst)
        needed = len(idle) - place <= awaited
        if place < over or (due and not needed and not state.waiting):
            spare.append(replica.name)
    return tuple(spare[:room])


def _longest_idle_first(state: PoolState) -> list[Replica]:
    idle = [r for r in state.present if r.phase == "idle"]
    return sorted(idle, key=lambda r: (-r.idle_seconds, r.name))


def _burst_keep(state: PoolState, keep: float, cold_start: float) -> float:
    """For how long an idle replica is kept that is not the last."""
    if state.processing >= DENSE_FROM_BUSY:
        return cold_start
    return min(BURST_KEEP_SECONDS, keep)


def _awaited(state: PoolState, cold_start: float) -> int:
    """How many idle replicas work known ahead holds: one, if it comes sooner than a new one."""
    return int(bool(state.upcoming) and state.upcoming[0].in_seconds < cold_start)


def _look_again(
    state: PoolState, config: "PoolScaling", keep: float, cold_start: float
) -> float | None:
    """The next moment at which the answer could differ without any news."""
    moments: list[float] = []
    oldest = state.oldest
    if len(state.present) < config.max_replicas:
        moments += [task.in_seconds - cold_start for task in state.upcoming[:1]]
        if oldest is not None:
            moments += [(config.lone_task_delay or 0.0) - oldest.age_seconds]
            moments.append(OTHERS_PATIENCE_SECONDS - oldest.age_seconds)
            parts = (0.25, 0.5, 0.75, 1)
            moments += [config.wait_goal * part - oldest.age_seconds for part in parts]
            moments += [OTHERS_PATIENCE_SECONDS - t.age_seconds for t in state.critical]
    if len(state.present) > config.min_replicas and not state.waiting:
        idle = [r.idle_seconds for r in _longest_idle_first(state)]
        burst = _burst_keep(state, keep, cold_start)
        moments += [(keep if len(state.present) == 1 else burst) - seconds for seconds in idle]
        if idle and _awaited(state, cold_start):
            # Held by a forecast: a parent that fails brings no news to this pool.
            moments.append(max(state.upcoming[0].in_seconds, 1.0))
    return min((moment for moment in moments if moment > 0), default=None)
