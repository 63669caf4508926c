"""The floor under any policy: replicas that are warm before known hours begin.

They are started a cold start ahead of time, and never exceed the maximum. Pure, like the policies.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from autoscaler.scaling_file import PoolScaling, WarmHours

MINUTE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Floor:
    """At least so many replicas, why, and in how many seconds that may change (None: never)."""

    replicas: int
    reason: str
    changes_in_seconds: float | None


def floor_of(now: float, config: PoolScaling) -> Floor:
    """The minimum, or what the hours ask for if that is more, never above the maximum."""
    replicas, reason = config.min_replicas, ""
    if not config.warm_hours:
        return Floor(replicas, reason, None)
    ahead = now + config.cold_start
    for hours in config.warm_hours:
        if hours.replicas > replicas and (_within(hours, now) or _within(hours, ahead)):
            replicas, reason = hours.replicas, f"warm from {hours.begins} to {hours.ends}"
    # Hours begin and end on minutes, in every time zone of today.
    changes = [ceil((at + 1e-3) / MINUTE_SECONDS) * MINUTE_SECONDS - at for at in (now, ahead)]
    return Floor(max(config.min_replicas, min(replicas, config.max_replicas)), reason, min(changes))


def _within(hours: WarmHours, at: float) -> bool:
    """Whether the moment lies in the hours; those that end before they begin go past midnight."""
    local = datetime.fromtimestamp(at, hours.zone)
    minute = local.hour * 60 + local.minute
    today, yesterday = local.weekday(), (local - timedelta(days=1)).weekday()
    begins, ends = hours.begin_minute, hours.end_minute
    if begins < ends:
        return today in hours.weekdays and begins <= minute < ends
    return (today in hours.weekdays and minute >= begins) or (
        yesterday in hours.weekdays and minute < ends
    )
