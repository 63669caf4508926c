"""Every hostile deck through the real pipeline: a worker process, its render children, a model that can be
persuaded, the rows, the board and the log.
"""

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.system.conftest import Processes
from tests.system.hostile_decks import HOSTILE, POISON, SECRET

from model_stub import rules
from model_stub.server import running_stub
from queue_gateway.testing import running_gateway
from reveille.testing import Database, eventually

ENDED = "SELECT count(*) FROM processing_queue WHERE status IN ('completed', 'failed', 'cancelled')"


class Persuaded:
    """Answers as the rules do, and says what it was told to say in each text of its answer."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def __call__(self, prompt: str, schema: dict[str, Any] | None, image_count: int) -> str:
        self.prompts.append(prompt)
        answer = json.loads(rules.answer(prompt, schema, image_count))
        answer["description"] = POISON
        answer["key_points"] = [POISON]
        return json.dumps(answer)


@asynccontextmanager
async def canary() -> AsyncIterator[tuple[str, list[bytes]]]:
    """An address that nobody may call, and what was said there."""
    calls: list[bytes] = []

    async def called(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(await reader.read(200))
        writer.close()

    server = await asyncio.start_server(called, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", calls


async def enqueue(database: Database, content: bytes) -> int:
    task_id: int = await database.fetchval(
        "WITH d AS (INSERT INTO documents (filename, sha256, size_bytes, content) "
        "VALUES ('../../' || $1 || '.pdf', $1, $2, $3) RETURNING id) "
        "INSERT INTO processing_queue (document_id, task_type) "
        "SELECT id, 'visual_analysis' FROM d RETURNING id",
        hashlib.sha256(content).hexdigest(),
        len(content),
        content,
    )
    return task_id


def children_of(pid: int) -> list[str]:
    found: list[str] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended since
            found += path.read_text().split()
    return found


@pytest.mark.timeout(300)
async def test_hostile_decks_achieve_nothing(database: Database, tmp_path: Path) -> None:
    """Each ends as it should at its first attempt; nothing is called, read, run, shown or forged; work goes on."""
    persuaded = Persuaded()
    async with running_stub(answerer=persuaded, num_parallel=4) as stub, canary() as (url, calls):
        processes = Processes(database, stub, tmp_path)
        try:
            worker = await processes.worker(
                "visual_worker",
                "v1",
                slots=4,
                render_seconds_max=4,
                render_memory_bytes_max=512 * 1024 * 1024,
            )
            tasks = {
                name: await enqueue(database, hostile.content(url))
                for name, hostile in HOSTILE.items()
            }

            async def all_ended() -> bool:
                return bool(await database.fetchval(ENDED) == len(tasks))

            await eventually(all_ended, within_seconds=240)
            for name, task_id in tasks.items():
                await judge(database, name, task_id)
            assert calls == []
            prompts = "\n".join(persuaded.prompts)
            assert SECRET not in prompts
            assert "root:" not in prompts
            for hostile in HOSTILE.values():
                assert hostile.seen in prompts
            assert worker.alive
            # at most the one that waits for a next deck
            await eventually(lambda: len(children_of(worker.process.pid)) <= 1)
            await check_board(database, tasks["orders"])
        finally:
            await asyncio.to_thread(processes.stop_all)

    lines = [json.loads(line) for line in worker.log_path.read_text().splitlines()]
    assert not [line for line in lines if line["event"] == "forged" or line["level"] == "error"]
    assert SECRET not in worker.log_path.read_text()
    assert not Path("/tmp/evil.sh").exists()  # noqa: S108 - where the deck would have it


async def judge(database: Database, name: str, task_id: int) -> None:
    """The task ended as its deck deserves, with its results whole or none."""
    row = await database.fetchrow(
        "SELECT status, attempt, lost_count, failure_reason, last_error, processing_metadata, "
        "(SELECT count(*) FROM visual_analysis_results r WHERE r.task_id = q.id) AS results "
        "FROM processing_queue q WHERE id = $1",
        task_id,
    )
    assert row is not None
    hostile = HOSTILE[name]
    expected = "completed" if hostile.ends is None else "failed"
    assert (row["status"], row["attempt"], row["lost_count"]) == (expected, 1, 0), (name, row)
    if hostile.ends is not None:
        assert (row["failure_reason"] or "").startswith(hostile.ends), (name, row)
        assert row["last_error"]
        assert "\x1b" not in row["last_error"]
        assert row["results"] == 0
    else:
        assert row["results"] >= 1
        assert hostile.warned in json.dumps(row["processing_metadata"]), (name, row)


async def check_board(database: Database, task_id: int) -> None:
    """What the model was made to say is text on the board, and no element."""
    document_id = await database.fetchval(
        "SELECT document_id FROM processing_queue WHERE id = $1", task_id
    )
    pages = {}
    async with running_gateway(database.dsn) as gateway:
        for path in (f"/documents/{document_id}", f"/tasks/{task_id}", "/tasks", "/"):
            async with gateway.session.get(gateway.url + path) as answer:
                page = pages[path] = await answer.text()
                assert answer.status == 200, path
                assert "<script>canary" not in page
                assert "<img src=x" not in page
                assert "\x1b" not in page
    assert "&lt;script&gt;canary" in pages[f"/documents/{document_id}"]


def test_environment_of_this_test_can_notice_children() -> None:
    """`children_of` sees the children of a process, so that none seen means none there."""
    child = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
    try:
        assert str(child) in children_of(os.getpid())
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
