"""Settings of the visual worker: REVEILLE_* as in reveille.settings.WorkerSettings."""

from reveille.settings import WorkerSettings


class VisualWorkerSettings(WorkerSettings):
    """Nothing beyond what every worker has."""
