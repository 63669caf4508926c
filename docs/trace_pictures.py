"""Make the picture of docs/tracing.md: a task that is slow for every reason there is, as it was traced.

A rented GPU that is busy at first, an image to be pulled, a model to be loaded, a model server that
fails in the middle, one slow answer. The services are the real ones; the cloud is the stand-in for
Verda of the tests, the model the one that answers by rules, and both are slow in seconds where the
real ones are in minutes. Run it with `make pictures`.
"""

import asyncio
import tempfile
from pathlib import Path

from tests.providers.verda_fake import CLIENT_ID, CLIENT_SECRET, FakeVerda
from tests.system.conftest import Processes
from tests.system.test_scaling import add_task, until
from tests.system.test_scaling_verda import account

from model_stub.server import Stub, running_stub
from reveille.cli.demo import example_deck
from reveille.database import connect_pool
from reveille.embedded import EmbeddedPostgres
from reveille.migrate import migrate
from reveille.otlp_sink import OtlpSink
from reveille.testing import Database, eventually
from reveille.trace_context import trace_id_of
from reveille.trace_picture import svg
from reveille.trace_tree import render_text

IMAGES = Path(__file__).parent / "images"
GPU = "RTX 6000 Ada"
SCALING = f"visual_container_scaling: {{offers: [{{gpu: {GPU}}}]}}\n"
GPU_BUSY_SECONDS, PULL_SECONDS, BOOT_SECONDS = 4.0, 6.0, 1.5
LOAD_SECONDS, ANSWER_SECONDS, SLOW_SECONDS = 4.0, 0.5, 5.0


async def slow_task(database: Database, sink: OtlpSink, stub: Stub, folder: Path) -> str:
    """Run it; its trace id, when all its spans are there."""
    processes = Processes(database, stub, folder)
    scaling = folder / "scaling.yaml"
    scaling.write_text(SCALING)
    told = {"otlp_endpoint": sink.url}
    try:
        async with account(folder) as (url, verda, _):
            verda._times = PULL_SECONDS, BOOT_SECONDS  # noqa: SLF001
            verda.capacity[GPU] = 0
            processes.start("heartbeat_monitor", **told)
            processes.start(
                "autoscaler",
                provider="verda",
                verda_url=url,
                verda_client_id=CLIENT_ID,
                verda_client_secret=CLIENT_SECRET,
                verda_image="registry.test/{pool}:1",
                scaling_file=scaling,
                lone_task_delay_seconds=0,
                look_seconds=0.2,
                backoff_base_seconds=4,
                **told,
            )
            stub.faults.add("error_500_eof", contains="[page 5", times=1)
            stub.faults.add("slow", seconds=SLOW_SECONDS, contains="[page 8", times=1)
            deck = await asyncio.to_thread(example_deck().read_bytes)
            task_id = await add_task(database, deck, "visual_analysis")
            await free_gpu(verda)
            done = "SELECT status FROM processing_queue"
            await until(database, done, "completed", within_seconds=120)
            traceparent = await database.fetchval(
                "SELECT traceparent FROM processing_queue WHERE id = $1", task_id
            )
            trace_id = trace_id_of(traceparent)
            assert trace_id is not None  # noqa: S101
            await sink.wait_for(
                lambda _: sum(s.name.startswith("process") for s in sink.trace(trace_id)) > 1
            )
        return trace_id
    finally:
        await asyncio.to_thread(processes.stop_all)


async def free_gpu(verda: FakeVerda) -> None:
    """The GPU is somebody else's for a while."""
    await eventually(lambda: bool(verda.deployments), within_seconds=30)
    await asyncio.sleep(GPU_BUSY_SECONDS)
    verda.capacity.pop(GPU)
    verda.step()


async def draw(dsn: str, folder: Path) -> None:
    """Write the picture, and print the same as a tree."""
    await migrate(dsn)
    pool = await connect_pool(dsn, application_name="pictures")
    slow = {"load_seconds": LOAD_SECONDS, "service_seconds": ANSWER_SECONDS, "num_parallel": 8}
    try:
        async with OtlpSink() as sink, running_stub(**slow) as stub:
            trace_id = await slow_task(Database(dsn, pool), sink, stub, folder)
            spans = sink.trace(trace_id)
    finally:
        pool.terminate()
    title = "A slow task: no GPU free, a cold start, a model server that fails, a slow answer"
    (IMAGES / "trace-slow-task.svg").write_text(svg(spans, title=title))
    print(render_text(spans, width=100))  # noqa: T201


def main() -> None:
    """Overwrite the picture."""
    with EmbeddedPostgres() as postgres, tempfile.TemporaryDirectory() as folder:
        asyncio.run(draw(postgres.dsn, Path(folder)))


if __name__ == "__main__":
    main()
