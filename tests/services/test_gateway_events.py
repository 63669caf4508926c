"""Live events: a snapshot first, then changes in order, an end; through reconnects and with two gateways."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from queue_gateway import changes
from queue_gateway.testing import Events, RunningGateway, running_gateway
from reveille.testing import Database, eventually

INSERT = "INSERT INTO processing_queue (document_id, task_type) VALUES ($1, $2) RETURNING id"
# The trigger's own question: would a change be said?
LISTENED = "SELECT reveille_somebody_listens()"


@pytest.fixture
async def gateway(database: Database) -> AsyncIterator[RunningGateway]:
    """A gateway whose backstop never comes, so that what is heard came by notification."""
    async with running_gateway(database.dsn, reread_seconds=3600) as gateway:
        yield gateway


async def until(events: Events, status: str) -> list[dict[str, Any]]:
    """The states that are told, up to the given one."""
    told: list[dict[str, Any]] = []
    while not told or told[-1]["status"] != status:
        event = await events.next()
        if "comment" in event:
            continue
        assert event.get("event") == "task", event
        told.append(json.loads(event["data"]))
    return told


async def set_status(database: Database, task_id: int, status: str) -> None:
    """As a service would, or anybody with psql."""
    await database.execute("UPDATE processing_queue SET status = $2 WHERE id = $1", task_id, status)


async def locked(gateway: RunningGateway) -> None:
    """Return when this gateway holds the listening lock."""
    await eventually(lambda: gateway.service.desk.changes.locked)


async def test_task_stream_tells_snapshot_changes_and_end_in_order(
    gateway: RunningGateway, database: Database
) -> None:
    """A watcher sees where a task is, how it moves, and that it is over."""
    task_id = await database.fetchval(INSERT, 1, "visual_analysis")

    async with gateway.events(f"/api/tasks/{task_id}/events") as events:
        snapshot = await events.next()
        await locked(gateway)
        await set_status(database, task_id, "processing")
        working = await until(events, "processing")
        await database.execute(
            "UPDATE processing_queue SET progress_percentage = 50, current_step = 'slide-5' "
            "WHERE id = $1",
            task_id,
        )
        progress = json.loads((await events.next())["data"])
        await set_status(database, task_id, "completed")
        await until(events, "completed")
        end = await events.next()
        after = await events.next()

    assert snapshot["event"] == "snapshot"
    assert [t["status"] for t in json.loads(snapshot["data"])["tasks"]] == ["queued"]
    assert snapshot["id"] == "1"
    assert len(working) == 1
    assert (progress["progress_percentage"], progress["current_step"]) == (50, "slide-5")
    assert (end["event"], json.loads(end["data"])) == ("end", {"status": "completed"})
    assert after == {}


async def test_stream_of_an_ended_task_ends_and_is_not_to_be_reconnected(
    gateway: RunningGateway, database: Database
) -> None:
    """A browser that reconnects with the last event's id is told to stop; any other id is tolerated."""
    task_id = await database.fetchval(INSERT, 1, "visual_analysis")
    await set_status(database, task_id, "failed")
    path = f"/api/tasks/{task_id}/events"

    async with gateway.events(path, headers={"Last-Event-ID": "nonsense-17"}) as events:
        told = [await events.next(), await events.next()]
    async with gateway.events(path, headers={"Last-Event-ID": told[-1]["id"]}) as again:
        assert again.answer.status == 204

    assert [event["event"] for event in told] == ["snapshot", "end"]
    assert json.loads(told[1]["data"]) == {"status": "failed"}


