"""The combined worker put together: the shared worker loop with the handlers of both pools."""

from combined_worker.config import CombinedWorkerSettings
from reveille.telemetry import Telemetry
from reveille.worker import WorkerService
from text_worker.handlers import HANDLERS as TEXT_HANDLERS
from visual_worker.handlers import HANDLERS as VISUAL_HANDLERS

HANDLERS = {**VISUAL_HANDLERS, **TEXT_HANDLERS}


def build(settings: CombinedWorkerSettings, telemetry: Telemetry) -> WorkerService:
    """One combined worker."""
    return WorkerService(settings, telemetry, pool="combined", handlers=HANDLERS)
