"""How long is an idle replica worth its money? Ski rental, until the gaps seen say better.

Keeping a replica for as long as a cold start lasts costs at most twice what foresight would
(the break-even rule, whatever comes). Once enough gaps were seen, the time is taken that would
have been cheapest for them: mean(min(gap, time) + cold start if the gap was longer).
"""

from functools import lru_cache

GAPS_MIN = 8  # fewer say nothing
# A gap like the longest one that is worth waiting for should still be caught.
MARGIN = 1.05


@lru_cache(maxsize=64)
def keep_seconds(gaps: tuple[float, ...], cold_start: float, most: float) -> float:
    """Seconds for which an idle replica is kept, at most `most`."""
    if len(gaps) < GAPS_MIN:
        return min(cold_start, most)
    ordered = sorted(gaps)
    count = len(ordered)
    best, best_cost, waited = 0.0, cold_start * count, 0.0
    for place, gap in enumerate(ordered, start=1):
        if gap > most:
            break
        waited += gap
        cost = waited + (count - place) * (gap + cold_start)
        if cost < best_cost:
            best, best_cost = gap, cost
    return min(best * MARGIN, most)