async def test_document_stream_ends_when_all_its_tasks_have_ended(
    gateway: RunningGateway, database: Database
) -> None:
    """A pipeline's stream follows every task, one that is added later too, and no other document's."""
    first = await database.fetchval(INSERT, 7, "visual_analysis")
    other = await database.fetchval(INSERT, 8, "visual_analysis")

    async with gateway.events("/api/documents/7/events") as events:
        await events.next()
        await locked(gateway)
        second = await database.fetchval(INSERT, 7, "slide_feedback")
        added = await until(events, "queued")
        await set_status(database, other, "completed")
        await set_status(database, first, "completed")
        await until(events, "completed")
        await set_status(database, second, "failed")
        await until(events, "failed")
        end = await events.next()

    assert [task["id"] for task in added] == [second]
    assert json.loads(end["data"]) == {"status": "failed"}


async def test_row_that_is_deleted_is_told_as_deleted(
    gateway: RunningGateway, database: Database
) -> None:
    """Nobody waits for ever for a task that is no more."""
    task_id = await database.fetchval(INSERT, 7, "visual_analysis")

    async with gateway.events(f"/api/tasks/{task_id}/events") as events:
        await events.next()
        await locked(gateway)
        await database.execute("DELETE FROM processing_queue WHERE id = $1", task_id)
        await until(events, "deleted")
        end = await events.next()

    assert end["event"] == "end"


async def test_stream_of_everything_tells_live_tasks_and_does_not_end(
    gateway: RunningGateway, database: Database
) -> None:
    """The board hears of each task, an ended one once."""
    await database.fetchval(INSERT, 1, "visual_analysis")

    async with gateway.events("/api/events") as events:
        snapshot = json.loads((await events.next())["data"])
        await locked(gateway)
        task_id = await database.fetchval(INSERT, 2, "slide_feedback")
        await until(events, "queued")
        await set_status(database, task_id, "completed")
        await until(events, "completed")

        assert len(snapshot["tasks"]) == 1
        assert [task.id for task in _known(gateway)] == [snapshot["tasks"][0]["id"]]


def _known(gateway: RunningGateway) -> Any:
    (subscription,) = gateway.service.desk.changes._subscriptions
    return subscription.known


async def test_changes_are_said_only_while_somebody_watches(
    gateway: RunningGateway, database: Database
) -> None:
    """The database pays for notifications as long as there is a stream, and no longer."""
    task_id = await database.fetchval(INSERT, 1, "visual_analysis")
    assert not await database.fetchval(LISTENED)

    async with (
        gateway.events(f"/api/tasks/{task_id}/events") as one,
        gateway.events("/api/events") as two,
    ):
        await one.next()
        await two.next()
        await eventually(lambda: database.fetchval(LISTENED))

    async def silent() -> bool:
        return not await database.fetchval(LISTENED)

    await set_status(
        database, task_id, "completed"
    )  # written to streams, which are seen to be gone
    await eventually(silent)


async def test_two_gateways_both_hear_and_the_lock_passes_on(database: Database) -> None:
    """One gateway holds the lock for both; when its last watcher leaves, the other one takes it."""
    task_id = await database.fetchval(INSERT, 1, "visual_analysis")
    path = f"/api/tasks/{task_id}/events"
    quiet = {"reread_seconds": 3600, "beat_seconds": 0.1}  # a beat notices who has left
    async with (
        running_gateway(database.dsn, **quiet) as first,
        running_gateway(database.dsn, **quiet) as second,
        second.events(path) as two,
    ):
        async with first.events(path) as one:
            await one.next()
            await two.next()
            holder = await eventually(lambda: _holder(first, second))
            await set_status(database, task_id, "processing")
            await until(one, "processing")
            await until(two, "processing")
            assert _holder(first, second) is holder
        await locked(second)
        await set_status(database, task_id, "completed")
        await until(two, "completed")


def _holder(*gateways: RunningGateway) -> RunningGateway | None:
    return next((gateway for gateway in gateways if gateway.service.desk.changes.locked), None)


