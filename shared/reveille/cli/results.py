"""A document's results as tables for people."""

from typing import Any

from rich.panel import Panel
from rich.text import Text

from reveille.cli.session import console, show
from reveille.database import Connection

_COST = """
SELECT coalesce(sum(cost_usd), 0)::float8 AS cost_usd, coalesce(sum(billed_seconds), 0)::float8 AS billed_seconds,
       coalesce(sum(busy_seconds), 0)::float8 AS busy_seconds, count(*)::int AS containers FROM container_costs"""


async def show_results(connection: Connection, document_id: int) -> None:
    """Slides, feedback, extractions with their evidence, template scores, specialised analyses."""
    results: dict[str, Any] = await connection.fetchval(
        "SELECT results FROM document_results WHERE document_id = $1", document_id
    )
    if results is None:
        console.print("[dim]no results[/dim]")
        return
    wide = max(console.width, 80)
    feedback = {row["slide_number"]: row for row in results["feedback"]}
    slides = [
        {
            "slide": row["slide_number"],
            "title": _short(row["title"], 26),
            "type": row["slide_type"],
            "feedback": _short(
                (feedback.get(row["slide_number"]) or {}).get("feedback_text"), wide - 50
            ),
        }
        for row in results["slides"]
    ]
    show(slides, as_json=False, title="slides", one_line=True)
    console.print()
    extractions = [
        {
            "kind": kind.replace("_", " "),
            "value": _short(row["value"], wide // 3),
            "page": row["evidence_page"],
            "evidence": _short(row["evidence_quote"], wide // 3 - 10),
            "verified": row["evidence_verified"],
        }
        for kind, row in sorted(results["extractions"].items())
    ]
    show(extractions, as_json=False, title="extractions", one_line=True)
    _show_template(results["template_analysis"])
    for kind, row in sorted(results["specialized"].items()):
        console.print()
        title = f"{kind.replace('_', ' ')} · confidence {float(row['confidence_score'] or 0):.2f}"
        console.print(
            Panel(Text(_short(row["analysis_result"], 600)), title=title, title_align="left")
        )
    if results["slides"]:
        console.print(f"[dim]model: {results['slides'][0]['model']}[/dim]")


def _show_template(template: dict[str, Any] | None) -> None:
    if template is None:
        return
    console.print()
    chapters = [
        {
            "chapter": chapter["name"],
            "score": chapter["score"],
            "weight": chapter["weight"],
            "questions": len(chapter["questions"]),
            "answered": sum(1 for q in chapter["questions"] if q.get("answer")),
        }
        for chapter in template["chapters"]
    ]
    score = template["overall_score"]
    title = (
        f"{template['template_name']}: {score if score is None else format(float(score), '.1f')}"
    )
    show(chapters, as_json=False, title=title)


async def show_cost(connection: Connection, always_on_usd_per_month: float) -> None:
    """What the containers of this run cost, and what the always-on server costs in the same time
    and for a month.
    """
    row = await connection.fetchrow(_COST)
    hourly = always_on_usd_per_month / 730
    console.print(
        f"\ncost: ${row['cost_usd']:.4f} for {row['billed_seconds']:.0f} container seconds in "
        f"{row['containers']} containers ({row['busy_seconds']:.0f} s of them busy), at the configured GPU prices; "
        f"the always-on server costs ${hourly:.2f} an hour, used or not (${always_on_usd_per_month:.0f} a month)"
    )


def _short(text: str | None, characters_max: int) -> str:
    clean = " ".join((text or "").split())
    return clean if len(clean) <= characters_max else clean[: characters_max - 1] + "…"
