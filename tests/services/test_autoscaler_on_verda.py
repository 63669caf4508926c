"""The autoscaler's rounds on Verda's stand-in: which offer is next, what a fault leads to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.providers.verda_fake import BOOT_SECONDS, CLIENT_ID, CLIENT_SECRET, PULL_SECONDS
from tests.providers.verda_world import VerdaWorld, verda_world
from tests.services.test_autoscaler import World, world_of

from autoscaler.providers.verda import client
from reveille.testing import Database, eventually

NAME = "reveille-text-0"
DEPLOYMENTS = "/container-deployments"
NO_CAPACITY = {"code": "service_unavailable", "message": "No capacity for this GPU"}
UNKNOWN_CLIENT = {"code": "unauthorized_request", "message": "Invalid client id"}
NO_FUNDS = {"code": "insufficient_funds", "message": "Insufficient funds"}
SCALING = """
text_container_scaling:
  provider: verda
  offers:
    - {gpu: H100, spot: true}
    - {gpu: H100}
    - {gpu: RTX 6000 Ada}
    - {provider: process, price_usd_per_hour: 0.1}
"""

Scaler = Callable[[], AbstractAsyncContextManager[World]]


@pytest.fixture
async def account(tmp_path: Path) -> AsyncIterator[VerdaWorld]:
    """An empty account."""
    async with verda_world(tmp_path) as account:
        yield account


@pytest.fixture
def scaler(
    database: Database, account: VerdaWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Scaler:
    """An autoscaler on it, with its provider as an installation opens it."""
    monkeypatch.setattr(client, "PAUSE_SECONDS", 0.01)
    file = tmp_path / "scaling.yaml"
    file.write_text(SCALING)

    @asynccontextmanager
    async def one() -> AsyncIterator[World]:
        async with world_of(
            database,
            scaling_file=file,
            verda_url=account.url,
            verda_client_id=CLIENT_ID,
            verda_client_secret=CLIENT_SECRET,
            verda_image="registry.test/{pool}:1",
        ) as world:
            try:
                yield world
            finally:
                await world.scaler.operations.finish(10)
                await world.scaler.close()

    return one


async def offers(world: World) -> list[tuple[Any, ...]]:
    return await world.containers("provider, gpu, spot, state, trouble")


async def settle(world: World) -> None:
    await world.settle()
    await world.settle()


async def test_refused_offers_are_passed_over_down_to_another_provider(
    account: VerdaWorld, scaler: Scaler
) -> None:
    """Spot, on demand, another GPU, another provider: each failure leads to the next at once."""
    account.verda.fail("POST", DEPLOYMENTS, 503, NO_CAPACITY)
    account.verda.fail("POST", DEPLOYMENTS, 503, NO_CAPACITY)
    account.verda.fail("POST", DEPLOYMENTS, 402, NO_FUNDS, times=99)
    async with scaler() as world:
        await world.add_task(priority=3)
        for _ in range(4):
            await settle(world)
        assert await offers(world) == [
            ("verda", "H100", True, "failed", "capacity"),
            ("verda", "H100", False, "failed", "capacity"),
            ("verda", "RTX 6000 Ada", False, "failed", "account"),
            ("process", None, False, "booting", None),
        ]
    assert account.verda.deployments == {}


async def test_deployment_that_gets_no_gpu_is_deleted_and_the_next_offer_taken(
    account: VerdaWorld, scaler: Scaler
) -> None:
    """Accepted and never placed: the usual way in which a region is full."""
    account.verda.capacity["H100"] = 0
    async with scaler() as world:
        await world.add_task(priority=3)
        await settle(world)
        assert await offers(world) == [("verda", "H100", True, "booting", None)]
        await world.pass_time(121)
        await settle(world)
        assert (await offers(world))[0] == ("verda", "H100", True, "failed", "capacity")
        (reason,) = (await world.containers("reason"))[0]
        assert reason == "no GPU was free for it for 120 s: Verda says unhealthy"
        assert account.verda.deployments[NAME].body["is_spot"] is False


async def test_stage_that_lasts_too_long_ends_in_failure_and_deletion(
    account: VerdaWorld, scaler: Scaler
) -> None:
    """Stuck in its pull: paid for by the second, and no use to anybody."""
    async with scaler() as world:
        await world.add_task(priority=3)
        await settle(world)
        account.verda.status_words[NAME] = "imagepulling"
        await world.finish_tasks()
        await world.pass_time(301)
        await settle(world)
        assert (await world.containers("state, trouble"))[0] == ("failed", "other")
    assert account.verda.deployments == {}


async def test_list_without_a_deployment_that_lives_changes_nothing(
    account: VerdaWorld, scaler: Scaler
) -> None:
    """Its worker's heartbeat is the second witness: no second one is started, none is given up."""
    async with scaler() as world:
        await world.add_task(priority=3)
        await settle(world)
        account.verda.pass_time(PULL_SECONDS + BOOT_SECONDS)
        await world.register_workers()
        await settle(world)
        account.verda.forgotten[NAME] = 5
        for _ in range(5):
            await world.settle()
        assert await world.containers() == [(NAME, "ready")]
    assert account.verda.calls.count(f"POST {DEPLOYMENTS}") == 1


