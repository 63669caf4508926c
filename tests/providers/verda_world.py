"""An account at Verda's stand-in, for the conformance suite and the provider's own tests."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from tests.providers.verda_fake import (
    BOOT_SECONDS,
    CLIENT_ID,
    CLIENT_SECRET,
    PULL_SECONDS,
    FakeVerda,
)

from autoscaler.providers.verda import VerdaProvider
from autoscaler.verda_settings import VerdaSettings

INSTALLATION = "here"
SURROUNDINGS = {"DATABASE_URL": "postgresql://there", "HOME": "/root"}


class VerdaWorld:
    """The stand-in. Its containers are started again when they end, as deployments are."""

    restarts_ended = True

    def __init__(self, url: str, verda: FakeVerda, runner: web.AppRunner) -> None:
        self.url = url
        self.verda = verda
        self._runner = runner

    def settings(self, **changes: Any) -> VerdaSettings:
        """Those of an installation on this account."""
        given = {
            "verda_url": self.url,
            "verda_client_id": CLIENT_ID,
            "verda_client_secret": CLIENT_SECRET,
            "verda_image": "registry.test/reveille/{pool}-worker:1",
            **changes,
        }
        return VerdaSettings(**given)

    def open(
        self,
        *,
        installation: str = INSTALLATION,
        surroundings: Mapping[str, str] = SURROUNDINGS,
        **changes: Any,
    ) -> VerdaProvider:
        """On the account's clock: no pause takes time."""
        return VerdaProvider(
            self.settings(**changes),
            prefix="reveille",
            installation=installation,
            surroundings=surroundings,
            sleep=self.verda.sleep,
            clock=self.verda.now,
        )

    async def until_running(self, name: str) -> None:
        """As long as a pull and a boot take."""
        self.verda.pass_time(PULL_SECONDS + BOOT_SECONDS)
        assert name in self.verda.running()

    async def running(self) -> set[str]:
        """As the account has it."""
        return self.verda.running()

    async def environment(self, name: str) -> Mapping[str, str]:
        """From the body of the call that created it."""
        return self.verda.deployments[name].environment

    async def end(self, name: str) -> None:
        """It is started again at once."""
        self.verda.restart(name)

    async def add_foreign(self, name: str) -> None:
        """Of the same account."""
        self.verda.add(name)

    async def break_down(self) -> None:
        """Nobody listens any more."""
        await self._runner.cleanup()


@asynccontextmanager
async def verda_world(_: Path) -> AsyncIterator[VerdaWorld]:
    """On a free port of loopback."""
    verda = FakeVerda()
    async with serving(verda) as (url, runner):
        yield VerdaWorld(url, verda, runner)


@asynccontextmanager
async def serving(verda: FakeVerda) -> AsyncIterator[tuple[str, web.AppRunner]]:
    """The account over HTTP: its base URL."""
    runner = web.AppRunner(verda.application(), shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        yield f"http://127.0.0.1:{port}/v1", runner
    finally:
        verda.hold.set()
        await runner.cleanup()
