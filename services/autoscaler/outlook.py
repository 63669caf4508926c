"""What the past says and what lies ahead, as policies are told: read from rows, some of it seldom.

How long tasks and starts take changes slowly, so that is looked up once in a while; whose children
are about to be set free is looked up in every round in which something is being worked on; at which
times of the week work comes, every few hours, and only where a pool's block asks for a forecast.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autoscaler.floor import likely_quarters
from autoscaler.learning import Parent, smoothed, upcoming_of
from autoscaler.ledger import Ledger, Row
from autoscaler.policies.slots import free_in_of
from autoscaler.scaling_file import PoolScaling
from autoscaler.state import PoolState

WEEKS_SECONDS = 3 * 3600.0  # between two looks at the past weeks
CLOCK_SLACK_SECONDS = 60.0  # between our clock and the database's, from one look to the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """What a pool has been through; in seconds. Gaps are the newest first."""

    service_seconds: Mapping[str, float]
    cold_start_seconds: float | None
    idle_gaps: tuple[float, ...]


NOTHING = Experience(service_seconds={}, cold_start_seconds=None, idle_gaps=())


def experience_of(row: Row) -> Experience:
    """From a row of sql/look_experience.sql."""
    cold_start = None
    for seconds in row["start_seconds"]:
        cold_start = smoothed(cold_start, seconds)
    return Experience(
        service_seconds=row["service_seconds"],
        cold_start_seconds=cold_start,
        idle_gaps=tuple(row["idle_gaps"]),
    )


class Outlook:
    """Tells of all pools before any of them is decided on."""

    def __init__(self, ledger: Ledger, *, refresh_seconds: float) -> None:
        self._ledger = ledger
        self._refresh_seconds = refresh_seconds
        self._experience: dict[str, Experience] = {}
        self._read_at = float("-inf")
        self._likely: dict[str, frozenset[int]] = {}
        self._weeks_read_at = float("-inf")
        self._clocks: tuple[float, float] | None = None  # ours (monotonic), the database's

    async def look(
        self, states: Sequence[PoolState], scaling: Mapping[str, PoolScaling], now: float
    ) -> dict[str, PoolState]:
        """The states with what was learned and what lies ahead, by pool. `now` is the database's
        clock.
        """
        if time.monotonic() - self._read_at >= self._refresh_seconds:
            rows = await self._ledger.look_experience()
            self._experience = {row["pool"]: experience_of(row) for row in rows}
            self._read_at = time.monotonic()
        await self._look_weeks(scaling)
        doubt = self._doubt(now)
        known = {
            state.pool: replace(
                _told(state, self._experience.get(state.pool, NOTHING), doubt),
                likely=self._likely.get(state.pool, frozenset()),
            )
            for state in states
        }
        if not any(state.depth for state in states):
            return known
        ahead = await self._ledger.look_parents()
        return {pool: _with_upcoming(pool, known, ahead, scaling) for pool in known}

    async def _look_weeks(self, scaling: Mapping[str, PoolScaling]) -> None:
        wanted = {pool for pool, config in scaling.items() if config.forecast is not None}
        if not wanted or time.monotonic() - self._weeks_read_at < WEEKS_SECONDS:
            return
        seen: dict[str, dict[int, int]] = {}
        weeks = 0
        for row in await self._ledger.look_weeks():
            weeks = row["weeks"] or 0
            if row["quarter"] is not None:
                seen.setdefault(row["pool"], {})[row["quarter"]] = row["seen"]
        self._likely = {
            pool: likely_quarters(seen.get(pool, {}), weeks, scaling[pool]) for pool in wanted
        }
        self._weeks_read_at = time.monotonic()

    def _doubt(self, now: float) -> str:
        """Why ages cannot be believed: the database's clock leapt since the last look."""
        ours, before = time.monotonic(), self._clocks
        self._clocks = (ours, now)
        if before is None:
            return ""
        leap = (now - before[1]) - (ours - before[0])
        if abs(leap) <= CLOCK_SLACK_SECONDS:
            return ""
        return f"the database's clock leapt by {leap:.0f} s"


def _told(state: PoolState, experience: Experience, doubt: str) -> PoolState:
    return replace(
        state,
        service_seconds=experience.service_seconds,
        cold_start_seconds=experience.cold_start_seconds,
        idle_gaps=experience.idle_gaps,
        doubt=doubt,
    )


def _with_upcoming(
    pool: str,
    states: Mapping[str, PoolState],
    ahead: Sequence[Row],
    scaling: Mapping[str, PoolScaling],
) -> PoolState:
    """What the parents in every pool will set free for this one."""
    soon = []
    for name, state in states.items():
        parents = [
            Parent(
                task_type=row["task_type"],
                running_seconds=row["running_seconds"],
                behind=row["child_types"],
            )
            for row in ahead
            if row["pool"] == name and row["child_pool"] == pool
        ]
        if parents and name in scaling:
            config = scaling[name]
            soon += upcoming_of(parents, free_in_of(state, config), state, config.service_time)
    return replace(states[pool], upcoming=tuple(sorted(soon, key=lambda task: task.in_seconds)))
