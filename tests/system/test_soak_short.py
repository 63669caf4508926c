"""The soak in small: all services under load beside a reader. The long form is `make soak`."""

import sys
from pathlib import Path

import pytest
from tests.soak.run import soak
from tests.soak.sample import Sample
from tests.soak.stage import Setting

SETTING = Setting(
    rate=40,
    seconds=8,
    reader_from_seconds=2,
    reader_until_seconds=6,
    sample_seconds=2,
    archive_after_seconds=1,
    archive_seconds=1,
)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.timeout(300)
async def test_soak_of_seconds_ends_every_task_once_and_measures_all(tmp_path: Path) -> None:
    """Each acknowledged task ends, each attempt begins once, and every process has its samples."""
    samples: list[Sample] = []
    count = await soak(SETTING, tmp_path, samples.append)
    assert count.wrong == []
    assert sum(count.ends.values()) >= samples[-1].committed > 100
    assert set(count.ends) <= {"completed", "cancelled"}
    assert {sample.reader for sample in samples} == {True, False}
    assert samples[-1].database["archive_bytes"] > 0
    assert all(process.memory_mib > 1 for process in samples[-1].processes.values())
    assert len(samples[-1].processes) == 7
