"""Metrics as Prometheus sees them: the names that dashboards and alert rules spell out."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from reveille import semconv
from reveille.metrics import Metrics, Sample
from reveille.telemetry import configure

POOL = {semconv.LABEL_POOL: "visual"}


def scraped(text: bytes) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Sample name → its labels and values."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def record_everything(metrics: Metrics) -> None:
    """One value for each instrument of the catalogue."""
    for name, instrument in vars(metrics).items():
        if name == "catalogue":
            continue
        if hasattr(instrument, "record"):
            instrument.record(0.004, POOL)
        elif hasattr(instrument, "add"):
            instrument.add(1, POOL)
        else:
            instrument.replace([Sample(3, POOL)])


@pytest.mark.parametrize(
    "name",
    [
        "reveille_task_wait_seconds_bucket",
        "reveille_task_processing_seconds_count",
        "reveille_wakeup_seconds_sum",
        "reveille_container_start_seconds_bucket",
        "reveille_model_call_seconds_bucket",
        "reveille_http_request_seconds_bucket",
        "reveille_tasks_settled_total",
        "reveille_lease_lost_total",
        "reveille_model_tokens_total",
        "reveille_queue_depth",
        "reveille_queue_oldest_seconds",
        "reveille_servers",
        "reveille_containers",
        "reveille_cost_usd",
        "reveille_budget_used_ratio",
        "reveille_listener_age_seconds",
    ],
)
def test_metric_has_the_name_that_dashboards_use(name: str) -> None:
    """An exporter that renames on its own would empty a panel without an error."""
    telemetry = configure("test")
    record_everything(telemetry.metrics)
    found = scraped(telemetry.metrics_text())
    assert found[name][0][0].items() >= POOL.items()


def test_wait_buckets_span_a_wakeup_to_an_hour() -> None:
    """The default buckets end at ten seconds and would show a cold start as infinity."""
    telemetry = configure("test")
    telemetry.metrics.task_wait.record(0.0015)
    telemetry.metrics.task_wait.record(3000)
    buckets = {
        labels["le"]: count
        for labels, count in scraped(telemetry.metrics_text())["reveille_task_wait_seconds_bucket"]
    }
    assert (buckets["0.001"], buckets["0.002"]) == (0, 1)
    assert (buckets["1800.0"], buckets["3600.0"]) == (1, 2)


def test_gauge_row_that_is_gone_is_not_reported() -> None:
    """A server that left must not stay on the dashboard with its last value, nor as zero."""
    telemetry = configure("test")
    servers = telemetry.metrics.servers
    servers.replace([Sample(2, {"status": "active"}), Sample(1, {"status": "lost"})])
    assert len(scraped(telemetry.metrics_text())["reveille_servers"]) == 2
    servers.replace([Sample(2, {"status": "active"})])
    assert scraped(telemetry.metrics_text())["reveille_servers"] == [({"status": "active"}, 2.0)]


def test_followed_gauge_is_read_at_the_scrape() -> None:
    """An age that was computed earlier would be too young."""
    telemetry = configure("test")
    ages = iter([1.0, 2.0])
    telemetry.metrics.listener_age.follow(lambda: [Sample(next(ages), {})])
    values = [scraped(telemetry.metrics_text())["reveille_listener_age_seconds"] for _ in range(2)]
    assert values == [[({}, 1.0)], [({}, 2.0)]]


def test_gauge_that_cannot_be_read_hides_no_other() -> None:
    """A graphics driver that fails must not take the queue's metrics off the dashboard."""
    telemetry = configure("test")

    def fail() -> list[Sample]:
        raise OSError("nvidia-smi is gone")

    telemetry.metrics.gpu_used.follow(fail)
    telemetry.metrics.lease_lost.add(2)
    found = scraped(telemetry.metrics_text())
    assert found["reveille_lease_lost_total"] == [({}, 2.0)]
    assert "reveille_gpu_used_ratio" not in found


def test_value_on_a_bucket_s_bound_counts_in_it() -> None:
    """`le` means less or equal: a call of exactly a second is one of at most a second."""
    telemetry = configure("test")
    for value in (1.0, 1.0000001, 9999.0):
        telemetry.metrics.task_processing.record(value, {"task_type": "a"})
    found = scraped(telemetry.metrics_text())
    buckets = {
        labels["le"]: count for labels, count in found["reveille_task_processing_seconds_bucket"]
    }
    assert [buckets[bound] for bound in ("0.5", "1.0", "2.0", "3600.0", "+Inf")] == [0, 1, 2, 2, 3]
    assert found["reveille_task_processing_seconds_count"] == [({"task_type": "a"}, 3.0)]
    assert found["reveille_task_processing_seconds_sum"][0][1] == pytest.approx(10001.0000001)


def test_two_telemetries_in_one_process_do_not_mix() -> None:
    """A demo or a test with several services in one process keeps their numbers apart."""
    one, other = configure("one"), configure("other")
    one.metrics.lease_lost.add(1)
    assert "reveille_lease_lost_total" in scraped(one.metrics_text())
    assert "reveille_lease_lost_total" not in scraped(other.metrics_text())


def test_metrics_say_which_process_they_are_of() -> None:
    """target_info joins metrics to traces by service and instance."""
    telemetry = configure("visual_worker", instance_id="gpu-1")
    telemetry.metrics.lease_lost.add(1)
    ((labels, _),) = scraped(telemetry.metrics_text())["target_info"]
    assert labels["service_name"] == "visual_worker"
    assert labels["service_instance_id"] == "gpu-1"
