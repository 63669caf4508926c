"""What a crash of the database undoes: claims whose commit had not reached the disk, and nothing else."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from reveille.database import connect_pool
from reveille.embedded import EmbeddedPostgres
from reveille.migrate import migrate
from reveille.outcome import Done
from reveille.store import End, Registration, ServerEntry, Store
from reveille.task import Claim

TYPES = ("deck_date_extraction",)
# Nothing but a commit that asks for it brings the log to the disk, so that a crash loses what can be lost.
SLOW_TO_DISK = {"wal_writer_delay": "10s", "autovacuum": "off"}
CRASHES_MAX = 5  # the log may be written at any time all the same


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(durable=True, settings=SLOW_TO_DISK) as server:
        yield server


@asynccontextmanager
async def opened(postgres: EmbeddedPostgres) -> AsyncIterator[Store]:
    """A store on a pool of its own."""
    pool = await connect_pool(postgres.dsn, application_name="test", plan_once=True)
    try:
        yield Store(pool)
    finally:
        pool.terminate()


async def register(store: Store, server_id: str) -> Registration:
    return await store.register(
        ServerEntry(
            server_id=server_id,
            server_type="text_container",
            pool="text",
            task_types=TYPES,
            slots=1,
            version="test",
            status="active",
        )
    )


async def claim_one(store: Store, registration: Registration) -> Claim:
    (claim,) = await store.claim(registration, TYPES, 1)
    return claim


async def claim_that_was_lost(postgres: EmbeddedPostgres) -> Claim:
    """A claim of a new task that the database has forgotten."""
    for _ in range(CRASHES_MAX):
        async with opened(postgres) as store:
            registration = await register(store, "before")
            await store.pool.execute("DELETE FROM processing_queue")
            await store.pool.execute(
                "INSERT INTO processing_queue (document_id, task_type) VALUES (1, $1)", TYPES[0]
            )
            claim = await claim_one(store, registration)
        postgres.restart("immediate")
        async with opened(postgres) as store:
            status = await store.pool.fetchval(
                "SELECT status FROM processing_queue WHERE id = $1", claim.task_id
            )
        if status == "queued":
            return claim
    pytest.fail("every claim was on the disk at once")


async def test_claim_that_a_crash_undid_is_claimed_anew_and_its_token_is_void(
    postgres: EmbeddedPostgres,
) -> None:
    """The task is queued with its attempt unspent; the sequence repeats itself, and only the second claim ends it."""
    await migrate(postgres.dsn)
    lost = await claim_that_was_lost(postgres)

    async with opened(postgres) as store:
        claim = await claim_one(store, await register(store, "after"))
        assert (claim.task_id, claim.attempt) == (lost.task_id, lost.attempt)
        assert claim.lease_token >> 20 <= lost.lease_token >> 20
        assert claim.lease_token != lost.lease_token
        assert await store.settle([End(claim=lost, outcome=Done())]) == {}
        assert await store.settle([End(claim=claim, outcome=Done())]) == {
            claim.task_id: "completed"
        }


async def test_turn_that_ends_a_task_survives_a_crash(postgres: EmbeddedPostgres) -> None:
    """Its commit waits for the disk, and takes with it the claim that did not."""
    await migrate(postgres.dsn)
    async with opened(postgres) as store:
        registration = await register(store, "worker")
        await store.pool.execute("DELETE FROM processing_queue")
        await store.pool.execute(
            "INSERT INTO processing_queue (document_id, task_type) SELECT n, $1 FROM generate_series(1, 2) n",
            TYPES[0],
        )
        claim = await claim_one(store, registration)
        turn = await store.turn(registration, TYPES, 1, [End(claim=claim, outcome=Done())])
        assert turn.settled == {claim.task_id: "completed"}
    postgres.restart("immediate")

    async with opened(postgres) as store:
        rows = await store.pool.fetch("SELECT id, status, lease_token FROM processing_queue")
    (next_claim,) = turn.claims
    assert {tuple(row) for row in rows} == {
        (claim.task_id, "completed", None),
        (next_claim.task_id, "processing", next_claim.lease_token),
    }
