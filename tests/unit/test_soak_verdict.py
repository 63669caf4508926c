"""The soak's verdict: what grows is found, what is flat is not, and the page says both."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.soak.kept import Kept
from tests.soak.page import page
from tests.soak.picture import picture
from tests.soak.sample import Process, Sample, Waits
from tests.soak.stage import Setting
from tests.soak.verdict import judge

MIB = 2**20
SETTING = Setting(
    rate=200, seconds=2000, reader_from_seconds=200, reader_until_seconds=1800, sample_seconds=10
)


def sample(at_seconds: float) -> Sample:
    """As a good run has them: dead rows pile up beside the reader, and nothing else does."""
    reader = SETTING.reader_from_seconds <= at_seconds < SETTING.reader_until_seconds
    dead = int(at_seconds * 400) if reader else 5_000
    return Sample(
        at_seconds=at_seconds,
        reader=reader,
        committed=int(at_seconds * 200),
        began=int(at_seconds * 200),
        backlog=2,
        waits=Waits(count=2000, p50=5.0, p95=15.0, p99=30.0, most=80.0),
        database={
            "table_bytes": 10 * MIB + int(min(at_seconds, 1800) * 100_000),
            "index_bytes": 5 * MIB + int(min(at_seconds, 1800) * 20_000),
            "claimable_bytes": MIB,
            "dead_rows": dead,
            "live_rows": 12_000,
            "vacuums": 3,
        },
        processes={
            "text-1": Process(memory_mib=60.0, files=20, cpu_seconds=at_seconds / 10),
            "postgres": Process(memory_mib=200.0, files=900, cpu_seconds=at_seconds / 5),
        },
        load=1.5,
    )


def run(change: Callable[[Sample], Sample] = lambda s: s) -> Kept:
    """A whole one, each sample changed."""
    samples = [change(sample(at)) for at in range(10, 2001, 10)]
    return Kept(
        setting=SETTING,
        samples=samples,
        ends={"completed": 399_000, "cancelled": 1_000},
        requeued={"without": Waits(count=9, p50=4, p95=9, p99=9, most=9), "beside": None},
        wrong=[],
    )


def slower(s: Sample) -> Sample:
    assert s.waits is not None
    return replace(s, waits=replace(s.waits, p50=5 + s.at_seconds / 10) if s.reader else s.waits)


def leaking(s: Sample) -> Sample:
    grown = replace(s.processes["text-1"], memory_mib=60 + s.at_seconds / 120)
    return replace(s, processes=s.processes | {"text-1": grown})


def filling(s: Sample) -> Sample:
    grown = replace(s.processes["text-1"], memory_mib=54 + min(14.0, s.at_seconds / 48))
    return replace(s, processes=s.processes | {"text-1": grown})


def hoarding(s: Sample) -> Sample:
    grown = replace(s.processes["text-1"], files=20 + int(s.at_seconds / 60))
    return replace(s, processes=s.processes | {"text-1": grown})


def behind(s: Sample) -> Sample:
    return replace(s, backlog=int(s.at_seconds) if s.reader else 0)


def bloated(s: Sample) -> Sample:
    return replace(s, database=s.database | {"table_bytes": int(s.at_seconds * 200 * 5_000)})


def uncleaned(s: Sample) -> Sample:
    return replace(s, database=s.database | {"dead_rows": int(s.at_seconds * 400)})


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (slower, "waits grew beside the reader: p50 5.0 → "),
        (leaking, "text-1 grew: "),
        (hoarding, "text-1 holds "),
        (behind, "a backlog of "),
        (bloated, "bytes a task pile up beside the reader"),
        (uncleaned, "dead rows are left after the reader has gone"),
    ],
)
def test_what_grows_is_found(change: Callable[[Sample], Sample], found: str) -> None:
    """A verdict that cannot fail proves nothing."""
    assert any(found in finding for finding in judge(run(change)))


def test_flat_run_has_no_findings_and_its_page_says_so() -> None:
    """Dead rows beside the reader are the reader's."""
    kept = run()
    assert judge(kept) == []
    text = page(kept, [])
    assert "Nothing lost, nothing doubled, nothing that should be flat grew." in text
    assert "400,000 tasks in 33 minutes (200 a second)" in text
    assert page(kept, ["text-1 grew"]).count("- text-1 grew") == 1


def test_memory_that_fills_up_in_the_first_third_is_no_leak() -> None:
    """The C library's heap; a leak of 0.5 MiB a minute is one."""
    assert judge(run(filling)) == []


def test_picture_draws_every_curve() -> None:
    """Two services and Postgres, waits, rows, sizes, load: each has its line."""
    kept: Any = run()
    assert picture(kept).count("<polyline") == 3 + 1 + 2 + 1 + 1 + 1
