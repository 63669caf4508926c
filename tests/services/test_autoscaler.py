"""The autoscaler on a real database with a provider in memory: rounds one by one, two at once, and
the running service with real processes.
"""

import asyncio
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from autoscaler.config import AutoscalerSettings
from autoscaler.observe import seen
from autoscaler.offers import PricedOffer
from autoscaler.provider import ContainerSpec, ProviderContainer, ProviderError
from autoscaler.providers import launch
from autoscaler.providers.process import ProcessProvider
from autoscaler.service import Autoscaler
from reveille.otlp_sink import OtlpSink
from reveille.telemetry import configure
from reveille.testing import Database, eventually

AT_ONCE = {"lone_task_delay_seconds": 0.0}


class FakeProvider:
    """Containers in memory. `hidden` ones are left out of lists, `broken` raises everywhere."""

    can_start = True

    def __init__(self) -> None:
        self.containers: dict[str, str] = {}
        self.hidden: set[str] = set()
        self.broken = False
        self.created: asyncio.Queue[ContainerSpec] = asyncio.Queue()
        self.stopped: list[str] = []

    def _check(self) -> None:
        if self.broken:
            raise ProviderError("the provider answers 502")

    async def create(self, spec: ContainerSpec) -> str:
        self._check()
        self.containers.setdefault(spec.name, "running")
        self.created.put_nowait(spec)
        return f"ref-{spec.name}"

    async def stop(self, name: str) -> None:
        self._check()
        self.stopped.append(name)
        self.containers.pop(name, None)

    async def list(self) -> Sequence[ProviderContainer]:
        self._check()
        return [
            ProviderContainer(name=name, ref=f"ref-{name}", state=state)  # type: ignore[arg-type]
            for name, state in self.containers.items()
            if name not in self.hidden
        ]

    async def close(self) -> None:
        pass


class World:
    """An autoscaler whose rounds the test calls, and what it scales."""

    def __init__(self, database: Database, scaler: Autoscaler, provider: FakeProvider) -> None:
        self.database = database
        self.scaler = scaler
        self.provider = provider

    async def settle(self) -> float:
        """Rounds until nothing is under way; the last pause."""
        for _ in range(6):
            pause = await self.scaler.round()
            if not self.scaler.operations:
                return pause
            await self.scaler.operations.finish(5)
        raise AssertionError("still moving")

    def metrics(self) -> str:
        return self.scaler.telemetry.metrics_text().decode()

    async def add_task(self, task_type: str = "deck_date_extraction", **columns: Any) -> int:
        names = "".join(f", {name}" for name in columns)
        marks = "".join(f", ${n}" for n in range(2, len(columns) + 2))
        task_id: int = await self.database.fetchval(
            f"INSERT INTO processing_queue (document_id, task_type{names}) "  # noqa: S608
            f"VALUES (1, $1{marks}) RETURNING id",
            task_type,
            *columns.values(),
        )
        return task_id

    async def age_tasks(self, seconds: int) -> None:
        await self.database.execute(
            "UPDATE processing_queue SET claimable_at = claimable_at - make_interval(secs => $1)",
            float(seconds),
        )

    async def containers(self, columns: str = "name, state") -> list[tuple[Any, ...]]:
        rows = await self.database.fetch(
            f"SELECT {columns} FROM containers ORDER BY id"  # noqa: S608
        )
        return [tuple(row.values()) for row in rows]

    async def last_decision(self, pool: str = "text") -> dict[str, Any]:
        row = await self.database.fetchrow(
            "SELECT * FROM scaling_decisions WHERE pool = $1 ORDER BY id DESC LIMIT 1", pool
        )
        assert row is not None
        return row

    async def register_workers(self, status: str = "active") -> None:
        """The worker of every container that has none registers."""
        await self.database.execute(
            "INSERT INTO processing_servers (id, server_type, container_id, pool, status, epoch, "
            "max_concurrent_tasks, last_heartbeat, started_at) "
            "SELECT server_id, pool || '_container', name, pool, $1, 1, 1, reveille_now(), "
            "reveille_now() FROM containers WHERE state = 'booting' ON CONFLICT DO NOTHING",
            status,
        )

    async def set_server(self, status: str) -> None:
        await self.database.execute(
            "UPDATE processing_servers SET status = $1, updated_at = reveille_now()", status
        )

    async def claim(self) -> int:
        """Some queued task is claimed by the server there is."""
        task_id: int = await self.database.fetchval(
            "UPDATE processing_queue SET status = 'processing', "
            "locked_by = (SELECT id FROM processing_servers LIMIT 1) "
            "WHERE id = (SELECT min(id) FROM processing_queue WHERE status = 'queued') RETURNING id"
        )
        return task_id

    async def finish_tasks(self) -> None:
        await self.database.execute("UPDATE processing_queue SET status = 'completed'")

    async def pass_time(self, seconds: int) -> None:
        """Every container's clocks were set so much earlier."""
        stamps = ("intended", "creating", "booting", "ready", "draining", "ended", "state_changed")
        moved = ", ".join(f"{s}_at = {s}_at - make_interval(secs => $1)" for s in stamps)
        await self.database.execute(
            f"UPDATE containers SET {moved}, "  # noqa: S608
            "idle_since = idle_since - make_interval(secs => $1)",
            float(seconds),
        )

    async def one_ready(self) -> None:
        """A ready container, by way of a task that is done by now."""
        await self.add_task()
        await self.age_tasks(200)
        await self.settle()
        await self.register_workers()
        await self.settle()
        await self.finish_tasks()
        assert await self.containers() == [("reveille-text-0", "ready")]


