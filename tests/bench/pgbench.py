"""pgbench: many writers from one process of C, so that the client costs next to nothing.

A backend's first statement reads catalogs and compiles trigger functions, some milliseconds that a
pooled connection pays once in its life: they are not counted. With 128 new connections on two cores
they would be a third of a run of two seconds.
"""

import asyncio
import shutil
import subprocess
from pathlib import Path
from tempfile import NamedTemporaryFile

from tests.bench.peers import Absent

from reveille.postgres_binaries import find_binaries


def program() -> Path:
    """Where it is. Raises Absent: the wheel with Postgres binaries has none."""
    beside = find_binaries().bin_dir / "pgbench"
    found = beside if beside.exists() else shutil.which("pgbench")
    if found is None:
        raise Absent("pgbench is not installed (it comes with the server's packages)")
    return Path(found)


async def transactions_per_second(dsn: str, script: str, *, writers: int, seconds: float) -> float:
    """`writers` connections repeat the script, each statement prepared and committed by itself; the
    mean of whole seconds, after a second of warm-up for every 64 writers.
    """
    warm_up = 1 + writers // 64
    counted = max(1, round(seconds))
    with NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(f"{script};\n")
        file.flush()
        process = await asyncio.create_subprocess_exec(
            *(str(program()), "--no-vacuum", "--protocol=prepared", "--jobs=1"),
            *(
                f"--client={writers}",
                f"--time={warm_up + counted}",
                "--progress=1",
                f"--file={file.name}",
                dsn,
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        _, err = await process.communicate()
    if process.returncode:
        raise RuntimeError(err.decode()[:500])
    return _mean_rate(err.decode(), warm_up)


def _mean_rate(progress: str, warm_up: int) -> float:
    """From lines such as `progress: 2.0 s, 4558.2 tps, lat …`."""
    rates = [float(line.split()[3]) for line in progress.splitlines() if "tps" in line]
    counted = rates[warm_up:]
    if not counted:
        raise RuntimeError(f"pgbench did not last: {progress[-500:]}")
    return sum(counted) / len(counted)
