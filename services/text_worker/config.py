"""Settings of the text worker: REVEILLE_* as in reveille.settings.WorkerSettings."""

from reveille.settings import WorkerSettings


class TextWorkerSettings(WorkerSettings):
    """Nothing beyond what every worker has."""
