"""The model client and the stand-in over real HTTP: every way an answer can go wrong, and right."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
from aiohttp import web
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from pydantic import BaseModel, ConfigDict, Field

from model_stub import Stub, running_stub
from reveille import model, semconv
from reveille.errors import TaskRejected, TaskRetry
from reveille.model import ModelCall, ModelClient

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)


class Verdict(BaseModel):
    """An answer with a bound in each field, so that wrong values show."""

    model_config = ConfigDict(extra="forbid")

    label: Literal["good", "bad"]
    score: int = Field(ge=0, le=10)
    reasons: list[str] = Field(max_length=5)


GOOD = '{"label": "good", "score": 7, "reasons": ["clear"]}'


def always_good(prompt: str, schema: dict[str, Any] | None, images: int) -> str:
    """Answers every question with a valid verdict."""
    return GOOD


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    """A stand-in with its own rules."""
    async with running_stub() as stub:
        yield stub


@pytest.fixture
async def client(stub: Stub) -> AsyncIterator[ModelClient]:
    """A client of that stand-in, with short time limits."""
    client = ModelClient(stub.url, timeout_seconds=5, num_ctx=4096)
    yield client
    await client.close()


async def ask(client: ModelClient, **more: Any) -> Any:
    """One question for a verdict."""
    return await client.ask(
        **{"model": "gemma3", "system": "Judge.", "prompt": "a deck", "answer": Verdict, **more}
    )


async def test_answer_of_the_stand_in_says_that_it_was_the_stand_in(client: ModelClient) -> None:
    """Guards honesty: no result of rules can be taken for a model's."""
    answer = await ask(client)
    assert (answer.model, answer.served_by, answer.repaired) == ("rules-stub", "rules-stub", False)
    assert isinstance(answer.value, Verdict)
    assert len(answer.digest) == 64
    assert answer.input_tokens > 0
    assert answer.output_tokens > 0


async def test_request_carries_schema_constant_context_and_no_truncation(
    stub: Stub, client: ModelClient
) -> None:
    """Guards what must go with every request: num_ctx, the schema in both places, truncate off."""
    await ask(client)
    await ask(client, model="llava", images=[PNG])
    records = list(stub.requests.last)
    assert [record.num_ctx for record in records] == [4096, 4096]
    assert [record.images for record in records] == [0, 1]
    assert all(record.has_schema and '"Verdict"' in record.prompt for record in records)
    with pytest.raises(TaskRejected) as caught:
        await ask(client, prompt="x " * 20_000)
    assert caught.value.reason == "text_too_long"
    assert "REVEILLE_NUM_CTX" in caught.value.error


async def test_second_question_reuses_the_loaded_model(stub: Stub, client: ModelClient) -> None:
    """Guards against reloads: readiness and questions send the same runner options."""
    await client.ready(["gemma3", "llava"])
    await ask(client)
    await ask(client, temperature=0.7, model="llava", images=[PNG])
    assert stub.engine.scheduler.loads == 2


async def test_real_server_is_named_with_version_and_digest() -> None:
    """Guards the provenance of results that a real server made."""
    async with _fake_ollama(GOOD) as url:
        client = ModelClient(url)
        answer = await ask(client)
        assert (answer.model, answer.served_by) == ("gemma3", "ollama 0.12.1")
        assert answer.digest == "ab" * 32
        await client.close()


async def test_server_that_changed_between_two_calls_is_noticed(stub: Stub) -> None:
    """Guards the label of results when the stand-in replaces a real server at the same address."""
    port = int(stub.url.rpartition(":")[2])
    client = ModelClient(stub.url)
    assert (await ask(client)).served_by == "rules-stub"
    await stub.stop()
    async with _fake_ollama(GOOD, port=port):
        assert (await ask(client)).served_by == "ollama 0.12.1"
    await client.close()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("busy_503", "model_busy"),
        ("error_500_eof", "model_broken"),
        ("stream_eof", "model_broken"),
        ("cut_body", "model_broken"),
        ("done_false", "answer_incomplete"),
        ("length_cut_json", "answer_incomplete"),
        ("not_found_404", "model_absent"),
    ],
)
async def test_passing_fault_of_the_server_is_a_retry_with_its_reason(
    stub: Stub, client: ModelClient, fault: Any, reason: str
) -> None:
    """Guards the table of failures: each kind is told apart, and the next call works again."""
    stub.faults.add(fault)
    with pytest.raises(TaskRetry) as caught:
        await ask(client)
    assert caught.value.reason == reason
    assert len(caught.value.error) > 40
    assert (await ask(client)).served_by == "rules-stub"


async def test_request_that_the_server_refuses_is_rejected(stub: Stub, client: ModelClient) -> None:
    """Guards against retrying what can never succeed; the nested error is unwrapped for people."""
    stub.faults.add("nested_400")
    with pytest.raises(TaskRejected) as caught:
        await ask(client)
    assert caught.value.reason == "request_invalid"
    assert "JSON schema conversion failed" in caught.value.error
    assert '{"error"' not in caught.value.error


