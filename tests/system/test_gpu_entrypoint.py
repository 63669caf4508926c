"""docker/gpu-entrypoint.sh with a stand-in `ollama` command on its PATH."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docker/gpu-entrypoint.sh"
TIMEOUT_SECONDS = 20

# Keeps its "weights" as files and writes what happens to it into a journal.
OLLAMA = """#!/bin/bash
journal() { echo "$*" >> "$JOURNAL"; }
case "$1" in
    serve)
        trap 'journal ollama stopped; exit 0' TERM
        echo $$ > "$OLLAMA_MODELS/pid"
        while true; do sleep 0.05; done ;;
    list) [[ -e "$OLLAMA_MODELS/pid" ]] ;;
    show) [[ -e "$OLLAMA_MODELS/$2" ]] ;;
    pull) journal "pulled $2"; touch "$OLLAMA_MODELS/$2" ;;
esac
"""

WORKER = """
import os, signal, sys
def say(text):
    with open(os.environ["JOURNAL"], "a") as journal:
        journal.write(text + "\\n")
def drain(*_):
    say("worker drained")
    sys.exit(0)
signal.signal(signal.SIGTERM, drain)
say("worker up")
while True:
    signal.pause()
"""

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        not all(map(shutil.which, ("bash", "setsid", "flock"))), reason="needs bash and util-linux"
    ),
]


class Container:
    """The entrypoint as a process of its own, and the journal of what its parts did."""

    def __init__(self, folder: Path) -> None:
        self.models = folder / "models"
        self.models.mkdir()
        self.journal_path = folder / "journal"
        self.journal_path.touch()
        self.processes: list[subprocess.Popen[bytes]] = []
        ollama = folder / "ollama"
        ollama.write_text(OLLAMA)
        ollama.chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "OLLAMA_MODELS": str(self.models),
            "JOURNAL": str(self.journal_path),
        }

    def start(self, worker: str, *, models: str = "") -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            ["bash", SCRIPT, sys.executable, "-c", worker],
            env=self.environment | {"REVEILLE_MODELS": models},
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process

    @property
    def journal(self) -> list[str]:
        return self.journal_path.read_text().splitlines()

    @property
    def ollama_pid(self) -> int:
        return int((self.models / "pid").read_text())


def eventually(predicate: Callable[[], bool]) -> None:
    """Poll across processes, with an end."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not predicate():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    box = Container(tmp_path)
    yield box
    for process in box.processes:
        if process.poll() is None:
            process.terminate()
            process.wait(TIMEOUT_SECONDS)


def test_stop_drains_the_worker_before_its_model_goes(container: Container) -> None:
    """A worker that drains still asks its model; Ollama may only stop after it."""
    process = container.start(WORKER)
    eventually(lambda: "worker up" in container.journal)
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_SECONDS) == 0
    assert container.journal == ["worker up", "worker drained", "ollama stopped"]


def test_dead_worker_ends_the_container_with_its_status(container: Container) -> None:
    """A GPU that nobody uses must not go on costing money."""
    process = container.start("raise SystemExit(7)")
    assert process.wait(TIMEOUT_SECONDS) == 7
    assert container.journal == ["ollama stopped"]


def test_dead_ollama_ends_the_container_after_a_drain(container: Container) -> None:
    """A worker without a model would fail task after task."""
    process = container.start(WORKER)
    eventually(lambda: "worker up" in container.journal)
    os.kill(container.ollama_pid, signal.SIGKILL)
    assert process.wait(TIMEOUT_SECONDS) == 1
    assert container.journal == ["worker up", "worker drained"]


def test_missing_weights_are_fetched_once_by_two_containers(container: Container) -> None:
    """Containers that share a volume must not download the same gigabytes side by side."""
    first = container.start("", models="llava gemma3")
    second = container.start("", models="llava gemma3")
    assert first.wait(TIMEOUT_SECONDS) == second.wait(TIMEOUT_SECONDS) == 0
    assert sorted(line for line in container.journal if "pulled" in line) == [
        "pulled gemma3",
        "pulled llava",
    ]
