"""The numbers of a run: every round is kept; what is shown is the median, with least and most."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Self

from tests.bench.scenario import Scenario


@dataclass
class CaseResult:
    """Values by measure, one per round; or the reason why there are none."""

    values: dict[str, list[float]] = field(default_factory=dict)
    absent: str | None = None
    failed: bool = False  # absent by an error, not for a reason
    seconds: float = 0.0  # what measuring took

    def median(self, measure: str) -> float | None:
        """Over the rounds; None when it was not measured."""
        values = self.values.get(measure)
        return median(values) if values else None


@dataclass
class ScenarioResult:
    """One scenario with its cases, in the scenario's order."""

    name: str
    title: str
    unit: str
    better: str
    note: str
    cases: dict[str, CaseResult]

    @classmethod
    def of(cls, scenario: Scenario, names: Sequence[str]) -> Self:
        """Nothing measured yet."""
        return cls(
            name=scenario.name,
            title=scenario.title,
            unit=scenario.unit,
            better=scenario.better,
            note=scenario.note,
            cases={name: CaseResult() for name in names},
        )

    def median(self, case: str, measure: str) -> float | None:
        """None when the case was not measured."""
        return self.cases[case].median(measure) if case in self.cases else None


@dataclass
class RunResult:
    """A whole run."""

    date: str
    short: bool
    machine: dict[str, Any]
    versions: dict[str, str]
    seconds: float = 0.0
    scenarios: list[ScenarioResult] = field(default_factory=list)

    def median(self, scenario: str, case: str, measure: str) -> float | None:
        """None when it was not measured."""
        found = next((s for s in self.scenarios if s.name == scenario), None)
        return None if found is None else found.median(case, measure)

    def as_json(self) -> dict[str, Any]:
        """For the file."""
        return asdict(self)
