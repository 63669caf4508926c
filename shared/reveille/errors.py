"""The errors of the house. Each says what happened and what to do; `reason` is the short kind that
metrics count.

`TaskRejected` and `TaskRetry` may be raised from any depth of a handler; the worker turns them
into the outcome of the same name.
"""


class ReveilleError(Exception):
    """Base of all errors that Reveille raises on purpose."""


class TaskRejected(ReveilleError):
    """The task can never succeed: it fails at once, without retries."""

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(error)
        self.reason = reason
        self.error = error


class TaskRetry(ReveilleError):
    """The attempt failed, another may succeed. `after_seconds` overrides the backoff."""

    def __init__(self, reason: str, error: str, *, after_seconds: float | None = None) -> None:
        super().__init__(error)
        self.reason = reason
        self.error = error
        self.after_seconds = after_seconds


class LeaseLost(ReveilleError):
    """The task is no longer ours: drop the result and stop the work."""


class ConfigurationError(ReveilleError):
    """A setting is missing or makes no sense; the message names it and says what to do."""


class SchemaMismatch(ReveilleError):
    """The database schema is older or newer than this program can work with. Run `reveille
    migrate` or update the program.
    """


class ServerIdTaken(ReveilleError):
    """Another live process is registered under this server id. Give each process its own
    REVEILLE_SERVER_ID.
    """
