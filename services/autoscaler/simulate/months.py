"""Many months of one kind of load under one policy: the median and the worst of each number.

One month says little: the same policy may be lucky in it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from statistics import median_high
from typing import Any

from autoscaler.scaling_file import PoolScaling
from autoscaler.simulate.load import Load
from autoscaler.simulate.score import Score, play
from autoscaler.simulate.weather import Weather

SAME = {"policy", "pool", "cold_start_seconds"}
BETTER_HIGH = {"share_within_10_minutes"}

Pick = Callable[[str, Sequence[Any]], Any]


def months_of(
    loads: Sequence[Load],
    policies: Sequence[str],
    scaling: Mapping[str, PoolScaling],
    weathers: Sequence[Weather],
    days: float,
) -> list[Score]:
    """For each cold start and policy the median and the worst over `loads`, all pools together."""
    found: list[Score] = []
    for weather in weathers:
        skies = [replace(weather, seed=weather.seed + n) for n in range(len(loads))]
        for name in policies:
            scores = [
                play(load, name, scaling, sky, days).scores[-1]
                for load, sky in zip(loads, skies, strict=True)
            ]
            found += [_picked(scores, "median", _median), _picked(scores, "worst", _worst)]
    return found


def _picked(scores: Sequence[Score], name: str, pick: Pick) -> Score:
    """Number by number: the worst cost and the worst wait may be of different months."""
    numbers = {
        field.name: pick(field.name, [getattr(score, field.name) for score in scores])
        for field in fields(Score)
        if field.name not in SAME
    }
    return replace(scores[0], pool=name, **numbers)


def _median(_: str, values: Sequence[Any]) -> Any:
    return median_high(values)


def _worst(name: str, values: Sequence[Any]) -> Any:
    return min(values) if name in BETTER_HIGH else max(values)
