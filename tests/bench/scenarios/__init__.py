"""What is measured, in the order of a run."""

from tests.bench.scenario import Scenario
from tests.bench.scenarios import (
    bulk,
    claim,
    decks,
    dependencies,
    drain,
    enqueue,
    footprint,
    gpu,
    growth,
    idle,
    render,
    seeing,
    wakeup,
)

SCENARIOS: tuple[Scenario, ...] = (
    *enqueue.SCENARIOS,
    bulk.SCENARIO,
    *wakeup.SCENARIOS,
    *drain.SCENARIOS,
    *claim.SCENARIOS,
    *growth.SCENARIOS,
    dependencies.SCENARIO,
    gpu.SCENARIO,
    decks.SCENARIO,
    render.SCENARIO,
    seeing.SCENARIO,
    idle.SCENARIO,
    footprint.SCENARIO,
)
