"""The model client: one question to a model, one validated answer, or an error that says what to do.

It owns every call to the model server and is the only module that knows the `ollama` package. A
call has a time limit; `num_ctx` goes with every request and never changes per model (a change
reloads the weights); the answer's form is a pydantic model, enforced by schema, validated, and
repaired at most once; an answer that the server ended early is no answer. Results tell who made
them: `served_by` says "rules-stub" when it was the stand-in.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx
import ollama
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from pydantic import BaseModel, ValidationError

from reveille import model_errors, model_reply, semconv
from reveille.answer_schema import (
    BAD_ANSWER_CHARS_MAX,
    grammar_schema,
    problems,
    repair_prompt,
    schema_text,
)
from reveille.errors import TaskRejected, TaskRetry
from reveille.model_reply import Reply
from reveille.model_server import STAND_IN, Identity, ModelHealth, ModelServer, health_of
from reveille.model_transport import NoSilentTruncation, base_url, timeouts

__all__ = ["STAND_IN", "Answer", "ModelCall", "ModelClient", "ModelHealth"]

T = TypeVar("T", bound=BaseModel)

NUM_CTX_DEFAULT = 8192
# A deck's text has 3.5 to 5 characters per token; 3 leaves room for numbers and other languages.
CHARS_PER_TOKEN_MIN = 3.0
# System prompt, schema, chat template and the answer.
RESERVE_TOKENS = 2048
IMAGE_TOKENS = 1600  # a 1024 px slide takes 256 (gemma3) to 1,601 (llama3.2-vision) tokens
LISTING_SECONDS_MAX = 30.0

tracer = trace.get_tracer(semconv.SCOPE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[T]):
    """A validated answer. Tokens and seconds add up both turns when it had to be repaired.

    `model` is the name for result rows: the model's, or "rules-stub" for the stand-in. `served_by`
    is the server ("ollama 0.12.1"). `load_seconds` is time spent on getting the model into memory.
    """

    value: T
    model: str
    digest: str
    served_by: str
    input_tokens: int
    output_tokens: int
    load_seconds: float
    total_seconds: float
    repaired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """One request to the server, for metrics. `outcome` is "ok" or the reason it failed."""

    model: str
    outcome: str
    seconds: float
    input_tokens: int = 0
    output_tokens: int = 0
    tokens_per_second: float | None = None  # as the server measured it, while it wrote


class ModelClient:
    """Asks one model server. Safe to share between tasks; close it when done."""

    def __init__(
        self,
        host: str,
        *,
        timeout_seconds: float = 300.0,
        load_timeout_seconds: float = 600.0,
        num_ctx: int | Mapping[str, int] = NUM_CTX_DEFAULT,
        keep_alive: float | str = -1,
        max_concurrency: int = 16,
        answer_tokens_max: int = 4096,
        observe: Callable[[ModelCall], None] | None = None,
    ) -> None:
        """`host` as OLLAMA_HOST has it. `keep_alive` -1 pins the weights.

        Calls beyond `max_concurrency` wait here, outside their time limit. Raises
        ConfigurationError for a host that is no address.
        """
        self.host = base_url(host)
        self._timeout_seconds = timeout_seconds
        self._load_timeout_seconds = load_timeout_seconds
        self._num_ctx = num_ctx
        self._keep_alive = keep_alive
        self._answer_tokens_max = answer_tokens_max
        self._observe = observe
        self._slots = asyncio.Semaphore(max_concurrency)
        # Health and readiness must not queue behind answers.
        transport = NoSilentTruncation(connections_max=max_concurrency + 4)
        self._http = httpx.AsyncClient(
            base_url=self.host, timeout=timeouts(), transport=transport, trust_env=False
        )
        self._server = ModelServer(self._http)
        self._ollama = ollama.AsyncClient(
            self.host,
            timeout=timeouts(),
            transport=transport,
            trust_env=False,
            follow_redirects=False,
            event_hooks={"response": [self._server.notice]},
        )

    def num_ctx(self, model: str) -> int:
        """The context in tokens that this model always gets."""
        if isinstance(self._num_ctx, int):
            return self._num_ctx
        return self._num_ctx.get(model, NUM_CTX_DEFAULT)

    def text_budget_chars(
        self, model: str, *, reserve_tokens: int = RESERVE_TOKENS, images: int = 0
    ) -> int:
        """How much text a caller may put into a prompt; what is more it must cut on purpose."""
        tokens = self.num_ctx(model) - reserve_tokens - images * IMAGE_TOKENS
        # A small context still has room for something: a quarter of it.
        return int(max(tokens, self.num_ctx(model) // 4) * CHARS_PER_TOKEN_MIN)

    async def ask(
        self,
        *,
        model: str,
        system: str,
        prompt: str,
        images: Sequence[bytes] = (),
        answer: type[T],
        temperature: float = 0.0,
        timeout_seconds: float | None = None,
    ) -> Answer[T]:
        """One question, one answer that fits the `answer` model. Raises TaskRetry or TaskRejected.

        The time limit holds for each of the at most two turns.
        """
        if not all(isinstance(image, bytes) for image in images):
            raise TypeError("images must be bytes: the client library reads strings as file names")
        began_at = time.monotonic()
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": f"{system}\n\n{schema_text(answer)}"},
            {"role": "user", "content": prompt},
        ]
        if images:
            messages[-1]["images"] = [ollama.Image(value=data) for data in images]
        limit_seconds = timeout_seconds or self._timeout_seconds

        async def turn() -> Reply:
            return await self._turn(model, messages, answer, temperature, limit_seconds)

        turns = [await turn()]
        try:
            value = answer.model_validate_json(turns[0].text)
        except ValidationError as error:
            bad = turns[0].text[:BAD_ANSWER_CHARS_MAX]
            messages.append({"role": "assistant", "content": bad})
            messages.append({"role": "user", "content": repair_prompt(error)})
            value = await _repaired(model, answer, turn, turns)
        identity = await self._identity(model)
        return Answer(
            value=value,
            model=STAND_IN if identity.is_stand_in else model,
            digest=identity.digest(model),
            served_by=identity.served_by,
            input_tokens=sum(one.input_tokens for one in turns),
            output_tokens=sum(one.output_tokens for one in turns),
            load_seconds=sum(one.load_seconds for one in turns),
            total_seconds=time.monotonic() - began_at,
            repaired=len(turns) > 1,
        )

    async def ready(self, models: Iterable[str]) -> None:
        """Load these models into memory and pin them. Raises TaskRetry: absent, unreachable, …"""
        names = list(models)
        for model in names:
            if not (await self._identity(model)).has(model):
                raise model_errors.absent(model, host=self.host)
        for model in names:
            async with self._task_errors(model, self._load_timeout_seconds):
                await self._ollama.chat(
                    model,
                    messages=[],
                    keep_alive=self._keep_alive,
                    options={"num_ctx": self.num_ctx(model)},
                )

    async def version(self) -> str:
        """The server's version, asked anew. Raises TaskRetry."""
        self._server.forget()
        return (await self._identity(None)).version

    async def health(self) -> ModelHealth:
        """That the server answers, and what it has loaded where. Raises TaskRetry."""
        identity = await self._identity(None)
        async with self._task_errors("the model list", self._listing_seconds()):
            return health_of(identity, await self._server.loaded())

    async def close(self) -> None:
        """Close the connections; calls under way fail."""
        close: Callable[[], Awaitable[None]] = self._ollama.close
        await close()
        await self._http.aclose()

    async def _turn(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        answer: type[BaseModel],
        temperature: float,
        limit_seconds: float,
    ) -> Reply:
        """One request, traced and measured. What comes back is complete and read whole."""
        async with self._slots:
            began_at = time.monotonic()
            with _chat_span(model, temperature) as span:
                try:
                    async with self._task_errors(model, limit_seconds):
                        response = await self._ollama.chat(
                            model,
                            messages=messages,
                            format=dict(grammar_schema(answer)),
                            options=self._options(model, temperature),
                            keep_alive=self._keep_alive,
                        )
                    reply = _reply(response)
                    chars = sum(len(message["content"]) for message in messages)
                    self._describe(span, model, reply)
                    model_reply.check(
                        reply, model=model, prompt_chars=chars, num_ctx=self.num_ctx(model)
                    )
                except (TaskRetry, TaskRejected) as error:
                    span.set_status(Status(StatusCode.ERROR, error.error))
                    span.set_attribute(semconv.ERROR_TYPE, error.reason)
                    self._measured(model, error.reason, began_at)
                    raise
            self._measured(model, "ok", began_at, reply)
            return reply

    def _options(self, model: str, temperature: float) -> dict[str, Any]:
        num_ctx = self.num_ctx(model)
        # Without num_predict a runaway answer goes on for ten windows.
        return {
            "num_ctx": num_ctx,
            "num_predict": min(self._answer_tokens_max, num_ctx),
            "temperature": temperature,
        }

    @asynccontextmanager
    async def _task_errors(self, model: str, limit_seconds: float) -> AsyncIterator[None]:
        """Bound the time of a request and turn whatever it raises into the task's outcome."""
        try:
            async with asyncio.timeout(limit_seconds):
                yield
        except (ollama.ResponseError, httpx.HTTPStatusError) as error:
            self._server.forget()
            status, body = _status_and_body(error)
            raise model_errors.from_status(status, body, model=model, host=self.host) from error
        except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout) as error:
            raise model_errors.timed_out(model, host=self.host, seconds=limit_seconds) from error
        except (ConnectionError, httpx.ConnectError, httpx.ConnectTimeout) as error:
            self._server.forget()
            raise model_errors.unreachable(host=self.host) from error
        except (httpx.HTTPError, ValueError, KeyError, AttributeError, TypeError) as error:
            # ValueError: no JSON, or another shape; the last three: JSON that is no such object.
            self._server.forget()
            detail = f"{type(error).__name__}: {error}"
            raise model_errors.broken(model, host=self.host, detail=detail) from error

    async def _identity(self, model: str | None) -> Identity:
        """Who answers at the address; asked again when unknown, or when it does not list `model`."""
        if (known := self._server.recall(model)) is not None:
            return known
        async with self._task_errors("the model list", self._listing_seconds()):
            return await self._server.identify()

    def _listing_seconds(self) -> float:
        return min(self._timeout_seconds, LISTING_SECONDS_MAX)

    def _describe(self, span: Span, model: str, reply: Reply) -> None:
        span.set_attributes(
            {
                semconv.GEN_AI_RESPONSE_MODEL: STAND_IN if self._server.is_stand_in else model,
                semconv.GEN_AI_RESPONSE_FINISH_REASONS: [reply.done_reason],
                semconv.GEN_AI_USAGE_INPUT_TOKENS: reply.input_tokens,
                semconv.GEN_AI_USAGE_OUTPUT_TOKENS: reply.output_tokens,
                semconv.REVEILLE_MODEL_LOAD_SECONDS: reply.load_seconds,
            }
        )

    def _measured(
        self, model: str, outcome: str, began_at: float, reply: Reply | None = None
    ) -> None:
        if self._observe is None:
            return
        self._observe(
            ModelCall(
                model=STAND_IN if self._server.is_stand_in else model,
                outcome=outcome,
                seconds=time.monotonic() - began_at,
                input_tokens=reply.input_tokens if reply else 0,
                output_tokens=reply.output_tokens if reply else 0,
                tokens_per_second=_rate(reply) if reply else None,
            )
        )


