"""What the month has cost, for the budget guard and for /metrics.

The rows are read when there are containers; between two reads the gauges go on by what an hour
costs, so that a scrape asks the database nothing.
"""

import time
from collections.abc import Iterable, Mapping

from autoscaler.ledger import Spending
from autoscaler.scaling_file import Budget
from reveille.metrics import Metrics, Sample
from reveille.semconv import LABEL_POOL


class SpendingGauges:
    """The gauges cost and budget_used of all pools."""

    def __init__(self, metrics: Metrics, budget: Budget) -> None:
        self._cap = budget.hard_usd_per_month or budget.soft_usd_per_month
        self._spending: Mapping[str, Spending] = {}
        self._read_at = 0.0  # monotonic
        metrics.cost.follow(self._costs)
        metrics.budget_used.follow(self._used)

    def note(self, spending: Mapping[str, Spending]) -> None:
        """Take in what the rows say."""
        self._spending, self._read_at = spending, time.monotonic()

    def _now(self) -> dict[str, float]:
        hours = (time.monotonic() - self._read_at) / 3600
        return {pool: s.spent_usd + s.usd_per_hour * hours for pool, s in self._spending.items()}

    def _costs(self) -> Iterable[Sample]:
        return [Sample(usd, {LABEL_POOL: pool}) for pool, usd in self._now().items()]

    def _used(self) -> Iterable[Sample]:
        if self._cap is None or not self._spending:
            return []
        return [Sample(sum(self._now().values()) / self._cap, {})]
