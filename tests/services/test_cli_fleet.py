"""`reveille containers` and `reveille pools` on a database, and what every listing has in common."""

import json
from typing import Any

import pytest
from tests.command_line import Run

from reveille.costs import Costs, costs_of_month
from reveille.errors import ReveilleError
from reveille.testing import Database

NAME = "reveille-text-0"
LISTINGS = ("tasks", "servers", "containers", "pools", "costs", "report")


async def said(run: Run, *arguments: str) -> Any:
    result = await run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def add_container(database: Database, slot: int = 0, state: str = "ready") -> str:
    await database.execute(
        "INSERT INTO containers (name, pool, slot, provider, state, reason, creating_at) "
        "VALUES ('reveille-text-' || $1::int, 'text', $1, 'process', $2, 'r-1 takes tasks', "
        "reveille_now() - interval '1 hour')",
        slot,
        state,
    )
    return f"reveille-text-{slot}"


async def test_containers_that_live_are_shown_and_all_on_request(
    run: Run, database: Database
) -> None:
    """What has ended is history."""
    await add_container(database)
    await add_container(database, 1, "stopped")
    assert [c["name"] for c in await said(run, "containers")] == [NAME]
    every = await said(run, "containers", "--all")
    assert [c["state"] for c in every] == ["ready", "stopped"]


async def test_wish_is_written_with_its_reason_for_each_container_named(
    run: Run, database: Database
) -> None:
    """Several at once, as a maintenance needs it; one that is unknown spoils nothing."""
    await add_container(database)
    await add_container(database, 1)
    result = await run("containers", "drain", NAME, "reveille-text-1", "nobody", "--reason", "disk")
    assert result.exit_code == 1
    assert "There is no container nobody." in result.stderr
    rows = await database.fetch("SELECT wish, wish_reason FROM containers ORDER BY id")
    assert rows == [{"wish": "drain", "wish_reason": "disk"}] * 2


async def test_pin_and_unpin_are_wishes_that_follow_each_other(
    run: Run, database: Database
) -> None:
    """A pin replaces a drain; what is not pinned cannot be unpinned."""
    await add_container(database)
    await said(run, "containers", "drain", NAME)
    (pinned,) = await said(run, "containers", "pin", NAME, "--reason", "a demo")
    (unpinned,) = await said(run, "containers", "unpin", NAME)
    again = await run("containers", "unpin", NAME)
    assert (pinned["wish"], pinned["wish_reason"]) == ("keep", "a demo")
    assert (unpinned["wish"], unpinned["wish_reason"]) == (None, None)
    assert (again.exit_code, "is not pinned" in again.stderr) == (1, True)


async def test_start_brings_an_ended_one_back_and_withdraws_a_drain(
    run: Run, database: Database
) -> None:
    """One word for both: the operator wants it to be there."""
    await add_container(database, 0, "stopped")
    (started,) = await said(run, "containers", "start", NAME, "--reason", "big deck")
    running = await run("containers", "start", NAME)
    await said(run, "containers", "stop", NAME)
    (kept,) = await said(run, "containers", "start", NAME)
    assert (started["state"], started["reason"]) == ("intended", "started by an operator: big deck")
    assert "is intended already" in running.stderr
    assert kept["wish"] is None


async def test_container_is_shown_with_the_states_it_has_gone_through(
    run: Run, database: Database
) -> None:
    """Why it is as it is, step by step; an unknown name is said."""
    await add_container(database)
    await database.execute("UPDATE containers SET state = 'draining', reason = 'idle for 120 s'")
    (told,) = await said(run, "containers", "show", NAME)
    assert [one["reason"] for one in told["transitions"]] == ["r-1 takes tasks", "idle for 120 s"]
    assert "idle for 120 s" in (await run("containers", "show", NAME)).output
    nobody = await run("containers", "show", "nobody")
    assert str(nobody.exception) == "There is no container nobody."


async def test_pool_is_paused_bounded_and_given_back_to_the_scaling_file(
    run: Run, database: Database
) -> None:
    """Only what is named changes; --reset unsets what is not named with it."""

    async def pool(*arguments: str) -> tuple[Any, ...]:
        found = {p["name"]: p for p in await said(run, "pools", *arguments)}["text"]
        return found["paused"], found["replicas_min"], found["replicas_max"], found["policy"]

    assert await pool("text", "--pause", "--min", "1") == (True, 1, None, None)
    assert await pool("text", "--resume", "--policy", "threshold") == (False, 1, None, "threshold")
    assert await pool("text", "--reset", "--max", "2") == (False, None, 2, None)


async def test_pools_are_combined_and_split_again(run: Run, database: Database) -> None:
    """Every task type to one pool and back to its own, with what waits."""
    await database.execute(
        "INSERT INTO processing_queue (document_id, task_type) "
        "VALUES (1, 'visual_analysis'), (1, 'deck_date_extraction')"
    )
    homes = "SELECT name, pool FROM task_types ORDER BY name"
    waiting = "SELECT string_agg(pool, ' ' ORDER BY id) FROM processing_queue"
    before = await database.fetch(homes)

    pools = {p["name"]: p for p in await said(run, "pools", "--combine")}
    assert pools["combined"]["queued"] == 2
    assert {row["pool"] for row in await database.fetch(homes)} == {"combined"}
    assert await database.fetchval(waiting) == "combined combined"

    await said(run, "pools", "--split")
    assert await database.fetch(homes) == before
    assert await database.fetchval(waiting) == "visual text"