@asynccontextmanager
async def world_of(
    database: Database, *, otlp: str | None = None, **settings: Any
) -> AsyncIterator[World]:
    """With its LISTEN connection, where the leader's lock lives, but without its loop."""
    numbers = {"policy": "threshold", "look_seconds": 0.001, "attention_seconds": 0.0}
    values = numbers | settings
    scaler = Autoscaler(
        AutoscalerSettings(DATABASE_URL=database.dsn, **values),
        configure("test", otlp_endpoint=otlp),
    )
    provider = FakeProvider()
    scaler.pool = database.pool
    scaler.providers["process"] = provider
    await scaler.setup()
    listening = asyncio.create_task(scaler.notifier.run())
    await scaler.notifier.ready.wait()
    try:
        yield World(database, scaler, provider)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await scaler.operations.finish(1)
        await scaler.telemetry.aclose()


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with world_of(database) as world:
        yield world


async def test_policies_are_told_of_tasks_behind_the_listed_ones(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many there are of each type and how young the last is; a paused type has none."""
    monkeypatch.setattr("autoscaler.ledger.LISTED_MAX", 2)
    monkeypatch.setattr("autoscaler.ledger.UNLISTED_MAX", 3)
    for task_type, tasks in (
        ("visual_analysis", 4),
        ("slide_feedback", 2),
        ("template_analysis", 9),
    ):
        for _ in range(tasks):
            await world.add_task(task_type)
    await world.age_tasks(100)
    await world.add_task("visual_analysis")
    await world.settle()

    rows = {row["name"]: row for row in (await world.scaler.ledger.look())[0]}
    told = {name: seen(row, ()) for name, row in rows.items()}
    behind = {
        part.task_type: (part.tasks, round(part.age_seconds / 100))
        for state in told.values()
        for part in state.unlisted
    }
    assert behind == {"visual_analysis": (3, 0), "template_analysis": (3, 1)}
    listed = [
        task.task_id for task in told["visual"].waiting if task.task_type == "visual_analysis"
    ]
    assert listed == sorted(listed)
    assert len(listed) == 2
    decision = await world.last_decision("visual")
    assert decision["inputs"]["unlisted"]["visual_analysis"] == 3
    await world.database.execute("UPDATE task_types SET paused = true")
    assert all(not row["unlisted"] for row in (await world.scaler.ledger.look())[0])


# From zero and back --------------------------------------------------------------------------


async def test_lone_task_brings_a_container_up_from_zero(world: World) -> None:
    """Intent, creation, boot, readiness: each a state with its time, and the task it was for."""
    task_id = await world.add_task()
    await world.settle()
    assert await world.containers() == []
    await world.age_tasks(120)

    await world.settle()
    spec = world.provider.created.get_nowait()
    assert (spec.name, spec.pool, spec.slot) == ("reveille-text-0", "text", 0)
    assert await world.containers("state, server_id, provider_ref, waited_for_task_id") == [
        ("booting", spec.server_id, "ref-reveille-text-0", task_id)
    ]

    await world.register_workers()
    await world.settle()
    times = "intended_at <= creating_at AND creating_at <= booting_at AND booting_at <= ready_at"
    assert await world.containers(f"state, price_usd_per_hour::float8, {times}") == [
        ("ready", 0.8, True)
    ]
    decision = await world.last_decision()
    assert (decision["replicas_before"], decision["replicas_wanted"]) == (0, 1)
    assert decision["reason"].startswith(f"task {task_id} has waited for 12")
    assert decision["inputs"]["waiting"] == 1


async def test_depth_above_the_threshold_for_the_delay_starts_one_more(world: World) -> None:
    """The letter of the requirement, with the memory in rows: any leader goes on from there."""
    for _ in range(4):
        await world.add_task()
    await world.settle()
    remembered = (await world.last_decision())["memory"]["above_since"]
    await world.database.execute(
        "UPDATE scaling_decisions SET memory = jsonb_build_object('above_since', $1::float8)",
        remembered - 121,
    )
    await world.settle()
    assert await world.containers() == [("reveille-text-0", "booting")]
    assert (await world.last_decision())["reason"].startswith("depth 4 > 3 for 121 s")


async def test_critical_task_starts_one_container_at_once(world: World) -> None:
    """No delay, and no second one while the first is on its way."""
    for _ in range(3):
        await world.add_task(priority=3)
    await world.settle()
    await world.settle()
    assert await world.containers() == [("reveille-text-0", "booting")]


async def test_pools_never_exceed_their_maximum(world: World) -> None:
    """However long the queue is and however often it is looked at."""
    for _ in range(20):
        await world.add_task(priority=3)
    for _ in range(8):
        await world.settle()
        await world.register_workers()
        await world.settle()
        await world.claim()
    states = [state for _, state in await world.containers()]
    assert len(states) <= 5


async def test_idle_container_drains_and_is_stopped_when_its_worker_has_left(world: World) -> None:
    """To zero: told, left, ended, paid no longer."""
    await world.one_ready()
    await world.settle()
    await world.pass_time(601)
    await world.settle()
    assert await world.containers() == [("reveille-text-0", "draining")]
    assert await world.database.fetchval("SELECT status FROM processing_servers") == "draining"
    assert world.provider.stopped == []

    await world.set_server("inactive")
    world.provider.containers["reveille-text-0"] = "exited"
    await world.settle()
    assert await world.containers("state, reason") == [("stopped", "drained: its worker has left")]
    assert await world.settle() > 60
    life = await world.database.fetch("SELECT state, reason FROM container_transitions ORDER BY id")
    states = ["intended", "creating", "booting", "ready", "draining", "stopped"]
    assert [row["state"] for row in life] == states
    assert all(row["reason"] for row in life), life


async def test_busy_container_is_neither_drained_nor_stopped(world: World) -> None:
    """The one thing every scaler in the field is blamed for."""
    await world.one_ready()
    await world.add_task()
    await world.claim()
    await world.pass_time(100_000)
    await world.settle()
    assert await world.containers() == [("reveille-text-0", "ready")]


async def test_drain_is_not_told_to_a_worker_that_has_just_claimed(world: World) -> None:
    """The statement looks again: the decision is older than the claim."""
    await world.one_ready()
    await world.pass_time(601)
    _, (container,) = await world.scaler.ledger.look()
    await world.add_task()
    await world.claim()
    assert not await world.scaler.ledger.drain(container, "idle")
    assert await world.database.fetchval("SELECT status FROM processing_servers") == "active"


async def test_draining_container_is_taken_back_when_work_arrives(world: World) -> None:
    """Cheaper than a cold start, and at once."""
    await world.one_ready()
    await world.pass_time(601)
    await world.settle()
    await world.add_task()
    await world.settle()
    assert await world.containers() == [("reveille-text-0", "ready")]
    assert await world.database.fetchval("SELECT status FROM processing_servers") == "active"


async def test_worker_that_has_left_is_not_taken_back(world: World) -> None:
    """It said goodbye: whatever comes now needs a new one."""
    await world.one_ready()
    await world.pass_time(601)
    await world.settle()
    _, (container,) = await world.scaler.ledger.look()
    await world.set_server("inactive")
    assert not await world.scaler.ledger.revive(container, "work arrived")


async def test_idle_system_is_left_alone(world: World) -> None:
    """Nothing to do: nothing is written, and the next look is minutes away."""
    await world.settle()
    assert await world.settle() == world.scaler.scaler_settings.backstop_seconds
    assert await world.database.fetchval("SELECT count(*) FROM scaling_decisions") == 0


async def test_idle_container_is_waited_for_by_a_timer(world: World) -> None:
    """A ready container without work costs money, but no queries."""
    await world.one_ready()
    await world.settle()
    await world.pass_time(400)
    assert await world.settle() == pytest.approx(200, abs=5)


# Failures ------------------------------------------------------------------------------------


async def test_start_that_takes_too_long_fails_and_is_not_tried_at_once(world: World) -> None:
    """Ended at the provider, told as failed, then a pause."""
    await world.add_task()
    await world.age_tasks(200)
    await world.settle()
    await world.pass_time(300)
    await world.settle()
    assert await world.containers("state, last_error") == [
        ("failed", "not ready 300 s after it was asked for")
    ]
    assert world.provider.stopped == ["reveille-text-0"]
    held = await world.last_decision()
    assert held["inputs"]["held"].startswith("1 failed in a row")
    await world.pass_time(31)
    await world.settle()
    assert [state for _, state in await world.containers()] == ["failed", "booting"]


async def test_provider_that_refuses_is_a_failed_container_and_not_the_end(world: World) -> None:
    """An error is a state, with the provider's words in the row."""
    await world.add_task()
    await world.age_tasks(200)
    create = world.provider.create

    async def refuse(_: ContainerSpec) -> str:
        raise ProviderError("no capacity")

    world.provider.create = refuse  # type: ignore[method-assign]
    await world.settle()
    assert await world.containers("state, last_error") == [("failed", "no capacity")]
    world.provider.create = create  # type: ignore[method-assign]
    await world.pass_time(31)
    await world.settle()
    assert [state for _, state in await world.containers()] == ["failed", "booting"]


async def test_list_that_forgets_a_container_starts_no_second_one(world: World) -> None:
    """One bad list means hold; and a live worker outweighs any number of them."""
    await world.one_ready()
    world.provider.hidden.add("reveille-text-0")
    for _ in range(6):
        await world.add_task(priority=3)
        await world.settle()
    assert (await world.containers())[0] == ("reveille-text-0", "ready")
    assert world.provider.created.qsize() == 1


async def test_list_older_than_a_creation_says_nothing_of_the_new_container(world: World) -> None:
    """The former life is told as exited while the next one comes up: that one is not to be ended."""
    provider = world.provider
    provider.containers["reveille-text-0"] = "exited"
    may_create = asyncio.Event()
    create, look = provider.create, provider.list

    async def late_create(spec: ContainerSpec) -> str:
        await may_create.wait()
        provider.containers.pop(spec.name)
        return await create(spec)

    async def list_during_creation() -> Sequence[ProviderContainer]:
        seen = await look()
        may_create.set()
        await world.scaler.operations.finish(5)
        return seen

    provider.create = late_create  # type: ignore[method-assign]
    await world.add_task(priority=3)
    await world.scaler.round()
    assert world.scaler.operations.busy("reveille-text-0")
    provider.list = list_during_creation  # type: ignore[method-assign]
    await world.scaler.round()
    provider.list = look  # type: ignore[method-assign]
    await world.settle()
    assert await world.containers() == [("reveille-text-0", "booting")]
    assert provider.stopped == []


async def test_provider_that_cannot_be_asked_changes_nothing(world: World) -> None:
    """Missing data means hold, never zero."""
    await world.add_task()
    await world.age_tasks(200)
    await world.settle()
    world.provider.broken = True
    for _ in range(5):
        await world.settle()
    assert await world.containers() == [("reveille-text-0", "booting")]


async def test_crash_between_creation_and_record_is_healed_by_the_name(world: World) -> None:
    """The successor finds the intent, asks again, and gets what runs already."""
    await world.database.execute(
        "INSERT INTO containers (name, pool, slot, provider, state, creating_at) "
        "VALUES ('reveille-text-0', 'text', 0, 'process', 'creating', reveille_now())"
    )
    world.provider.containers["reveille-text-0"] = "running"
    await world.settle()
    assert await world.containers("state, provider_ref") == [("booting", "ref-reveille-text-0")]


async def test_worker_that_dies_is_a_failed_container(world: World) -> None:
    """Its process is gone: the row says so, the monitor gives its task back."""
    await world.one_ready()
    await world.add_task()
    await world.claim()
    world.provider.containers["reveille-text-0"] = "exited"
    await world.settle()
    assert await world.containers("state, reason") == [("failed", "it ended by itself")]


async def test_stray_with_a_live_worker_is_adopted(world: World) -> None:
    """A row that was lost does not cost a running worker its life."""
    await world.one_ready()
    await world.database.execute("DELETE FROM containers")
    for _ in range(4):
        await world.settle()
    assert await world.containers("name, state, provider_ref") == [
        ("reveille-text-0", "ready", "ref-reveille-text-0")
    ]


async def test_stray_without_a_worker_is_stopped_and_others_are_left_alone(world: World) -> None:
    """Only names of ours, and only after several lists."""
    world.provider.containers |= {"reveille-text-3": "running", "somebody-text-0": "running"}
    await world.settle()
    assert world.provider.stopped == []
    for _ in range(4):
        await world.settle()
    assert world.provider.stopped == ["reveille-text-3"]
    assert list(world.provider.containers) == ["somebody-text-0"]


# Operators, budget ---------------------------------------------------------------------------


async def test_operator_drains_even_a_busy_container_and_it_finishes_first(world: World) -> None:
    """Drain means drain; the policy does not take it back."""
    await world.one_ready()
    await world.add_task()
    await world.claim()
    await world.database.execute("UPDATE containers SET wish = 'drain'")
    await world.settle()
    await world.add_task(priority=3)
    await world.settle()
    states = dict(await world.containers())
    assert states == {"reveille-text-0": "draining", "reveille-text-1": "booting"}
    assert world.provider.stopped == []


async def test_operator_stops_a_container(world: World) -> None:
    """At once; its task comes back by the lease."""
    await world.one_ready()
    await world.database.execute("UPDATE containers SET wish = 'stop'")
    await world.settle()
    assert await world.containers("state, reason") == [("stopped", "an operator's wish: stop")]


async def test_stop_that_fails_is_counted_and_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on costing: an alert counts it, and the row keeps the wish."""
    monkeypatch.setattr("autoscaler.operations.RETRY_SECONDS_MIN", 0.0)
    await world.one_ready()
    await world.database.execute("UPDATE containers SET wish = 'stop'")
    world.provider.broken = True
    await world.scaler.round()
    await world.scaler.operations.finish(5)
    assert 'reveille_container_stops_failed_total{pool="text"}' in world.metrics()
    world.provider.broken = False
    await world.settle()
    assert await world.containers() == [("reveille-text-0", "stopped")]


async def test_stop_that_fails_is_not_repeated_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider in trouble gets one call per pause, not one per round; the pause ends itself."""
    monkeypatch.setattr("autoscaler.operations.RETRY_SECONDS_MIN", 1000.0)
    monkeypatch.setattr("autoscaler.operations.RETRY_SECONDS_MAX", 1000.0)
    await world.one_ready()
    await world.database.execute("UPDATE containers SET wish = 'stop'")
    world.provider.broken = True
    for _ in range(3):
        await world.scaler.round()
        await world.scaler.operations.finish(5)
    assert 'reveille_container_stops_failed_total{pool="text"} 1.0' in world.metrics()
    assert 900 < world.scaler.operations.retry_in() < 1000


async def test_operators_pin_keeps_an_idle_container_and_takes_back_one_that_drains(
    world: World,
) -> None:
    """For as long as it is pinned; nothing is decided anew at every look meanwhile."""
    await world.one_ready()
    await world.pass_time(601)
    await world.settle()
    assert await world.containers() == [("reveille-text-0", "draining")]
    await world.database.execute("UPDATE containers SET wish = 'keep', wish_reason = 'a demo'")
    await world.settle()
    assert await world.containers("state, reason") == [
        ("ready", "an operator's wish: keep (a demo)")
    ]
    assert await world.database.fetchval("SELECT status FROM processing_servers") == "active"
    await world.pass_time(100_000)
    await world.settle()
    stored = await world.database.fetchval("SELECT count(*) FROM scaling_decisions")
    await world.settle()
    assert await world.database.fetchval("SELECT count(*) FROM scaling_decisions") == stored
    assert await world.containers() == [("reveille-text-0", "ready")]

    await world.database.execute("UPDATE containers SET wish = NULL, wish_reason = NULL")
    await world.settle()
    assert await world.containers() == [("reveille-text-0", "draining")]


async def test_operator_starts_a_container_by_inserting_a_row(world: World) -> None:
    """The autoscaler fills in what the operator need not know."""
    await world.database.execute(
        "INSERT INTO containers (name, pool, slot) VALUES ('reveille-visual-1', 'visual', 1)"
    )
    await world.settle()
    assert await world.containers("name, state, provider, price_usd_per_hour::float8") == [
        ("reveille-visual-1", "booting", "process", 0.5)
    ]


@pytest.mark.parametrize("change", ["paused = true", "replicas_max = 0", "policy = 'clairvoyant'"])
async def test_operators_row_holds_the_pool(world: World, change: str) -> None:
    """The table pools has the last word; a policy that nobody knows is no reason to guess."""
    await world.database.execute(f"UPDATE pools SET {change}")  # noqa: S608
    await world.add_task(priority=3)
    await world.age_tasks(500)
    await world.settle()
    assert await world.containers() == []


async def test_operators_minimum_keeps_containers_warm(world: World) -> None:
    """Without any task, and after any time."""
    await world.database.execute("UPDATE pools SET replicas_min = 2 WHERE name = 'visual'")
    await world.settle()
    assert await world.containers() == [
        ("reveille-visual-0", "booting"),
        ("reveille-visual-1", "booting"),
    ]


async def test_month_over_its_cap_starts_nothing(database: Database) -> None:
    """The money is counted from the rows of the month, running containers included."""
    async with world_of(database, budget_hard_usd=10.0) as world:
        await database.execute(
            "INSERT INTO containers (name, pool, slot, provider, state, creating_at, ended_at, "
            "price_usd_per_hour) SELECT 'old', 'text', 9, 'process', 'stopped', month, "
            "month + interval '1 h', 20 FROM date_trunc('month', reveille_now(), 'UTC') AS month"
        )
        await world.add_task(priority=3)
        await world.settle()
        held = await world.last_decision()
        assert held["inputs"]["held"] == "$20.00 spent this month, the hard cap is $10.00"
        text = world.metrics()
        assert 'reveille_cost_usd{pool="text"} 20.0' in text
        assert "reveille_budget_used_ratio 2.0" in text


async def test_static_provider_starts_nothing(database: Database) -> None:
    """A dedicated server is not multiplied; its decision says why."""
    async with world_of(database, provider="static") as world:
        await world.add_task(priority=3)
        await world.settle()
        assert await world.containers() == []
        assert (await world.last_decision())["inputs"]["held"] == "its provider starts nothing"


# Leadership ----------------------------------------------------------------------------------


async def test_one_of_two_autoscalers_leads_and_the_other_takes_over(database: Database) -> None:
    """The lock goes with the connection; the epoch makes the old one harmless."""
    async with world_of(database) as first, world_of(database) as second:
        await first.settle()
        assert await second.scaler.round() == second.scaler.scaler_settings.standby_seconds
        await first.add_task(priority=3)
        await second.settle()
        assert await first.containers() == []

        first.scaler.notifier.ready.clear()
        await database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks "
            "WHERE locktype = 'advisory' AND classid = 5395022"
        )
        await first.scaler.notifier.ready.wait()
        await second.settle()
        assert await second.containers() == [("reveille-text-0", "booting")]
        assert not first.scaler.leader.leads
        intent = {"slot": 1, "reason": "", "waited_for": None, "offer": PricedOffer(provider="x")}
        assert not await first.scaler.ledger.intend("reveille-text-1", pool="text", **intent)


