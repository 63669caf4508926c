"""What operators see and may wish: queue, servers, containers, pools, costs, report, board, docs."""

import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from queue_gateway.testing import RunningGateway, running_gateway
from reveille.database import connect
from reveille.testing import Database, with_database

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
async def gateway(database: Database) -> AsyncIterator[RunningGateway]:
    """A gateway on this test's database."""
    async with running_gateway(database.dsn) as gateway:
        yield gateway


async def add_container(database: Database, state: str = "ready", **columns: str) -> None:
    """A container visual-0 that booted for a minute and was ready for 59, at a dollar an hour."""
    values = {
        "name": "'reveille-visual-0'",
        "pool": "'visual'",
        "slot": "0",
        "provider": "'process'",
        "server_id": "'s'",
        "price_usd_per_hour": "1",
        "intended_at": "reveille_now() - interval '1 hour'",
        "creating_at": "reveille_now() - interval '1 hour'",
        "ready_at": "reveille_now() - interval '59 minutes'",
        **columns,
    }
    await database.execute(
        f"INSERT INTO containers ({', '.join(values)}, state) "  # noqa: S608
        f"VALUES ({', '.join(values.values())}, $1)",
        state,
    )


async def test_queue_depth_by_pool_type_and_priority(
    gateway: RunningGateway, database: Database
) -> None:
    """Sums and the oldest that waits, per pool and in detail; nothing for an empty queue."""
    assert await gateway.get("/api/queue") == {"pools": [], "depths": []}
    await database.execute(
        "INSERT INTO processing_queue (document_id, task_type, priority) "
        "VALUES (1, 'visual_analysis', 1), (2, 'visual_analysis', 3), (3, 'slide_feedback', 1)"
    )

    queue = await gateway.get("/api/queue")

    (visual,) = queue["pools"]
    assert (visual["pool"], visual["queued"], visual["processing"]) == ("visual", 3, 0)
    assert visual["oldest_seconds"] >= 0
    assert [(d["task_type"], d["priority"], d["queued"]) for d in queue["depths"]] == [
        ("slide_feedback", 1, 1),
        ("visual_analysis", 3, 1),
        ("visual_analysis", 1, 1),
    ]


async def test_task_types_tell_what_each_may_carry(gateway: RunningGateway) -> None:
    """The routing table comes with the options' JSON schema."""
    known = {t["name"]: t for t in (await gateway.get("/api/task-types"))["task_types"]}

    assert known["visual_analysis"]["pool"] == "visual"
    assert "template_id" in known["template_analysis"]["options_schema"]["properties"]


async def test_server_can_be_drained_while_it_lives(
    gateway: RunningGateway, database: Database
) -> None:
    """Draining is a status that the server hears; a dead one has nothing to drain."""
    await database.execute(
        "INSERT INTO processing_servers (id, server_type, pool, has_presence) "
        "VALUES ('w/1', 'visual_container', 'visual', true)"
    )
    drained = await gateway.post("/api/servers/w%2F1/drain")
    again = await gateway.post("/api/servers/w%2F1/drain")
    await database.execute("UPDATE processing_servers SET status = 'lost'")
    problem = await gateway.post("/api/servers/w%2F1/drain", status=409)
    await gateway.post("/api/servers/nobody/drain", status=404)

    assert (drained["status"], again["status"]) == ("draining", "draining")
    assert "lost" in problem["detail"]


async def test_operators_wishes_for_a_container_are_rows_for_the_autoscaler(
    gateway: RunningGateway, database: Database
) -> None:
    """Drain and stop are wishes, start is a new intent; each tells the autoscaler to look."""
    await add_container(database)
    path = "/api/containers/reveille-visual-0"
    heard: list[str] = []
    async with database.connect() as connection:
        await connection.add_listener("scaling_changed", lambda *said: heard.append(said[3]))

        running = await gateway.post(f"{path}/start", status=409)
        drained = await gateway.post(f"{path}/drain")
        kept = await gateway.post(f"{path}/start")
        stopped = await gateway.post(f"{path}/stop")
        await database.execute("UPDATE containers SET state = 'stopped'")
        ended = await gateway.post(f"{path}/stop", status=409)
        started = await gateway.post(f"{path}/start")
        await connection.execute("SELECT 1")

    assert "ready" in running["detail"]
    assert "stopped" in ended["detail"]
    assert [drained["wish"], kept["wish"], stopped["wish"]] == ["drain", None, "stop"]
    assert (started["state"], started["wish"], started["slot"]) == ("intended", None, 0)
    assert heard == ["visual"] * 4
    assert len((await gateway.get("/api/containers"))["containers"]) == 2
    await gateway.post("/api/containers/nothing/start", status=404)


