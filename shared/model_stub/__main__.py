"""`python -m model_stub`: serve until a signal comes. Flags and variables: config.py."""

import asyncio
import signal
import sys

from model_stub.config import CommandLine, StubSettings
from model_stub.server import Stub


async def serve(settings: StubSettings) -> None:
    """Listen until SIGTERM or SIGINT. Raises OSError when the port is taken."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    stub = Stub(settings)
    await stub.start()
    sys.stderr.write(f"model_stub: answering by rules (no model) on {stub.url}\n")
    try:
        await stopping.wait()
    finally:
        await stub.stop()


def main() -> int:
    """Exit status: 0 after a signal, 1 when the port cannot be had."""
    settings = CommandLine().settings()
    try:
        asyncio.run(serve(settings))
    except OSError as error:
        sys.stderr.write(
            f"model_stub: cannot listen on {settings.host}:{settings.port} ({error.strerror}): "
            "is another model server running? Choose another port with --port.\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
