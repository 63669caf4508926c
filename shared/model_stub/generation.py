"""From an answer's text to tokens: where it stops, why, and how long it takes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

DoneReason = Literal["stop", "length"]
# A runaway answer ends at this many windows, as on a real server.
PREDICT_WINDOWS_MAX = 10


@dataclass(frozen=True, slots=True)
class Generation:
    """The answer in pieces of a token each. `tokens` also counts the end-of-text token."""

    pieces: tuple[str, ...]
    done_reason: DoneReason
    tokens: int

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.pieces)


def generate(
    text: str, options: Mapping[str, Any], *, window_size: int, chars_per_token: float
) -> Generation:
    """Cut the answer at a stop string or at `num_predict`."""
    text = _before_stop(text, options.get("stop"))
    pieces = _pieces(text, max(1, round(chars_per_token)))
    limit = options.get("num_predict")
    limit = window_size * PREDICT_WINDOWS_MAX if limit is None or limit < 0 else int(limit)
    if len(pieces) > limit:
        return Generation(pieces[:limit], "length", limit)
    return Generation(pieces, "stop", len(pieces) + 1)


def pace_seconds(tokens: int, *, service_seconds: float, tokens_per_second: float) -> float:
    """How long an answer of that many tokens takes."""
    return service_seconds + (tokens / tokens_per_second if tokens_per_second else 0.0)


def _before_stop(text: str, stop: str | Sequence[str] | None) -> str:
    words = [stop] if isinstance(stop, str) else list(stop or ())
    cuts = [at for at in (text.find(word) for word in words if word) if at >= 0]
    return text[: min(cuts)] if cuts else text


def _pieces(text: str, chars: int) -> tuple[str, ...]:
    return tuple(text[i * chars : (i + 1) * chars] for i in range(math.ceil(len(text) / chars)))
