"""The floor under any policy: replicas that are warm before known hours begin, and one before those
in which work has come in most weeks.

They are started a cold start ahead of time, and never exceed the maximum. Pure, like the policies.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from autoscaler.scaling_file import PoolScaling, WarmHours

MINUTE_SECONDS = 60.0
# The week, in UTC, by the quarters of an hour since the epoch; which one is the first is no matter.
QUARTER_SECONDS = 900.0
QUARTERS_OF_WEEK = 7 * 24 * 4


@dataclass(frozen=True, slots=True)
class Floor:
    """At least so many replicas, why, and in how many seconds that may change (None: never)."""

    replicas: int
    reason: str
    changes_in_seconds: float | None


def floor_of(
    now: float,
    config: PoolScaling,
    *,
    likely: Collection[int] = (),
    cold_start: float | None = None,
) -> Floor:
    """The minimum, or what the hours ask for if that is more, never above the maximum. `likely` are
    the quarters of the week in which work is expected, `cold_start` is as measured.
    """
    ahead = now + (config.cold_start if cold_start is None else cold_start)
    replicas, reason = config.min_replicas, ""
    changes: list[float] = []
    if likely:
        changes += [_left(at, QUARTER_SECONDS) for at in (now, ahead)]
        if replicas < 1 and (quarter_of(now) in likely or quarter_of(ahead) in likely):
            replicas, reason = 1, "work has come at this time of the week"
    if config.warm_hours:
        # Hours begin and end on minutes, in every time zone of today.
        changes += [_left(at, MINUTE_SECONDS) for at in (now, ahead)]
    for hours in config.warm_hours:
        if hours.replicas > replicas and (_within(hours, now) or _within(hours, ahead)):
            replicas, reason = hours.replicas, f"warm from {hours.begins} to {hours.ends}"
    bounded = max(config.min_replicas, min(replicas, config.max_replicas))
    return Floor(bounded, reason, min(changes, default=None))


def quarter_of(moment: float) -> int:
    """Which quarter of an hour of the week it is."""
    return int(moment // QUARTER_SECONDS) % QUARTERS_OF_WEEK


def likely_quarters(
    weeks_with_work: Mapping[int, int], weeks: int, config: PoolScaling
) -> frozenset[int]:
    """Those in which work has come in at least the share `forecast` of the past `weeks`; too short
    a past says nothing.
    """
    if config.forecast is None or weeks < config.forecast_weeks_min:
        return frozenset()
    least = config.forecast * weeks
    return frozenset(q for q, weeks_seen in weeks_with_work.items() if weeks_seen >= least)


def _left(at: float, unit: float) -> float:
    return ceil((at + 1e-3) / unit) * unit - at


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
