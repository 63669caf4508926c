"""Prices: read from the table, and kept there from the price lists of those providers that have one.

An operator's row (provider, gpu, region, spot, usd_per_hour) goes before a provider's own. A price
that cannot be had is a reason not to start, in words, and never a zero.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence

import structlog

from autoscaler.ledger import Ledger
from autoscaler.offers import PricedOffer, PriceKey, price_of
from autoscaler.provider import PricedProvider, Provider, ProviderError, StackedProvider
from autoscaler.scaling_file import Offer, PoolScaling

log = structlog.get_logger(__name__)

RETRY_SECONDS = 60.0
PRICES_SECONDS_MAX = 30.0


class Catalogue:
    """What each provider charges. `refresh_seconds`: how old a provider's price list may be."""

    def __init__(
        self, ledger: Ledger, providers: Mapping[str, Provider], *, refresh_seconds: float
    ) -> None:
        self._ledger = ledger
        self._providers = providers
        self._refresh_seconds = refresh_seconds
        self._due: dict[str, float] = {}  # provider → monotonic time
        self._errors: dict[str, str] = {}  # provider → why its list could not be had
        self._prices: Mapping[PriceKey, float] = {}

    async def refresh(self) -> None:
        """Ask those providers whose lists are old, all at once, and read the table."""
        now = time.monotonic()
        due = {
            name: provider
            for name, provider in self._providers.items()
            if isinstance(provider, PricedProvider) and now >= self._due.get(name, 0.0)
        }
        await asyncio.gather(*(self._ask(name, provider) for name, provider in due.items()))
        self._prices = await self._ledger.look_prices()

    async def _ask(self, name: str, provider: PricedProvider) -> None:
        try:
            async with asyncio.timeout(PRICES_SECONDS_MAX):
                prices = await provider.prices()
        except (ProviderError, TimeoutError) as error:
            words = str(error) or "no answer in time"
            log.warning("prices_not_read", provider=name, error=words)
            self._errors[name] = words
            self._due[name] = time.monotonic() + RETRY_SECONDS
            return
        self._errors.pop(name, None)
        self._due[name] = time.monotonic() + self._refresh_seconds
        await self._ledger.keep_prices(name, prices)

    def priced(self, scaling: PoolScaling, otherwise: str) -> list[PricedOffer | str]:
        """The pool's offers with their prices, in order; a string says why one cannot be had.
        `otherwise` is the provider of offers that name none.
        """
        home = scaling.provider or otherwise
        # Without offers the block itself is the only one, and its price the last word on it.
        offers = scaling.offers or (Offer(gpu=scaling.gpu),)
        last = None if scaling.offers else scaling.price_usd_per_hour
        return [self._price(offer, offer.provider or home, last) for offer in offers]

    def can_start(self, scaling: PoolScaling, otherwise: str) -> bool:
        """Whether any provider of the pool's can start anything."""
        names = providers_of([scaling], otherwise)
        return any(name in self._providers and self._providers[name].can_start for name in names)

    def ends_highest_first(self, scaling: PoolScaling, otherwise: str) -> bool:
        """Whether some provider of the pool's can end only the highest slot."""
        names = providers_of([scaling], otherwise)
        return any(isinstance(self._providers.get(name), StackedProvider) for name in names)

    def _price(self, offer: Offer, name: str, otherwise: float | None) -> PricedOffer | str:
        provider = self._providers.get(name)
        if provider is None:
            return f"there is no provider {name!r}"
        if not provider.can_start:
            return f"{name} starts nothing"
        if isinstance(provider, PricedProvider):
            otherwise = None  # it knows its prices: a guess of ours would hide a wrong name
        priced = price_of(offer, name, self._prices, otherwise=otherwise)
        if isinstance(priced, str) and name in self._errors:
            return f"{priced}: {self._errors[name]}"
        return priced


def providers_of(scalings: Sequence[PoolScaling], otherwise: str) -> set[str]:
    """Every provider that some pool may use."""
    named = {scaling.provider or otherwise for scaling in scalings}
    return named | {o.provider for scaling in scalings for o in scaling.offers if o.provider}
