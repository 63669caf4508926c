"""What went wrong with a model call, as the outcome of the task: which kind, and what to do about it.

Pure, so that each line of the table in the tests is one line here. The kinds (`reason`) are counted
by metrics: model_busy, model_unreachable, model_timeout, model_broken, model_absent,
model_unsuitable, model_denied, answer_incomplete, answer_invalid (another attempt may succeed);
text_too_long, image_unreadable, request_invalid (it cannot).
"""

import json

from reveille.errors import TaskRejected, TaskRetry

TaskError = TaskRetry | TaskRejected
ERROR_CHARS_MAX = 600  # of a server's own words in last_error
_TOO_LONG = ("exceeds the available context size", "prompt is longer than the context length")


def from_status(status: int, body: str, *, model: str, host: str) -> TaskError:
    """The error for an HTTP status of the model server. `body` is what it said."""
    said = own_words(body)
    at = f"the model server at {host}"
    match status:
        case 404:
            return absent(model, host=host)
        case 429 | 503:
            return TaskRetry(
                "model_busy",
                f"{at} is busy ({said}): the task is retried later; "
                "more GPU workers or a larger OLLAMA_MAX_QUEUE would help.",
            )
        case 401 | 403:
            return TaskRetry(
                "model_denied",
                f"{at} refused us with status {status}: check OLLAMA_API_KEY, and OLLAMA_HOST of "
                "the server (bound to loopback it answers only to local names).",
            )
        case 408 | 504:
            return timed_out(model, host=host, seconds=None)
        case _ if status >= 500 or status < 400:  # below: a redirect, or an error in a stream
            return TaskRetry(
                "model_broken",
                f"{at} failed while running {model} (status {status}: {said}): the task is "
                "retried; look at the server's log when it happens again.",
            )
        case _:
            return _from_refusal(status, said, model=model, at=at)


def _from_refusal(status: int, said: str, *, model: str, at: str) -> TaskError:
    """4xx: the request itself is at fault."""
    if any(words in said for words in _TOO_LONG):
        return text_too_long(model, said)
    if "does not support multimodal" in said:
        return TaskRetry(
            "model_unsuitable",
            f"{model} at {at} takes no images: set REVEILLE_VISION_MODEL to a vision model.",
        )
    if "Failed to load image" in said:
        return TaskRejected("image_unreadable", f"{at} cannot read the slide's image: {said}.")
    return TaskRejected(
        "request_invalid",
        f"{at} refused the request (status {status}: {said}): this is an error of the program or "
        "an incompatible version of the server; report it.",
    )


def absent(model: str, *, host: str) -> TaskRetry:
    """The server does not have the model."""
    return TaskRetry(
        "model_absent",
        f"The model server at {host} has no model {model}: run `ollama pull {model}` there, or "
        "set REVEILLE_VISION_MODEL / REVEILLE_TEXT_MODEL to one that it has.",
    )


def unreachable(*, host: str) -> TaskRetry:
    """Nobody listens, or the name is unknown."""
    return TaskRetry(
        "model_unreachable",
        f"No model server answers at {host}: start it, or set OLLAMA_HOST to where it runs.",
    )


def timed_out(model: str, *, host: str, seconds: float | None) -> TaskRetry:
    """No answer within the time allowed."""
    limit = "" if seconds is None else f" within {seconds:g} s"
    return TaskRetry(
        "model_timeout",
        f"{model} at {host} gave no answer{limit}: the task is retried; raise "
        "REVEILLE_MODEL_TIMEOUT_SECONDS if the model is only slow.",
    )


def broken(model: str, *, host: str, detail: str) -> TaskRetry:
    """The connection dropped, or what came back is not Ollama's protocol."""
    return TaskRetry(
        "model_broken",
        f"The answer of {model} from {host} was unusable ({detail[:ERROR_CHARS_MAX]}): the task "
        "is retried; check the server's log, and that OLLAMA_HOST names an Ollama server.",
    )


def incomplete(model: str, *, detail: str) -> TaskRetry:
    """The model stopped before its answer was complete."""
    return TaskRetry(
        "answer_incomplete",
        f"The answer of {model} is incomplete ({detail}): the task is retried; raise "
        "REVEILLE_NUM_CTX if it happens again.",
    )


def invalid(model: str, *, detail: str) -> TaskRetry:
    """Not the JSON that was asked for, not even after the repair turn."""
    return TaskRetry(
        "answer_invalid",
        f"{model} did not answer in the form asked for, nor when shown its mistakes "
        f"({detail[:ERROR_CHARS_MAX]}): the task is retried; a larger model may be needed.",
    )


def text_too_long(model: str, detail: str) -> TaskRejected:
    """The prompt does not fit the context: the caller has not kept to `text_budget_chars`."""
    return TaskRejected(
        "text_too_long",
        f"The prompt is longer than the context of {model} ({detail}): raise REVEILLE_NUM_CTX, or "
        "submit a shorter document.",
    )


def own_words(body: str) -> str:
    """The message inside an error body, unwrapped from the JSON that servers nest in JSON."""
    text = body
    for _ in range(3):
        try:
            value = json.loads(text)
        except ValueError:
            break
        inner = value.get("error", value.get("message")) if isinstance(value, dict) else None
        if inner is None:
            break
        text = inner if isinstance(inner, str) else json.dumps(inner)
    return text.strip()[:ERROR_CHARS_MAX] or "no message"
