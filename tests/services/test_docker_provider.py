"""The docker provider beyond what all providers have in common: images, GPUs, limits, words."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.providers.docker_fake import FakeEngine
from tests.providers.docker_world import FakeDockerWorld, fake_docker_world, provider_on

from autoscaler.docker_settings import DockerSettings
from autoscaler.provider import ContainerSpec, ProviderError
from autoscaler.providers.docker import DockerProvider
from autoscaler.providers.docker.log import last_words
from autoscaler.providers.docker.pull import split_reference
from reveille.errors import ConfigurationError
from reveille.settings import load
from reveille.testing import eventually

Open = Callable[..., DockerProvider]
REMOTE = "registry.test:5000/worker:2"


def spec_of(slot: int = 0) -> ContainerSpec:
    name = f"reveille-text-{slot}"
    return ContainerSpec(name=name, pool="text", slot=slot, server_id=f"{name}-1")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[FakeDockerWorld]:
    """The engine's stand-in."""
    async with fake_docker_world(tmp_path) as world:
        yield world


@pytest.fixture
def engine(world: FakeDockerWorld) -> FakeEngine:
    """Its state and its faults."""
    return world.engine


@pytest.fixture
async def provider(world: FakeDockerWorld) -> AsyncIterator[Open]:
    """Opens providers with settings, and closes them."""
    opened: list[DockerProvider] = []

    def open_one(**settings: object) -> DockerProvider:
        opened.append(provider_on(world.host, **settings))
        return opened[-1]

    yield open_one
    await asyncio.gather(*(one.close() for one in opened))


async def refusal(provider: DockerProvider, slot: int = 0) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await provider.create(spec_of(slot))
    return caught.value


async def test_container_is_confined_limited_and_never_restarted_by_the_engine(
    provider: Open, engine: FakeEngine
) -> None:
    """As in docker-compose.yml; and an end is the autoscaler's to judge."""
    await provider(
        docker_network="reveille",
        docker_volumes="documents:/documents:ro,models:/models",
        docker_memory_bytes_max=8 << 30,
        docker_cpus_max=1.5,
        docker_command="python -m {pool}_worker",
    ).create(spec_of())
    body = engine.containers["reveille-text-0"].body
    host = body["HostConfig"]
    assert body["Cmd"] == ["python", "-m", "text_worker"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["Init"]) == (True, ["ALL"], True)
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["RestartPolicy"] == {"Name": "no"}
    assert host["Binds"] == ["documents:/documents:ro", "models:/models"]
    assert (host["NetworkMode"], host["Memory"], host["NanoCpus"]) == (
        "reveille",
        8 << 30,
        1_500_000_000,
    )
    assert "DeviceRequests" not in host


async def test_worker_gets_what_a_worker_needs_of_the_autoscalers_environment(
    world: FakeDockerWorld,
) -> None:
    """The engine's credentials, the API's tokens and the autoscaler's home stay at home; of tokens the
    digests are passed on, so that the worker's own HTTP is not open.
    """
    surroundings = {
        "HOME": "/root",
        "DATABASE_URL": "postgresql://localhost/reveille",
        "REVEILLE_WORKER_ENV_DATABASE_URL": "postgresql://postgres/reveille",
        "REVEILLE_TEXT_MODEL": "gemma3",
        "REVEILLE_API_TOKENS": "secret=operate",
        "REVEILLE_DOCKER_REGISTRY_AUTH": "user:secret",
        "REVEILLE_HTTP_PORT": "8080",
    }
    provider = DockerProvider(
        DockerSettings(docker_host=world.host),
        prefix="reveille",
        surroundings=surroundings,
        grace_seconds=1,
    )
    await provider.create(spec_of())
    await provider.close()
    assert await world.environment("reveille-text-0") == {
        "DATABASE_URL": "postgresql://postgres/reveille",
        "REVEILLE_API_TOKENS": f"sha256:{hashlib.sha256(b'secret').hexdigest()}=operate",
        "REVEILLE_CONTAINER_ID": "reveille-text-0",
        "REVEILLE_SERVER_ID": "reveille-text-0-1",
        "REVEILLE_TEXT_MODEL": "gemma3",
    }


async def test_stop_leaves_the_worker_its_grace(provider: Open, engine: FakeEngine) -> None:
    """SIGTERM is the drain; the engine kills only after it."""
    docker = provider()
    await docker.create(spec_of())
    await docker.stop("reveille-text-0")
    assert engine.stop_seconds == [5]


async def test_missing_image_is_pulled_and_shown_as_a_stage(
    provider: Open, engine: FakeEngine
) -> None:
    """Minutes of a pull are told, not guessed; the credentials go to the engine only."""
    engine.pull_goes_on.clear()
    docker = provider(docker_image=REMOTE, docker_registry_auth="user:secret")
    creating = asyncio.create_task(docker.create(spec_of()))

    async def half() -> bool:
        return any("50 %" in container.detail for container in await docker.list())

    await eventually(half)
    (coming,) = await docker.list()
    assert (coming.name, coming.state, coming.stage) == ("reveille-text-0", "running", "pulling")
    engine.pull_goes_on.set()
    await creating
    (running,) = await docker.list()
    assert (running.stage, running.detail) == ("running", "")
    assert engine.registry_auth is not None
    sent = json.loads(base64.urlsafe_b64decode(engine.registry_auth))
    assert sent == {"username": "user", "password": "secret"}


