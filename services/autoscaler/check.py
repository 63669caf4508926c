"""`python -m autoscaler.check`: asks each provider of the scaling file what it runs, changes nothing.

For `reveille doctor`: settings, scaling file and credentials are found wrong here before the first
start needs them. Prints a JSON list of {provider, ok, detail}.
"""

import asyncio
import json
import sys
from dataclasses import asdict, dataclass

from autoscaler.catalogue import providers_of
from autoscaler.config import AutoscalerSettings
from autoscaler.provider import PricedProvider, ProviderError
from autoscaler.providers import PROVIDERS
from reveille.errors import ReveilleError
from reveille.logs import configure_logging, mask_text
from reveille.settings import load

ANSWER_SECONDS_MAX = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one provider said, or why it said nothing."""

    provider: str
    ok: bool
    detail: str


async def check(settings: AutoscalerSettings) -> list[Answer]:
    """One answer per provider that some pool may use. Raises ReveilleError for wrong settings."""
    names = providers_of(list(settings.scaling().values()), settings.provider)
    return [await _ask(name, settings) for name in sorted(names)]


async def _ask(name: str, settings: AutoscalerSettings) -> Answer:
    if name not in PROVIDERS:  # keda: what it runs are rows
        return Answer(name, bool(settings.keda_listen), f"listens at {settings.keda_listen}")
    provider = PROVIDERS[name](settings)
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            running = await provider.list()
            said = f"answers; {len(running)} containers of ours"
            if isinstance(provider, PricedProvider):
                said += f", {len(await provider.prices())} prices"
            return Answer(name, True, said)
    except (ProviderError, OSError) as error:
        return Answer(name, False, mask_text(str(error)) or "no answer in time")
    finally:
        await provider.close()


def main() -> None:
    """Print the answers; exit status 1 with a sentence when the settings are wrong."""
    configure_logging("error", json=False)
    try:
        answers = asyncio.run(check(load(AutoscalerSettings)))
    except ReveilleError as error:
        sys.stderr.write(f"{mask_text(str(error))}\n")
        sys.exit(1)
    sys.stdout.write(json.dumps([asdict(answer) for answer in answers]) + "\n")


if __name__ == "__main__":
    main()
