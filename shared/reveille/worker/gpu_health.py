"""Whether the GPUs of this machine answer. A GPU that fell off its bus takes no more tasks: a model
server goes on without it, on the CPU, twenty times slower and without a word.
"""

import asyncio
import shutil
from contextlib import suppress

ANSWER_SECONDS_MAX = 10.0  # a driver in trouble hangs; 0.5 s is slow for a healthy one
END_SECONDS_MAX = 1.0
SAID_CHARS_MAX = 200


class GpuHealth:
    """Asks `nvidia-smi`. Where there is none, there is nothing to ask."""

    def __init__(self, program: str = "nvidia-smi") -> None:
        self._program = shutil.which(program)
        self._most = 0  # GPUs that it has found at once

    async def trouble(self) -> str | None:
        """What is wrong, None when all is well."""
        if self._program is None:
            return None
        process = await asyncio.create_subprocess_exec(
            *(self._program, "--query-gpu=uuid", "--format=csv,noheader"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                output, _ = await process.communicate()
        except TimeoutError:
            return f"the GPU's driver gives no answer within {ANSWER_SECONDS_MAX:g} s"
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            with suppress(TimeoutError):  # one that hangs in the driver does not end
                await asyncio.wait_for(process.wait(), END_SECONDS_MAX)
        lines = output.decode(errors="replace").strip().splitlines()
        found = sum(line.startswith(("GPU-", "MIG-")) for line in lines)
        self._most = max(self._most, found)
        if process.returncode == 0 and 0 < found == self._most:
            return None
        if found:
            return f"of {self._most} GPUs {found} answer"
        said = lines[-1][:SAID_CHARS_MAX] if lines else f"exit code {process.returncode}"
        return f"no GPU answers (nvidia-smi: {said})"
