"""What the numbers were measured on."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tests.bench import peers

from reveille.embedded import EmbeddedPostgres


def machine() -> dict[str, object]:
    """Processor, cores, memory, system."""
    return {
        "processor": _line("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(int((_line("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / 2**20),
        "system": platform.platform(),
        "load": load(),
    }


def load() -> list[float]:
    """Over the last 1, 5 and 15 minutes."""
    return [round(share, 2) for share in os.getloadavg()]


def versions(postgres: EmbeddedPostgres) -> dict[str, str]:
    """Of everything that takes part."""
    return {
        "reveille": version("reveille"),
        "commit": _commit(),
        "postgres": postgres.version.split(" ")[0],
        "python": sys.version.split()[0],
        "asyncpg": version("asyncpg"),
        **peers.versions(),
    }


def _line(path: str, name: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), None)


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