async def test_account_that_cannot_be_asked_holds_everything(
    account: VerdaWorld, scaler: Scaler
) -> None:
    """An outage of the API is no reason to end or to double what runs."""
    async with scaler() as world:
        await world.add_task(priority=3)
        await settle(world)
        await account.break_down()
        for _ in range(2):
            await world.settle()
        assert await world.containers() == [(NAME, "booting")]


async def test_lead_that_changes_in_the_middle_of_a_creation_leaves_one_deployment(
    account: VerdaWorld, scaler: Scaler
) -> None:
    """The old leader's call is done and never answered; the new one finds it by its name."""
    account.verda.fail("POST", DEPLOYMENTS, done=True, kind="silence")
    async with scaler() as world:
        await world.add_task(priority=3)
        await world.scaler.round()
        await eventually(lambda: NAME in account.verda.deployments)
        await world.database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks "
            "WHERE locktype = 'advisory' AND classid = 5395022 AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        async with scaler() as successor:
            await eventually(successor.scaler.leader.try_to_lead)
            await settle(successor)
            assert await successor.containers() == [(NAME, "booting")]
            account.verda.hold.set()  # the old call breaks off at last
            await world.scaler.operations.finish(10)
            assert await successor.containers() == [(NAME, "booting")]
    assert account.verda.calls.count(f"POST {DEPLOYMENTS}") == 1


async def test_deployment_left_behind_is_deleted_and_strangers_are_not(
    account: VerdaWorld, scaler: Scaler
) -> None:
    """A crash before the row said so, or a row that was removed."""
    async with scaler() as world:
        await world.add_task(priority=3)
        await settle(world)
        await world.finish_tasks()
        await world.database.execute("DELETE FROM containers")
        account.verda.add("reveille-text-1", REVEILLE_INSTALLATION="there")
        account.verda.add("reveille-visual-9")
        for _ in range(4):
            await asyncio.sleep(0.002)  # sightings count only so far apart
            await world.settle()
    assert set(account.verda.deployments) == {"reveille-text-1", "reveille-visual-9"}


async def test_prices_come_from_the_account_and_change_with_it(
    account: VerdaWorld, scaler: Scaler
) -> None:
    """What a container's row says is what Verda asked for it when it was started."""
    async with scaler() as world:
        await world.add_task(priority=3)
        await settle(world)
        assert await world.containers("price_usd_per_hour::float8") == [(0.88,)]
        account.verda.prices["H100"] = ("2.52", "0.95")
        world.scaler.catalogue._due.clear()
        await world.settle()
        price = "SELECT usd_per_hour::float8 FROM provider_prices WHERE spot AND gpu = 'H100'"
        assert await world.database.fetchval(price) == 0.95


async def test_spot_replica_that_is_taken_away_is_given_up_at_once_and_remembered(
    account: VerdaWorld, scaler: Scaler
) -> None:
    """Its worker is lost and Verda has no GPU for it: a minute of grace would be in vain, and so
    would be the next try, however long it had worked.
    """
    async with scaler() as world:
        await world.add_task(priority=3)
        await settle(world)
        account.verda.pass_time(PULL_SECONDS + BOOT_SECONDS)
        await world.register_workers()
        await settle(world)
        assert await world.containers() == [(NAME, "ready")]
        await world.finish_tasks()
        await world.pass_time(3600)
        await world.database.execute("UPDATE containers SET idle_since = reveille_now()")
        account.verda.evict(NAME)
        await world.set_server("lost")
        world.scaler.providers["verda"]._asked_at.clear()  # type: ignore[attr-defined]
        await settle(world)
        await world.add_task(priority=3)
        await settle(world)
        (first, second) = await world.containers("spot, state, reason")
        assert first[:2] == (True, "failed")
        assert first[2].startswith("its worker is silent and its GPU was taken away")
        assert second[:2] == (False, "booting"), "the next offer, for there is no spot GPU"


async def test_account_that_refuses_our_credentials_holds_with_the_settings_names(
    account: VerdaWorld, scaler: Scaler
) -> None:
    """No price, no list: nothing is started there, the reason says what to set, and the offer of
    another provider is taken.
    """
    account.verda.fail("POST", "/oauth2/token", 401, UNKNOWN_CLIENT, times=10**6)
    async with scaler() as world:
        await world.add_task(priority=3)
        await settle(world)
        assert await offers(world) == [("process", None, False, "booting", None)]
        scaling = world.scaler.scaling["text"]
        priced = world.scaler.catalogue.priced(scaling, "process")
        words = [why for why in priced if isinstance(why, str)]
        assert len(words) == 3
        assert all("REVEILLE_VERDA_CLIENT_ID" in why for why in words)
    assert f"POST {DEPLOYMENTS}" not in account.verda.calls


async def test_account_alone_that_refuses_our_credentials_holds_the_pool(
    account: VerdaWorld, scaler: Scaler, tmp_path: Path
) -> None:
    """Where there is nothing else: not a container, and the decision says why."""
    file = tmp_path / "scaling.yaml"
    file.write_text(SCALING.replace("    - {provider: process, price_usd_per_hour: 0.1}\n", ""))
    account.verda.fail("POST", "/oauth2/token", 401, UNKNOWN_CLIENT, times=10**6)
    async with scaler() as world:
        await world.add_task(priority=3)
        await settle(world)
        assert await world.containers() == []
        decision = await world.last_decision()
        assert decision["replicas_wanted"] == 0
        assert "REVEILLE_VERDA_CLIENT_ID" in decision["reason"]
