"""How an attempt ends. A handler returns one of these values; `store.settle` is the only place
that writes it.

Done      the results, written in the transaction that completes the task
Retry     this attempt failed, another may succeed: backoff, or failed when no attempts are left
Reject    it can never succeed (bad options, not a PDF, over a limit): failed at once, without retries
Release   the worker gives the task back unharmed (drain): no attempt is spent
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

ResultTable = Literal[
    "visual_analysis_results",
    "slide_feedback",
    "extraction_results",
    "template_analysis_results",
    "specialized_analysis_results",
]


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One row of a result table. `values` are the table's own columns; task_id, document_id and
    created_at are added.
    """

    table: ResultTable
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """`metadata` goes to processing_metadata: model, digest, token counts, timings."""

    results: Sequence[ResultRow] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    results_file_path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """`reason` is a short kind for metrics (`model_busy`), `error` the sentence for last_error.

    `after_seconds` overrides the backoff (a server that said when to come back)."""

    reason: str
    error: str
    after_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """`reason` is a short kind for metrics (`bad_options`), `error` the sentence for last_error."""

    reason: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The task goes back to `queued` as it was; `error` says why when that is worth reading in
    last_error.
    """

    reason: str = "drain"
    error: str | None = None


Outcome = Done | Retry | Reject | Release
