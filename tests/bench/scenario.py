"""What a scenario is: cases that are measured in turn, and what their numbers mean."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.bench.stage import Stage

Measures = Mapping[str, float]  # by name; the unit is the scenario's


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing that is measured: `measure` runs it once."""

    name: str
    measure: Callable[[Stage], Awaitable[Measures]]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A question. `cases` and the numbers of rounds depend on whether the short form is wanted."""

    name: str
    title: str
    unit: str
    better: Literal["more", "less"]
    cases: Callable[[bool], Sequence[Case]]
    rounds: int = 3
    rounds_short: int = 1
    note: str = ""
    only_by_name: bool = False  # too long for a whole run