async def test_container_tells_the_states_it_has_gone_through(
    gateway: RunningGateway, database: Database
) -> None:
    """Each with its reason and its time; nobody of that name is a 404."""
    await add_container(database, reason="'it takes tasks'")
    await database.execute("UPDATE containers SET idle_since = reveille_now()")
    await database.execute("UPDATE containers SET state = 'draining', reason = 'idle for 120 s'")
    found = await gateway.get("/api/containers/reveille-visual-0")
    await gateway.get("/api/containers/nobody", 404)

    states = [(one["state"], one["reason"]) for one in found["transitions"]]
    assert states == [("ready", "it takes tasks"), ("draining", "idle for 120 s")]
    assert found["transitions"][1]["at"] == found["state_changed_at"]


async def test_pin_is_a_wish_with_its_reason(gateway: RunningGateway, database: Database) -> None:
    """Kept with the container for whoever wonders why it stays; what is not pinned is a 409."""
    await add_container(database)
    path = "/api/containers/reveille-visual-0"

    await gateway.post(f"{path}/unpin", status=409)
    pinned = await gateway.post(f"{path}/pin", {"reason": "a demo at noon"})
    again = await gateway.post(f"{path}/start", status=409)
    unpinned = await gateway.post(f"{path}/unpin")
    await gateway.post(f"{path}/drain", {"reason": "x" * 201}, status=422)

    assert (pinned["wish"], pinned["wish_reason"]) == ("keep", "a demo at noon")
    assert "ready already" in again["detail"]
    assert (unpinned["wish"], unpinned["wish_reason"]) == (None, None)


async def test_pools_say_what_was_decided_and_why(
    gateway: RunningGateway, database: Database
) -> None:
    """The last decision that was applied, not one of a shadow."""
    await database.execute(
        "INSERT INTO scaling_decisions "
        "(pool, epoch, policy, applied, replicas_before, replicas_wanted, reason, inputs) VALUES "
        "('text', 1, 'marginal', true, 0, 2, 'task 7 has waited', '{}'), "
        "('text', 1, 'threshold', false, 0, 3, 'depth', '{}')"
    )

    text = await gateway.get("/api/pools/text")

    assert (text["replicas_wanted"], text["reason"]) == (2, "task 7 has waited")
    assert (await gateway.get("/api/pools/visual"))["decided_at"] is None


async def test_pool_change_touches_only_what_it_names(gateway: RunningGateway) -> None:
    """A null gives the scaling file's value back; impossible values change nothing."""
    changed = await gateway.ask(
        "PATCH", "/api/pools/visual", json={"replicas_min": 1, "replicas_max": 4, "paused": True}
    )
    back = await gateway.ask("PATCH", "/api/pools/visual", json={"replicas_min": None})
    same = await gateway.ask("PATCH", "/api/pools/visual", json={})
    over = await gateway.ask("PATCH", "/api/pools/visual", 422, json={"replicas_min": 5})
    null = await gateway.ask("PATCH", "/api/pools/visual", 422, json={"paused": None})
    await gateway.ask("PATCH", "/api/pools/visual", 422, json={"replicas_mim": 1})
    await gateway.ask("PATCH", "/api/pools/visual", 422, json={"policy": "clairvoyant"})
    await gateway.ask("PATCH", "/api/pools/audio", 404, json={"paused": True})

    assert (changed["replicas_min"], changed["replicas_max"], changed["paused"]) == (1, 4, True)
    assert (back["replicas_min"], back["replicas_max"], back["paused"]) == (None, 4, True)
    assert back == same
    assert "replicas_min must not be greater" in over["detail"]
    assert "paused" in null["detail"]
    assert len((await gateway.get("/api/pools"))["pools"]) == 2


