"""The visual worker put together: the shared worker loop with this pool's handlers."""

from reveille.telemetry import Telemetry
from reveille.worker import WorkerService
from visual_worker.config import VisualWorkerSettings
from visual_worker.handlers import HANDLERS


def build(settings: VisualWorkerSettings, telemetry: Telemetry) -> WorkerService:
    """One visual worker."""
    return WorkerService(settings, telemetry, pool="visual", handlers=HANDLERS)
