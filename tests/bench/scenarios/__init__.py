"""What is measured, in the order of a run."""

from tests.bench.scenario import Scenario
from tests.bench.scenarios import bulk, claim, drain, enqueue, wakeup

SCENARIOS: tuple[Scenario, ...] = (
    *enqueue.SCENARIOS,
    bulk.SCENARIO,
    *wakeup.SCENARIOS,
    *drain.SCENARIOS,
    *claim.SCENARIOS,
)
