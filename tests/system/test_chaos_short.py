"""The chaos suite in its short form: the command itself, with one seed. The long form: make chaos."""

import asyncio
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEED = 11
# What costs the least time and shakes most: dead and frozen workers, a dead database, dead sessions.
FAULTS = ("kill", "freeze_briefly", "postgres_crash", "end_sessions", "kill_model", "half_open")


@pytest.mark.timeout(240)  # it runs beside the other tests
async def test_nothing_is_lost_or_doubled_under_a_seed_of_faults() -> None:
    """Forty tasks, eight faults, the audit: exit 0, and the sentence that says so."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.chaos", "--seeds", "1", "--first-seed", str(SEED)),
        *("--tasks", "40", "--seconds", "12", "--faults", "8", "--verbose", "--only", *FAULTS),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    said = output.decode()
    assert process.returncode == 0, said
    assert f"seed {SEED}: 0 lost, 0 doubled, 0 wrong" in said
