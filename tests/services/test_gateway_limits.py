"""The gateway's limits: how much, how fast, how slow, and what a browser may do with an answer."""

import asyncio
import io
import json
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from queue_gateway import route
from queue_gateway.testing import running_gateway
from reveille.health import HttpServer
from reveille.testing import Database

SMALL = {"document_id": 1, "task_type": "visual_analysis"}


async def test_bodies_and_headers_over_their_limit_are_refused(database: Database) -> None:
    """A megabyte of JSON, a header or a line of 16 kB, a thousand of them: never a 5xx."""
    async with running_gateway(database.dsn) as gateway:
        large = {**SMALL, "processing_options": {"x": "a" * 2**20}}
        refused = await gateway.ask(
            *("POST", "/api/tasks", 413),
            data=io.BytesIO(json.dumps(large).encode()),
            headers={"Content-Type": route.JSON},
        )
        statuses = []
        for headers, path in (
            ({"X-Large": "a" * 16_384}, "/api/tasks"),
            ({}, "/api/tasks?status=" + "a" * 16_384),
            ({f"X-{n}": "a" for n in range(1000)}, "/api/tasks"),
        ):
            async with gateway.session.get(gateway.url + path, headers=headers) as answer:
                statuses.append(answer.status)
        nested = io.BytesIO(b"[" * 100_000)
        deep = await gateway.ask(
            "POST", "/api/tasks", 400, data=nested, headers={"Content-Type": "application/json"}
        )

    assert refused["status"] == 413
    assert all(400 <= status < 500 for status in statuses), statuses
    assert deep["title"] == "Bad Request"


async def test_body_that_trickles_is_given_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that announces a body and does not send it gets a 408, and its connection back."""
    monkeypatch.setattr(route, "BODY_SECONDS_MAX", 0.2)

    async def trickle() -> Any:
        yield b'{"document_id": '
        await asyncio.Event().wait()

    async with running_gateway(database.dsn) as gateway:
        answer = await gateway.ask(
            *("POST", "/api/tasks", 408), data=trickle(), headers={"Content-Type": route.JSON}
        )

    assert "within" in answer["detail"]


@pytest.mark.parametrize("said", [b"", b"GET /", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b"])
async def test_connection_that_never_finishes_its_first_head_is_cut(said: bytes) -> None:
    """Thousands of silent connections would use up the descriptors."""
    server = HttpServer(web.Application(), host="127.0.0.1", port=0, head_seconds_max=0.2)
    await server.start()
    try:
        port = int(server.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
    finally:
        await server.stop()


async def test_connection_with_a_request_under_way_is_not_cut() -> None:
    """Long polls and event streams are slow on purpose."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        asked.set()
        await go_on.wait()
        return web.Response(text="there")

    application = web.Application()
    application.router.add_get("/", slow)
    server = HttpServer(application, host="127.0.0.1", port=0, head_seconds_max=0.05)
    await server.start()
    try:
        port = int(server.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await asked.wait()
        silent, other = await asyncio.open_connection("127.0.0.1", port)
        assert await silent.read() == b""  # so the limit has passed for the first one too
        go_on.set()
        assert (await reader.read()).endswith(b"there")
        for end in (writer, other):
            end.close()
    finally:
        await server.stop()


async def test_guessing_tokens_at_the_login_form_is_slowed_down(database: Database) -> None:
    """Each guess counts for the address like a request; a foreign page may not try at all."""
    async with running_gateway(
        database.dsn,
        api_tokens="reader=read",
        requests_per_second_max=0.001,
        requests_burst_max=3,
    ) as gateway:
        login = f"{gateway.url}/login"
        statuses = []
        for guess in range(4):
            async with gateway.session.post(login, data={"token": f"guess{guess}"}) as answer:
                statuses.append(answer.status)
        retry_after = answer.headers["Retry-After"]
        foreign = {"Sec-Fetch-Site": "cross-site"}
        async with gateway.session.post(login, data={"token": "x"}, headers=foreign) as answer:
            assert answer.status == 403

    assert statuses == [401, 401, 401, 429]
    assert int(retry_after) > 0


async def test_answers_forbid_browsers_everything(database: Database) -> None:
    """JSON, problems, streams and metrics: no script, no frame, no guessing, no other origin."""
    async with running_gateway(database.dsn) as gateway:
        for path in ("/api/tasks", "/api/nothing", "/openapi.json", "/api/events", "/metrics"):
            origin = {"Origin": "https://evil.example"}
            async with gateway.session.get(gateway.url + path, headers=origin) as answer:
                assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert not [name for name in answer.headers if name.startswith("Access-Control")]
        async with gateway.session.options(f"{gateway.url}/api/tasks") as preflight:
            assert preflight.status == 405


async def test_openness_beyond_this_machine_is_said_in_the_log(database: Database) -> None:
    """No tokens on a loopback address is a laptop; on all addresses it is a decision."""
    with capture_logs() as logs:
        async with running_gateway(database.dsn, http_host="0.0.0.0"):  # noqa: S104
            pass
        warned = [entry for entry in logs if "open" in entry["event"]]
        async with running_gateway(database.dsn, http_host="0.0.0.0", api_tokens="t=read"):  # noqa: S104
            pass
        async with running_gateway(database.dsn):
            pass
    assert len(warned) == 1
    assert [entry for entry in logs if "open" in entry["event"]] == warned
