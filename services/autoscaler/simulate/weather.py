"""What goes wrong, and how long starts take: drawn from a seed, the same for every policy."""

from dataclasses import dataclass
from math import isfinite
from random import Random

from reveille.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """A cold start takes `cold_start` seconds in the median, log-normally spread by the sigma
    `cold_start_spread`, or as long as one of `measured` did; a share of starts fails when
    `startup_timeout` is over, and a busy replica dies `crashes_per_hour` times an hour (its task
    goes back to the queue).
    """

    cold_start: float = 120.0
    cold_start_spread: float = 0.0
    measured: tuple[float, ...] = ()
    failing_starts: float = 0.0
    crashes_per_hour: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        """Raises ConfigurationError for what cannot be."""
        if not (isfinite(self.cold_start) and self.cold_start > 0):
            raise ConfigurationError("the cold start must be more than 0 seconds")
        if not 0 <= self.cold_start_spread <= 3:
            raise ConfigurationError("the spread of cold starts must be from 0 to 3")
        if not 0 <= self.failing_starts < 1:
            raise ConfigurationError("the share of failing starts must be from 0 to below 1")
        if not 0 <= self.crashes_per_hour <= 1000:
            raise ConfigurationError("crashes per hour must be from 0 to 1000")


class Dice:
    """One run's draws."""

    def __init__(self, weather: Weather) -> None:
        self._weather = weather
        self._random = Random(weather.seed)

    def start_seconds(self) -> float | None:
        """How long the next start takes; None: it fails."""
        weather = self._weather
        if weather.failing_starts and self._random.random() < weather.failing_starts:
            return None
        if weather.measured:
            return self._random.choice(weather.measured)
        if not weather.cold_start_spread:
            return weather.cold_start
        return weather.cold_start * self._random.lognormvariate(0.0, weather.cold_start_spread)

    def crash_after(self, service_seconds: float) -> float | None:
        """In how many seconds of this task its replica dies; None: it does not."""
        if not self._weather.crashes_per_hour:
            return None
        at = self._random.expovariate(self._weather.crashes_per_hour / 3600)
        return at if at < service_seconds else None
