"""The verda provider beyond what all providers have in common: each fault of the API by itself."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.providers.verda_fake import BOOT_SECONDS, CLIENT_SECRET, HTML, PULL_SECONDS, FakeVerda
from tests.providers.verda_world import VerdaWorld, verda_world

from autoscaler.config import AutoscalerSettings
from autoscaler.docker_settings import DockerSettings
from autoscaler.kubernetes_settings import KubernetesSettings
from autoscaler.provider import ContainerSpec, Price, ProviderContainer, ProviderError
from autoscaler.providers import PROVIDERS
from autoscaler.providers.verda import VerdaProvider
from autoscaler.verda_settings import VerdaSettings
from reveille.errors import ConfigurationError
from reveille.settings import load

NAME = "reveille-text-0"
DEPLOYMENTS = "/container-deployments"
ONE = f"{DEPLOYMENTS}/{NAME}"


def spec_of(slot: int = 0, life: int = 1, **changes: Any) -> ContainerSpec:
    name = f"reveille-text-{slot}"
    given = {"gpu": "H100", **changes}
    return ContainerSpec(name=name, pool="text", slot=slot, server_id=f"{name}-{life}", **given)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[VerdaWorld]:
    """An empty account."""
    async with verda_world(tmp_path) as world:
        yield world


@pytest.fixture
def verda(world: VerdaWorld) -> FakeVerda:
    """Its state, its clock and its faults."""
    return world.verda


@pytest.fixture
async def provider(world: VerdaWorld) -> AsyncIterator[VerdaProvider]:
    """One installation's."""
    provider = world.open()
    yield provider
    await provider.close()


