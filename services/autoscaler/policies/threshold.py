"""The requirements' numbers, with the two guards that make them safe.

To the letter: more than `scale_up_threshold` tasks for `scale_up_delay` start one container, and
again after each further delay; a container that is idle for `scale_down_delay` while no more than
`scale_down_threshold` tasks wait goes. A critical task that finds no free slot starts one at once.
The guards: a lone task waits at most `lone_task_delay` for the first container ("depth > 2" would
leave one or two tasks waiting for ever: 30 hours on a real trace), and tasks that are all being
worked on ask for nothing.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from autoscaler.policies.slots import OTHERS_PATIENCE_SECONDS
from autoscaler.state import Decision, PoolState, Replica, Waiting

if TYPE_CHECKING:
    from autoscaler.scaling_file import PoolScaling


def decide(state: PoolState, now: float, config: "PoolScaling") -> Decision:
    """The next number of replicas. Remembers since when the depth has been above the threshold."""
    above_since = _above_since(state, now, config)
    memory = {} if above_since is None else {"above_since": above_since}
    above_seconds = 0.0 if above_since is None else max(0.0, now - above_since)
    have = len(state.present)

    more = _reason_to_grow(state, config, above_since is not None, above_seconds)
    if more is not None and have < config.max_replicas:
        reason, task, sustained = more
        return Decision(
            wanted=have + 1,
            reason=reason,
            waited_for=task.task_id,
            urgent=bool(state.critical),
            memory={"above_since": now} if sustained else memory,
            memory_if_held=memory,
        )
    spare = tuple(r.name for r in _spare(state, config))
    if spare:
        return Decision(
            wanted=have - len(spare),
            reason=f"{len(spare)} idle for {config.scale_down_delay:g} s or above the maximum",
            spare=spare,
            memory=memory,
        )
    return Decision(
        wanted=have,
        reason=f"nothing to change at depth {state.depth}",
        memory=memory,
        look_again_seconds=_look_again(state, config, above_since is not None, above_seconds),
    )


def _above_since(state: PoolState, now: float, config: "PoolScaling") -> float | None:
    unserved = state.backlog > state.own_free_slots + state.other_free_slots
    if not unserved or state.depth <= config.scale_up_threshold:
        return None
    remembered = state.memory.get("above_since")
    # A moment in the future would be a clock that went back: start anew.
    return float(remembered) if remembered is not None and remembered <= now else now


def _reason_to_grow(
    state: PoolState, config: "PoolScaling", above: bool, above_seconds: float
) -> tuple[str, Waiting, bool] | None:
    """Why one more, for which task, and whether the sustained depth is the reason."""
    oldest = state.oldest
    if oldest is None:
        return None
    if state.revivable and state.backlog > state.own_free_slots + state.other_free_slots:
        return f"{state.backlog} waiting while one drains: taken back", oldest, False
    if (critical := unserved_critical(state)) is not None:
        return f"critical task {critical.task_id} waits and no slot is free", critical, False
    if above and above_seconds >= config.scale_up_delay:
        return (
            f"depth {state.depth} > {config.scale_up_threshold} for {above_seconds:.0f} s",
            oldest,
            True,
        )
    if not state.present and oldest.age_seconds >= config.lone_task_seconds:
        return f"task {oldest.task_id} has waited for {oldest.age_seconds:.0f} s", oldest, False
    return None


def unserved_critical(state: PoolState) -> Waiting | None:
    """A critical task for which no slot is free and none is on its way."""
    first = max(state.critical, key=lambda task: task.age_seconds, default=None)
    if first is None or state.own_free_slots or state.starting:
        return None
    if state.other_free_slots and first.age_seconds < OTHERS_PATIENCE_SECONDS:
        return None
    return first


def _spare(state: PoolState, config: "PoolScaling") -> Iterable[Replica]:
    """Idle replicas that may go, the longest idle first."""
    over = len(state.present) - config.max_replicas
    room = len(state.present) - config.min_replicas
    idle = sorted(
        (r for r in state.present if r.phase == "idle"), key=lambda r: (-r.idle_seconds, r.name)
    )
    quiet = state.backlog <= config.scale_down_threshold
    free_to_go = [
        replica
        for place, replica in enumerate(idle)
        if place < over or (quiet and replica.idle_seconds >= config.scale_down_delay)
    ]
    return free_to_go[: max(0, room)]


def _look_again(
    state: PoolState, config: "PoolScaling", above: bool, above_seconds: float
) -> float | None:
    moments = []
    if len(state.present) < config.max_replicas:
        if above:
            moments.append(config.scale_up_delay - above_seconds)
        if state.oldest is not None and not state.present:
            moments.append(config.lone_task_seconds - state.oldest.age_seconds)
        if state.critical and state.other_free_slots:
            moments.append(OTHERS_PATIENCE_SECONDS - min(t.age_seconds for t in state.critical))
    if len(state.present) > config.min_replicas:
        moments += [
            config.scale_down_delay - r.idle_seconds for r in state.present if r.phase == "idle"
        ]
    return min((moment for moment in moments if moment > 0), default=None)