@pytest.mark.parametrize("fault", ["invalid_values", "wrong_schema"])
async def test_invalid_answer_is_repaired_in_one_turn(
    stub: Stub, client: ModelClient, fault: Any
) -> None:
    """Guards the repair turn: the model sees its answer and each mistake, and is asked once more."""
    stub.faults.add(fault)
    answer = await ask(client)
    assert answer.repaired
    first, second = stub.requests.last
    assert first.roles == ["system", "user"]
    assert second.roles == ["system", "user", "assistant", "user"]
    assert "does not fit the schema:\n- " in second.prompt
    assert answer.input_tokens > 100


async def test_answer_still_invalid_after_the_repair_turn_is_a_retry(
    stub: Stub, client: ModelClient
) -> None:
    """Guards the bound on repairs: exactly two requests, then answer_invalid with the mistakes."""
    stub.faults.add("wrong_schema", times=None)
    with pytest.raises(TaskRetry) as caught:
        await ask(client)
    assert caught.value.reason == "answer_invalid"
    assert "label" in caught.value.error
    assert stub.requests.total == 2


async def test_hanging_server_is_a_timeout_and_the_stub_sees_the_client_leave(
    stub: Stub, client: ModelClient
) -> None:
    """Guards the time limit of one call, and that a given-up call does not stay on the server."""
    stub.faults.add("hang")
    with pytest.raises(TaskRetry) as caught:
        await ask(client, timeout_seconds=0.2)
    assert caught.value.reason == "model_timeout"
    assert "0.2 s" in caught.value.error
    await stub.requests.until(lambda requests: requests.cancelled == 1, timeout_seconds=1)


async def test_slow_answer_within_the_limit_is_an_answer(stub: Stub, client: ModelClient) -> None:
    """Guards against taking slow for broken."""
    stub.faults.add("slow", seconds=0.3)
    answer = await ask(client, timeout_seconds=4)
    assert answer.total_seconds >= 0.3


async def test_cancelled_question_frees_the_slot_of_the_server_within_a_second() -> None:
    """Guards cancelling a task: the generation stops, and the next question gets the slot."""
    async with running_stub(service_seconds=60, num_parallel=1) as stub:
        client = ModelClient(stub.url)
        question = asyncio.create_task(ask(client))
        await stub.requests.until(lambda requests: requests.generating == 1)
        question.cancel()
        with pytest.raises(asyncio.CancelledError):
            await question
        await stub.requests.until(lambda r: r.generating == 0, timeout_seconds=1)
        assert stub.requests.cancelled == 1
        await client.close()


async def test_refused_connection_is_unreachable_with_the_address(stub: Stub) -> None:
    """Guards the sentence an operator sees first when nothing runs at OLLAMA_HOST."""
    await stub.stop()
    client = ModelClient(stub.url)
    for call in (ask(client), client.ready(["gemma3"]), client.health(), client.version()):
        with pytest.raises(TaskRetry) as caught:
            await call
        assert caught.value.reason == "model_unreachable"
        assert stub.url in caught.value.error
    await client.close()


async def test_absent_model_says_which_command_fetches_it(client: ModelClient) -> None:
    """Guards the way out of the commonest misconfiguration, at start-up and in a task."""
    for call in (client.ready(["gemma3", "nosuch:7b"]), ask(client, model="nosuch:7b")):
        with pytest.raises(TaskRetry) as caught:
            await call
        assert caught.value.reason == "model_absent"
        assert "ollama pull nosuch:7b" in caught.value.error


async def test_image_for_a_text_model_names_the_setting(client: ModelClient) -> None:
    """Guards against a text model set as the vision model."""
    with pytest.raises(TaskRetry) as caught:
        await ask(client, images=[PNG])
    assert caught.value.reason == "model_unsuitable"
    assert "REVEILLE_VISION_MODEL" in caught.value.error


async def test_unreadable_image_is_rejected(client: ModelClient) -> None:
    """Guards against retrying a picture that no attempt can read."""
    with pytest.raises(TaskRejected) as caught:
        await ask(client, model="llava", images=[PNG[:40]])
    assert caught.value.reason == "image_unreadable"


async def test_image_as_text_is_refused_before_anything_is_sent(
    stub: Stub, client: ModelClient
) -> None:
    """Guards against the client library, which opens an image given as text as a local file."""
    with pytest.raises(TypeError, match="bytes"):
        await ask(client, images=["/etc/hostname"])
    assert stub.requests.total == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [("[1, 2]", 200), ("<html>a proxy</html>", 200), ("{}", 200), ("[1]", 502), ("gone", 302)],
)
async def test_reply_that_is_not_ollamas_protocol_is_broken(body: str, status: int) -> None:
    """Guards against proxies and other programs at the address, whatever they answer."""
    async with _answering(body, status) as url:
        client = ModelClient(url)
        for call in (ask(client), client.health(), client.ready(["gemma3"])):
            with pytest.raises(TaskRetry) as caught:
                await call
            assert caught.value.reason == "model_broken"
        await client.close()


