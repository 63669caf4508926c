"""At which times of the week work has come, as the autoscaler reads it from its rows."""

from collections import Counter

from autoscaler.floor import QUARTER_SECONDS, QUARTERS_OF_WEEK, likely_quarters
from autoscaler.ledger import WEEKS_MAX
from autoscaler.scaling_file import PoolScaling

FRESH_SECONDS = 3 * 3600.0  # looked at anew as often as the rows


class Almanac:
    """One pool's; moments are those of its clock, `begins` is the first."""

    def __init__(self, begins: float, config: PoolScaling) -> None:
        self._first, self._config = int(begins // QUARTER_SECONDS), config
        self._came: set[int] = set()
        self._likely: frozenset[int] = frozenset()
        self._read_at = begins

    def note(self, moment: float) -> None:
        """Work came."""
        if self._config.forecast is not None:
            self._came.add(int(moment // QUARTER_SECONDS))

    def likely(self, moment: float) -> frozenset[int]:
        """The quarters of the week in which work is expected."""
        quarter = int(moment // QUARTER_SECONDS)
        if self._config.forecast is not None and moment - self._read_at >= FRESH_SECONDS:
            self._read_at = moment
            weeks = min(WEEKS_MAX, (quarter - self._first) // QUARTERS_OF_WEEK)
            since = quarter - weeks * QUARTERS_OF_WEEK
            seen = Counter(q % QUARTERS_OF_WEEK for q in self._came if since <= q < quarter)
            self._likely = likely_quarters(seen, weeks, self._config)
        return self._likely
