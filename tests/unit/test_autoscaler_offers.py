"""Which offer the next container is asked for, at which price, and what a start would cost."""

from typing import Any

import pytest

from autoscaler.budget import over_budget
from autoscaler.decide import decide
from autoscaler.offers import Failures, PricedOffer, choose, price_of
from autoscaler.provider import Trouble
from autoscaler.scaling_file import Budget, Offer, PoolScaling
from autoscaler.state import Decision, PoolState, Waiting

SPOT = PricedOffer(provider="cloud", gpu="H100", region="north", spot=True, usd_per_hour=1.0)
ON_DEMAND = PricedOffer(provider="cloud", gpu="H100", region="north", usd_per_hour=3.0)
ELSEWHERE = PricedOffer(provider="other", gpu="H100", usd_per_hour=4.0)
OFFERS = (SPOT, ON_DEMAND, ELSEWHERE)
SCALING = PoolScaling(failure_backoff=30, failure_backoff_max=600)


def failed(
    offer: PricedOffer,
    *,
    pool: str = "text",
    failures: int = 1,
    ago: float = 0.0,
    trouble: Trouble = "capacity",
) -> Failures:
    return Failures(
        pool=pool,
        provider=offer.provider,
        gpu=offer.gpu,
        region=offer.region,
        spot=offer.spot,
        failures=failures,
        ago_seconds=ago,
        trouble=trouble,
    )


@pytest.mark.parametrize(
    ("failures", "taken"),
    [
        ([], SPOT),
        ([failed(SPOT)], ON_DEMAND),
        ([failed(SPOT), failed(ON_DEMAND)], ELSEWHERE),
        ([failed(SPOT, ago=31)], SPOT),
        ([failed(SPOT, failures=3, ago=31)], ON_DEMAND),
        ([failed(SPOT, pool="visual")], SPOT),
        ([failed(SPOT, pool="visual", trouble="account")], ELSEWHERE),
    ],
    ids=["first", "next", "last", "rested", "doubled", "another-pool", "account"],
)
def test_first_offer_is_taken_that_need_not_wait(
    failures: list[Failures], taken: PricedOffer
) -> None:
    """No GPU counts against its own words; a refused account against all of its provider."""
    choice = choose("text", OFFERS, failures, SCALING)
    assert choice.offer == taken


def test_when_all_must_wait_the_one_that_waits_least_is_named() -> None:
    """The decision then holds for its rest, and not for the longest."""
    failures = [failed(SPOT, failures=4), failed(ON_DEMAND, ago=10), failed(ELSEWHERE)]
    choice = choose("text", OFFERS, failures, SCALING)
    assert (choice.offer, choice.failures, choice.failed_seconds_ago) == (ON_DEMAND, 1, 10)


def test_offers_that_cannot_be_had_are_a_reason_in_words() -> None:
    """Without a price there is no start, and the reason names every offer."""
    choice = choose("text", ["no price of a", "no price of b"], [], SCALING)
    assert (choice.offer, choice.refusal) == (None, "no price of a; no price of b")


@pytest.mark.parametrize(
    ("offer", "price"),
    [
        (Offer(gpu="H100", region="north", price_usd_per_hour=9), 9),
        (Offer(gpu="H100", region="north"), 3),
        (Offer(gpu="H100", region="south"), 2),
        (Offer(gpu="H100", spot=True), 1),
    ],
)
def test_price_is_the_offers_own_then_its_regions_then_any(offer: Offer, price: float) -> None:
    """The nearest price counts, and spot is never charged as on-demand."""
    prices = {
        ("cloud", "H100", "north", False): 3.0,
        ("cloud", "H100", None, False): 2.0,
        ("cloud", "H100", None, True): 1.0,
    }
    priced = price_of(offer, "cloud", prices, otherwise=None)
    assert isinstance(priced, PricedOffer)
    assert priced.usd_per_hour == price


def test_unknown_gpu_is_told_with_those_that_there_are() -> None:
    """A slip in a name shows at once, and never as a price of nothing."""
    prices = {("cloud", "H100", None, False): 2.0}
    refused = price_of(Offer(gpu="H1000"), "cloud", prices, otherwise=None)
    assert refused == "the price of cloud H1000 is not known; cloud has H100"


def held_by(budget: Budget, **state: Any) -> str | None:
    growing = Decision(wanted=2, reason="tasks wait")
    config = PoolScaling(cold_start=120, budget=budget)
    return over_budget(PoolState(pool="text", start_usd_per_hour=30.0, **state), growing, config)


def test_start_is_charged_with_its_cold_start() -> None:
    """Two at $30 an hour cost $2 before they can work: that must still fit under the cap."""
    budget = Budget(hard_usd_per_month=100)
    assert held_by(budget, spent_usd=97.9) is None
    assert held_by(budget, spent_usd=98.1) == (
        "$98.10 spent this month and $2.00 more until a new one could work, the hard cap is $100.00"
    )


def test_hourly_cap_counts_all_that_runs_and_all_that_would() -> None:
    """The burn rate is bounded whatever the month has left."""
    budget = Budget(usd_per_hour_max=80)
    assert held_by(budget, usd_per_hour=20.0) is None
    assert held_by(budget, usd_per_hour=21.0) == (
        "all containers would cost $81.00 an hour, the cap is $80.00"
    )


def test_burst_that_cannot_be_paid_for_whole_gets_what_can_be() -> None:
    """Three wanted and two in the cap are two, not none; the reason says what holds the third."""
    waiting = tuple(Waiting(n, "t", 1, 400.0) for n in range(40))
    state = PoolState(pool="text", waiting=waiting, start_usd_per_hour=1.0)
    free = decide(state, 0.0, PoolScaling())
    capped = decide(state, 0.0, PoolScaling(budget=Budget(usd_per_hour_max=2)))
    assert (free.wanted, capped.wanted) == (3, 2)
    assert "3 wanted: all containers would cost $3.00 an hour, the cap is $2.00" in capped.reason
    assert capped.waited_for == free.waited_for