async def test_deposed_leader_notices_at_its_next_look(world: World) -> None:
    """Somebody led meanwhile: stand again, with a new epoch."""
    await world.settle()
    await world.database.execute("UPDATE leaders SET epoch = epoch + 1")
    await world.add_task(priority=3)
    assert await world.scaler.round() == 0.0
    assert await world.containers() == []
    await world.settle()
    assert await world.containers() == [("reveille-text-0", "booting")]


# The running service -------------------------------------------------------------------------


@asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    """Its loop beside the test, without the process around it."""
    work = asyncio.create_task(world.scaler.work())
    try:
        yield world
    finally:
        world.scaler.stopping.set()
        await work


async def test_running_service_starts_a_container_the_moment_a_critical_task_lands(
    world: World,
) -> None:
    """Woken by the insert's notification, also after its connections were broken."""
    await world.settle()
    world.scaler.notifier.ready.clear()
    await world.database.break_connections()
    async with asyncio.timeout(10), running(world):
        await world.scaler.notifier.ready.wait()
        await world.add_task("visual_analysis", priority=3)
        assert (await world.provider.created.get()).name == "reveille-visual-0"


async def test_slow_looks_take_a_tenth_of_the_time_unless_a_critical_task_comes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside an old snapshot a look walks over dead rows, at the cost of everybody's work."""
    looks: asyncio.Queue[tuple[float, float]] = asyncio.Queue()
    look = world.scaler.ledger.look

    async def slow_look() -> Any:
        begun = time.monotonic()
        await asyncio.sleep(0.3)
        answer = await look()
        looks.put_nowait((begun, time.monotonic()))
        return answer

    await world.settle()
    monkeypatch.setattr(world.scaler.ledger, "look", slow_look)
    async with asyncio.timeout(30), running(world):
        first = await looks.get()
        await world.add_task("visual_analysis")
        second = await looks.get()
        assert second[0] - first[1] >= 9 * 0.3
        await world.add_task("visual_analysis", priority=3)
        third = await looks.get()
        assert 0.3 <= third[0] - second[1] < 9 * 0.3
        assert (await world.provider.created.get()).name == "reveille-visual-0"


