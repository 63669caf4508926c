"""Which of a pool's offers the next container is asked for: pure.

An offer is a provider, a GPU, a region, spot or not; a pool lists them in order of preference. The
first is taken whose price is known and that has not failed lately. What fails is remembered under
the very words it is looked up by, so that the memory is never beside the point; an account that is
refused counts against all offers of its provider.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autoscaler.provider import Trouble
from autoscaler.scaling_file import Offer, PoolScaling


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedOffer:
    """What a container is asked for, and what an hour of it costs."""

    provider: str
    gpu: str | None = None
    region: str | None = None
    spot: bool = False
    usd_per_hour: float = 0.0

    @property
    def words(self) -> str:
        """For people: `verda H100 FIN-01 spot`."""
        parts = (self.provider, self.gpu, self.region, "spot" if self.spot else None)
        return " ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """Containers of one offer that failed in a row in a pool. `ago_seconds`: the last of them."""

    pool: str
    provider: str
    gpu: str | None
    region: str | None
    spot: bool
    failures: int
    ago_seconds: float
    trouble: Trouble = "other"

    def counts_against(self, pool: str, offer: PricedOffer) -> bool:
        """Whether it makes one wait with this offer."""
        if self.provider == offer.provider and self.trouble == "account":
            return True
        return (self.pool, self.provider, self.gpu, self.region, self.spot) == (
            pool,
            offer.provider,
            offer.gpu,
            offer.region,
            offer.spot,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The offer to take, or why there is none. With `failures` the offer may have to wait still:
    that is the decision's to say.
    """

    offer: PricedOffer | None = None
    refusal: str = ""
    failures: int = 0
    failed_seconds_ago: float | None = None


def choose(
    pool: str,
    priced: Sequence[PricedOffer | str],
    failures: Iterable[Failures],
    config: PoolScaling,
) -> Choice:
    """The first of `priced` that need not wait, else the one that waits least. A string in place
    of an offer says why that one cannot be had at all.
    """
    offers = [offer for offer in priced if isinstance(offer, PricedOffer)]
    if not offers:
        return Choice(refusal="; ".join(str(why) for why in priced) or "it has no offer")
    failures = list(failures)
    waits = [(_rest_seconds(pool, offer, failures, config), offer) for offer in offers]
    free = [offer for rest, offer in waits if rest <= 0]
    offer = free[0] if free else min(waits, key=lambda wait: wait[0])[1]
    worst = _worst(pool, offer, failures, config)
    if worst is None:
        return Choice(offer=offer)
    return Choice(offer=offer, failures=worst.failures, failed_seconds_ago=worst.ago_seconds)


def backoff_seconds(failures: int, config: PoolScaling) -> float:
    """How long nothing is started after so many failures in a row."""
    if failures <= 0:
        return 0.0
    grown: float = config.failure_backoff * 2.0 ** min(failures - 1, 20)
    return min(grown, config.failure_backoff_max)


def _rest_seconds(
    pool: str, offer: PricedOffer, failures: Sequence[Failures], config: PoolScaling
) -> float:
    worst = _worst(pool, offer, failures, config)
    return 0.0 if worst is None else _rest(worst, config)


def _worst(
    pool: str, offer: PricedOffer, failures: Sequence[Failures], config: PoolScaling
) -> Failures | None:
    """Of the failures that count against it, the one that makes it wait longest."""
    against = [f for f in failures if f.counts_against(pool, offer)]
    return max(against, key=lambda f: _rest(f, config), default=None)


def _rest(failures: Failures, config: PoolScaling) -> float:
    return backoff_seconds(failures.failures, config) - failures.ago_seconds


# Prices --------------------------------------------------------------------------------------

PriceKey = tuple[str, str, str | None, bool]  # provider, gpu, region, spot


def price_of(
    offer: Offer, provider: str, prices: Mapping[PriceKey, float], *, otherwise: float | None
) -> PricedOffer | str:
    """The offer with its price: its own, else the catalogue's for its region, else for any region,
    else `otherwise`; or why it cannot be had.
    """
    found = offer.price_usd_per_hour
    if found is None and offer.gpu is not None:
        found = prices.get((provider, offer.gpu, offer.region, offer.spot))
        if found is None:
            found = prices.get((provider, offer.gpu, None, offer.spot))
    if found is None:
        found = otherwise
    priced = PricedOffer(
        provider=provider,
        gpu=offer.gpu,
        region=offer.region,
        spot=offer.spot,
        usd_per_hour=found or 0.0,
    )
    if found is not None:
        return priced
    known = sorted({gpu for name, gpu, _, _ in prices if name == provider})
    listed = f"; {provider} has {', '.join(known)}" if known else ""
    return f"the price of {priced.words} is not known{listed}"
