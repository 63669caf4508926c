"""The render child from inside: what it can do once the kernel's filter is on, and what it holds."""

import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import structlog

from reveille import testing_pdfs
from reveille.render import document as document_module
from reveille.render.confinement import ALLOW, MACHINES, REFUSE, RETURN, filter_of
from reveille.render.document import Document
from reveille.render.limits import DocumentLimits

CONFINED = sys.platform == "linux" and platform.machine() in MACHINES
linux = pytest.mark.skipif(not CONFINED, reason="no seccomp table for this machine")

# Runs in a process of its own, with everything it needs loaded before.
ATTEMPTS = """
import ctypes, json, mmap, os, resource, signal, socket, sys
from reveille.render.confinement import confine
libc = ctypes.CDLL(None, use_errno=True)
parent = os.getppid()
free = socket.socket()
limits = resource.getrlimit(resource.RLIMIT_CPU)

def system(*arguments):
    if libc.syscall(*map(ctypes.c_long, arguments)) < 0:
        raise OSError(ctypes.get_errno(), "")

tries = {
    "open a file": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "write a file": lambda: os.open("/tmp/leak", os.O_WRONLY | os.O_CREAT),
    "look at a path": lambda: os.stat("/etc/passwd"),
    "list a folder": lambda: os.listdir("/"),
    "open a socket": lambda: socket.socket(),
    "connect one it has": lambda: free.connect(("127.0.0.1", 9)),
    "make a pipe": os.pipe,
    "fork": os.fork,
    "execute": lambda: os.execv("/bin/true", ["true"]),
    "signal its parent": lambda: os.kill(parent, 0),
    "limit its parent": lambda: resource.prlimit(parent, resource.RLIMIT_CPU, limits),
    "make memory executable": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC),
    "leave its session": os.setsid,
    "change its user": lambda: os.setuid(os.getuid()),
    "make a namespace": lambda: system({"x86_64": 272, "aarch64": 97}[os.uname().machine], 0x10000000),
    "trace its parent": lambda: system({"x86_64": 101, "aarch64": 117}[os.uname().machine], 16, parent),
}
fine = {
    "get memory": lambda: bytearray(64 * 1024 * 1024),
    "limit itself": lambda: resource.setrlimit(resource.RLIMIT_CPU, limits),
    "draw lots": lambda: os.getrandom(8),
}
machine = os.uname()
os.uname = lambda: machine
why_not = confine()
said = {"why_not": why_not, "refused": [], "done": []}
for name, do in (*tries.items(), *fine.items()):
    try:
        do()
    except PermissionError:
        said["refused"].append(name)
    else:
        said["done"].append(name)
said["tries"], said["fine"] = list(tries), list(fine)
os.write(1, json.dumps(said).encode())
os._exit(0)
"""


@linux
def test_confined_process_can_compute_and_nothing_else() -> None:
    """Code that a hostile PDF might smuggle in finds no file, no network, no process, no new code."""
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPTS], capture_output=True, timeout=60, check=True
    )
    said = json.loads(done.stdout)

    assert said["why_not"] is None
    assert said["refused"] == said["tries"]
    assert said["done"] == said["fine"]


async def _opened() -> Document:
    with tempfile.TemporaryFile() as file:
        file.write(testing_pdfs.deck("One"))
        file.seek(0)
        return await Document.start(file.fileno(), DocumentLimits())


@linux
async def test_child_with_a_document_is_confined_and_holds_two_pipes_only() -> None:
    """The filter is on in the real child, and no connection or file of the worker's came along."""
    with tempfile.TemporaryFile() as secret:
        os.set_inheritable(secret.fileno(), True)  # what somebody forgot to close
        async with await _opened() as document:
            folder = Path(f"/proc/{document.process_id}")
            status = dict(
                line.split(":\t", 1) for line in (folder / "status").read_text().splitlines()
            )
            held = [str(link.readlink()) for link in (folder / "fd").iterdir()]
            assert (await document.page(1)).text == "One"

    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    assert sorted(link.partition(":")[0] for link in held if link != "/dev/null") in (
        ["pipe", "pipe"],
        ["socket", "socket"],  # asyncio's pipes, where it prefers socket pairs
        ["pipe", "socket"],
    )


async def test_machine_without_the_filter_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rendering goes on with resource limits alone, and an operator can read that in the log."""
    document_module._tell_confinement.cache_clear()
    answer = document_module.RenderProcess.ask

    async def unconfined(self: Any, request: Any, *, about: str) -> Any:
        message, raw = await answer(self, request, about=about)
        return message | {"unconfined": "no seccomp here"}, raw

    monkeypatch.setattr(document_module.RenderProcess, "ask", unconfined)
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            async with await _opened() as document:
                assert document.page_count == 1

    warnings = [entry for entry in logs if entry["event"] == "render_not_confined"]
    assert [entry["reason"] for entry in warnings] == ["no seccomp here"]


@pytest.mark.parametrize("machine", list(MACHINES))
def test_filter_names_each_call_once_and_refuses_by_default(machine: str) -> None:
    """A table with a slip in it would allow a call that nobody meant."""
    architecture, calls = MACHINES[machine]
    program = filter_of(architecture, calls)

    assert len(set(calls.values())) == len(calls)
    assert set(calls) == set(MACHINES["x86_64"][1])
    assert program[-1] == (RETURN, 0, 0, REFUSE)
    assert sum(step == (RETURN, 0, 0, ALLOW) for step in program) == len(calls)
