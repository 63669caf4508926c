"""`python -m tests.chaos.worker text_worker`: a worker service with two seams.

A task whose company_id is POISON kills the process that works on it, as a driver's fault or the
kernel's out-of-memory killer would. $CHAOS_CLOCK_SHIFT_SECONDS sets the process's clock wrong.
"""

import os
import runpy
import signal
import sys
import time
from importlib import import_module

from reveille.outcome import Outcome
from reveille.task_types.handling import Handler, HandlerContext
from reveille.task_types.spec import TaskOptions

POISON = "poison"
SHIFT = "CHAOS_CLOCK_SHIFT_SECONDS"


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
    if shift_seconds := float(os.environ.get(SHIFT, "0")):
        true_time = time.time
        time.time = lambda: true_time() + shift_seconds
    handlers: dict[str, Handler] = import_module(f"{module}.handlers").HANDLERS
    for name, handler in handlers.items():
        handlers[name] = poisonable(handler)
    runpy.run_module(module, run_name="__main__")


if __name__ == "__main__":
    main()
