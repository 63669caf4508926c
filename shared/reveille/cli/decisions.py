"""`reveille decisions`: what the autoscaler decided and why, and what its shadows would have."""

from typing import Annotated

import typer

from reveille.cli.asked import check_known
from reveille.cli.session import rows_of, show

_DECISIONS = """
SELECT d.decided_at, d.pool, d.policy, NOT d.applied AS shadow, d.replicas_before AS before,
    d.replicas_wanted AS wanted, d.reason
FROM scaling_decisions d
WHERE ($1::varchar IS NULL OR d.pool = $1) AND ($2::boolean OR d.applied)
ORDER BY d.id DESC LIMIT $3"""


def decisions(
    pool: Annotated[str | None, typer.Option(help="Of this pool only.")] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Also what was decided and not applied.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Show what the autoscaler decided and why, newest first."""
    rows = rows_of(_DECISIONS, pool, shadow, limit)
    if not rows:  # a pool that is gone may still have decisions
        check_known("--pool", pool, "pool", "SELECT name FROM pools ORDER BY name")
    show(rows, as_json=as_json, title="decisions", empty="none", one_line=True)