async def refusal(provider: VerdaProvider, spec: ContainerSpec | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await provider.create(spec or spec_of())
    return caught.value


async def shown(provider: VerdaProvider) -> ProviderContainer:
    (container,) = await provider.list()
    return container


def posts(verda: FakeVerda) -> int:
    return verda.calls.count(f"POST {DEPLOYMENTS}")


# What is asked for ----------------------------------------------------------------------------


async def test_deployment_is_one_replica_with_the_vendors_scaler_off(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """Its scaler counts its own requests, of which a worker that pulls has none."""
    await provider.create(spec_of(spot=True))
    (body,) = verda.bodies
    assert (body["name"], body["is_spot"], body["compute"]["name"]) == (NAME, True, "H100")
    scaling = body["scaling"]
    assert (scaling["min_replica_count"], scaling["max_replica_count"]) == (1, 1)
    assert body["container_registry_settings"] == {"is_private": False}
    assert body["containers"][0]["entrypoint_overrides"] == {"enabled": False}


async def test_image_registry_volumes_and_secrets_come_from_the_settings(
    world: VerdaWorld,
) -> None:
    """A secret travels by its name; what it hides is Verda's to know."""
    provider = world.open(
        verda_registry_credentials="pull",
        verda_secrets=("DATABASE_URL=reveille-dsn",),
        verda_volumes=("scratch:/data", "memory:/dev/shm:8192", "shared:/models:v-1"),
        verda_port=9000,
        verda_command="python -m {pool}_worker",
        surroundings={
            "DATABASE_URL": "postgresql://there",
            "REVEILLE_DATABASE_URL": "postgresql://there",
            "REVEILLE_VERDA_CLIENT_SECRET": CLIENT_SECRET,
        },
    )
    await provider.create(spec_of())
    await provider.close()
    (body,) = world.verda.bodies
    (container,) = body["containers"]
    assert container["image"] == "registry.test/reveille/text-worker:1"
    assert container["exposed_port"] == container["healthcheck"]["port"] == 9000
    assert container["entrypoint_overrides"] == {
        "enabled": True,
        "cmd": ["python", "-m", "text_worker"],
    }
    assert body["container_registry_settings"]["credentials"] == {"name": "pull"}
    assert [mount["type"] for mount in container["volume_mounts"]] == [
        "scratch",
        "memory",
        "shared",
    ]
    variables = {v["name"]: v for v in container["env"]}
    assert variables["DATABASE_URL"]["type"] == "secret"
    assert variables["DATABASE_URL"]["value_or_reference_to_secret"] == "reveille-dsn"
    assert variables["REVEILLE_HTTP_PORT"]["value_or_reference_to_secret"] == "9000"
    assert "postgresql://there" not in str(body)
    assert CLIENT_SECRET not in str(body)


async def test_secret_in_clear_text_is_warned_of_once(
    provider: VerdaProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever may read the account's deployments reads it; by its name, never by its value."""
    await provider.create(spec_of(0))
    await provider.create(spec_of(1))
    logged = capsys.readouterr().out
    assert logged.count("secrets_in_clear_text") == 1
    assert "DATABASE_URL" in logged
    assert "postgresql://there" not in logged


async def test_variable_that_verda_does_not_take_is_refused_by_its_name(world: VerdaWorld) -> None:
    """The API's own complaint names a position."""
    provider = world.open(surroundings={"REVEILLE_WORKER_ENV_http_proxy": "x"})
    assert "'http_proxy'" in str(await refusal(provider))
    await provider.close()


async def test_start_is_told_by_stages(verda: FakeVerda, provider: VerdaProvider) -> None:
    """Waiting for a GPU, pulling, starting, running: each has its own time in the cold start."""
    verda.capacity["H100"] = 0
    await provider.create(spec_of())
    waiting = await shown(provider)
    assert (waiting.state, waiting.stage) == ("running", "waiting")
    assert waiting.detail == "Verda says unhealthy"
    stages = []
    verda.capacity.clear()
    for seconds in (0.0, PULL_SECONDS, BOOT_SECONDS):
        verda.pass_time(seconds)
        stages.append((await shown(provider)).stage)
    assert stages == ["pulling", "starting", "running"]


async def test_status_that_is_not_known_is_of_one_on_its_way(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """The live API has said words that its own client does not know."""
    await provider.create(spec_of())
    verda.status_words[NAME] = "updating"
    container = await shown(provider)
    assert (container.state, container.stage, container.detail) == (
        "running",
        "starting",
        "Verda says updating",
    )


async def test_replica_that_runs_is_asked_after_twice_a_minute_only(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """The account's limit on requests is not known; a steady fleet costs one list a round."""
    await provider.create(spec_of())
    verda.pass_time(PULL_SECONDS + BOOT_SECONDS)
    for _ in range(7):
        assert (await shown(provider)).stage == "running"
        verda.pass_time(5)
    assert verda.calls.count(f"GET {ONE}/replicas") == 2


# Tokens ---------------------------------------------------------------------------------------


async def test_token_is_renewed_before_it_runs_out(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """With the refresh token, and no call is turned away."""
    await provider.list()
    verda.pass_time(3550)
    await provider.list()
    assert verda.grants == ["client_credentials", "refresh_token"]


@pytest.mark.parametrize("refresh_works", [True, False])
async def test_token_that_is_refused_in_the_middle_is_renewed_and_the_call_made_again(
    verda: FakeVerda, provider: VerdaProvider, refresh_works: bool
) -> None:
    """After so many calls, or when it was revoked: a creation was not done, so it may be repeated."""
    verda.token_calls_max, verda.refresh_works = 2, refresh_works
    await provider.create(spec_of())
    assert set(verda.deployments) == {NAME}
    assert len(verda.grants) >= 2


async def test_many_calls_at_once_ask_for_one_token(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """The token's endpoint is the one most likely to be limited."""
    await asyncio.gather(*(provider.list() for _ in range(5)))
    assert verda.grants == ["client_credentials"]


async def test_wrong_credentials_are_told_by_their_settings_names(world: VerdaWorld) -> None:
    """And count against all offers of the account."""
    provider = world.open(verda_client_secret="wrong")
    error = await refusal(provider)
    await provider.close()
    assert "REVEILLE_VERDA_CLIENT_ID and REVEILLE_VERDA_CLIENT_SECRET" in str(error)
    assert "wrong" not in str(error)
    assert error.trouble == "account"
    assert world.verda.grants == ["client_credentials"]


# Answers that fail ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_list_is_asked_again_after_a_passing_failure(
    verda: FakeVerda, provider: VerdaProvider, status: int
) -> None:
    """Reading twice does no harm."""
    await provider.create(spec_of())
    verda.fail("GET", DEPLOYMENTS, status, HTML, times=2)
    assert (await shown(provider)).name == NAME


async def test_failure_that_stays_is_an_error_with_its_status(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """An HTML page of a gateway in between says what it is; the list is never empty instead."""
    verda.fail("GET", DEPLOYMENTS, 502, HTML, times=99)
    with pytest.raises(ProviderError, match="502 Bad Gateway"):
        await provider.list()
    assert verda.calls.count(f"GET {DEPLOYMENTS}") == 4


@pytest.mark.parametrize("body", [None, {}, {"list": None}, "<html>hello</html>", [None], [{}]])
async def test_list_that_is_not_understood_is_an_error(
    verda: FakeVerda, provider: VerdaProvider, body: Any
) -> None:
    """200 with something else in it: an empty list would mean that everything is lost."""
    verda.fail("GET", DEPLOYMENTS, 200, body, times=99)
    with pytest.raises(ProviderError):
        await provider.list()


async def test_refusal_to_wait_for_holds_all_calls_back_until_then(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """Retry-After is the account's: whoever comes next would be refused too."""
    verda.fail("GET", DEPLOYMENTS, 429, {"message": "slow down"}, headers={"Retry-After": "20"})
    begun = verda.now()
    await provider.list()
    assert verda.now() - begun >= 20


async def test_creation_that_is_limited_is_tried_again_and_then_told(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """Turned away at the door it was not done; for good, it holds for all offers."""
    verda.fail("POST", DEPLOYMENTS, 429, {"code": "x", "message": "slow down"})
    await provider.create(spec_of())
    verda.fail("POST", DEPLOYMENTS, 429, {"code": "x", "message": "slow down"}, times=99)
    error = await refusal(provider, spec_of(1))
    assert error.trouble == "account"
    assert "too many requests: slow down" in str(error)


async def test_all_pages_of_a_list_are_read(verda: FakeVerda, provider: VerdaProvider) -> None:
    """A page is no list: what is on the next one is not lost."""
    for slot in range(5):
        await provider.create(spec_of(slot))
    verda.page_size = 2
    assert len(await provider.list()) == 5


async def test_page_at_another_host_is_not_followed(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """The token goes to the API and nowhere else."""
    elsewhere = {"Link": '<http://127.0.0.2/v1/x>; rel="next"'}
    verda.fail("GET", DEPLOYMENTS, 200, [], headers=elsewhere)
    with pytest.raises(ProviderError, match="another host"):
        await provider.list()


async def test_redirect_is_not_followed(verda: FakeVerda, provider: VerdaProvider) -> None:
    """For the same reason."""
    verda.fail("GET", DEPLOYMENTS, 302, None, headers={"Location": "http://127.0.0.2/"}, times=9)
    with pytest.raises(ProviderError, match="302"):
        await provider.list()


# Calls whose end is not known -----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["reset", "answer"], ids=["connection reset", "HTML 504"])
async def test_creation_that_was_done_and_not_told_is_found_by_its_name(
    verda: FakeVerda, provider: VerdaProvider, kind: str
) -> None:
    """Not asked for twice, not taken for a failure."""
    verda.fail("POST", DEPLOYMENTS, 504, HTML, done=True, kind=kind)
    ref = await provider.create(spec_of())
    assert posts(verda) == 1
    assert (await shown(provider)).ref == ref


async def test_creation_that_outlasts_its_time_is_found_by_its_name(world: VerdaWorld) -> None:
    """A slow answer, after the work was done."""
    provider = world.open(verda_answer_seconds_max=0.5)
    await provider.list()
    world.verda.fail("POST", DEPLOYMENTS, done=True, kind="silence")
    ref = await provider.create(spec_of())
    assert (await shown(provider)).ref == ref
    await provider.close()


async def test_creation_that_was_not_done_is_a_failure_and_not_repeated(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """Nothing is known of it: the container's row fails, a later look would find a late one."""
    verda.fail("POST", DEPLOYMENTS, kind="reset")
    error = await refusal(provider)
    assert "no answer from Verda" in str(error)
    assert (posts(verda), error.trouble) == (1, "other")


async def test_two_autoscalers_that_create_the_same_slot_get_the_same_deployment(
    world: VerdaWorld, verda: FakeVerda, provider: VerdaProvider
) -> None:
    """A lead that changes in the middle of a call: the name is the key."""
    successor = world.open()
    refs = await asyncio.gather(provider.create(spec_of()), successor.create(spec_of()))
    await successor.close()
    assert refs[0] == refs[1]
    assert set(verda.deployments) == {NAME}


async def test_creation_that_is_seen_late_is_waited_for(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """The API answers for what it has not noticed yet."""
    verda.lag_seconds = 2.5
    verda.fail("POST", DEPLOYMENTS, done=True, kind="reset")
    ref = await provider.create(spec_of())
    assert (await shown(provider)).ref == ref


# Refusals and the next offer ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "trouble", "words"),
    [
        (402, {"code": "insufficient_funds", "message": "Insufficient funds"}, "account", "funds"),
        (400, {"code": "insufficient_funds", "message": "No money"}, "account", "out of funds"),
        (403, {"code": "forbidden_action", "message": "Not yours"}, "account", "Not yours"),
        (503, {"code": "service_unavailable", "message": "No capacity"}, "capacity", "capacity"),
        (400, {"code": "invalid_request", "message": "bad port"}, "other", "bad port"),
        (500, HTML, "other", "502 Bad Gateway"),
    ],
)
async def test_refused_creation_says_what_else_is_worth_trying(
    verda: FakeVerda, provider: VerdaProvider, status: int, body: Any, trouble: str, words: str
) -> None:
    """No funds: nothing at Verda. No capacity: another GPU."""
    verda.fail("POST", DEPLOYMENTS, status, body)
    error = await refusal(provider)
    assert error.trouble == trouble
    assert words in str(error)


async def test_empty_account_is_told_as_such(verda: FakeVerda, provider: VerdaProvider) -> None:
    """The balance falls while replicas run."""
    verda.balance = 0.001
    await provider.create(spec_of())
    verda.pass_time(60)
    verda.pass_time(60)
    assert (await refusal(provider, spec_of(1))).trouble == "account"


async def test_gpu_that_is_not_offered_or_not_free_is_not_asked_for(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """Known before the call, so that the next offer is tried at once."""
    unknown = await refusal(provider, spec_of(gpu="H1000"))
    assert unknown.trouble == "unknown"
    assert "it has H100, RTX 6000 Ada" in str(unknown)
    verda.gpus["H100"] = False
    taken = await refusal(provider)
    assert (taken.trouble, str(taken)) == ("capacity", "Verda has no H100 free")
    assert posts(verda) == 0


async def test_region_is_refused_because_containers_have_none(provider: VerdaProvider) -> None:
    """An offer that asks for one would otherwise be silently elsewhere."""
    error = await refusal(provider, spec_of(region="FIN-01"))
    assert error.trouble == "unknown"


async def test_limit_of_the_account_is_told_while_the_replica_waits(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """Never placed: the detail says why, and the life cycle's limit on waiting ends it."""
    verda.quota = 0
    await provider.create(spec_of())
    container = await shown(provider)
    assert (container.stage, container.detail) == ("waiting", "Verda says quota_reached")


async def test_spot_replica_that_is_taken_away_waits_again(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """The deployment goes on without a GPU; its worker's silence decides the rest."""
    await provider.create(spec_of(spot=True))
    verda.pass_time(PULL_SECONDS + BOOT_SECONDS)
    verda.evict(NAME)
    assert (await shown(provider)).stage == "waiting"


# Ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 408, 500, 504])
async def test_deletion_whose_answer_says_otherwise_is_confirmed_by_looking(
    verda: FakeVerda, provider: VerdaProvider, status: int
) -> None:
    """404 and 408 are its ways of saying done and soon; the deployment's absence is the proof."""
    verda.lag_seconds = 5.0
    await provider.create(spec_of())
    verda.pass_time(60)
    verda.fail("DELETE", ONE, status, HTML, done=True)
    await provider.stop(NAME)
    assert NAME not in verda.deployments


async def test_deletion_that_does_not_come_about_is_an_error(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """Then it still costs money, and the next round has to try again."""
    await provider.create(spec_of())
    verda.fail("DELETE", ONE, 408, HTML, times=99)
    with pytest.raises(ProviderError, match="still there"):
        await provider.stop(NAME)
    assert NAME in verda.deployments


async def test_former_life_of_a_name_is_ended_before_the_next_begins(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """Left by a crash, it would run with the identity of another server row."""
    first = await provider.create(spec_of(life=1))
    second = await provider.create(spec_of(life=2))
    assert first != second
    assert verda.deployments[NAME].environment["REVEILLE_SERVER_ID"] == f"{NAME}-2"


async def test_deployment_that_was_paused_by_hand_has_ended(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """Nothing runs in it; asked for again it is made anew."""
    await provider.create(spec_of())
    verda.deployments[NAME].paused = True
    container = await shown(provider)
    assert (container.state, container.detail) == ("exited", "it is paused")
    await provider.create(spec_of())
    assert (await shown(provider)).state == "running"


async def test_deployment_deleted_between_list_and_look_is_left_out(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """It is gone; the others are told."""
    await provider.create(spec_of(0))
    await provider.create(spec_of(1))
    verda.fail("GET", f"{ONE}/replicas", 404, {"code": "not_found", "message": "gone"})
    assert (await shown(provider)).name == "reveille-text-1"


async def test_deployment_that_cannot_be_looked_into_is_told_as_it_was(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """The list has it: one sick deployment must not hide all the others."""
    await provider.create(spec_of())
    verda.pass_time(PULL_SECONDS)
    before = await shown(provider)
    verda.fail("GET", f"{ONE}/replicas", 500, HTML, times=99)
    assert await shown(provider) == before


# Others' --------------------------------------------------------------------------------------


async def test_deployment_of_another_installation_is_neither_shown_nor_touched(
    world: VerdaWorld, verda: FakeVerda, provider: VerdaProvider
) -> None:
    """Two installations of one account with the same prefix: each sees its own only."""
    other = world.open(installation="there")
    await other.create(spec_of())
    assert list(await provider.list()) == []
    assert "not this installation's" in str(await refusal(provider))
    with pytest.raises(ProviderError, match="not this installation's"):
        await provider.stop(NAME)
    await other.close()
    assert set(verda.deployments) == {NAME}
    assert not [call for call in verda.calls if call.startswith("DELETE")]


# Prices ---------------------------------------------------------------------------------------


async def test_prices_are_read_whatever_they_are_written_as(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """Strings or numbers; what is missing or zero is no price."""
    verda.prices = {"H100": ("2.52", 0.88), "B200": (None, "0"), "A100": ("n/a", "")}
    assert set(await provider.prices()) == {
        Price(gpu="H100", usd_per_hour=2.52),
        Price(gpu="H100", usd_per_hour=0.88, spot=True),
    }


async def test_prices_in_another_currency_are_an_error(
    verda: FakeVerda, provider: VerdaProvider
) -> None:
    """Euros taken for dollars would pass a cap unseen."""
    verda.currency = "eur"
    with pytest.raises(ProviderError, match="'eur'"):
        await provider.prices()


# Settings -------------------------------------------------------------------------------------


def test_missing_settings_are_all_named() -> None:
    """Before anything runs."""
    settings = AutoscalerSettings(DATABASE_URL="postgresql://h/d", provider="verda")
    with pytest.raises(ConfigurationError) as caught:
        PROVIDERS["verda"](settings)
    assert str(caught.value) == (
        "the provider verda needs REVEILLE_VERDA_CLIENT_ID, REVEILLE_VERDA_CLIENT_SECRET, "
        "REVEILLE_VERDA_IMAGE"
    )


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("verda_url", "http://api.example", "no https:// address"),
        ("verda_url", "nonsense", "no https:// address"),
        ("verda_image", "worker", "other than latest"),
        ("verda_image", "host:5000/worker:latest", "other than latest"),
        ("verda_image", "worker-{slot}:1", "no other braces"),
        ("verda_command", "python -m {slot}", "no other braces"),
        ("verda_command", "python -m 'text_worker", "No closing quotation"),
        ("verda_secrets", "database_url=x", "no VARIABLE=name-of-a-secret"),
        ("verda_volumes", "scratch", "has to begin with /"),
        ("verda_volumes", "memory:/dev/shm", "is no volume"),
        ("verda_volumes", "shared:/models", "is no volume"),
    ],
)
def test_wrong_setting_is_refused_in_words(setting: str, value: str, words: str) -> None:
    """By its name, and with what would be right."""
    with pytest.raises(ConfigurationError, match=words):
        load(VerdaSettings, **{setting: value})


def test_installation_is_marked_by_the_databases_address_without_its_password() -> None:
    """A new password makes no strangers of what runs; another database does."""
    before, after, other = (
        AutoscalerSettings(DATABASE_URL=dsn).installation
        for dsn in ("postgresql://u:a@h/d", "postgresql://u:b@h/d", "postgresql://u:a@h/e")
    )
    assert before == after != other


def test_lists_in_the_autoscalers_environment_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validators of two providers' settings under one name would replace each other."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://nowhere/db")
    monkeypatch.setenv("REVEILLE_VERDA_SECRETS", "DATABASE_URL=dsn, TOKEN=token")
    monkeypatch.setenv("REVEILLE_DOCKER_VOLUMES", "models:/models,decks:/documents:ro")
    settings = load(AutoscalerSettings)
    assert settings.verda_secrets == ("DATABASE_URL=dsn", "TOKEN=token")
    assert settings.docker_volumes == ("models:/models", "decks:/documents:ro")


def test_validators_of_providers_settings_have_names_of_their_own() -> None:
    """The autoscaler's settings inherit them all: one of the same name would be lost."""
    classes = (DockerSettings, KubernetesSettings, VerdaSettings)
    names = [name for one in classes for name in one.__pydantic_decorators__.field_validators]
    assert len(names) == len(set(names))
