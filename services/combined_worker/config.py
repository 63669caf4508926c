"""Settings of the combined worker: REVEILLE_* as in reveille.settings.WorkerSettings."""

from reveille.settings import WorkerSettings


class CombinedWorkerSettings(WorkerSettings):
    """Nothing beyond what every worker has."""
