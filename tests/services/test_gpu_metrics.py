"""GPU gauges, from an `nvidia-smi` that says what real ones say."""

from pathlib import Path

import pytest

from reveille.telemetry import configure
from reveille.worker.gpu import MEBIBYTE, Gpu, follow_gpus, parse

# Two GPUs, and a slice of one (MIG), which has no utilisation of its own.
ANSWER = "0, 87, 40512, 81559\n1, 0, 4, 81559\n2, [N/A], 12, 9856\n"


def program(folder: Path, body: str) -> str:
    """An executable script."""
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_answer_is_read_in_bytes_and_shares() -> None:
    """MiB and percent are the driver's units, not Prometheus's."""
    first, _, part = parse(ANSWER)
    assert first == Gpu("0", 0.87, 40512 * MEBIBYTE, 81559 * MEBIBYTE)
    assert (part.used_ratio, part.memory_used_bytes) == (None, 12 * MEBIBYTE)


@pytest.mark.parametrize("text", ["", "No devices were found\n", "a, b\n"])
def test_other_words_are_no_gpu(text: str) -> None:
    """A driver that complains on stdout does not become a GPU."""
    assert parse(text) == ()


def test_gpus_are_on_the_metrics_page_and_asked_once_a_scrape(tmp_path: Path) -> None:
    """Three gauges of one scrape are one run of the program, which can take half a second."""
    telemetry = configure("visual_worker")
    asked = tmp_path / "asked"
    body = f"echo x >> {asked}; printf '{ANSWER.encode('unicode_escape').decode()}'"
    follow_gpus(telemetry.metrics, program(tmp_path, body))
    text = telemetry.metrics_text().decode()
    assert 'reveille_gpu_used_ratio{gpu="0"} 0.87' in text
    assert 'reveille_gpu_memory_used_bytes{gpu="2"} 1.2582912e+07' in text
    assert asked.read_text() == "x\n"


@pytest.mark.parametrize("body", ["exit 9", "echo 'Failed to initialize NVML'; exit 1"])
def test_driver_that_fails_leaves_the_gauges_out(tmp_path: Path, body: str) -> None:
    """A broken driver is no GPU at zero percent, and does not break the scrape."""
    telemetry = configure("visual_worker")
    follow_gpus(telemetry.metrics, program(tmp_path, body))
    telemetry.metrics.lease_lost.add(1)
    text = telemetry.metrics_text().decode()
    assert "reveille_gpu" not in text.replace("# ", "")
    assert "reveille_lease_lost_total" in text
