"""pgbench: many writers from one process of C, so that the client costs next to nothing."""

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
    """`writers` connections repeat the script, each statement prepared and committed by itself."""
    with NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(f"{script};\n")
        file.flush()
        process = await asyncio.create_subprocess_exec(
            *(str(program()), "--no-vacuum", "--protocol=prepared", "--jobs=1"),
            *(
                f"--client={writers}",
                f"--time={max(1, round(seconds))}",
                f"--file={file.name}",
                dsn,
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate()
    if process.returncode:
        raise RuntimeError(err.decode()[:500])
    return next(float(line.split()[2]) for line in out.decode().splitlines() if "tps" in line)
