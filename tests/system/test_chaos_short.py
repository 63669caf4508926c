"""The chaos suite in small: one seed, a few faults. The long form is `make chaos`."""

import sys

import pytest
from tests.chaos.plan import plan_of
from tests.chaos.run import run_seed

SEED = 9
FAULTS = ("kill", "half_open", "postgres_crash", "end_sessions", "kill_model", "spoil_provider")


@pytest.mark.skipif(sys.platform != "linux", reason="processes are frozen and found as Linux does")
@pytest.mark.timeout(300)
async def test_chaos_of_one_seed_loses_nothing_and_doubles_nothing() -> None:
    """All services, real kills, a crash of Postgres: each task ends once, with one set of results."""
    said: list[str] = []
    plan = plan_of(SEED, tasks=30, seconds=6.0, blows=6, only=FAULTS)
    run = await run_seed(plan, keep=False, say=said.append)
    assert run.findings == (), said
    assert run.tasks >= 30
    assert any(one.struck for one in run.struck)
