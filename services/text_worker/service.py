"""The text worker put together: the shared worker loop with this pool's handlers."""

from reveille.telemetry import Telemetry
from reveille.worker import WorkerService
from text_worker.config import TextWorkerSettings
from text_worker.handlers import HANDLERS


def build(settings: TextWorkerSettings, telemetry: Telemetry) -> WorkerService:
    """One text worker."""
    return WorkerService(settings, telemetry, pool="text", handlers=HANDLERS)
