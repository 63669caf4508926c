"""KEDA's external-push scaler over real gRPC, and the provider whose containers are rows."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.services.test_autoscaler import World, world_of

from autoscaler.config import AutoscalerSettings
from autoscaler.keda import messages
from autoscaler.keda.published import Published
from reveille.errors import ConfigurationError
from reveille.settings import load
from reveille.testing import Database, eventually

grpc = pytest.importorskip("grpc", reason="the extra reveille[keda] is not installed")

PROTO = Path(__file__).parents[2] / "services" / "autoscaler" / "keda" / "externalscaler.proto"
ANSWERS = {
    "IsActive": messages.IsActiveResponse,
    "GetMetricSpec": messages.GetMetricSpecResponse,
    "GetMetrics": messages.GetMetricsResponse,
}


class Keda:
    """What KEDA does: calls, and a stream that it keeps open."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    async def ask(self, call: str, request: Any) -> Any:
        return await self._channel.unary_unary(
            f"/{messages.SERVICE}/{call}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=ANSWERS[call].FromString,
        )(request, timeout=5)

    async def active(self, pool: str) -> bool:
        answer = await self.ask("IsActive", ref(pool))
        return bool(answer.result)

    async def metric(self, pool: str) -> float:
        """As the HPA reads it: under the name that the specification gave, less KEDA's prefix."""
        (spec,) = (await self.ask("GetMetricSpec", ref(pool))).metricSpecs
        assert (spec.targetSize, spec.targetSizeFloat) == (1, 1.0)
        request = messages.GetMetricsRequest(scaledObjectRef=ref(pool), metricName=spec.metricName)
        (value,) = (await self.ask("GetMetrics", request)).metricValues
        assert value.metricName == spec.metricName == f"reveille-{pool}"
        assert value.metricValue == value.metricValueFloat
        return float(value.metricValueFloat)

    def stream(self, pool: str) -> Any:
        return self._channel.unary_stream(
            f"/{messages.SERVICE}/StreamIsActive",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=messages.IsActiveResponse.FromString,
        )(ref(pool))


def ref(pool: str) -> Any:
    return messages.ScaledObjectRef(
        name=f"reveille-{pool}", namespace="reveille", scalerMetadata={"pool": pool}
    )


@asynccontextmanager
async def keda_of(world: World, credentials: Any = None) -> AsyncIterator[Keda]:
    assert world.scaler.keda is not None
    address = f"localhost:{world.scaler.keda.port}"
    channel = (
        grpc.aio.insecure_channel(address)
        if credentials is None
        else grpc.aio.secure_channel(address, credentials)
    )
    async with channel:
        yield Keda(channel)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """An autoscaler whose pools are KEDA's, on a free port."""
    async with world_of(
        database, provider="keda", keda_listen="127.0.0.1:0", scale_down_delay_seconds=600
    ) as world:
        try:
            yield world
        finally:
            await world.scaler.close()


@pytest.fixture
async def keda(world: World) -> AsyncIterator[Keda]:
    """Its client."""
    async with keda_of(world) as keda:
        yield keda


async def three_ready(world: World) -> None:
    """Slots 0 to 2 with a worker in each, and nothing left to do."""
    await world.database.execute(
        "UPDATE pools SET replicas_min = 3, replicas_max = 3 WHERE name = 'text'"
    )
    await world.settle()
    await world.register_workers()
    await world.settle()
    await world.database.execute("UPDATE pools SET replicas_min = NULL WHERE name = 'text'")
    assert [state for _, state in await world.containers()] == ["ready"] * 3


async def busy(world: World, slot: int) -> None:
    """The worker of that slot holds a task."""
    await world.add_task()
    await world.database.execute(
        "UPDATE processing_queue SET status = 'processing', locked_by = "
        "(SELECT id FROM processing_servers WHERE container_id = 'reveille-text-' || $1::int)",
        slot,
    )


async def test_nothing_is_wanted_of_an_empty_queue(keda: Keda) -> None:
    """Inactive, and zero: from here KEDA scales to nothing."""
    assert not await keda.active("text")
    assert await keda.metric("text") == 0


