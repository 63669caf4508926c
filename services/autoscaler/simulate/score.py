"""What a run cost and how long tasks waited, per pool and in all, beside the lower bound."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from autoscaler.scaling_file import PoolScaling
from autoscaler.simulate.bound import pool_bound_seconds
from autoscaler.simulate.engine import Moment, Run, simulate
from autoscaler.simulate.load import DAY_SECONDS, Load
from autoscaler.simulate.weather import Weather

SOON_SECONDS = 600.0
MONTH_DAYS = 30.0
# `always-on` is the replica that never goes; `letter` is threshold without the guard for lone tasks.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "letter": {"policy": "threshold", "lone_task_delay": 1e12},
    "threshold": {"policy": "threshold"},
    "marginal": {"policy": "marginal"},
    "always-on": {"policy": "threshold", "min_replicas": 1},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One pool, or `all` of them, under one policy and cold start. Costs are for 30 days."""

    policy: str
    pool: str
    cold_start_seconds: float
    tasks: int
    unserved: int
    usd_per_month: float
    usd_per_document: float
    gpu_hours: float
    bound_usd_per_month: float
    ratio: float
    wait_mean_seconds: float
    wait_p95_seconds: float
    wait_max_seconds: float
    share_within_10_minutes: float
    starts: int

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A policy's scores, the total last, and the course of its pools."""

    scores: Sequence[Score]
    moments: Mapping[str, Sequence[Moment]]
    usd_per_hour: Mapping[str, float]  # of one replica


@dataclass(frozen=True, slots=True)
class _Part:
    pool: str
    waits: Sequence[float]
    unserved: int
    usd: float
    bound_usd: float
    gpu_hours: float
    starts: int


def play(
    load: Load, variant: str, scaling: Mapping[str, PoolScaling], weather: Weather, days: float
) -> Outcome:
    """Play `load` under one of VARIANTS, at `weather`."""
    return play_config(
        load, variant, {p: varied(c, variant, weather) for p, c in scaling.items()}, weather, days
    )


def varied(config: PoolScaling, variant: str, weather: Weather) -> PoolScaling:
    """The scaling of a variant; a start that is expected to take longer is given the time."""
    patience = max(config.startup_timeout, 2 * weather.cold_start)
    changes = {"cold_start": weather.cold_start, "startup_timeout": patience}
    return PoolScaling.model_validate({**config.model_dump(), **changes, **VARIANTS[variant]})


def play_config(
    load: Load, name: str, configs: Mapping[str, PoolScaling], weather: Weather, days: float
) -> Outcome:
    """Play `load` as configured, under a name for the scores."""
    runs = simulate(load, configs, weather, days * DAY_SECONDS)
    # No start may be dearer in the bound than it was in the run.
    starts = {pool: min([weather.cold_start, *run.start_seconds]) for pool, run in runs.items()}
    bounds = pool_bound_seconds(load, starts, {pool: configs[pool].wait_goal for pool in runs})
    parts = [_part(pool, run, configs[pool], bounds[pool]) for pool, run in runs.items()]
    moments = {pool: run.moments for pool, run in runs.items()}
    prices = {pool: configs[pool].price_usd_per_hour for pool in runs}
    return Outcome(_scores(parts, name, weather.cold_start, days, load.documents), moments, prices)


def _part(pool: str, run: Run, config: PoolScaling, bound_seconds: float) -> _Part:
    hours, bound = run.replica_seconds / 3600, bound_seconds / 3600
    return _Part(
        pool,
        [
            (run.ended_at if started is None else started) - arrived
            for arrived, started in zip(run.arrived_at, run.started_at, strict=True)
        ],
        sum(at is None for at in run.started_at),
        hours * config.price_usd_per_hour,
        bound * config.price_usd_per_hour,
        hours,
        len(run.replicas),
    )


def _scores(
    parts: Sequence[_Part], variant: str, cold_start: float, days: float, documents: int
) -> list[Score]:
    whole = _Part(
        "all",
        [wait for part in parts for wait in part.waits],
        sum(part.unserved for part in parts),
        sum(part.usd for part in parts),
        sum(part.bound_usd for part in parts),
        sum(part.gpu_hours for part in parts),
        sum(part.starts for part in parts),
    )
    shown = [*parts, whole] if len(parts) > 1 else parts
    return [_score(part, variant, cold_start, days, documents) for part in shown]


def _score(part: _Part, variant: str, cold_start: float, days: float, documents: int) -> Score:
    waits = sorted(part.waits) or [0.0]
    month = MONTH_DAYS / days
    return Score(
        policy=variant,
        pool=part.pool,
        cold_start_seconds=cold_start,
        tasks=len(part.waits),
        unserved=part.unserved,
        usd_per_month=round(part.usd * month, 2),
        usd_per_document=round(part.usd / max(documents, 1), 4),
        gpu_hours=round(part.gpu_hours, 2),
        bound_usd_per_month=round(part.bound_usd * month, 2),
        ratio=round(part.usd / part.bound_usd, 3) if part.bound_usd else 0.0,
        wait_mean_seconds=round(sum(waits) / len(waits), 1),
        wait_p95_seconds=round(waits[int(0.95 * (len(waits) - 1))], 1),
        wait_max_seconds=round(waits[-1], 1),
        share_within_10_minutes=round(sum(w <= SOON_SECONDS for w in waits) / len(waits), 4),
        starts=part.starts,
    )
