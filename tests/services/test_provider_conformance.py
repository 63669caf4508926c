"""One suite for all providers: what the autoscaler relies on, whoever runs the containers.

Each test gets a world (tests/providers/world.py) of each provider in turn.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from tests.providers.docker_world import fake_docker_world, real_docker_world
from tests.providers.kubernetes_cluster import kubernetes_cluster
from tests.providers.kubernetes_world import kubernetes_world
from tests.providers.process_world import process_world
from tests.providers.verda_world import verda_world
from tests.providers.world import ProviderWorld

from autoscaler.provider import ContainerSpec, Provider, ProviderError
from autoscaler.providers.static import StaticProvider
from reveille.testing import eventually

# Name → an async context manager over a folder of the test's own. One whose engine is absent on
# this machine calls pytest.skip with the reason.
WORLDS: Mapping[str, Callable[[Path], AbstractAsyncContextManager[ProviderWorld]]] = {
    "process": process_world,
    "docker": fake_docker_world,
    "docker-engine": real_docker_world,
    "kubernetes": kubernetes_world,
    "kubernetes-cluster": kubernetes_cluster,
    "verda": verda_world,
}

NAME = "reveille-text-0"


def spec_of(slot: int, pool: str = "text") -> ContainerSpec:
    name = f"reveille-{pool}-{slot}"
    return ContainerSpec(name=name, pool=pool, slot=slot, server_id=f"{name}-77")


@pytest.fixture(params=WORLDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ProviderWorld]:
    """Each provider's world in turn."""
    async with WORLDS[request.param](tmp_path) as world:
        yield world


@pytest.fixture
async def provider(world: ProviderWorld) -> AsyncIterator[Provider]:
    """A provider object over it."""
    provider = world.open()
    yield provider
    await provider.close()


async def names(provider: Provider) -> list[str]:
    return sorted(container.name for container in await provider.list())


async def test_new_world_lists_nothing(provider: Provider) -> None:
    """An empty answer, and not an error: nothing was started yet."""
    assert provider.can_start
    assert list(await provider.list()) == []


async def test_created_container_runs_and_is_listed_by_its_name(
    world: ProviderWorld, provider: Provider
) -> None:
    """The reference that `create` returned is the one that the list shows."""
    ref = await provider.create(spec_of(0))
    await world.until_running(NAME)
    (container,) = await provider.list()
    assert (container.name, container.ref, container.state) == (NAME, ref, "running")
    assert container.stage == "running"


async def test_worker_is_told_who_it_is(world: ProviderWorld, provider: Provider) -> None:
    """Its server row and its container are joined by these two."""
    await provider.create(spec_of(0))
    await world.until_running(NAME)
    environment = await world.environment(NAME)
    assert environment["REVEILLE_SERVER_ID"] == "reveille-text-0-77"
    assert environment["REVEILLE_CONTAINER_ID"] == NAME


async def test_second_create_under_a_name_starts_nothing(
    world: ProviderWorld, provider: Provider
) -> None:
    """The name is the idempotency key: after a crash the autoscaler asks again."""
    ref = await provider.create(spec_of(0))
    assert await provider.create(spec_of(0)) == ref
    await world.until_running(NAME)
    assert await world.running() == {NAME}


async def test_create_that_was_cancelled_can_be_asked_again(
    world: ProviderWorld, provider: Provider
) -> None:
    """Whatever the first one got done, there is one container in the end."""
    asking = asyncio.create_task(provider.create(spec_of(0)))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await provider.create(spec_of(0))
    await world.until_running(NAME)
    assert await names(provider) == [NAME]


async def test_slots_and_pools_are_separate_containers(
    world: ProviderWorld, provider: Provider
) -> None:
    """Stopping one leaves the others alone: scale-in picks its victim by name."""
    specs = [spec_of(0), spec_of(1), spec_of(0, "visual")]
    await asyncio.gather(*(provider.create(spec) for spec in specs))
    await asyncio.gather(*(world.until_running(spec.name) for spec in specs))
    await provider.stop(NAME)
    left = ["reveille-text-1", "reveille-visual-0"]
    assert await names(provider) == left
    assert await world.running() == set(left)


