"""A worker's handlers by direct HTTP: what each route answers, who is let in, and what breaks nothing."""

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from structlog.testing import capture_logs

import text_worker.service
import visual_worker.service
from model_stub import rules
from model_stub.server import Stub, running_stub
from reveille.outcome import Done, Outcome
from reveille.settings import WorkerSettings
from reveille.telemetry import configure
from reveille.testing import Database, eventually
from reveille.worker import WorkerService

DECK = Path(__file__).parents[2] / "examples" / "cardiosense_pitch.pdf"
BUILD = {"visual": visual_worker.service.build, "text": text_worker.service.build}
ROUTES = {
    "visual": {
        "visual-analysis": "visual_analysis_results",
        "slide-feedback": "slide_feedback",
    },
    "text": {
        "extraction/company-offering": "extraction_results",
        "extraction/startup_name": "extraction_results",
        "extraction/deck_date_extraction": "extraction_results",
        "template-analysis": "template_analysis_results",
    },
}

Ask = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    """The stand-in model server."""
    async with running_stub(answerer=rules.answer, num_parallel=8) as running:
        yield running


@asynccontextmanager
async def worker_of(
    database: Database, stub: Stub, pool: str, **settings: Any
) -> AsyncIterator[tuple[WorkerService, Ask]]:
    """A worker that is ready, and how to ask it."""
    values = {"server_id": "w-1", "OLLAMA_HOST": stub.url, **settings}
    worker = BUILD[pool](WorkerSettings(DATABASE_URL=database.dsn, **values), configure("test"))
    life = asyncio.create_task(worker.run())

    async def ready() -> bool:
        if life.done():
            await life
        status = await database.fetchval("SELECT status FROM processing_servers WHERE id = 'w-1'")
        return bool(status == "active")

    try:
        await eventually(ready, within_seconds=30)
        async with ClientSession() as session:

            async def ask(route: str, body: Any = None, **options: Any) -> tuple[int, Any]:
                if not options.keys() & {"data", "json"}:
                    options["json"] = body or {}
                async with session.post(f"{worker.http.url}/api/{route}", **options) as answer:
                    return answer.status, await answer.json(content_type=None)

            yield worker, ask
    finally:
        worker.stopping.set()
        await life
        await worker.telemetry.aclose()


async def stored_deck(database: Database) -> int:
    content = DECK.read_bytes()
    document_id: int = await database.fetchval(
        "INSERT INTO documents (filename, sha256, size_bytes, content) VALUES ('d.pdf', $1, $2, $3) RETURNING id",
        hashlib.sha256(content).hexdigest(),
        len(content),
        content,
    )
    return document_id


@pytest.mark.parametrize("pool", ROUTES)
async def test_direct_call_answers_with_the_rows_that_a_task_would_write(
    database: Database, stub: Stub, pool: str
) -> None:
    """Each route of a worker works, and nothing of it reaches the queue or the result tables."""
    document_id = await stored_deck(database)
    async with worker_of(database, stub, pool, slots=4) as (_, ask):
        for route, table in ROUTES[pool].items():
            status, answer = await ask(route, {"document_id": document_id})
            assert status == 200, answer
            assert answer["status"] == "completed"
            assert answer["results"][table], route
            assert answer["metadata"]["model"] == "rules-stub"
            assert await database.fetchval(f"SELECT count(*) FROM {table}") == 0  # noqa: S608
        if pool == "text":
            order = {"document_id": document_id, "analysis_type": "clinical"}
            status, answer = await ask("specialized-analysis", order)
            assert status == 200, answer

    assert await database.fetchval("SELECT count(*) FROM processing_queue") == 0


