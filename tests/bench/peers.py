"""The other queues, installed beside us: .bench/ is ignored by git and by our lock files.

`python -m tests.bench.peers` installs what is missing. A peer that cannot be had here (no npm, no
newer Python, no registry) is left out, and the results say why.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

CHILDREN = Path(__file__).parent / "children"
HOME = Path(__file__).parents[2] / ".bench"
PYTHON = HOME / "python/bin/python"
PYTHON_OF_OBAN = HOME / "oban/bin/python"
NODE_MODULES = HOME / "node/node_modules"
NODE = NODE_MODULES / "node/bin/node"
PYTHONS_FOR_OBAN = ("python3.14", "python3.13", "python3.12")
FROM_INDEX = {
    "pgqueuer": ("pgqueuer[asyncpg]>=1.6,<2",),
    "procrastinate": ("procrastinate>=3.10,<4",),
}
FOR_OBAN = ("oban>=0.7,<0.8",)
FROM_NPM = ("graphile-worker@0.17", "pg-boss@12", "pg@8", "node@24")  # pg-boss 12 needs node 22
INSTALL_SECONDS_MAX = 300

NAMES = ("pgqueuer", "procrastinate", "oban", "graphile-worker", "pg-boss")


class Absent(Exception):
    """The message is the reason, as the results give it."""


def require(name: str) -> None:
    """Raises Absent unless the peer is installed."""
    if not _folder(name).exists():
        raise Absent(_why_not(name))


def install() -> None:
    """Install what is missing; trouble is told by `require`."""
    HOME.mkdir(exist_ok=True)
    wanted = [r for name, rs in FROM_INDEX.items() if not _folder(name).exists() for r in rs]
    if wanted:
        _make_environment(Path(sys.executable), PYTHON.parents[1])
        _run([str(PYTHON), "-m", "pip", "install", "--quiet", *wanted, "uvloop"])
    newer = _newer_python()
    if newer is not None and not _folder("oban").exists():
        _make_environment(newer, PYTHON_OF_OBAN.parents[1])
        _run([str(PYTHON_OF_OBAN), "-m", "pip", "install", "--quiet", *FOR_OBAN])
    if shutil.which("npm") and not _folder("pg-boss").exists():
        (HOME / "node").mkdir(exist_ok=True)
        (HOME / "node/package.json").write_text("{}")
        _run(["npm", "install", "--no-audit", "--no-fund", *FROM_NPM], HOME / "node")


def versions() -> dict[str, str]:
    """Of what is installed."""
    found = {}
    for name in NAMES:
        folder = _folder(name)
        if not folder.exists():
            continue
        if name in {"graphile-worker", "pg-boss"}:
            found[name] = _said(["node", "-p", f"require('{folder}/package.json').version"])
        else:
            python = PYTHON_OF_OBAN if name == "oban" else PYTHON
            code = f"import importlib.metadata as m; print(m.version('{name}'))"
            found[name] = _said([str(python), "-c", code])
    return found


def _folder(name: str) -> Path:
    if name in {"graphile-worker", "pg-boss"}:
        return NODE_MODULES / name
    home = PYTHON_OF_OBAN.parents[1] if name == "oban" else PYTHON.parents[1]
    return next(home.glob(f"lib/python3*/site-packages/{name}"), home / "absent")


def _why_not(name: str) -> str:
    if name == "oban" and _newer_python() is None:
        return "oban needs Python 3.12 or newer, which this machine does not have"
    if name in {"graphile-worker", "pg-boss"} and not shutil.which("npm"):
        return f"{name} needs node and npm, which this machine does not have"
    return f"{name} is not installed: python -m tests.bench.peers"


@cache
def _newer_python() -> Path | None:
    if sys.version_info >= (3, 12):
        return Path(sys.executable)
    on_path = [Path(p) for n in PYTHONS_FOR_OBAN if (p := shutil.which(n))]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [*on_path, *sorted(pyenv.glob("3.1[2-9].*/bin/python"), reverse=True)]
    return next((python for python in candidates if _runs(python)), None)


def _runs(python: Path) -> bool:
    """pyenv's shims are on the path and run nothing where no version is chosen."""
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def _make_environment(python: Path, home: Path) -> None:
    _run([str(python), "-m", "venv", str(home)])


def _run(command: Sequence[str], folder: Path | None = None) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS_MAX,
        check=False,
    )
    if done.returncode:
        sys.stderr.write(f"{' '.join(command)}\n{done.stderr[-2000:]}\n")


def _said(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip()


if __name__ == "__main__":
    install()
    for peer in NAMES:
        try:
            require(peer)
        except Absent as reason:
            sys.stdout.write(f"{peer}: {reason}\n")
        else:
            sys.stdout.write(f"{peer} {versions()[peer]}\n")
