"""The stand-in as a server: faults on demand, queue, slots, keep-alive, streams, and its process."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from model_stub import Stub, running_stub


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    """A stand-in with the default settings."""
    async with running_stub() as stub:
        yield stub


def chat(model: str = "gemma3", **more: Any) -> dict[str, Any]:
    """The body of a whole answer."""
    message = {"role": "user", "content": "a deck"}
    return {"model": model, "messages": [message], "stream": False, **more}


async def post(http: aiohttp.ClientSession, body: dict[str, Any]) -> tuple[int, str]:
    """One chat: status and text."""
    async with http.post("/api/chat", json=body) as response:
        return response.status, await response.text()


async def loaded(http: aiohttp.ClientSession) -> list[str]:
    """The names in /api/ps."""
    async with http.get("/api/ps") as response:
        return [model["name"] for model in (await response.json())["models"]]


async def test_fault_endpoint_arms_counts_and_refuses_unknown_kinds(stub: Stub) -> None:
    """Guards the switches that tests of other processes and languages use."""
    async with aiohttp.ClientSession(stub.url) as http:
        fault = {"kind": "busy_503", "times": 1, "model": "gemma3", "contains": "a deck"}
        async with http.post("/_stub/faults", json=fault) as response:
            assert (await response.json())["faults"][0]["kind"] == "busy_503"
        async with http.post("/_stub/faults", json={"kind": "earthquake"}) as response:
            assert response.status == 422
        chat = {"model": "llava", "messages": [{"role": "user", "content": "a deck"}]}
        async with http.post("/api/chat", json=chat) as response:
            assert response.status == 200
            lines = [json.loads(line) for line in (await response.text()).splitlines()]
            assert lines[-1]["done"] is True
        async with http.post("/api/chat", json={**chat, "model": "gemma3"}) as response:
            assert response.status == 503
        async with http.get("/_stub/requests") as response:
            counted = await response.json()
            assert (counted["total"], counted["outcomes"]["refused"]) == (2, 1)


async def test_faults_with_a_seed_strike_the_same_requests_each_time() -> None:
    """Guards repeatable chaos: probability is drawn from the fault's own seed."""
    drawn = []
    for _ in range(2):
        async with running_stub() as stub, aiohttp.ClientSession(stub.url) as http:
            stub.faults.add("busy_503", times=None, probability=0.5, seed=7)
            drawn.append([(await post(http, chat()))[0] for _ in range(20)])
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) == {200, 503}


async def test_cold_model_with_a_full_queue_answers_busy_to_the_rest() -> None:
    """Guards the recorded case: one loading, three queued, two of six refused; then all are free."""
    async with (
        running_stub(load_seconds=0.2, max_queue=3) as stub,
        aiohttp.ClientSession(stub.url) as http,
    ):
        replies = await asyncio.gather(*(post(http, chat()) for _ in range(6)))
        assert sorted(status for status, _ in replies) == [200] * 4 + [503] * 2
        busy = next(text for status, text in replies if status == 503)
        assert "maximum pending requests exceeded" in busy
        assert stub.engine.scheduler.loads == 1


async def test_loaded_model_makes_requests_wait_for_a_slot_without_limit() -> None:
    """Guards the other half of the scheduler: a full queue never refuses a loaded model."""
    async with (
        running_stub(num_parallel=2, max_queue=0, service_seconds=0.01) as stub,
        aiohttp.ClientSession(stub.url) as http,
    ):
        await post(http, chat())
        replies = await asyncio.gather(*(post(http, chat()) for _ in range(12)))
        assert {status for status, _ in replies} == {200}
        assert stub.requests.generating_peak == 2


async def test_busy_model_is_waited_for_before_another_takes_its_place() -> None:
    """Guards eviction: with room for one model the second waits, and its load time says so."""
    async with (
        running_stub(max_loaded_models=1, service_seconds=0.2) as stub,
        aiohttp.ClientSession(stub.url) as http,
    ):
        first = asyncio.create_task(post(http, chat()))
        await stub.requests.until(lambda requests: requests.generating == 1)
        _, text = await post(http, chat("mistral:7b"))
        assert (await first)[0] == 200
        assert json.loads(text)["load_duration"] > 50_000_000
        assert await loaded(http) == ["mistral:7b"]