async def test_pool_says_what_the_autoscaler_decided_last_and_why(
    run: Run, database: Database
) -> None:
    """A number without its reason is a riddle."""
    await database.execute(
        "INSERT INTO scaling_decisions (pool, epoch, policy, replicas_before, replicas_wanted, "
        "reason, inputs) VALUES ('text', 1, 'marginal', 0, 2, 'task 7 has waited', '{}')"
    )
    found = {p["name"]: p for p in await said(run, "pools")}
    assert (found["text"]["wanted"], found["text"]["reason"]) == (2, "task 7 has waited")
    assert found["visual"]["reason"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pools", "audio", "--pause"), 'no pool "audio"; there are: text, visual'),
        (("pools", "--pause"), "which pool?"),
        (("pools", "text", "--min", "3", "--max", "2"), "pools_min_not_over_max"),
        (("containers", "drain", NAME, "--reason", "x" * 201), "200 characters"),
    ],
)
async def test_what_makes_no_sense_is_refused_in_a_sentence(
    run: Run, arguments: tuple[str, ...], words: str
) -> None:
    """And nothing is changed by it."""
    result = await run(*arguments)
    assert isinstance(result.exception, ReveilleError)
    assert words in str(result.exception)


@pytest.mark.parametrize("listing", LISTINGS)
async def test_listing_speaks_json_with_and_without_rows(
    run: Run, database: Database, listing: str
) -> None:
    """For machines: one document on stdout, nothing else."""
    await said(run, listing)
    await add_container(database)
    await database.execute(
        "INSERT INTO processing_queue (document_id, task_type) VALUES (1, 'slide_feedback')"
    )
    await database.execute(
        "INSERT INTO processing_servers (id, server_type, pool) VALUES ('s', 'text_container', 'text')"
    )
    assert await said(run, listing)


@pytest.mark.parametrize("listing", LISTINGS)
async def test_listing_fits_a_narrow_terminal(
    run: Run, database: Database, listing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is broken by the terminal: 60 columns are what a split screen has."""
    await add_container(database)
    await database.execute(
        "INSERT INTO processing_queue (document_id, task_type) VALUES (1, 'slide_feedback')"
    )
    await database.execute(
        "INSERT INTO processing_servers (id, server_type, pool) VALUES ('s', 'text_container', 'text')"
    )
    monkeypatch.setattr("reveille.cli.session.console._width", 60)
    result = await run(listing)
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 60, result.stdout


async def test_decisions_are_listed_and_shadows_on_request(run: Run, database: Database) -> None:
    """What was applied; with --shadow also what another policy would have done."""
    await database.execute(
        "INSERT INTO scaling_decisions (pool, epoch, policy, applied, replicas_before, "
        "replicas_wanted, reason, inputs) VALUES ('text', 1, 'marginal', true, 0, 1, 'one waits', '{}'), "
        "('text', 1, 'threshold', false, 1, 0, 'idle', '{}')"
    )
    assert [d["policy"] for d in await said(run, "decisions")] == ["marginal"]
    both = await said(run, "decisions", "--shadow", "--pool", "text")
    assert [(d["policy"], d["shadow"]) for d in both] == [("threshold", True), ("marginal", False)]
    assert await said(run, "decisions", "--pool", "visual") == []


async def test_costs_are_those_of_the_gateway_for_any_month_and_document(
    run: Run, database: Database
) -> None:
    """One statement behind both; a wrong month is refused in words."""
    await add_container(database)
    now = await database.fetchval("SELECT reveille_now()")
    await database.set_now(now)
    told = await said(run, "costs", "--always-on", "100")
    behind = await costs_of_month(database.pool, None, 100)
    assert Costs.model_validate(told) == behind
    assert told["pools"][0]["containers"] == 1
    assert (await said(run, "costs", "--month", "2020-01"))["cost_usd"] == 0
    assert "nothing was on record" in (await run("costs", "--month", "2020-01")).output
    assert (await said(run, "costs", "--document", "7"))["tasks"] == []
    table = await run("costs")
    assert "the always-on server costs" in table.output
    wrong = await run("costs", "--month", "13")
    assert "'13' is not a month; write 2026-01" in str(wrong.exception)


async def test_retry_shows_what_it_did_not_what_came_after(run: Run, database: Database) -> None:
    """A worker may have failed the task again a millisecond later; here a trigger does, at the commit."""
    task_id = await database.fetchval(
        "INSERT INTO processing_queue (document_id, task_type) VALUES (1, 'slide_feedback') RETURNING id"
    )
    await database.execute("UPDATE processing_queue SET status = 'failed'")
    await database.execute(
        "CREATE FUNCTION fail_again() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN UPDATE processing_queue SET status = 'failed' WHERE id = NEW.id; RETURN NULL; END $$"
    )
    await database.execute(
        "CREATE CONSTRAINT TRIGGER fail_again AFTER UPDATE ON processing_queue DEFERRABLE "
        "INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.status = 'queued') EXECUTE FUNCTION fail_again()"
    )
    assert [(row["id"], row["status"]) for row in await said(run, "retry", str(task_id))] == [
        (task_id, "queued")
    ]
    assert await database.fetchval("SELECT status FROM processing_queue") == "failed"