async def test_costs_of_a_month_add_up_to_the_containers_seconds(
    gateway: RunningGateway, database: Database
) -> None:
    """An hour at a dollar is a dollar, clipped to the month; the always-on server is beside it."""
    await add_container(
        database,
        "stopped",
        intended_at="'2026-01-31 23:30Z'",
        creating_at="'2026-01-31 23:30Z'",
        ready_at="'2026-01-31 23:36Z'",
        ended_at="'2026-02-01 00:30Z'",
    )
    await database.execute(
        "INSERT INTO processing_queue (document_id, task_type, status, completed_at) "
        "VALUES (1, 'visual_analysis', 'completed', '2026-01-31 23:59Z')"
    )

    january = await gateway.get("/api/costs?month=2026-01")
    february = await gateway.get("/api/costs?month=2026-02")
    march = await gateway.get("/api/costs?month=2026-03")
    await gateway.get("/api/costs?month=2026-13", 422)

    assert january["cost_usd"] == pytest.approx(0.5)
    assert february["cost_usd"] == pytest.approx(0.5)
    assert march["cost_usd"] == 0
    assert january["always_on_usd"] == pytest.approx(800 / 31 / 48)  # since records begin
    assert january["compared_from"] == "2026-01-31T23:30:00Z"
    assert february["always_on_usd"] == pytest.approx(800)
    december = await gateway.get("/api/costs?month=2025-12")
    assert (december["always_on_usd"], december["saved_percent"]) == (0, None)
    assert january["documents"] == 1
    assert january["cost_per_document_usd"] == pytest.approx(0.5)
    assert february["cost_per_document_usd"] is None
    pool = next(pool for pool in january["pools"] if pool["pool"] == "visual")
    assert pool["billed_seconds"] == pytest.approx(1800)
    assert pool["boot_seconds"] == pytest.approx(360)
    assert len(january["days"]) == 31
    assert january["days"][-1]["idle_usd"] == pytest.approx(0.4)


async def test_costs_of_a_document_are_its_tasks_shares(
    gateway: RunningGateway, database: Database
) -> None:
    """Half an hour of an hour's dollar; a document that ran nowhere of ours has cost nothing."""
    await add_container(database)
    task_id = await database.fetchval(
        "INSERT INTO processing_queue (document_id, task_type) VALUES (1, 'visual_analysis') "
        "RETURNING id"
    )
    await database.execute("UPDATE processing_queue SET status = 'completed'")
    await database.execute(
        "UPDATE processing_queue SET completed_by = 's', completed_at = reveille_now(), "
        "started_at = reveille_now() - interval '30 min'"
    )
    found = await gateway.get("/api/documents/1/costs")
    other = await gateway.get("/api/documents/2/costs")

    assert found["cost_usd"] == pytest.approx(0.5)
    (task,) = found["tasks"]
    assert (task["task_id"], task["task_type"]) == (task_id, "visual_analysis")
    assert task["busy_seconds"] == pytest.approx(1800)
    assert (other["tasks"], other["cost_usd"]) == ([], 0)


async def test_report_of_an_empty_database_says_no_data(gateway: RunningGateway) -> None:
    """Nothing measured is nothing claimed."""
    report = await gateway.get("/api/report")

    assert {metric["verdict"] for metric in report["metrics"]} == {"no data"}
    assert report["records_from"] is None


async def test_report_measures_from_rows(gateway: RunningGateway, database: Database) -> None:
    """Each metric is what the rows add up to, with the verdict that follows."""
    await add_container(database)
    await database.execute(
        "INSERT INTO processing_queue (document_id, task_type) "
        "SELECT n, 'visual_analysis' FROM generate_series(1, 4) AS n"
    )
    await database.execute(
        "UPDATE processing_queue SET claimable_at = reveille_now() - interval '20 minutes', "
        "started_at = reveille_now() - CASE WHEN id % 4 = 0 THEN interval '0' "
        "ELSE interval '19 minutes' END"
    )
    await database.execute("UPDATE processing_queue SET status = 'completed' WHERE id % 4 < 3")
    await database.execute("UPDATE processing_queue SET status = 'failed' WHERE id % 4 = 3")

    report = await gateway.get("/api/report?days=7")

    found = {m["name"]: (m["measured"], m["verdict"]) for m in report["metrics"]}
    assert found["container_start"] == (pytest.approx(60, abs=1), "met")
    assert found["container_failures"] == (0, "met")
    assert found["wait_mean"] == (pytest.approx(345, abs=2), "missed")
    assert found["wait_within_10_minutes"] == (75, "missed")
    assert found["task_success"] == (75, "missed")
    assert found["availability"] == (None, "no data")
    assert found["cost_per_month"] == (pytest.approx(1, abs=0.01), "too early")
    assert found["cost_per_document"][1] == "missed"