async def test_task_makes_its_pool_active_and_the_metric_is_the_number_decided(
    world: World, keda: Keda
) -> None:
    """The policy's number, with its budget and its words; other pools are left alone."""
    await world.add_task()
    await world.age_tasks(200)
    await world.settle()
    assert await world.containers() == [("reveille-text-0", "booting")]
    assert await keda.active("text")
    assert await keda.metric("text") == 1
    assert not await keda.active("visual")


async def test_stream_says_at_once_that_a_pool_became_active(world: World, keda: Keda) -> None:
    """A push, where KEDA's polling would let the first task wait for half a minute."""
    stream = keda.stream("text")
    said = aiter(stream)
    assert not (await anext(said)).result
    await world.add_task()
    await world.age_tasks(200)
    await world.settle()
    await world.scaler.keda.published.read()  # type: ignore[union-attr] - as the loop does
    async with asyncio.timeout(10):
        assert (await anext(said)).result
    stream.cancel()


async def test_standby_hears_of_a_row_that_the_leader_wrote(database: Database) -> None:
    """KEDA may have been led to either; a trigger tells both."""
    heard: list[str] = []
    async with database.connect() as connection:
        await connection.add_listener("scaling_changed", lambda *said: heard.append(said[3]))
        await database.execute(
            "INSERT INTO containers (name, pool, slot, provider) "
            "VALUES ('reveille-text-0', 'text', 0, 'keda')"
        )
        await eventually(lambda: heard == ["text"])
    assert await Published(database.pool).read() == {"text": 1, "visual": 0}


async def test_number_covers_the_highest_slot_that_lives(world: World, keda: Keda) -> None:
    """A StatefulSet's pods go from the top: one below a busy one has to stay."""
    await three_ready(world)
    assert await keda.metric("text") == 3
    await busy(world, 1)
    await world.pass_time(100_000)
    await world.settle()
    assert dict(await world.containers()) == {
        "reveille-text-0": "ready",
        "reveille-text-1": "ready",
        "reveille-text-2": "draining",
    }
    assert await keda.metric("text") == 3  # until its worker has left
    await world.database.execute(
        "UPDATE processing_servers SET status = 'inactive', updated_at = reveille_now() - interval '1 minute' "
        "WHERE container_id = 'reveille-text-2'"
    )
    await world.settle()
    assert await keda.metric("text") == 2
    stored = await world.database.fetchval("SELECT count(*) FROM scaling_decisions")
    await world.settle()
    assert await world.database.fetchval("SELECT count(*) FROM scaling_decisions") == stored


async def test_pool_goes_back_to_zero_from_the_top(world: World, keda: Keda) -> None:
    """When nothing is busy all may go at once."""
    await three_ready(world)
    await world.pass_time(100_000)
    await world.settle()
    await world.set_server("inactive")
    await world.database.execute(
        "UPDATE processing_servers SET updated_at = reveille_now() - interval '1 minute'"
    )
    await world.settle()
    assert not await keda.active("text")
    assert {state for _, state in await world.containers()} == {"stopped"}


async def test_restarted_autoscaler_finds_what_it_has_asked_for(
    world: World, database: Database, keda: Keda
) -> None:
    """Its memory is rows: nothing is lost, nothing asked for twice."""
    await world.add_task()
    await world.age_tasks(200)
    await world.settle()
    listed = await world.scaler.providers["keda"].list()
    assert [container.name for container in listed] == ["reveille-text-0"]
    for _ in range(5):
        await world.settle()
    assert await world.containers() == [("reveille-text-0", "booting")]


async def test_worker_of_a_former_life_is_told_to_leave(world: World) -> None:
    """The pod was not scaled away in time: its worker registers anew and is the new life's."""
    await world.database.execute(
        "INSERT INTO processing_servers (id, server_type, container_id, pool, status, epoch, started_at) "
        "VALUES ('old', 'text_container', 'reveille-text-0', 'text', 'active', 1, reveille_now() - interval '1 hour')"
    )
    await world.add_task()
    await world.age_tasks(1000)
    await world.settle()
    assert await world.database.fetchval("SELECT status FROM processing_servers") == "draining"


