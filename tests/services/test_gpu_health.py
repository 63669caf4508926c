"""A GPU that fails, as an `nvidia-smi` of ours tells it."""

import asyncio
import os
from pathlib import Path

import pytest
from tests.services.test_gpu_metrics import program
from tests.services.test_worker_in_trouble import add, done, ended, living, server, worker_of

from reveille.testing import Database, eventually
from reveille.worker import gpu_health
from reveille.worker.gpu_health import GpuHealth

TWO = "echo GPU-1; echo GPU-2"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (TWO, None),
        ("echo GPU-1", "of 2 GPUs 1 answer"),
        ("echo No devices were found; exit 6", "No devices were found"),
        (
            "echo 'Unable to determine the device handle for GPU0: Unknown Error' >&2; exit 255",
            "GPU0",
        ),
        ("exit 9", "exit code 9"),
        ("exec sleep 60", "no answer within"),
    ],
)
async def test_gpu_that_does_not_answer_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str | None
) -> None:
    """Gone, one of two gone, a driver that fails or hangs: each in words; a healthy one in none."""
    health = GpuHealth(program(tmp_path, TWO))
    assert await health.trouble() is None

    program(tmp_path, body)
    if said is not None and "within" in said:
        monkeypatch.setattr(gpu_health, "ANSWER_SECONDS_MAX", 0.2)
    trouble = await health.trouble()

    assert trouble == said if said is None else said in (trouble or "")


async def test_worker_that_stops_leaves_no_question_behind(tmp_path: Path) -> None:
    """A question that is given up takes its process with it."""
    asked = tmp_path / "asked"
    health = GpuHealth(
        program(tmp_path, f"echo $$ > {asked}.tmp; mv {asked}.tmp {asked}; exec sleep 60")
    )
    asking = asyncio.create_task(health.trouble())

    async def hangs() -> bool:
        return asked.exists()

    await eventually(hangs)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    with pytest.raises(ProcessLookupError):
        os.kill(int(asked.read_text()), 0)


async def test_machine_without_the_program_has_no_trouble() -> None:
    """A worker that asks a model server elsewhere has no GPU and needs none."""
    assert await GpuHealth("nvidia-smi-that-is-not-there").trouble() is None


async def test_gpu_that_fails_takes_its_server_out_of_service_until_it_is_back(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row says why, no task is claimed and none loses an attempt; with the GPU the work goes on."""
    program(tmp_path, TWO)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    worker = worker_of(database, done, model_health_seconds=0.1)

    async def no_model(*_: object) -> None:
        return None

    worker.model.health = no_model  # type: ignore[method-assign, assignment]
    async with living(worker, database):
        assert (await ended(database, await add(database)))["attempt"] == 1
        program(tmp_path, "echo No devices were found; exit 6")

        async def out_of_service() -> bool:
            return bool(await server(database, "status") == "starting")

        await eventually(out_of_service)
        assert "No devices were found" in await server(database, "status_reason")
        assert "model" in await worker.ready()
        waiting = await add(database)
        program(tmp_path, TWO)

        row = await ended(database, waiting)
        assert (row["status"], row["attempt"]) == ("completed", 1)
        assert await server(database, "status") == "active"
