"""The benchmark runs: its cheapest scenario, on a Postgres of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_benchmark_of_a_claim_in_its_short_form_prints_a_page() -> None:
    """The harness keeps up with what it measures: schema, statements, worker."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--short", "--no-install", "--only", "claim"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "| 1k queued |" in done.stdout
