"""The GPU's view: is it busy while there is a backlog? A stand-in model call of fixed length."""

from collections.abc import Sequence

from tests.bench.contestants import REVEILLE
from tests.bench.scenario import Case, Measures, Scenario
from tests.bench.stage import Stage

CALL_SECONDS = 1.0
CALLS_PER_SLOT, CALLS_PER_SLOT_SHORT = 5, 2
BACKLOG = 200
WAIT_SECONDS_MAX = 30.0


def _case(slots: int) -> Case:
    async def measure(stage: Stage) -> Measures:
        calls = slots * (CALLS_PER_SLOT_SHORT if stage.short else CALLS_PER_SLOT)
        await stage.empty(REVEILLE)
        starts, ends = [], []
        async with (
            stage.workers(
                REVEILLE, 1, slots=slots, report=True, ends=True, seconds=CALL_SECONDS
            ) as (worker,),
            stage.connection(REVEILLE) as connection,
        ):
            await connection.execute(REVEILLE.many(BACKLOG))
            while len(ends) < calls:
                line = await worker.line(WAIT_SECONDS_MAX)
                if line.startswith("end "):
                    ends.append(int(line[4:]))
                else:
                    starts.append(int(line))
        return _use(slots, starts[:calls], ends)

    return Case(name=f"{slots} slot{'s' if slots > 1 else ''}", measure=measure)


def _use(slots: int, starts: Sequence[int], ends: Sequence[int]) -> Measures:
    """Of the time from the first start to the last end, the share in which slots were in a call."""
    span = (max(ends) - min(starts)) * slots
    busy = sum(ends) - sum(starts)
    gaps = len(starts) - slots
    return {"busy %": 100 * busy / span, "gap ms": (span - busy) / gaps / 1e6}


def _cases(short: bool) -> Sequence[Case]:
    return [_case(slots) for slots in ((1, 4) if short else (1, 2, 4, 8))]


SCENARIO = Scenario(
    name="gpu",
    title="The GPU over a backlog of 200 tasks with one model call of 1 s each",
    unit="as named",
    better="more",
    cases=_cases,
    rounds=1,
    note=f"Measured over the {CALLS_PER_SLOT} first calls of each slot; a gap is from one call's end to the next "
    "one's start.",
)
