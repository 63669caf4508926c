"""`python -m tests.soak.worker text_worker`: a worker service whose handlers only say when they began.

A task whose company_id is FAILS_ONCE asks for a second attempt in its first.
"""

import os
import runpy
import socket
import sys
import time
from importlib import import_module

from reveille.outcome import Done, Outcome, Retry
from reveille.task_types.handling import Handler, HandlerContext
from reveille.task_types.spec import TaskOptions

EAR = "SOAK_EAR"  # the datagram socket that hears of each attempt
FAILS_ONCE = "soak-fails-once"
BEGAN = "{task_id} {attempt} {monotonic_ns}"


def handler(ear: socket.socket) -> Handler:
    """Does nothing."""

    async def handle(_options: TaskOptions, context: HandlerContext) -> Outcome:
        task = context.task
        word = BEGAN.format(
            task_id=task.task_id, attempt=task.attempt, monotonic_ns=time.monotonic_ns()
        )
        ear.send(word.encode())
        if task.company_id == FAILS_ONCE and task.attempt == 1:
            return Retry(reason="soak", error="the first attempt of this one fails")
        return Done()

    return handle


def main() -> None:
    """Put the handler in and become the service."""
    module = sys.argv.pop(1)
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ear.connect(os.environ[EAR])
    handlers: dict[str, Handler] = import_module(f"{module}.handlers").HANDLERS
    handlers.update(dict.fromkeys(handlers, handler(ear)))
    runpy.run_module(module, run_name="__main__")


if __name__ == "__main__":
    main()
