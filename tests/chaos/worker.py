"""`python -m tests.chaos.worker text_worker`: a worker service with seams (seams.py).

A task whose company_id is POISON kills the process that works on it, as a driver's fault or the
kernel's out-of-memory killer would.
"""

import os
import runpy
import signal
import sys
from importlib import import_module

from tests.chaos import seams

from reveille.outcome import Outcome
from reveille.task_types.handling import Handler, HandlerContext
from reveille.task_types.spec import TaskOptions

POISON = "poison"


def poisonable(handler: Handler) -> Handler:
    """The handler, except that poison kills."""

    async def handle(options: TaskOptions, context: HandlerContext) -> Outcome:
        if context.task.company_id == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        return await handler(options, context)

    return handle


def main() -> None:
    """Put the seams in and become the service."""
    module = sys.argv.pop(1)
    seams.apply()
    handlers: dict[str, Handler] = import_module(f"{module}.handlers").HANDLERS
    for name, handler in handlers.items():
        handlers[name] = poisonable(handler)
    runpy.run_module(module, run_name="__main__")


if __name__ == "__main__":
    main()