async def test_changed_num_ctx_reloads_the_model(stub: Stub) -> None:
    """Guards why num_ctx is constant: each change costs a load."""
    async with aiohttp.ClientSession(stub.url) as http:
        for num_ctx in (2048, 2048, 4096):
            await post(http, chat(options={"num_ctx": num_ctx}))
    assert stub.engine.scheduler.loads == 2


async def test_idle_model_goes_when_its_keep_alive_has_run_out(stub: Stub) -> None:
    """Guards keep_alive on a clock that tests move: seconds, Go durations, pinned, at once."""
    async with aiohttp.ClientSession(stub.url) as http:
        await post(http, chat(keep_alive="10m"))
        await post(http, chat("mistral:7b", keep_alive=-1))
        await post(http, chat("phi4:14b", keep_alive=0))
        assert await loaded(http) == ["gemma3:latest", "mistral:7b"]
        async with http.post("/_stub/clock", json={"advance_seconds": 601}) as response:
            assert response.status == 200
        assert await loaded(http) == ["mistral:7b"]


@pytest.mark.parametrize(
    ("fault", "last_line"),
    [
        ("stream_eof", {"error"}),
        ("done_false", {"model", "created_at", "message", "done"}),
    ],
)
async def test_fault_in_a_stream_shows_only_in_its_last_line(
    stub: Stub, fault: Any, last_line: set[str]
) -> None:
    """Guards the two ways a stream fails under status 200."""
    stub.faults.add(fault)
    async with aiohttp.ClientSession(stub.url) as http:
        status, text = await post(http, chat(stream=True))
    assert status == 200
    last = json.loads(text.splitlines()[-1])
    assert set(last) == last_line
    assert last.get("done") is not True


async def test_client_that_leaves_a_stream_ends_the_generation() -> None:
    """Guards the slot of a client that hangs up between two tokens."""
    async with running_stub(tokens_per_second=20) as stub:
        async with aiohttp.ClientSession(stub.url) as http:
            response = await http.post("/api/chat", json=chat(stream=True))
            await response.content.readline()
            response.close()
        await stub.requests.until(lambda requests: requests.generating == 0, timeout_seconds=1)
        assert stub.requests.cancelled == 1


async def test_host_header_of_a_stranger_is_refused_on_loopback(stub: Stub) -> None:
    """Guards what a misconfigured proxy meets on a real server: a bare 403."""
    async with aiohttp.ClientSession(stub.url) as http:
        for host, status in (("models.example", 403), ("localhost:1", 200), ("gpu.local", 200)):
            async with http.get("/", headers={"Host": host}) as response:
                assert response.status == status


async def test_stopped_stub_starts_again_on_its_port(stub: Stub) -> None:
    """Guards tests that take the model server away for a while."""
    await stub.stop()
    await stub.start()
    async with aiohttp.ClientSession(stub.url) as http:
        assert (await post(http, chat()))[0] == 200


async def test_process_serves_what_its_environment_says_and_ends_on_sigterm() -> None:
    """Guards `python -m model_stub`: flags over variables, its address on stderr, a clean end."""
    environment = {
        **os.environ,
        "REVEILLE_STUB_PORT": "1",
        "REVEILLE_STUB_FAULTS": '[{"kind": "busy_503"}]',
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "model_stub", "--port", "0", "--models", "tiny:1b+vision"),
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    line = (await process.stderr.readline()).decode()
    url = line.split()[-1]
    async with aiohttp.ClientSession(url) as http:
        async with http.get("/api/tags") as response:
            (only,) = (await response.json())["models"]
            assert only["name"] == "tiny:1b"
            assert only["details"]["family"] == "rules-stub"
            assert response.headers["Server"] == "rules-stub"
        assert (await post(http, chat("tiny:1b")))[0] == 503
        assert (await post(http, chat("tiny:1b")))[0] == 200
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
