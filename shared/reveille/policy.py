"""Backoff: how long a failed task waits. Pure, apart from the random number it is given.

Exponential with full jitter and a cap: of the jitter schemes compared in "Exponential Backoff And
Jitter" (Brooker, AWS Architecture Blog, 2015) the one with the least total work under contention.
"""

import random


def backoff_seconds(
    retry_count: int, *, base_seconds: float, max_seconds: float, chance: float | None = None
) -> float:
    """Seconds until retry number `retry_count` + 1; `chance` in [0, 1) replaces the random number."""
    ceiling = min(max_seconds, base_seconds * 2.0 ** min(retry_count, 30))
    drawn = random.random() if chance is None else chance
    return ceiling * drawn
