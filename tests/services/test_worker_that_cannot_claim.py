"""A worker whose claims fail each time: it says so, and takes tasks again when they do not."""

from typing import Any

from tests.services.test_worker_in_trouble import add, done, ended, living, server, worker_of

from reveille.testing import Database, eventually

BREAK = """
CREATE FUNCTION refuse_claims() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'claims are closed';
END $$;
CREATE TRIGGER refuse_claims BEFORE UPDATE ON processing_queue
    FOR EACH ROW WHEN (NEW.status = 'processing') EXECUTE FUNCTION refuse_claims()"""
MEND = "DROP TRIGGER refuse_claims ON processing_queue"


async def test_worker_that_cannot_claim_is_not_ready_and_says_why(database: Database) -> None:
    """Its row and its health page tell; a row that says active would keep tasks waiting unseen."""
    await database.execute(BREAK)
    worker = worker_of(database, done)
    async with living(worker, database):
        task_id = await add(database)

        async def told() -> Any:
            reason = await server(database, "status_reason")
            return (await server(database, "status") == "starting") and reason

        assert "claims are closed" in await eventually(told, within_seconds=20)
        assert "claims are closed" in (await worker.ready()).get("claim", "")

        await database.execute(MEND)
        assert (await ended(database, task_id, within_seconds=20))["status"] == "completed"
        await eventually(lambda: _is_active(database))
        assert "claim" not in await worker.ready()


async def _is_active(database: Database) -> bool:
    return bool(await server(database, "status") == "active")