async def test_prompt_cut_by_a_server_deaf_to_truncate_is_noticed() -> None:
    """Guards against silent truncation on older servers: HTTP 200, and only the count tells."""
    async with _fake_ollama(GOOD, prompt_eval_count=1027) as url:
        client = ModelClient(url, num_ctx=2048)
        with pytest.raises(TaskRejected) as caught:
            await ask(client, prompt="The quick brown fox. " * 1000)
        assert caught.value.reason == "text_too_long"
        await client.close()


async def test_text_within_the_budget_always_fits(stub: Stub, client: ModelClient) -> None:
    """Guards the promise of text_budget_chars: callers who keep to it are never refused."""
    budget = client.text_budget_chars("gemma3")
    answer = await ask(client, prompt="x" * budget)
    assert answer.served_by == "rules-stub"
    assert client.text_budget_chars("llava", images=1) < budget


async def test_calls_beyond_the_concurrency_wait_in_the_client() -> None:
    """Guards the server's queue: no more than max_concurrency calls are with it at a time."""
    async with running_stub(service_seconds=0.02, num_parallel=8) as stub:
        client = ModelClient(stub.url, max_concurrency=2)
        await asyncio.gather(*(ask(client) for _ in range(6)))
        assert stub.requests.generating_peak == 2
        await client.close()


async def test_every_call_is_observed_with_its_outcome(stub: Stub) -> None:
    """Guards the metrics: one observation per request, failed and repaired ones included."""
    calls: list[ModelCall] = []
    client = ModelClient(stub.url, observe=calls.append)
    stub.faults.add("busy_503")
    with pytest.raises(TaskRetry):
        await ask(client)
    stub.faults.add("wrong_schema")
    await ask(client)
    assert [call.outcome for call in calls] == ["model_busy", "ok", "ok"]
    assert all(call.model == "rules-stub" for call in calls)
    await client.close()


async def test_health_tells_what_is_loaded_and_whether_it_is_on_the_cpu() -> None:
    """Guards the one sign of a GPU that is not used: nothing in an answer says so."""
    async with running_stub(device="cpu") as stub:
        client = ModelClient(stub.url)
        await client.ready(["gemma3"])
        health = await client.health()
        assert health.loaded == health.on_cpu == ("gemma3:latest",)
        assert health.served_by == "rules-stub"
        assert await client.version() == "0.0.0-rules-stub"
        await client.close()


async def test_call_is_a_span_with_the_genai_attributes(
    stub: Stub, client: ModelClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the trace: one span per request, with model, tokens, finish reason, or the error."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(model, "tracer", provider.get_tracer("test"))
    await ask(client)
    stub.faults.add("busy_503")
    with pytest.raises(TaskRetry):
        await ask(client)
    fine, failed = exporter.get_finished_spans()
    assert fine.name == failed.name == "chat gemma3"
    assert fine.attributes is not None
    assert fine.attributes[semconv.GEN_AI_REQUEST_MODEL] == "gemma3"
    assert fine.attributes[semconv.GEN_AI_RESPONSE_MODEL] == "rules-stub"
    assert fine.attributes[semconv.GEN_AI_RESPONSE_FINISH_REASONS] == ("stop",)
    assert fine.attributes[semconv.GEN_AI_USAGE_OUTPUT_TOKENS] != 0
    assert failed.attributes is not None
    assert failed.attributes[semconv.ERROR_TYPE] == "model_busy"
    assert failed.status.status_code is StatusCode.ERROR


async def test_proxy_variables_are_not_looked_at(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against decks leaving through a proxy that the environment names."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    client = ModelClient(stub.url)
    assert (await ask(client)).served_by == "rules-stub"
    await client.close()


def _fake_ollama(text: str, *, port: int = 0, prompt_eval_count: int = 50) -> Any:
    """A server that says it is Ollama 0.12.1, for what the stand-in never pretends."""

    async def handle(request: web.Request) -> web.Response:
        message = {"role": "assistant", "content": text}
        replies: dict[str, Any] = {
            "/api/version": {"version": "0.12.1"},
            "/api/tags": {"models": [{"model": "gemma3:latest", "digest": "ab" * 32}]},
            "/api/chat": {
                "model": "gemma3",
                "message": message,
                "done": True,
                "done_reason": "stop",
                "prompt_eval_count": prompt_eval_count,
                "eval_count": 9,
            },
        }
        return web.json_response(replies[request.path])

    return _serving(handle, port)


def _answering(body: str, status: int) -> Any:
    """A server that gives one answer to everything."""

    async def handle(request: web.Request) -> web.Response:
        return web.Response(text=body, status=status, headers={"Location": "/elsewhere"})

    return _serving(handle, 0)


class _serving:  # noqa: N801 - reads as a phrase where it is used
    """`async with _serving(handler, port) as url`: any path, any method."""

    def __init__(self, handler: Any, port: int) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        self._runner = web.AppRunner(app)
        self._port = port

    async def __aenter__(self) -> str:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
