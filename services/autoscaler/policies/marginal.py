"""One replica more only where it pays: the next one is judged by what it would change.

The backlog is list-scheduled over the slots that are free, busy and on their way. Another replica
is added only if the last waiting task would otherwise miss `wait_goal`, and if the new one, ready
after a cold start, would start that task sooner by more than half a cold start: what comes later
only costs. The first replica starts for any task (`lone_task_delay`, here 0 unless given), and a
critical task that finds no slot starts one at once. An idle replica is kept for as long as a cold
start lasts: so an unlucky gap costs at most twice what foresight would have paid (ski rental).

The cold start is measured: the memory names the replicas on their way, and when one is ready its
time goes into the mean. Until then `cold_start` of the scaling file is expected.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autoscaler.policies.forecast import last_start_seconds
from autoscaler.policies.threshold import OTHERS_PATIENCE_SECONDS, unserved_critical
from autoscaler.state import Decision, PoolState, Replica, Waiting

if TYPE_CHECKING:
    from autoscaler.scaling_file import PoolScaling

NEWEST_WEIGHT = 0.3  # of a new cold start in the mean
# A replica that takes longer than expected may be ready any moment, but not at once.
OVERDUE_SHARE = 0.1


def decide(state: PoolState, now: float, config: "PoolScaling") -> Decision:
    """The next number of replicas. Remembers the cold start, and who is on the way."""
    memory = _remember(state, config)
    cold_start = float(memory.get("cold_start_seconds", config.cold_start))
    have = len(state.present)
    more = _growth(state, config, cold_start) if have < config.max_replicas else None
    if more is not None:
        count, reason, task = more
        return Decision(
            wanted=have + count,
            reason=reason,
            waited_for=task.task_id,
            urgent=bool(state.critical),
            memory=memory,
        )
    keep_seconds = min(cold_start, config.scale_down_delay)
    spare = _spare(state, config, keep_seconds)
    if spare:
        return Decision(
            wanted=have - len(spare),
            reason=f"{len(spare)} idle for {keep_seconds:g} s or above the maximum",
            spare=spare,
            memory=memory,
        )
    return Decision(
        wanted=have,
        reason=f"nothing to change at depth {state.depth}",
        memory=memory,
        look_again_seconds=_look_again(state, config, keep_seconds),
    )


def _remember(state: PoolState, config: "PoolScaling") -> Mapping[str, Any]:
    """The memory after this look: a replica that was on its way and is ready has been measured."""
    mean = state.memory.get("cold_start_seconds")
    awaited = set(state.memory.get("starting", ()))
    for replica in sorted(state.present, key=lambda r: r.name):
        if replica.name in awaited and replica.phase != "starting":
            idle = replica.idle_seconds if replica.phase == "idle" else 0.0
            took = min(max(replica.age_seconds - idle, 0.0), config.startup_timeout)
            mean = took if mean is None else mean + NEWEST_WEIGHT * (took - mean)
    memory: dict[str, Any] = {}
    if mean is not None:
        memory["cold_start_seconds"] = round(mean, 1)
    if state.starting:
        memory["starting"] = sorted(r.name for r in state.starting)
    return memory


def _growth(
    state: PoolState, config: "PoolScaling", cold_start: float
) -> tuple[int, str, Waiting] | None:
    """How many more, why, and for which task."""
    oldest = state.oldest
    if oldest is None:
        return None
    if state.revivable and len(state.waiting) > state.own_free_slots + state.other_free_slots:
        return 1, f"{len(state.waiting)} waiting while one drains: taken back", oldest
    critical = unserved_critical(state)
    free_in = _free_in(state, config, cold_start)
    first = 0
    if not state.present and (critical is not None or _lone_is_due(state, config, oldest)):
        first = 1
        free_in.append(cold_start)
    elif critical is not None:
        free_in.append(cold_start)
        first = 1
    elif not state.present:
        return None
    count, wait = _worthwhile(state, config, cold_start, free_in, first)
    if count > first:
        reason = (
            f"the last of {len(state.waiting)} would wait {wait:.0f} s > {config.wait_goal:g} s"
        )
    elif critical is not None:
        return 1, f"critical task {critical.task_id} waits and no slot is free", critical
    else:
        reason = f"task {oldest.task_id} has waited for {oldest.age_seconds:.0f} s"
    return (count, reason, critical or oldest) if count else None


def _lone_is_due(state: PoolState, config: "PoolScaling", oldest: Waiting) -> bool:
    delay = 0.0 if config.lone_task_delay is None else config.lone_task_delay
    if len(state.waiting) <= state.other_free_slots:
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
    order = sorted(state.waiting, key=lambda task: (-task.priority, task.task_id))
    work = [state.service_seconds.get(t.task_type, config.service_time) for t in order]
    room = config.max_replicas - len(state.present)
    missed = 0.0
    start = last_start_seconds(free_in, work)
    while count < room and order[-1].age_seconds + start > config.wait_goal:
        sooner = last_start_seconds([*free_in, cold_start], work)
        if start - sooner <= cold_start / 2:
            break
        missed = order[-1].age_seconds + start
        free_in.append(cold_start)
        start = sooner
        count += 1
    return count, missed


def _free_in(state: PoolState, config: "PoolScaling", cold_start: float) -> list[float]:
    """In how many seconds each slot is free. How far a running task is is not known, so it takes
    one more mean; a slot elsewhere that is left unused counts only while it may still be taken.
    """
    oldest = state.oldest
    fresh = oldest is None or oldest.age_seconds < OTHERS_PATIENCE_SECONDS
    ready = state.own_free_slots + (state.other_free_slots if fresh else 0)
    known = [*state.service_seconds.values()] or [config.service_time]
    busy = max(state.processing, sum(r.phase == "busy" for r in state.present))
    return [
        *[0.0] * ready,
        *[sum(known) / len(known)] * busy,
        *[max(cold_start - r.age_seconds, cold_start * OVERDUE_SHARE) for r in state.starting],
    ]


def _spare(state: PoolState, config: "PoolScaling", keep_seconds: float) -> tuple[str, ...]:
    """Idle replicas that may go, the longest idle first: while nothing waits, or above the max."""
    over = len(state.present) - config.max_replicas
    room = max(0, len(state.present) - config.min_replicas)
    idle = sorted(
        (r for r in state.present if r.phase == "idle"), key=lambda r: (-r.idle_seconds, r.name)
    )

    def may_go(place: int, replica: Replica) -> bool:
        return place < over or (not state.waiting and replica.idle_seconds >= keep_seconds)

    return tuple(r.name for place, r in enumerate(idle) if may_go(place, r))[:room]


def _look_again(state: PoolState, config: "PoolScaling", keep_seconds: float) -> float | None:
    """The next moment at which the answer could differ without any news."""
    moments: list[float] = []
    oldest = state.oldest
    if oldest is not None and len(state.present) < config.max_replicas:
        lone = 0.0 if config.lone_task_delay is None else config.lone_task_delay
        moments += [lone - oldest.age_seconds] if not state.present else []
        moments.append(OTHERS_PATIENCE_SECONDS - oldest.age_seconds)
        moments += [config.wait_goal * part - oldest.age_seconds for part in (0.25, 0.5, 0.75, 1)]
        moments += [OTHERS_PATIENCE_SECONDS - t.age_seconds for t in state.critical]
    if len(state.present) > config.min_replicas and not state.waiting:
        moments += [keep_seconds - r.idle_seconds for r in state.present if r.phase == "idle"]
    return min((moment for moment in moments if moment > 0), default=None)