async def test_direct_call_needs_a_token_once_there_is_one(database: Database, stub: Stub) -> None:
    """Whoever reaches a rented GPU's port reads no deck and uses no GPU; health stays open."""
    document_id = await stored_deck(database)
    digest = hashlib.sha256(b"backend").hexdigest()
    tokens = f"reader=read,sha256:{digest}=submit"
    with capture_logs() as logs:
        async with worker_of(database, stub, "text", api_tokens=tokens) as (worker, ask):
            order = {"document_id": document_id}

            async def asked_as(token: str) -> int:
                headers = {"Authorization": f"Bearer {token}"}
                return (await ask("extraction/deck-date", json=order, headers=headers))[0]

            unknown, answer = await ask("extraction/deck-date", order)
            statuses = [
                await asked_as(token)
                for token in ("nobody", f"sha256:{digest}", "reader", "backend")
            ]
            no_route, _ = await ask("extraction/nothing", order)
            async with (
                ClientSession() as session,
                session.get(f"{worker.http.url}/api/health") as health,
            ):
                assert health.status == 200

    assert (unknown, answer["status"]) == (401, 401)
    assert statuses == [401, 401, 403, 200]
    assert no_route == 401
    assert "backend" not in json.dumps(logs, default=str)


async def test_worker_that_is_open_beyond_its_machine_says_so(
    database: Database, stub: Stub
) -> None:
    """In a container it listens on all addresses; without tokens an operator can read what that means."""
    with capture_logs() as logs:
        async with worker_of(database, stub, "text", http_host="0.0.0.0"):  # noqa: S104
            pass
    assert [entry for entry in logs if entry["event"] == "open_to_everybody"]


BODIES: dict[str, Any] = {
    "no_json": b"{",
    "a_list": b"[]",
    "null": b"null",
    "deep": b'{"processing_options": ' + b"[" * 50_000,
    "deep_and_whole": b'{"processing_options": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}",
    "not_utf_8": b'{"file_path": "\xff\xfe"}',
    "lone_surrogate": b'{"file_path": "\\ud800"}',
    "nul": b'{"file_path": "a\\u0000b"}',
    "nul_in_options": b'{"processing_options": {"a\\u0000": "\\u0000"}}',
    "huge_id": b'{"document_id": 99999999999999999999999}',
    "huge_number": b'{"document_id": 1' + b"0" * 5_000 + b"}",
    "fraction": b'{"document_id": 1.5}',
    "infinite": b'{"document_id": Infinity}',
    "truth": b'{"document_id": true}',
    "text_id": b'{"document_id": "1"}',
    "unknown_member": b'{"lease_token": 1}',
    "twice": b'{"document_id": 1, "document_id": "x"}',
    "long_company": b'{"company_id": "' + b"a" * 300 + b'"}',
    "long_path": b'{"file_path": "' + b"a" * 100_000 + b'"}',
    "up": b'{"file_path": "../../etc/passwd"}',
    "absolute": b'{"file_path": "/etc/passwd"}',
    "metadata": b'{"file_path": "https://169.254.169.254/latest/meta-data/"}',
    "file_url": b'{"file_path": "file:///etc/passwd"}',
    "nobodys_document": b'{"document_id": -9223372036854775808}',
    "nothing": b"",
}


async def test_body_that_makes_no_sense_is_refused_and_breaks_nothing(
    database: Database, stub: Stub
) -> None:
    """Every one is a 4xx problem with a reason, no error in the log, and no slot stays taken."""
    with capture_logs() as logs:
        async with worker_of(database, stub, "text") as (worker, ask):
            for name, data in BODIES.items():
                status, answer = await ask(
                    "extraction/deck-date",
                    data=data,
                    headers={"Content-Type": "application/json"},
                )
                assert status == 422, (name, status, answer)
                assert "root:" not in json.dumps(answer)
            large = b'{"company_id": "' + b"a" * 2**20 + b'"}'
            for data, kind, expected in (
                (io.BytesIO(large), "application/json", 413),
                (b"{}", "text/plain", 415),
            ):
                status, _ = await ask(
                    "extraction/deck-date", data=data, headers={"Content-Type": kind}
                )
                assert status == expected
            foreign = {"Sec-Fetch-Site": "cross-site"}
            assert (await ask("extraction/deck-date", headers=foreign))[0] == 403
            unknown = 'x"\r\n<script>'
            assert (await ask(f"extraction/{unknown.encode().hex()}"))[0] == 404
            assert worker.slots.busy == 0

    assert not [entry for entry in logs if entry["log_level"] in {"error", "critical"}]


