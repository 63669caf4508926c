"""The cheapest configuration of a load that meets the goals: one key after the other, in rounds.

Each round tries other values of one key at a time, from the best configuration so far, until a
whole round improves nothing. Not exhaustive, but every answer was played.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoscaler.scaling_file import PoolScaling
from autoscaler.simulate.load import Load
from autoscaler.simulate.score import Score, play_config, varied
from autoscaler.simulate.weather import Weather

SHARE_GOAL = 0.95  # of tasks begun within ten minutes
ROUNDS_MAX = 3
CHOICES: Mapping[str, Sequence[Any]] = {
    "policy": ("marginal", "threshold"),
    "scale_down_delay": (0.0, 60.0, 120.0, 300.0, 600.0),
    "lone_task_delay": (0.0, 30.0, 60.0, 120.0),
    "wait_goal": (120.0, 200.0, 300.0, 400.0),
    "max_replicas": (1, 2, 3, 5, 8),
}


@dataclass(frozen=True, slots=True)
class Trial:
    """What was changed, what came of it, and whether that meets the goals."""

    changes: Mapping[str, Any]
    score: Score
    meets: bool

    @property
    def rank(self) -> tuple[bool, float, float]:
        """Lower is better: the goals first, then the cost, then the wait. Where no goal is met,
        the share within ten minutes stands for how far it is.
        """
        missed = 0.0 if self.meets else 1 - self.score.share_within_10_minutes
        return not self.meets, missed + self.score.usd_per_month, self.score.wait_mean_seconds


def tune(
    load: Load,
    scaling: Mapping[str, PoolScaling],
    weather: Weather,
    days: float,
    *,
    wait_goal: float,
    tell: Callable[[Trial], None] = lambda _: None,
) -> Trial:
    """The best trial found for a mean wait below `wait_goal` seconds; `tell` hears of each that
    is better than all before it.
    """
    best = _trial(load, scaling, weather, days, wait_goal, {})
    tell(best)
    for _ in range(ROUNDS_MAX):
        before = best
        for key, values in CHOICES.items():
            for value in values:
                if best.changes.get(key, _now(scaling, key)) == value:
                    continue
                changes = {**best.changes, key: value}
                if not _possible(scaling, changes):
                    continue
                trial = _trial(load, scaling, weather, days, wait_goal, changes)
                if trial.rank < best.rank:
                    best = trial
                    tell(best)
        if best is before:
            break
    return best


def _now(scaling: Mapping[str, PoolScaling], key: str) -> Any:
    """The value in force, if it is the same in all pools."""
    values = {getattr(config, key) for config in scaling.values()}
    return values.pop() if len(values) == 1 else object()


def _possible(scaling: Mapping[str, PoolScaling], changes: Mapping[str, Any]) -> bool:
    most = changes.get("max_replicas")
    return most is None or all(config.min_replicas <= most for config in scaling.values())


def _trial(
    load: Load,
    scaling: Mapping[str, PoolScaling],
    weather: Weather,
    days: float,
    wait_goal: float,
    changes: Mapping[str, Any],
) -> Trial:
    policy = changes.get("policy", "marginal")
    configs = {
        pool: PoolScaling.model_validate(
            {**varied(config, "marginal", weather).model_dump(), **changes}
        )
        for pool, config in scaling.items()
    }
    score = play_config(load, policy, configs, weather, days).scores[-1]
    meets = score.wait_mean_seconds <= wait_goal and score.share_within_10_minutes >= SHARE_GOAL
    return Trial(changes, score, meets and not score.unserved)