async def test_cold_start_is_drawn_in_the_trace_of_the_task_that_waited(
    database: Database,
) -> None:
    """The wait is visible where one looks for it."""
    async with OtlpSink() as sink, world_of(database, otlp=sink.url, **AT_ONCE) as world:
        task_id = await world.add_task()
        await world.settle()
        await world.register_workers()
        await world.settle()
        traceparent = await database.fetchval(
            "SELECT traceparent FROM processing_queue WHERE id = $1", task_id
        )
        await world.scaler.telemetry.flush()
        spans = sink.trace(traceparent.split("-")[1])
        assert {span.name for span in spans} == {
            "container cold start",
            "container intended",
            "container creating",
            "container waiting",
            "container pulling",
            "container starting",
            "container loading",
        }
        text = world.metrics()
        assert 'reveille_container_start_seconds_count{phase="loading",pool="text"} 1.0' in text


STAND_IN = textwrap.dedent("""
    import asyncio, os, signal, asyncpg

    async def main():
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        db = await asyncpg.connect(os.environ["DATABASE_URL"])
        me = os.environ["REVEILLE_SERVER_ID"]
        await db.add_listener("server_changed", lambda *said: said[-1] == me and changed.set())
        changed = asyncio.Event()
        await db.execute(
            "INSERT INTO processing_servers (id, server_type, container_id, pool, status, epoch, "
            "last_heartbeat, started_at) VALUES ($1, 'text_container', $2, 'text', 'active', 1, "
            "reveille_now(), reveille_now())", me, os.environ["REVEILLE_CONTAINER_ID"])
        waits = [asyncio.create_task(stop.wait())]
        while not stop.is_set():
            changed.clear()
            if await db.fetchval("SELECT status FROM processing_servers WHERE id = $1", me) == "draining":
                break
            heard = asyncio.create_task(changed.wait())
            await asyncio.wait([*waits, heard], return_when=asyncio.FIRST_COMPLETED)
        await db.execute("UPDATE processing_servers SET status = 'inactive', "
                         "updated_at = reveille_now() WHERE id = $1", me)

    asyncio.run(main())
""")


