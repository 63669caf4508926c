"""queue_depth and document_results: what operators and backends read."""

from datetime import timedelta
from typing import Any

from reveille.outcome import Done, ResultRow


async def depth(queue: Any) -> dict[tuple[str, int], tuple[int, ...]]:
    rows = await queue.database.fetch("SELECT * FROM queue_depth")
    return {
        (row["task_type"], row["priority"]): tuple(
            row[n] for n in ("queued", "processing", "blocked", "retry")
        )
        for row in rows
    }


async def test_queue_depth_counts_live_tasks_by_type_and_priority(queue: Any) -> None:
    """Every live state has its column; what has ended does not count."""
    now = await queue.database.fetchval("SELECT reveille_now()")
    running = await queue.add("visual_analysis", priority=3)
    await queue.claim_one()
    await queue.add("visual_analysis")
    await queue.add("visual_analysis")
    await queue.add("visual_analysis", depends_on=[running])
    await queue.add(next_retry_at=now + timedelta(hours=1))
    await queue.set_status(await queue.add(), "cancelled")

    assert await depth(queue) == {
        ("visual_analysis", 3): (0, 1, 0, 0),
        ("visual_analysis", 1): (2, 0, 1, 0),
        ("deck_date_extraction", 1): (0, 0, 0, 1),
    }


async def test_queue_depth_tells_since_when_the_oldest_waits(queue: Any) -> None:
    """The wait counts from the moment a task became claimable, in its pool."""
    first = await queue.add("slide_feedback")
    await queue.add("slide_feedback")

    (row,) = await queue.database.fetch("SELECT * FROM queue_depth")

    assert row["pool"] == "visual"
    assert row["oldest_claimable_at"] == (await queue.row(first))["claimable_at"]


async def finish(queue: Any, task_type: str, *results: ResultRow, document_id: int = 42) -> None:
    await queue.add(task_type, document_id=document_id)
    await queue.end(await queue.claim_one(), outcome=Done(results=results))


def slide(number: int, title: str) -> ResultRow:
    values = {
        "slide_number": number,
        "slide_filename": f"{number}.png",
        "title": title,
        "model": "m",
    }
    return ResultRow("visual_analysis_results", values)


def extraction(kind: str, value: str) -> ResultRow:
    return ResultRow("extraction_results", {"kind": kind, "value": value, "model": "m"})


async def test_document_results_holds_every_kind(queue: Any) -> None:
    """One JSON object per document, keyed as the contract says."""
    await finish(queue, "visual_analysis", slide(2, "Team"), slide(1, "Title"))
    feedback = {"slide_number": 1, "slide_filename": "1.png", "feedback_text": "dense"}
    await finish(
        queue,
        "slide_feedback",
        ResultRow(
            "slide_feedback",
            {**feedback, "feedback_type": "layout", "has_issues": True, "model": "m"},
        ),
    )
    await finish(queue, "deck_date_extraction", extraction("deck_date", "May 2026"))
    await finish(
        queue,
        "template_analysis",
        ResultRow(
            "template_analysis_results",
            {
                "template_id": "t",
                "template_name": "T",
                "overall_score": 6.5,
                "chapters": [{"n": 1}],
                "model": "m",
            },
        ),
    )
    await finish(
        queue,
        "specialized_clinical",
        ResultRow(
            "specialized_analysis_results",
            {"analysis_type": "clinical_validation", "analysis_result": "none", "model": "m"},
        ),
    )

    results = await queue.database.fetchval(
        "SELECT results FROM document_results WHERE document_id = 42"
    )

    assert [s["title"] for s in results["slides"]] == ["Title", "Team"]
    assert results["feedback"][0]["has_issues"] is True
    assert results["extractions"]["deck_date"]["value"] == "May 2026"
    assert results["template_analysis"]["chapters"] == [{"n": 1}]
    assert results["specialized"]["clinical_validation"]["analysis_result"] == "none"
    assert results["document_id"] == 42


async def test_document_results_shows_the_newest_of_each_kind(queue: Any) -> None:
    """A second analysis replaces the first one's slides, also where it has fewer."""
    await finish(queue, "visual_analysis", slide(1, "old"), slide(2, "old"))
    await finish(queue, "visual_analysis", slide(1, "new"))
    await finish(queue, "startup_name_extraction", extraction("startup_name", "Old"))
    await finish(queue, "startup_name_extraction", extraction("startup_name", "New"))
    await finish(queue, "visual_analysis", slide(1, "other"), document_id=43)

    results = await queue.database.fetchval(
        "SELECT results FROM document_results WHERE document_id = 42"
    )

    assert [s["title"] for s in results["slides"]] == ["new"]
    assert results["extractions"]["startup_name"]["value"] == "New"
    assert (results["feedback"], results["specialized"]) == ([], {})
    assert results["template_analysis"] is None


async def test_document_without_results_has_no_row(queue: Any) -> None:
    """Nothing is invented for a document whose tasks still wait."""
    await queue.add(document_id=42)

    assert await queue.database.fetch("SELECT * FROM document_results") == []
