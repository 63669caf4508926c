"""Enqueue: single-row INSERTs, each a transaction, while workers listen."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from tests.bench.contestants import BARE, NOTIFY, OTHERS, OTHERS_SHORT, REVEILLE, Contestant
from tests.bench.pgbench import transactions_per_second
from tests.bench.scenario import Case, Measures, Scenario
from tests.bench.stage import Stage

WRITERS = (1, 8, 32, 128)
WRITERS_BUSY = (32, 128)
SECONDS = 2.0


def _case(
    contestant: Contestant, writers: int, workers: str, name: str, *, slow_disk: bool = False
) -> Case:
    async def measure(stage: Stage) -> Measures:
        if slow_disk:
            stage = await stage.on_slow_disk()
        await stage.empty(contestant)
        async with AsyncExitStack() as stack:
            if workers:
                options = {"slots": 10, "other": workers == "idle"}
                await stack.enter_async_context(stage.workers(contestant, 1, **options))
            rate = await transactions_per_second(
                await stage.dsn(contestant),
                contestant.one_sql,
                writers=writers,
                seconds=1 if stage.short else SECONDS,
            )
        return {"per second": rate}

    return Case(name=name, measure=measure)


def _ours(workers: str) -> Scenario:
    def cases(short: bool) -> Sequence[Case]:
        return [
            _case(contestant, writers, workers, f"{contestant.name}, {writers} writers")
            for writers in ((32,) if short else WRITERS if workers == "idle" else WRITERS_BUSY)
            for contestant in (BARE, NOTIFY, REVEILLE)
        ]

    says = {
        "idle": "a worker listens, is woken and finds nothing for itself",
        "busy": "a worker takes and ends what comes, on the same cores",
    }
    return Scenario(
        name=f"enqueue-{workers}",
        title=f"Enqueue by plain INSERT; {says[workers]}",
        unit="transactions/s",
        better="more",
        cases=cases,
        rounds=2 if workers == "idle" else 1,
    )


def _slow(short: bool) -> Sequence[Case]:
    return [
        _case(contestant, writers, "idle", f"{contestant.name}, {writers} writers", slow_disk=True)
        for writers in (() if short else WRITERS_BUSY)
        for contestant in (BARE, NOTIFY, REVEILLE)
    ]


def _peers(short: bool) -> Sequence[Case]:
    others = OTHERS_SHORT if short else OTHERS
    return [_case(c, 32, "idle", c.name) for c in (BARE, REVEILLE, *others)]


SCENARIOS = (
    _ours("idle"),
    _ours("busy"),
    Scenario(
        name="enqueue-slow-disk",
        title="Enqueue on a disk that flushes in a millisecond, as cloud volumes do",
        unit="transactions/s",
        better="more",
        cases=_slow,
        rounds=2,
        note="As `enqueue-idle`, on a server whose WAL flushes take a millisecond longer.",
    ),
    Scenario(
        name="enqueue-peers",
        title="Enqueue, 32 writers: each queue with the statement that its own client sends",
        unit="transactions/s",
        better="more",
        cases=_peers,
        rounds=1,
        note="A worker of each listens, for another type of task or another queue.",
    ),
)
