"""Do the rows of the containers say what their provider runs? And has all of it gone, in the end?"""

from tests.chaos.audit import Finding
from tests.chaos.history import LOAD
from tests.chaos.stage import Stage

from reveille.database import connect
from reveille.testing import eventually

REST_SECONDS_MAX = 60.0
LIVE = """
SELECT name, state, provider_ref FROM containers WHERE state NOT IN ('stopped', 'failed') ORDER BY name
"""
SERVERS = """
SELECT s.id FROM processing_servers s
WHERE s.container_id LIKE 'chaos-%' AND s.status IN ('starting', 'active', 'draining')
"""


async def containers_at_rest(stage: Stage) -> list[Finding]:
    """Wait until no container is left, as idle ones must not be; what disagrees otherwise."""
    connection = await connect(stage.dsn, application_name=LOAD)

    async def disagreement() -> list[str]:
        rows = [
            f"{row['name']} is {row['state']} in its row (pid {row['provider_ref']})"
            for row in await connection.fetch(LIVE)
        ]
        runs = [f"{name} runs as {pid}" for name, pid in sorted(stage.container_pids().items())]
        servers = [f"server {row['id']} is there" for row in await connection.fetch(SERVERS)]
        return [*rows, *runs, *servers]

    async def at_rest() -> bool:
        return not await disagreement()

    try:
        await eventually(at_rest, within_seconds=REST_SECONDS_MAX)
    except AssertionError:
        left = await disagreement()
        name = "containers, their rows and their servers did not all go back to zero"
        return [Finding(check=name, kind="wrong", count=len(left), cases=tuple(left[:5]))]
    finally:
        connection.terminate()
    return []
