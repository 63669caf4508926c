"""What an answer looks like on the wire: the JSON objects of /api/chat and /api/generate."""

import time
from dataclasses import dataclass
from typing import Any

from model_stub.faults import FaultKind
from model_stub.generation import Generation
from model_stub.protocol import Ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """An answer about to be sent, with what its metrics need. `asked_at` is on time.monotonic().

    `seconds` is how long the model takes for it, `fault` what goes wrong on the way out.
    """

    generation: Generation
    prompt_tokens: int
    load_seconds: float
    asked_at: float
    seconds: float
    fault: FaultKind | None


@dataclass(frozen=True, slots=True)
class Shape:
    """How an endpoint writes its replies: a message (chat) or a bare response (generate)."""

    ask: Ask
    is_chat: bool

    def piece(self, text: str, *, done: bool, **more: Any) -> dict[str, Any]:
        """One JSON object of the reply. What is zero is left out by the callers, as Go does."""
        message = {"role": "assistant", "content": text}
        content = {"message": message} if self.is_chat else {"response": text}
        head = {"model": self.ask.model, "created_at": _now_text()}
        return {**head, **content, "done": done, **more}

    def last(self, run: Run, text: str) -> dict[str, Any]:
        """The object that ends an answer, with its metrics in nanoseconds."""
        elapsed = time.monotonic() - run.asked_at
        generated = max(elapsed - run.load_seconds, 1e-6)
        more: dict[str, Any] = {"done_reason": run.generation.done_reason}
        if not self.is_chat and not self.ask.raw:
            more["context"] = list(range(1, 1 + run.prompt_tokens + run.generation.tokens))
        more |= {
            "total_duration": _nanoseconds(elapsed),
            "load_duration": _nanoseconds(run.load_seconds),
            "prompt_eval_count": run.prompt_tokens,
            "prompt_eval_duration": _nanoseconds(generated * 0.1),
            "eval_count": run.generation.tokens,
            "eval_duration": _nanoseconds(generated * 0.9),
        }
        if self.ask.top_logprobs is not None:
            more["logprobs"] = [_logprob(p, self.ask.top_logprobs) for p in run.generation.pieces]
        return self.piece(text, done=True, **more)


def _logprob(token: str, top: int) -> dict[str, Any]:
    """A certain token: the stand-in has no doubts and no alternatives."""
    one = {"token": token, "logprob": -0.0001, "bytes": list(token.encode())}
    return {**one, "top_logprobs": [one]} if top else one


def _nanoseconds(seconds: float) -> int:
    return max(1, int(seconds * 1e9))


def _now_text() -> str:
    """RFC 3339 with nanoseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{nanoseconds:09}Z"
