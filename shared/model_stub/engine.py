"""What all endpoints share: the settings, the models, who is loaded, the faults and the ledger."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from model_stub import rules
from model_stub.catalogue import Catalogue, ModelEntry
from model_stub.config import StubSettings
from model_stub.faults import FaultBook
from model_stub.ledger import Ledger
from model_stub.protocol import Ask, ProtocolError, compact
from model_stub.scheduler import Scheduler
from model_stub.window import Window

Answerer = Callable[[str, dict[str, Any] | None, int], str]
VERSION = "0.0.0-rules-stub"
JSON_TYPE = "application/json; charset=utf-8"
# `expires_at` of a pinned model; the real server shows a year far away as well.
NEVER = datetime(2319, 1, 1, tzinfo=UTC)
VISION_WINDOW_MIN = 2048


class Engine:
    """One stand-in server's state. The clock can be moved ahead, to let keep-alives run out."""

    def __init__(self, settings: StubSettings, answerer: Answerer = rules.answer) -> None:
        self.settings = settings
        self.answerer = answerer
        self.catalogue = Catalogue.parse(
            settings.models, context_length=settings.model_context_length
        )
        self.faults = FaultBook(settings.faults)
        self.requests = Ledger(settings.requests_kept_max)
        self._ahead_seconds = 0.0
        self.scheduler = Scheduler(
            load_seconds=settings.load_seconds,
            num_parallel=settings.num_parallel,
            max_queue=settings.max_queue,
            max_loaded_models=settings.max_loaded_models,
            keep_alive_seconds=settings.keep_alive_seconds,
            clock=self.clock,
        )

    def clock(self) -> float:
        """Seconds of the keep-alive clock."""
        return time.monotonic() + self._ahead_seconds

    def advance(self, seconds: float) -> None:
        """Move the keep-alive clock ahead."""
        self._ahead_seconds += seconds

    def window(self, ask: Ask, entry: ModelEntry) -> Window:
        """The context that this request gets: asked for, bounded by what the model can."""
        asked = int(ask.options.get("num_ctx") or self.settings.default_context_length)
        size = min(asked, entry.context_length)
        if entry.vision:
            size = max(size, VISION_WINDOW_MIN)
        return Window(size, self.settings.chars_per_token, self.settings.image_tokens)

    def expires_text(self, expires_at: float) -> str:
        """A point on the keep-alive clock as the wall-clock time of /api/ps."""
        left = expires_at - self.clock()
        at = NEVER if left > 3e9 else datetime.now(UTC) + timedelta(seconds=left)
        return at.isoformat().replace("+00:00", "Z")


ENGINE: web.AppKey[Engine] = web.AppKey("engine", Engine)


def json_reply(value: Any, *, status: int = 200, content_type: str = JSON_TYPE) -> web.Response:
    """A JSON body in Ollama's dress."""
    return web.Response(
        body=compact(value).encode(), status=status, headers={"Content-Type": content_type}
    )


def error_reply(error: ProtocolError, *, stream: bool = False) -> web.Response:
    """An error body; those of the runner lose the charset when a stream was asked for."""
    content_type = "application/json" if error.from_runner and stream else JSON_TYPE
    return json_reply({"error": error.error}, status=error.status, content_type=content_type)