async def test_real_process_comes_up_from_zero_and_goes_back(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole service with a real child process: woken, started, registered, drained, gone."""
    monkeypatch.setenv("DATABASE_URL", database.dsn)
    settings = {**AT_ONCE, "scale_down_delay_seconds": 0.5, "look_seconds": 0.1}
    async with world_of(database, **settings) as world:
        provider = ProcessProvider(
            tmp_path, command=lambda _: (sys.executable, "-c", STAND_IN), bound=True
        )
        world.scaler.providers["process"] = provider
        async with running(world):
            await world.add_task()
            await eventually(lambda: _state_is(world, "ready"))
            (container,) = await provider.list()
            await world.finish_tasks()
            await eventually(lambda: _state_is(world, "stopped"))
    assert await world.containers("state, reason") == [("stopped", "drained: its worker has left")]
    assert launch.identity_of(int(container.ref)) is None
    assert await provider.list() == []


async def test_bound_processes_end_with_the_service(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo's Ctrl-C leaves nothing running, and the rows say so."""
    monkeypatch.setenv("DATABASE_URL", database.dsn)
    settings = {**AT_ONCE, "process_bound": True, "look_seconds": 0.1}
    async with world_of(database, **settings) as world:
        provider = ProcessProvider(
            tmp_path, command=lambda _: (sys.executable, "-c", STAND_IN), bound=True
        )
        world.scaler.providers["process"] = provider
        async with running(world):
            await world.add_task()
            await eventually(lambda: _state_is(world, "ready"))
    assert await world.containers("state, reason") == [("stopped", "the autoscaler ended")]
    assert await provider.list() == []


async def _state_is(world: World, state: str) -> bool:
    return [now for _, now in await world.containers()] == [state]


# Shadows ---------------------------------------------------------------------------------------


async def test_shadow_decides_on_the_same_facts_and_changes_nothing(database: Database) -> None:
    """Marginal would start one at once; threshold, in force, waits. It is kept once, not per look."""
    async with world_of(database, shadow_policies=("marginal", "threshold")) as world:
        await world.add_task()
        await world.settle()
        await world.settle()
        assert await world.containers() == []
        kept = await database.fetch(
            "SELECT policy, replicas_wanted FROM scaling_decisions WHERE NOT applied"
        )
        assert [tuple(row.values()) for row in kept] == [("marginal", 1)]
        await world.age_tasks(120)
        await world.settle()
        assert await world.containers() == [("reveille-text-0", "booting")]
        applied = await database.fetch("SELECT policy FROM scaling_decisions WHERE applied")
        assert {row["policy"] for row in applied} == {"threshold"}


async def test_shadow_of_a_new_leader_goes_on_from_the_rows(database: Database) -> None:
    """What a shadow remembers is a row, too."""
    async with world_of(database, policy="marginal", shadow_policies=("threshold",)) as world:
        for _ in range(4):
            await world.add_task()
        await world.settle()
        shadow = "SELECT memory FROM scaling_decisions WHERE NOT applied ORDER BY id DESC LIMIT 1"
        before = await database.fetchval(shadow)
        assert before["above_since"]
        await world.scaler.ledger.lead("another")
        world.scaler.leader.step_down()
        await world.settle()
        assert await database.fetchval(shadow) == before


async def test_old_decisions_are_forgotten_but_for_the_last_applied(world: World) -> None:
    """The last one holds what the policy remembers."""
    await world.database.execute(
        "INSERT INTO scaling_decisions (pool, decided_at, epoch, policy, applied, replicas_before, "
        "replicas_wanted, reason, inputs) "
        "SELECT 'text', reveille_now() - interval '31 days', 1, 'threshold', n <> 3, 0, n, 'old', '{}' "
        "FROM generate_series(1, 3) n"
    )
    await world.settle()
    rows = await world.database.fetch("SELECT replicas_wanted FROM scaling_decisions")
    assert [row["replicas_wanted"] for row in rows] == [2]


def test_unknown_shadow_policy_is_refused() -> None:
    """A typing error would be silence for weeks."""
    with pytest.raises(ValueError, match="clairvoyant"):
        AutoscalerSettings(DATABASE_URL="postgresql://x/y", shadow_policies="marginal, clairvoyant")
