"""/v1/chat/completions: the OpenAI form, whole answers of text only."""

import itertools
import time

from aiohttp import web

from model_stub import generation, window
from model_stub.engine import ENGINE
from model_stub.protocol import Ask, Message, compact, read_object

_numbers = itertools.count(1)


async def chat_completions(request: web.Request) -> web.Response:
    """POST /v1/chat/completions, without streaming."""
    engine = request.app[ENGINE]
    body = read_object(await request.read(), "openai.ChatCompletionRequest")
    name = str(body.get("model") or "")
    if body.get("stream"):
        return _error(400, "the stand-in does not stream in this form: use /api/chat", "api_error")
    entry = engine.catalogue.find(name)
    if entry is None:
        return _error(404, f"model '{name}' not found", "not_found_error")
    turns = [item for item in body.get("messages") or () if isinstance(item, dict)]
    ask = Ask(
        model=name,
        messages=tuple(
            Message(str(turn.get("role")), str(turn.get("content") or "")) for turn in turns
        ),
        options={"num_predict": body.get("max_tokens")},
    )
    context = engine.window(ask, entry)
    fitted = window.fit(ask, context)
    made = generation.generate(
        engine.answerer(fitted.text, None, 0),
        ask.options,
        window_size=context.size,
        chars_per_token=context.chars_per_token,
    )
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": made.text},
        "finish_reason": made.done_reason,
    }
    return _reply(
        200,
        {
            "id": f"chatcmpl-{next(_numbers)}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": name,
            "system_fingerprint": "fp_ollama",
            "choices": [choice],
            "usage": {
                "prompt_tokens": fitted.prompt_tokens,
                "completion_tokens": made.tokens,
                "total_tokens": fitted.prompt_tokens + made.tokens,
            },
        },
    )


def _error(status: int, message: str, kind: str) -> web.Response:
    return _reply(
        status, {"error": {"message": message, "type": kind, "param": None, "code": None}}
    )


def _reply(status: int, value: object) -> web.Response:
    """This form ends its bodies with a line break and names no charset."""
    headers = {"Content-Type": "application/json"}
    return web.Response(body=compact(value).encode() + b"\n", status=status, headers=headers)
