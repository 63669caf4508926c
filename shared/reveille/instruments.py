"""Counters, histograms and gauges: plain numbers, which a scrape turns into Prometheus's families.

A measurement by an OpenTelemetry instrument takes 7-9 µs, one here 0.5: three of them were a sixth
of what a worker spent on a task that does nothing (docs/performance.md). Series exist from their
first measurement on. Measured by the event loop alone; a scrape may read from another thread.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

log = structlog.get_logger(__name__)

Labels = Mapping[str, str]
_Series = frozenset[tuple[str, str]]  # one combination of labels

NO_LABELS: Labels = {}


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a gauge, and its labels (semconv.LABEL_*)."""

    value: float
    labels: Labels


class Instrument:
    """What all three have: a name as Prometheus shows it, and a meaning."""

    def __init__(self, name: str, meaning: str) -> None:
        self.name = name
        self.meaning = meaning

    def family(self) -> Metric | None:
        """The values of now; None when there are none."""
        raise NotImplementedError


class Counter(Instrument):
    """Only ever grows; its name ends in _total."""

    def __init__(self, name: str, meaning: str) -> None:
        super().__init__(name, meaning)
        self._counts: dict[_Series, float] = {}

    def add(self, number: float, labels: Labels = NO_LABELS) -> None:
        """Count so many more."""
        series = frozenset(labels.items())
        self._counts[series] = self._counts.get(series, 0) + number

    def family(self) -> Metric | None:
        """See Instrument."""
        if not self._counts:
            return None
        family = CounterMetricFamily(self.name, self.meaning)
        for series, count in list(self._counts.items()):
            family.add_sample(self.name, dict(series), count)
        return family


class Histogram(Instrument):
    """How often values fell into each bucket; `bounds` are the buckets' upper ends, inclusive."""

    def __init__(self, name: str, meaning: str, bounds: Sequence[float]) -> None:
        super().__init__(name, meaning)
        self._bounds = tuple(bounds)
        self._says = [*map(floatToGoString, bounds), "+Inf"]
        self._tallies: dict[_Series, _Tally] = {}

    def record(self, value: float, labels: Labels = NO_LABELS) -> None:
        """One more value."""
        series = frozenset(labels.items())
        tally = self._tallies.get(series)
        if tally is None:
            tally = self._tallies[series] = _Tally(len(self._says))
        tally.counts[bisect_left(self._bounds, value)] += 1
        tally.sum += value

    def family(self) -> Metric | None:
        """See Instrument."""
        if not self._tallies:
            return None
        family = HistogramMetricFamily(self.name, self.meaning)
        for series, tally in list(self._tallies.items()):
            labels, reached = dict(series), list(accumulate(tally.counts))
            for bound, count in zip(self._says, reached, strict=True):
                family.add_sample(f"{self.name}_bucket", {**labels, "le": bound}, count)
            family.add_sample(f"{self.name}_count", labels, reached[-1])
            family.add_sample(f"{self.name}_sum", labels, tally.sum)
        return family


class _Tally:
    __slots__ = ("counts", "sum")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.sum = 0.0


class TableGauge(Instrument):
    """A gauge with a row per combination of labels, replaced as a whole.

    A combination that is gone from the table is gone from /metrics: it does not keep its last
    value, and it does not become zero, which would look like a measurement.
    """

    def __init__(self, name: str, meaning: str) -> None:
        super().__init__(name, meaning)
        self._read: Callable[[], Iterable[Sample]] = tuple

    def replace(self, samples: Iterable[Sample]) -> None:
        """Show these from now on."""
        fixed = tuple(samples)
        self._read = lambda: fixed

    def follow(self, read: Callable[[], Iterable[Sample]]) -> None:
        """Ask `read` at each scrape (in the scraping thread; it must not block)."""
        self._read = read

    def family(self) -> Metric | None:
        """See Instrument. A gauge that cannot be read is missing; the others are shown."""
        try:
            samples = list(self._read())
        except Exception:
            log.exception("gauge_not_read", metric=self.name)
            return None
        if not samples:
            return None
        family = GaugeMetricFamily(self.name, self.meaning)
        for sample in samples:
            family.add_sample(self.name, dict(sample.labels), sample.value)
        return family
