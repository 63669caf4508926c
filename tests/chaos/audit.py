"""The count when the dust has settled: what must hold however the run went.

Each file of checks/ is a query that returns what is wrong, as rows with a `what`; no rows, no
finding. Its first line says what kind it is (lost, doubled, or otherwise wrong) and what it found.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.plan import Submission

from reveille.database import Connection

CHECKS = Path(__file__).with_name("checks")
HEADING = re.compile(r"-- (lost|doubled|wrong): (.+)\n")
CASES_SHOWN_MAX = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A check that failed, how often, and the first few cases."""

    check: str
    kind: str
    count: int
    cases: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.check}: {self.count} × ({'; '.join(self.cases)})"


async def audit(connection: Connection, accepted: Mapping[int, Submission]) -> list[Finding]:
    """All findings of a run whose tasks should all have ended."""
    findings = []
    for path in sorted(CHECKS.glob("*.sql")):
        sql = path.read_text()
        heading = HEADING.match(sql)
        assert heading is not None, path
        arguments = [list(accepted)] if "$1" in sql else []
        cases = [row["what"] for row in await connection.fetch(sql, *arguments)]
        if cases:
            findings.append(_finding(heading[2], heading[1], cases))
    return findings + await _unexpected_ends(connection, accepted)


async def _unexpected_ends(
    connection: Connection, accepted: Mapping[int, Submission]
) -> list[Finding]:
    """Tasks whose end is not one that their submission can have."""
    rows = await connection.fetch(
        "SELECT id, status, failure_reason, lost_count, last_error FROM processing_queue "
        "WHERE status IN ('completed', 'failed', 'cancelled')"
    )
    cases = [
        f"task {row['id']} ({accepted[row['id']].kind}) is {row['status']}: {row['last_error']}"
        for row in rows
        if row["id"] in accepted and not _may_end_so(accepted[row["id"]], row)
    ]
    return [_finding("a task ended as it should not", "wrong", cases)] if cases else []


def _may_end_so(submission: Submission, row: Mapping[str, Any]) -> bool:
    if row["failure_reason"] == "poison":  # any task may have had bad luck three times
        return bool(row["lost_count"] >= 3)
    if str(row["failure_reason"]).startswith("parent_"):
        return submission.tasks > 1
    match submission.kind:
        case "bad_options" | "bad_pdf" | "no_document":
            return bool(row["status"] == "failed")
        case "poison":
            return False
        case _ if submission.meddling is not None:
            return True
        case _:
            return bool(row["status"] == "completed")


def _finding(name: str, kind: str, cases: Sequence[str]) -> Finding:
    return Finding(check=name, kind=kind, count=len(cases), cases=tuple(cases[:CASES_SHOWN_MAX]))