async def test_caller_that_hangs_up_frees_the_gpu(database: Database, stub: Stub) -> None:
    """A direct call that nobody waits for is cancelled, down to the model's answer, and its slot is free."""
    document_id = await stored_deck(database)
    stub.faults.add("hang", times=1)
    async with worker_of(database, stub, "text", slots=1) as (worker, ask):
        order = {"document_id": document_id}
        waiting = asyncio.create_task(ask("extraction/deck-date", order))
        await stub.requests.until(lambda _: stub.requests.active_peak >= 1, timeout_seconds=20)
        waiting.cancel()
        await stub.requests.until(lambda _: stub.requests.cancelled >= 1, timeout_seconds=5)

        assert (await ask("extraction/deck-date", order))[0] == 200
        assert worker.slots.busy == 0


async def test_direct_call_waits_for_a_slot_and_then_gives_up(
    database: Database, stub: Stub
) -> None:
    """Queue and direct calls share the slots: a full worker answers 503 with the time to come back."""
    document_id = await stored_deck(database)
    stub.faults.add("hang", times=1)
    async with worker_of(database, stub, "text", slots=1, direct_wait_seconds=2) as (_, ask):
        order = {"document_id": document_id}
        first = asyncio.create_task(ask("extraction/deck-date", order))
        await stub.requests.until(lambda _: stub.requests.active_peak >= 1, timeout_seconds=20)

        status, answer = await ask("extraction/deck-date", order)
        first.cancel()

    assert (status, answer["title"]) == (503, "Busy")


async def test_direct_call_that_waits_comes_before_a_backlog(
    database: Database, stub: Stub
) -> None:
    """The slot that falls free is its own, however much is queued: it once waited until it gave up."""
    served: list[int] = []
    go_on = asyncio.Event()

    async def handle(_options: Any, context: Any) -> Outcome:
        served.append(context.task.document_id)
        await go_on.wait()
        return Done()

    async with worker_of(database, stub, "text", slots=1) as (worker, ask):
        worker.handlers = {**worker.handlers, "deck_date_extraction": handle}
        await database.execute(
            "INSERT INTO processing_queue (document_id, task_type) "
            "SELECT n, 'deck_date_extraction' FROM generate_series(1, 5) AS n"
        )
        await eventually(lambda: served)
        call = asyncio.create_task(ask("extraction/deck-date", {"document_id": 99}))
        await eventually(lambda: worker.slots._waiting)
        go_on.set()
        assert (await call)[0] == 200
        await eventually(lambda: len(served) == 6)

    assert served == [1, 99, 2, 3, 4, 5]


async def test_direct_call_is_finished_before_the_worker_ends(
    database: Database, stub: Stub
) -> None:
    """SIGTERM is no reason to lose what the GPU has begun: the grace is for direct calls, too."""
    document_id = await stored_deck(database)
    began, go_on = asyncio.Event(), asyncio.Event()
    async with worker_of(database, stub, "text") as (worker, ask):
        handle = worker.handlers["deck_date_extraction"]

        async def slow(options: Any, context: Any) -> Outcome:
            began.set()
            await go_on.wait()
            return await handle(options, context)

        worker.handlers = {**worker.handlers, "deck_date_extraction": slow}
        call = asyncio.create_task(ask("extraction/deck-date", {"document_id": document_id}))
        async with asyncio.timeout(20):
            await began.wait()
        worker.stopping.set()

        async def leaving() -> bool:
            status = await database.fetchval("SELECT status FROM processing_servers")
            return status != "active"

        await eventually(leaving)
        assert (await ask("extraction/deck-date", {"document_id": document_id}))[0] == 503
        go_on.set()
        status, answer = await call

    assert status == 200, answer
