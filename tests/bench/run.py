"""Rounds: every case once per round, in another order each time."""

import random
import time
from collections.abc import Callable, Sequence

from tests.bench.peers import Absent
from tests.bench.results import CaseResult, ScenarioResult
from tests.bench.scenario import Case, Scenario
from tests.bench.stage import Stage

SEED = 7


async def run_scenario(
    scenario: Scenario, stage: Stage, say: Callable[[str], None]
) -> ScenarioResult:
    """All rounds of one scenario."""
    order = random.Random(SEED)
    cases = list(scenario.cases(stage.short))
    result = ScenarioResult.of(scenario, [case.name for case in cases])
    rounds = scenario.rounds_short if stage.short else scenario.rounds
    for number in range(1, rounds + 1):
        for case in _shuffled(cases, order):
            if result.cases[case.name].absent is None:
                say(f"{scenario.name} {number}/{rounds}  {case.name}")
                await _measure(case, stage, result.cases[case.name], say)
    return result


async def _measure(
    case: Case, stage: Stage, result: CaseResult, say: Callable[[str], None]
) -> None:
    began = time.monotonic()
    try:
        measures = await case.measure(stage)
    except Absent as reason:
        result.absent = str(reason)
        return
    except Exception as error:  # noqa: BLE001 - the others are measured all the same; the run exits with 1
        result.absent, result.failed = f"failed: {str(error)[-300:]}", True
        say(f"{case.name}: {error}")
        return
    for name, value in measures.items():
        result.values.setdefault(name, []).append(value)
    result.seconds += time.monotonic() - began


def _shuffled(cases: Sequence[Case], order: random.Random) -> list[Case]:
    return order.sample(list(cases), len(cases))
