"""Specs, handlers and the rows of a migrated database must agree on what task types there are."""

from typing import Any

import pytest

from combined_worker.service import HANDLERS as COMBINED_HANDLERS
from reveille.task_types import TASK_TYPES
from reveille.task_types.template_analysis import Template, default_template
from text_worker.handlers import HANDLERS as TEXT_HANDLERS
from visual_worker.handlers import HANDLERS as VISUAL_HANDLERS

CONTRACT = {
    "visual": {"visual_analysis", "slide_feedback"},
    "text": {
        "company_offering_extraction",
        "startup_name_extraction",
        "healthcare_classification",
        "funding_amount_extraction",
        "deck_date_extraction",
        "template_analysis",
        "specialized_clinical",
        "specialized_regulatory",
        "specialized_science",
        "extractions_and_template",
    },
}
HANDLERS = {"visual": VISUAL_HANDLERS, "text": TEXT_HANDLERS}


@pytest.mark.parametrize("pool", ["visual", "text"])
def test_pool_has_the_contracts_task_types_and_a_handler_for_each(pool: str) -> None:
    """Every task type that a backend may enqueue runs in the pool that the contract names."""
    specs = [task_type.name for task_type in TASK_TYPES if task_type.pool == pool]
    assert len(specs) == len(set(specs))
    assert set(specs) == CONTRACT[pool] == set(HANDLERS[pool])


def test_combined_worker_has_every_handler_of_both_pools() -> None:
    """What is led to it is served."""
    assert COMBINED_HANDLERS == {**VISUAL_HANDLERS, **TEXT_HANDLERS}
    assert set(COMBINED_HANDLERS) == CONTRACT["visual"] | CONTRACT["text"]


async def test_routing_table_of_a_migrated_database_equals_the_specs(database: Any) -> None:
    """What the insert trigger routes by is what the workers were built for."""
    rows = await database.fetch(
        "SELECT name, pool, max_retries, timeout_seconds, default_priority FROM task_types"
    )
    specs = {
        (t.name, t.pool, t.max_retries, t.timeout_seconds, t.default_priority) for t in TASK_TYPES
    }
    assert {tuple(row.values()) for row in rows} == specs


async def test_seeded_default_template_is_the_packaged_one(database: Any) -> None:
    """A direct call without a database row and a queued task review by the same questions."""
    row = await database.fetchrow("SELECT * FROM analysis_templates WHERE is_default")
    assert row is not None
    assert Template.of_row(row) == default_template()