async def test_health_says_what_is_wrong(gateway: RunningGateway, database: Database) -> None:
    """Health is open, and the database's absence is a 503 with a retry time, not a 500."""
    assert await gateway.get("/api/health") == {"status": "ok", "problems": {}}

    allow = f'ALTER DATABASE "{urlsplit(database.dsn).path[1:]}" ALLOW_CONNECTIONS'
    elsewhere = await connect(with_database(database.dsn, "postgres"), application_name="test")
    try:
        await elsewhere.execute(f"{allow} false")
        await database.break_connections()
        health = await gateway.get("/api/health", 503)
        await gateway.get("/api/queue", 503)
    finally:
        await elsewhere.execute(f"{allow} true")
        await elsewhere.close()

    assert health["problems"]


async def test_metrics_count_requests_by_route(gateway: RunningGateway) -> None:
    """The histogram's labels are routes, not paths, so they stay few."""
    await gateway.get("/api/tasks/1", 404)
    async with gateway.session.get(f"{gateway.url}/metrics") as answer:
        text = await answer.text()

    assert re.search(r'http_request_seconds_count\{.*route="/api/tasks/\{id\}".*status="404"', text)


async def test_board_shows_hostile_text_as_text(
    gateway: RunningGateway, database: Database
) -> None:
    """Titles, quotes and errors from a deck or a model never become markup, and pages load nothing foreign."""
    task_id = await database.fetchval(
        "INSERT INTO processing_queue (document_id, task_type, processing_options, current_step) "
        "VALUES (5, 'visual_analysis', jsonb_build_object('template_id', $1::text), $1) "
        "RETURNING id",
        HOSTILE,
    )
    await database.execute(
        "INSERT INTO visual_analysis_results (task_id, document_id, slide_number, slide_filename, "
        "title, description, key_points, model) "
        "VALUES ($1, 5, 1, 'slide_1.png', $2, $2, jsonb_build_array($2::text), 'm')",
        task_id,
        HOSTILE,
    )
    await database.execute(
        "INSERT INTO extraction_results "
        "(task_id, document_id, kind, value, evidence_page, evidence_quote, model) "
        "VALUES ($1, 5, 'startup_name', $2, 1, $2, 'm')",
        task_id,
        HOSTILE,
    )
    await database.execute(
        "INSERT INTO template_analysis_results "
        "(task_id, document_id, template_id, template_name, overall_score, chapters, model) "
        "VALUES ($1, 5, 't', $2, 4.5, $3, 'm')",
        task_id,
        HOSTILE,
        [{"name": HOSTILE, "score": 3, "questions": [{"question": HOSTILE, "answer": HOSTILE}]}],
    )
    await add_container(database, reason=f"'{HOSTILE}'")

    for path in ("/", f"/tasks/{task_id}", "/documents/5", "/report", "/docs"):
        async with gateway.session.get(gateway.url + path) as answer:
            html = await answer.text()
        assert answer.status == 200, path
        assert HOSTILE not in html, path
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert not re.search(r"""(src|href)=["']?(https?:)?//""", html), path
        for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', html):
            async with gateway.session.get(gateway.url + asset) as found:
                assert found.status == 200, asset


async def test_board_says_what_it_has_not(gateway: RunningGateway) -> None:
    """A wrong address is a page with the reason, not a stack or a JSON."""
    async with gateway.session.get(f"{gateway.url}/tasks/4711") as answer:
        html = await answer.text()

    assert answer.status == 404
    assert "There is no task 4711." in html
