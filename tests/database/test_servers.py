"""register_server.sql, set_server_status.sql, retire_server.sql: the life of a server's row."""

from typing import Any

import pytest

from reveille.store import ServerEntry


async def row(queue: Any, server_id: str = "worker-1") -> dict[str, Any]:
    found: dict[str, Any] = await queue.database.fetchrow(
        "SELECT * FROM processing_servers WHERE id = $1", server_id
    )
    return found


async def test_register_enters_what_the_server_says_of_itself(queue: Any) -> None:
    """Capabilities, slots, version and address are there for the autoscaler and the board."""
    registration = await queue.store.register(
        ServerEntry(
            server_id="w",
            server_type="visual_container",
            pool="visual",
            task_types=("visual_analysis", "slide_feedback"),
            slots=3,
            version="1.2",
            container_id="c-1",
            http_url="http://w:8080",
        )
    )

    entered = await row(queue, "w")
    expected = {
        "server_type": "visual_container",
        "pool": "visual",
        "capabilities": {"visual_analysis": True, "slide_feedback": True},
        "max_concurrent_tasks": 3,
        "version": "1.2",
        "container_id": "c-1",
        "http_url": "http://w:8080",
        "has_presence": True,
        "status": "starting",
        "current_load": 0,
        "epoch": registration.epoch,
        "presence_key": registration.presence_key,
    }
    assert {name: entered[name] for name in expected} == expected
    assert entered["last_heartbeat"] is not None


async def test_register_again_takes_the_row_over(queue: Any) -> None:
    """The same lock key, a new epoch; what the predecessor writes afterwards changes nothing."""
    old = await queue.server()
    await queue.database.execute(
        "UPDATE processing_servers SET status = 'lost', status_reason = 'silent', disconnected_at = now()"
    )

    new = await queue.server()

    taken = await row(queue)
    assert new.epoch > old.epoch
    assert new.presence_key == old.presence_key == await queue.store.presence_key("worker-1")
    assert (taken["status"], taken["status_reason"], taken["disconnected_at"]) == (
        "active",
        None,
        None,
    )
    assert not await queue.store.set_status(old, "active", None)
    assert not await queue.store.retire(old, "stopped")


async def test_presence_keys_of_two_servers_differ(queue: Any) -> None:
    """Each connection's lock is its own."""
    one, other = await queue.server("a"), await queue.server("b")

    assert one.presence_key != other.presence_key
    assert await queue.store.presence_key("nobody") is None


async def test_register_gives_back_what_the_predecessor_held(queue: Any) -> None:
    """A worker that was restarted under its old id does not wait for its own lease to run out."""
    task_id = await queue.add()
    await queue.claim_one(await queue.server())

    await queue.server()

    task = await queue.row(task_id)
    assert (task["status"], task["locked_by"], task["lost_count"]) == ("queued", None, 1)
    assert await queue.attempts(task_id) == [("lost", "server_lost")]


async def test_register_keeps_the_tasks_of_an_external_server(queue: Any) -> None:
    """A server without a presence lock that registers again may go on with its tasks."""
    task_id = await queue.add()
    await queue.claim_one(await queue.server("old-gpu", has_presence=False))

    await queue.server("old-gpu", has_presence=False)

    assert await queue.statuses(task_id) == ["processing"]


async def test_server_may_say_that_it_starts_or_works(queue: Any) -> None:
    """With the reason, for whoever looks at the servers."""
    server = await queue.server(status="starting")

    assert await queue.store.set_status(server, "starting", "the model is loading")
    assert (await row(queue))["status_reason"] == "the model is loading"
    assert await queue.store.set_status(server, "active", None)
    assert (await row(queue))["status"] == "active"


@pytest.mark.parametrize("status", ["starting", "active"])
async def test_draining_server_may_not_call_itself_back(queue: Any, status: str) -> None:
    """Only the operator or the autoscaler ends a drain that they began."""
    server = await queue.server()
    await queue.database.execute("UPDATE processing_servers SET status = 'draining'")

    assert not await queue.store.set_status(server, status, None)
    assert (await row(queue))["status"] == "draining"


async def test_lost_server_may_not_say_anything(queue: Any) -> None:
    """It must register anew first: its tasks are with others."""
    server = await queue.server()
    await queue.database.execute("UPDATE processing_servers SET status = 'lost'")

    assert not await queue.store.set_status(server, "active", None)


async def test_retire_marks_the_server_inactive(queue: Any) -> None:
    """A server that leaves in good order is not lost, and says why it left."""
    server = await queue.server()

    assert await queue.store.retire(server, "stopped")

    gone = await row(queue)
    assert (gone["status"], gone["status_reason"]) == ("inactive", "stopped")


async def test_retire_when_draining_is_refused_after_an_undrain(queue: Any) -> None:
    """A server that was called back at the last moment stays."""
    server = await queue.server()
    assert not await queue.store.retire(server, "drained", only_when_draining=True)
    await queue.database.execute("UPDATE processing_servers SET status = 'draining'")

    assert await queue.store.retire(server, "drained", only_when_draining=True)


async def test_server_changed_tells_every_turn_of_a_servers_life(queue: Any) -> None:
    """Registered, active, drained, taken over, gone; but not each heartbeat."""
    async with queue.listening("server_changed") as changes:
        server = await queue.server(status="starting")
        assert await changes.heard() == ["worker-1"]
        await queue.store.set_status(server, "active", None)
        assert await changes.heard() == ["worker-1"]
        await queue.database.execute(
            "UPDATE processing_servers SET last_heartbeat = now(), current_load = 1"
        )
        assert await changes.heard() == []
        await queue.server()
        assert await changes.heard() == ["worker-1"]
        await queue.database.execute("DELETE FROM processing_servers")
        assert await changes.heard() == ["worker-1"]


async def test_claim_of_a_draining_server_gets_nothing(queue: Any) -> None:
    """A server on its way out takes no new work."""
    server = await queue.server()
    await queue.add()
    await queue.database.execute("UPDATE processing_servers SET status = 'draining'")

    assert await queue.claim(server) == []