async def test_stream_goes_on_after_the_database_cut_all_connections(
    gateway: RunningGateway, database: Database
) -> None:
    """After a reconnect the lock is taken again, and what happened meanwhile is read."""
    task_id = await database.fetchval(INSERT, 1, "visual_analysis")

    async with gateway.events(f"/api/tasks/{task_id}/events") as events:
        await events.next()
        await locked(gateway)
        async with database.connect() as connection, connection.transaction():
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await connection.execute(
                "UPDATE processing_queue SET status = 'processing' WHERE id = $1", task_id
            )
        await until(events, "processing")
        await locked(gateway)
        await set_status(database, task_id, "completed")
        await until(events, "completed")


async def test_backstop_tells_what_no_notification_said(database: Database) -> None:
    """A change that was silent, because its transaction began before the lock was taken, is told late."""
    task_id = await database.fetchval(INSERT, 1, "visual_analysis")
    async with (
        running_gateway(database.dsn, reread_seconds=0.2) as gateway,
        gateway.events(f"/api/tasks/{task_id}/events") as events,
    ):
        await events.next()
        await locked(gateway)
        async with database.connect() as connection:
            await connection.execute("SET session_replication_role = replica")  # no triggers
            await connection.execute(
                "UPDATE processing_queue SET progress_percentage = 30 WHERE id = $1", task_id
            )
        told = json.loads((await events.next())["data"])

    assert told["progress_percentage"] == 30


async def test_silent_stream_sends_comments(database: Database) -> None:
    """Proxies do not cut a stream on which nothing happens."""
    async with (
        running_gateway(database.dsn, beat_seconds=0.05) as gateway,
        gateway.events("/api/events") as events,
    ):
        await events.next()

        assert "comment" in await events.next()


async def test_open_streams_end_when_the_gateway_stops(database: Database) -> None:
    """Stopping does not wait for watchers."""
    async with running_gateway(database.dsn) as gateway, gateway.events("/api/events") as events:
        await events.next()
        gateway.service.stopping.set()

        assert await events.next() == {}


async def test_more_streams_than_allowed_are_refused(database: Database) -> None:
    """Open streams are bounded, and the answer says when to come back."""
    async with (
        running_gateway(database.dsn, streams_max=1) as gateway,
        gateway.events("/api/events") as events,
    ):
        await events.next()
        async with gateway.events("/api/events") as refused:
            assert refused.answer.status == 503
            assert "Retry-After" in refused.answer.headers


async def test_waiting_for_results_ends_with_the_last_task(
    gateway: RunningGateway, database: Database
) -> None:
    """`wait_seconds` answers the moment the document is done."""
    task_id = await database.fetchval(INSERT, 7, "visual_analysis")
    waiting = asyncio.create_task(gateway.get("/api/documents/7/results?wait_seconds=60"))
    await locked(gateway)

    await set_status(database, task_id, "completed")
    answer = await asyncio.wait_for(waiting, 10)

    assert (answer["status"], answer["results"]) == ("completed", None)


async def test_task_that_the_gate_kept_silent_is_told_of_a_little_later(
    gateway: RunningGateway, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many insert at once, one is announced; a watcher of the document hears of all."""
    monkeypatch.setattr(changes, "FIRST_REREADS_SECONDS", ())  # they would find it too
    await database.execute(INSERT, 7, "visual_analysis")
    async with gateway.events("/api/documents/7/events") as events, database.connect() as writer:
        await locked(gateway)
        transaction = writer.transaction()
        await transaction.start()
        await writer.execute("SELECT pg_advisory_xact_lock(5395020, 4)")
        silent = await database.fetchval(INSERT, 7, "template_analysis")
        announced = await writer.fetchval(INSERT, 7, "slide_feedback")
        await transaction.commit()
        told: set[int] = set()
        while not told >= {silent, announced}:
            event = await events.next()
            if event.get("event") == "snapshot":
                told |= {t["id"] for t in json.loads(event["data"])["tasks"]}
            elif event.get("event") == "task":
                told.add(json.loads(event["data"])["id"])