async def _repaired(
    model: str, answer: type[T], turn: Callable[[], Awaitable[Reply]], turns: list[Reply]
) -> T:
    """The one repair turn. What fails it is the invalid answer, not the repair."""
    try:
        turns.append(await turn())
        return answer.model_validate_json(turns[-1].text)
    except ValidationError as error:
        raise model_errors.invalid(model, detail=problems(error)) from error
    except TaskRejected as error:
        raise model_errors.invalid(model, detail=error.error) from error


def _chat_span(model: str, temperature: float) -> AbstractContextManager[Span]:
    """A span around one request; its errors are set by hand, as kinds."""
    return tracer.start_as_current_span(
        f"{semconv.GEN_AI_OPERATION_CHAT} {model}",
        kind=SpanKind.CLIENT,
        attributes={
            semconv.GEN_AI_OPERATION_NAME: semconv.GEN_AI_OPERATION_CHAT,
            semconv.GEN_AI_PROVIDER_NAME: semconv.GEN_AI_PROVIDER_OLLAMA,
            semconv.GEN_AI_REQUEST_MODEL: model,
            semconv.GEN_AI_REQUEST_TEMPERATURE: temperature,
        },
        record_exception=False,
        set_status_on_exception=False,
    )


def _rate(reply: Reply) -> float | None:
    return reply.output_tokens / reply.write_seconds if reply.write_seconds > 0 else None


def _reply(response: ollama.ChatResponse) -> Reply:
    return Reply(
        text=response.message.content or "",
        done=response.done is True,
        done_reason=response.done_reason or "",
        input_tokens=response.prompt_eval_count or 0,
        output_tokens=response.eval_count or 0,
        load_seconds=(response.load_duration or 0) / 1e9,
        write_seconds=(response.eval_duration or 0) / 1e9,
    )


def _status_and_body(error: ollama.ResponseError | httpx.HTTPStatusError) -> tuple[int, str]:
    if isinstance(error, ollama.ResponseError):
        return error.status_code, error.error
    return error.response.status_code, error.response.text
