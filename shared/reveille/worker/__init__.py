"""The worker: woken, it claims; claimed, it handles; handled, it settles. Both worker services are
`WorkerService` with other handlers.

`turns` is the heart of it and the only module that claims and settles; `attempts` runs handlers as
tasks beside it, and `running` is what the two share. `membership` keeps the server's row, its lock
and its heartbeat; `standing` says in that row whether it takes work, and `model_watch` decides half
of that. Everything else here serves one of these.
"""

from reveille.worker.service import WorkerService

__all__ = ["WorkerService"]
