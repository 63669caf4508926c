"""`python -m tests.chaos.autoscaler`: the autoscaler with a provider that can be spoilt.

While the time in $CHAOS_PROVIDER_TROUBLE has not come, calls are late (the work is done, then the
answer never comes), refused, or lists forget somebody. Its containers are workers with seams.
"""

import asyncio
import json
import os
import runpy
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.chaos import seams

from autoscaler.config import AutoscalerSettings
from autoscaler.provider import ContainerSpec, ProviderContainer, ProviderError
from autoscaler.providers import PROVIDERS
from autoscaler.providers.process import ProcessProvider

TROUBLE = "CHAOS_PROVIDER_TROUBLE"
LATE_SECONDS = 0.3
KINDS = ("late", "refused", "forgetful")


class SpoiltProvider(ProcessProvider):
    """Processes on this machine, behind a provider as clouds are."""

    async def create(self, spec: ContainerSpec) -> str:
        """See ProcessProvider."""
        self._refuse()
        ref = await super().create(spec)
        await self._be_late()
        return ref

    async def stop(self, name: str) -> None:
        """See ProcessProvider."""
        self._refuse()
        await super().stop(name)
        await self._be_late()

    async def list(self) -> Sequence[ProviderContainer]:
        """See ProcessProvider."""
        self._refuse()
        found = await super().list()
        await self._be_late()
        return found[1:] if _trouble() == "forgetful" else found

    def _refuse(self) -> None:
        if _trouble() == "refused":
            raise ProviderError("503: try again later")

    async def _be_late(self) -> None:
        if _trouble() == "late":
            await asyncio.sleep(LATE_SECONDS)
            raise ProviderError("no answer within 30 s")


def _trouble() -> str:
    """Which, if any, at this moment."""
    try:
        said = json.loads(Path(os.environ[TROUBLE]).read_text())
    except (OSError, ValueError):
        return ""
    return str(said["kind"]) if time.time() < said["until"] else ""


def _command(spec: ContainerSpec) -> Sequence[str]:
    return (sys.executable, "-m", "tests.chaos.worker", f"{spec.pool}_worker")


def _provider(settings: AutoscalerSettings) -> SpoiltProvider:
    return SpoiltProvider(
        settings.process_folder, command=_command, grace_seconds=settings.grace_seconds
    )


def main() -> None:
    """Put the provider in and become the service."""
    seams.apply()
    providers = PROVIDERS
    assert isinstance(providers, dict)
    providers["process"] = _provider
    runpy.run_module("autoscaler", run_name="__main__")


if __name__ == "__main__":
    main()
