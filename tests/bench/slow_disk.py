"""A disk that takes its time: cloud volumes flush in about a millisecond, the disk of a benchmark's
machine in a tenth of that.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.peers import Absent

SOURCE = Path(__file__).with_name("slow_disk.c")
FLUSH_VARIABLE = "BENCH_FLUSH_MICROSECONDS"
FLUSH_MICROSECONDS = 1000


@contextmanager
def slow_disk() -> Iterator[Path]:
    """The library to preload, compiled for the length of the block. Raises Absent without a
    compiler.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise Absent("no C compiler (cc) for the library that slows the disk down")
    with TemporaryDirectory(prefix="reveille-slow-disk-") as folder:
        Path(folder).chmod(0o755)  # Postgres runs as somebody else
        library = Path(folder) / "slow_disk.so"
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True
        )
        yield library