async def test_pull_that_breaks_off_is_told_in_the_engines_words(
    provider: Open, engine: FakeEngine
) -> None:
    """Its HTTP status was 200 long before."""
    engine.pull_breaks = True
    docker = provider(docker_image=REMOTE)
    error = await refusal(docker)
    assert str(error) == f"image {REMOTE} could not be pulled: no space left"
    assert list(await docker.list()) == []


async def test_unknown_image_is_told(provider: Open) -> None:
    """The registry's words; or none asked, when nothing may be pulled."""
    unknown = await refusal(provider(docker_image="nobody/worker:1"))
    forbidden = await refusal(provider(docker_image="nobody/worker:1", docker_pull="never"))
    assert "nobody/worker:1 could not be pulled: manifest for" in str(unknown)
    assert "REVEILLE_DOCKER_PULL is never" in str(forbidden)


async def test_name_that_somebody_else_has_is_told_and_left_alone(
    provider: Open, engine: FakeEngine
) -> None:
    """What is not ours is not stopped to make room."""
    foreign = engine.add("reveille-text-0")
    docker = provider()
    assert "is not Reveille's" in str(await refusal(docker))
    with pytest.raises(ProviderError, match="is not Reveille's"):
        await docker.stop("reveille-text-0")
    assert engine.containers == {"reveille-text-0": foreign}


async def test_start_that_was_cut_short_is_done_anew(provider: Open, engine: FakeEngine) -> None:
    """A crash between create and start leaves a container that never ran: nobody's, until asked."""
    docker = provider()
    labels = {"dev.reveille.prefix": "reveille"}
    left = engine.add("reveille-text-0", state="created", Labels=labels)
    assert list(await docker.list()) == []
    ref = await docker.create(spec_of())
    (running,) = await docker.list()
    assert (running.ref, running.state) == (ref, "running")
    assert not left.container_id.startswith(ref)


async def test_each_container_gets_a_gpu_of_its_own(provider: Open, engine: FakeEngine) -> None:
    """Docker would give the first one to all; a third container is told who has the two."""
    engine.has_gpu_driver = True
    docker = provider(docker_gpus="0,1")
    await asyncio.gather(docker.create(spec_of(0)), docker.create(spec_of(1)))
    requests = [c.body["HostConfig"]["DeviceRequests"] for c in engine.containers.values()]
    assert sorted(request["DeviceIDs"] for (request,) in requests) == [["0"], ["1"]]
    error = await refusal(docker, 2)
    assert error.trouble == "capacity"
    assert "0 by reveille-text-" in str(error)
    engine.end("reveille-text-0", exit_code=1)
    await docker.create(spec_of(2))


async def test_engine_without_gpus_is_told_and_leaves_nothing_behind(
    provider: Open, engine: FakeEngine
) -> None:
    """The engine creates the container first and refuses to start it then."""
    error = await refusal(provider(docker_gpus="all"))
    assert error.trouble == "unknown"
    assert "NVIDIA container toolkit" in str(error)
    assert not engine.containers


async def test_end_of_a_container_is_told_with_its_last_words(
    provider: Open, engine: FakeEngine
) -> None:
    """The reason is in the row, and memory is named."""
    docker = provider()
    await docker.create(spec_of())
    engine.end("reveille-text-0", exit_code=78, logged="starting\nno such model\n")
    (ended,) = await docker.list()
    assert (ended.state, ended.detail) == ("exited", "exit code 78; no such model")
    engine.end("reveille-text-0", exit_code=137, oom_killed=True)
    (ended,) = await docker.list()
    assert ended.detail == "killed for its memory"


async def test_socket_that_is_not_there_is_told_with_what_to_check(tmp_path: Path) -> None:
    """The commonest trouble of a first start."""
    docker = provider_on(f"unix://{tmp_path}/none.sock")
    with pytest.raises(ProviderError, match=r"no such socket; is Docker running"):
        await docker.list()
    await docker.close()


async def test_other_server_on_the_address_is_told(provider: Open, engine: FakeEngine) -> None:
    """A page where JSON was expected is no reason to fall over."""
    engine.nonsense = True
    with pytest.raises(ProviderError, match="not as a Docker engine does"):
        await provider().list()


def test_addresses_and_volumes_that_cannot_be_are_refused_at_once() -> None:
    """A wrong setting is told at the start, with its variable."""
    with pytest.raises(ConfigurationError, match="DOCKER_HOST 'ssh://box'"):
        provider_on("ssh://box")
    with pytest.raises(ConfigurationError, match="DOCKER_VOLUMES"):
        load(DockerSettings, docker_volumes="documents")
    with pytest.raises(ConfigurationError, match="DOCKER_IMAGE"):
        load(DockerSettings, docker_image="{slot}")


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("ubuntu", ("ubuntu", "latest")),
        ("host:5000/a/b", ("host:5000/a/b", "latest")),
        ("host:5000/a/b:1", ("host:5000/a/b", "1")),
        ("a@sha256:ff", ("a", "sha256:ff")),
    ],
)
def test_image_reference_is_split_at_its_tag(image: str, parts: tuple[str, str]) -> None:
    """Without a tag the engine would fetch every tag there is."""
    assert split_reference(image) == parts


def test_log_without_frames_is_read_as_it_is() -> None:
    """A container with a terminal has a plain log."""
    assert last_words(b"one\ntwo\n\n") == "two"
    assert last_words(b"") == ""
