"""Turns that fail one after the other: a worker that cannot claim must not look as if it could.

A column that is missing after a half-done deployment, a right that was taken away, a trigger of
somebody else's that raises: the statement fails each time, and a server whose row says active would
keep its tasks waiting and its autoscaler content.
"""

FAILURES_TOLERATED = 2  # a deadlock or a lock that was held
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.5, 5.0


class ClaimTrouble:
    """Why this worker cannot claim, if so. A success takes one failure back: the next one, should
    the trouble be the same, is told at once.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.pause_seconds = PAUSE_SECONDS  # before the next try
        self._failures = 0

    def failed(self, error: BaseException) -> bool:
        """A turn failed; whether that is news for the server's row."""
        was = self.reason
        self._failures = min(self._failures + 1, FAILURES_TOLERATED + 1)
        if self._failures > 1:
            self.pause_seconds = min(2 * self.pause_seconds, PAUSE_SECONDS_MAX)
        if self._failures > FAILURES_TOLERATED:
            self.reason = f"it cannot claim: {str(error) or type(error).__name__}"
        return self.reason != was

    def succeeded(self) -> bool:
        """A turn went well; whether that is news for the server's row."""
        was, self.reason = self.reason, None
        self._failures = max(0, self._failures - 1)
        if self._failures == 0:
            self.pause_seconds = PAUSE_SECONDS
        return was is not None
