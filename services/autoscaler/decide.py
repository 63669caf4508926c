"""The decision: the pool's policy, then the guards that hold whatever the policy says.

Never below the minimum or what the hours ask for (floor.py), never above the maximum, nothing
started in a paused pool, by a provider that starts nothing or without an offer, or too soon after
failures, no more than the budget has room for; and nothing at all on facts that cannot be. Pure,
like the policies.
"""

from dataclasses import replace
from itertools import takewhile

from autoscaler.budget import over_budget
from autoscaler.floor import Floor, floor_of
from autoscaler.offers import backoff_seconds
from autoscaler.policies import require_policy
from autoscaler.scaling_file import PoolScaling
from autoscaler.state import Decision, PoolState

DOUBT_SECONDS = 5.0  # until facts that cannot be are looked at again


def decide(state: PoolState, now: float, config: PoolScaling) -> Decision:
    """How many replicas the pool should have. `now` is the database's clock in seconds."""
    have = len(state.present)
    if state.doubt:
        return Decision(
            wanted=have,
            reason=f"held: {state.doubt}",
            memory=state.memory,
            look_again_seconds=DOUBT_SECONDS,
            held=state.doubt,
        )
    floor = floor_of(now, config, likely=state.likely, cold_start=state.cold_start_seconds)
    if floor.replicas > config.min_replicas:
        config = config.model_copy(update={"min_replicas": floor.replicas})
    policy = require_policy(config.policy)
    wished = _may_go(policy(_idle_where_it_may_go(state), now, config), state)
    decision = _within_bounds(wished, have, config)
    if floor.changes_in_seconds is not None:
        decision = _told_hours(decision, floor, floor.changes_in_seconds)
    if decision.wanted <= have:
        return decision
    refusal = _refusal(state, decision, config)
    if refusal is None:
        return _afforded(state, decision, config)
    return _held(state, decision, *refusal)


def _held(
    state: PoolState, decision: Decision, words: str, again_seconds: float | None
) -> Decision:
    return replace(
        decision,
        wanted=len(state.present),
        reason=f"{decision.reason}; held: {words}",
        waited_for=None,
        memory=decision.memory if decision.memory_if_held is None else decision.memory_if_held,
        look_again_seconds=again_seconds,
        held=words,
    )


def _idle_where_it_may_go(state: PoolState) -> PoolState:
    """Idleness counts from when a replica could have gone: never for a pinned one, and below one
    that stays not before that one. So the policies' timers are right, too.
    """
    if not state.ends_highest_first and not any(replica.pinned for replica in state.replicas):
        return state
    least = float("inf")
    told = []
    for replica in reversed(state.replicas):
        may_go = replica.phase == "idle" and not replica.pinned
        own = replica.idle_seconds if may_go else 0.0
        if state.ends_highest_first and replica.phase != "draining":
            least = own = min(least, own)
        told.append(replace(replica, idle_seconds=own) if replica.phase == "idle" else replica)
    return replace(state, replicas=tuple(reversed(told)))


def _may_go(decision: Decision, state: PoolState) -> Decision:
    """An operator's pin goes before what a policy could spare, and so does a provider that can end
    its containers only from the top.
    """
    pinned = {replica.name for replica in state.replicas if replica.pinned}
    spare = tuple(name for name in decision.spare if name not in pinned)
    words = "pinned"
    if state.ends_highest_first:
        spare = _from_the_top(spare, state)
        words = "pinned, or below one that stays"
    kept = [name for name in decision.spare if name not in spare]
    if not kept:
        return replace(decision, spare=spare)
    return replace(
        decision,
        wanted=decision.wanted + len(kept),
        reason=f"{decision.reason}; {words}: {', '.join(kept)}",
        spare=spare,
    )


def _from_the_top(spare: tuple[str, ...], state: PoolState) -> tuple[str, ...]:
    descending = [replica.name for replica in reversed(state.present)]
    return tuple(takewhile(lambda name: name in spare, descending))


def _told_hours(decision: Decision, floor: Floor, changes: float) -> Decision:
    """The decision with the hours' reason, and looked at again when the floor may change."""
    again = decision.look_again_seconds
    asked = bool(floor.reason) and decision.reason == f"the minimum is {floor.replicas}"
    return replace(
        decision,
        reason=floor.reason if asked else decision.reason,
        look_again_seconds=changes if again is None else min(again, changes),
    )


def _within_bounds(decision: Decision, have: int, config: PoolScaling) -> Decision:
    if decision.wanted < config.min_replicas and have <= config.min_replicas:
        return replace(
            decision,
            wanted=config.min_replicas,
            reason=f"the minimum is {config.min_replicas}",
            spare=(),
        )
    # What is above the maximum and busy stays until it is idle: it is not chosen here.
    wanted = max(min(decision.wanted, max(config.max_replicas, have)), 0)
    wanted = max(wanted, min(have, config.min_replicas))
    return replace(decision, wanted=wanted, spare=decision.spare[: max(0, have - wanted)])


def _afforded(state: PoolState, decision: Decision, config: PoolScaling) -> Decision:
    """As many as the caps leave room for; a cap that only alerts is told in the reason."""
    over = None if _only_taken_back(state, decision) else over_budget(state, decision, config)
    if over is None:
        return decision
    if config.budget.alert_only:
        return replace(decision, reason=f"{decision.reason}; alert: {over}")
    for wanted in range(decision.wanted - 1, len(state.present), -1):
        fewer = replace(decision, wanted=wanted)
        if _only_taken_back(state, fewer) or over_budget(state, fewer, config) is None:
            return replace(fewer, reason=f"{decision.reason}; {decision.wanted} wanted: {over}")
    return _held(state, decision, over, None)


def _only_taken_back(state: PoolState, decision: Decision) -> bool:
    """Whether enough drain still that nothing has to be started."""
    return len(state.revivable) >= decision.wanted - len(state.present)


def _refusal(
    state: PoolState, decision: Decision, config: PoolScaling
) -> tuple[str, float | None] | None:
    """Why nothing more may be started, and in how many seconds that may change by itself."""
    if state.paused:
        return "the pool is paused", None
    if _only_taken_back(state, decision):
        return None
    if not state.can_start:
        return "its provider starts nothing", None
    if state.refusal:
        return state.refusal, None
    if state.failed_seconds_ago is not None:
        # A failure in the future would be a clock that went back: it counts as just now.
        rest = backoff_seconds(state.failures, config) - max(state.failed_seconds_ago, 0.0)
        if rest > 0:
            return f"{state.failures} failed in a row, next try in {rest:.0f} s", rest
    return None