async def test_stopped_container_is_gone_and_forgotten(
    world: ProviderWorld, provider: Provider
) -> None:
    """When `stop` returns nothing runs, nothing is paid, and the name is free."""
    await provider.create(spec_of(0))
    await world.until_running(NAME)
    await provider.stop(NAME)
    assert await world.running() == set()
    assert list(await provider.list()) == []


async def test_stop_of_what_is_gone_succeeds(provider: Provider) -> None:
    """So a stop can be repeated after a crash."""
    await provider.stop("reveille-text-9")
    await provider.create(spec_of(0))
    await provider.stop(NAME)
    await provider.stop(NAME)


async def test_name_can_be_used_again_with_another_server(
    world: ProviderWorld, provider: Provider
) -> None:
    """The next life of a slot has its own server row; a stale identity would be refused."""
    await provider.create(spec_of(0))
    await world.until_running(NAME)
    await provider.stop(NAME)
    await provider.create(
        ContainerSpec(name=NAME, pool="text", slot=0, server_id="reveille-text-0-78")
    )
    await world.until_running(NAME)
    assert (await world.environment(NAME))["REVEILLE_SERVER_ID"] == "reveille-text-0-78"


async def test_container_is_found_again_by_the_next_autoscaler(
    world: ProviderWorld, provider: Provider
) -> None:
    """A restart neither loses nor ends nor doubles what runs."""
    ref = await provider.create(spec_of(0))
    await world.until_running(NAME)
    await provider.close()
    successor = world.open()
    (container,) = await successor.list()
    assert (container.name, container.ref) == (NAME, ref)
    assert await successor.create(spec_of(0)) == ref
    await successor.stop(NAME)
    assert await world.running() == set()
    await successor.close()


async def test_container_that_ended_by_itself_is_told(
    world: ProviderWorld, provider: Provider
) -> None:
    """`exited`, until it is stopped or asked for again; or the world starts it again."""
    await provider.create(spec_of(0))
    await world.until_running(NAME)
    await world.end(NAME)
    if world.restarts_ended:
        await world.until_running(NAME)
        return

    async def state() -> str:
        (container,) = await provider.list()
        return container.state

    async def exited() -> bool:
        return await state() == "exited"

    await eventually(exited)
    await provider.create(spec_of(0))
    await world.until_running(NAME)
    assert await state() == "running"


async def test_what_is_not_ours_is_neither_shown_nor_touched(
    world: ProviderWorld, provider: Provider
) -> None:
    """The account, the engine or the machine belongs to others too."""
    await world.add_foreign("somebody-text-0")
    others = await world.running()
    assert list(await provider.list()) == []
    await provider.create(spec_of(0))
    await world.until_running(NAME)
    assert await names(provider) == [NAME]
    await provider.stop(NAME)
    assert await world.running() == others


async def test_world_that_cannot_be_asked_is_an_error_and_never_an_empty_list(
    world: ProviderWorld, provider: Provider
) -> None:
    """Missing data means hold: an empty list would mean that everything is lost."""
    await provider.create(spec_of(0))
    await world.until_running(NAME)
    await world.break_down()
    with pytest.raises(ProviderError):
        await provider.list()
    with pytest.raises(ProviderError):
        await provider.create(spec_of(1))


async def test_static_provider_has_nothing_and_starts_nothing() -> None:
    """The dedicated server: its tasks count, but nobody can order another one."""
    provider = StaticProvider()
    assert not provider.can_start
    assert list(await provider.list()) == []
    await provider.stop("reveille-text-0")
    with pytest.raises(ProviderError, match="starts nothing"):
        await provider.create(spec_of(0))
    await provider.close()