async def test_worker_of_this_life_is_left_alone_when_its_container_is_asked_for_again(
    world: World,
) -> None:
    """The leader died between asking and writing so; its successor asks again."""
    await world.add_task()
    await world.age_tasks(200)
    await world.settle()
    await world.register_workers()
    await world.database.execute("UPDATE containers SET state = 'creating', provider_ref = NULL")
    await world.settle()
    assert await world.containers() == [("reveille-text-0", "ready")]
    assert await world.database.fetchval("SELECT status FROM processing_servers") == "active"


@pytest.mark.parametrize("pool", ["audio", ""])
async def test_unknown_pool_is_refused_with_those_that_there_are(keda: Keda, pool: str) -> None:
    """A misspelt trigger shows in the ScaledObject's events."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await keda.active(pool)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "there are text, visual" in caught.value.details()


async def test_database_that_is_away_is_no_answer_and_not_a_zero(
    world: World, keda: Keda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an error KEDA leaves the replicas as they are."""

    async def fail(*_: object) -> None:
        raise ConnectionRefusedError("no database")

    monkeypatch.setattr(world.scaler.keda.published, "read", fail)  # type: ignore[union-attr]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await keda.metric("text")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_tls_lets_in_only_clients_of_its_authority(
    database: Database, tmp_path: Path
) -> None:
    """Where the cluster's network is not to be trusted."""
    await asyncio.to_thread(make_certificate, tmp_path, "scaler")
    await asyncio.to_thread(make_certificate, tmp_path, "keda")
    async with world_of(
        database,
        provider="keda",
        keda_listen="127.0.0.1:0",
        keda_tls_cert=tmp_path / "scaler.pem",
        keda_tls_key=tmp_path / "scaler.key",
        keda_tls_client_ca=tmp_path / "keda.pem",
    ) as world:
        trusted = (tmp_path / "scaler.pem").read_bytes()
        own = (tmp_path / "keda.key").read_bytes(), (tmp_path / "keda.pem").read_bytes()
        known = grpc.ssl_channel_credentials(trusted, *own)
        try:
            async with keda_of(world, known) as keda:
                assert not await keda.active("text")
            async with keda_of(world, grpc.ssl_channel_credentials(trusted)) as stranger:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stranger.active("text")
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        finally:
            await world.scaler.close()


def make_certificate(folder: Path, name: str) -> None:
    """Of its own authority, for localhost."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")],
        check=True, capture_output=True,
    )  # fmt: skip


def test_messages_are_those_of_the_proto() -> None:
    """One is read by people and by other languages, the other by Python."""
    text = PROTO.read_text()
    described = {
        message: tuple(
            re.findall(r"^  ((?:repeated )?[\w<>, ]+?) (\w+) = \d+;$", fields, re.MULTILINE)
        )
        for message, fields in re.findall(
            r"^message (\w+) \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL
        )
    }
    assert described == messages.FIELDS
    for message, fields in re.findall(
        r"^message (\w+) \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL
    ):
        numbers = [int(number) for number in re.findall(r"= (\d+);", fields)]
        assert numbers == list(range(1, len(described[message]) + 1))


def test_map_travels_as_protobuf_has_it() -> None:
    """Bytes that another implementation wrote: field 3, an entry of key 1 and value 2."""
    wire = b"\x0a\x01n\x1a\x0c\x0a\x04pool\x12\x04text"
    message = messages.ScaledObjectRef.FromString(wire)
    assert (message.name, dict(message.scalerMetadata)) == ("n", {"pool": "text"})
    assert message.SerializeToString() == wire


async def test_provider_without_an_address_for_keda_is_refused(database: Database) -> None:
    """Its numbers would be heard by nobody."""
    with pytest.raises(ConfigurationError, match="REVEILLE_KEDA_LISTEN"):
        async with world_of(database, provider="keda"):
            pass


def test_half_of_a_certificate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than to speak in clear text."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://nowhere/db")
    monkeypatch.setenv("REVEILLE_KEDA_TLS_CERT", "/etc/cert.pem")
    with pytest.raises(ConfigurationError, match="belong together"):
        load(AutoscalerSettings)
