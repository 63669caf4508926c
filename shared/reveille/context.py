"""What a handler may do: the one object it is given. The worker implements it over the store;
tests and the HTTP endpoints in memory.
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from reveille.documents import Document
from reveille.model import ModelClient
from reveille.task import Claim

StepStatus = Literal["started", "completed", "failed"]


class TaskContext(Protocol):
    """The world as a handler sees it. No method blocks on the database for longer than its own
    statement.
    """

    @property
    def task(self) -> Claim:
        """The task being worked on."""

    @property
    def model(self) -> ModelClient:
        """The model server."""

    async def document(self) -> Document:
        """The task's PDF, opened once and closed by the worker. Raises TaskRejected or TaskRetry
        (documents.py).
        """

    async def progress(
        self,
        percentage: float,
        step: str,
        message: str = "",
        *,
        status: StepStatus = "completed",
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Report 0-100 and a step; coalesced, so it may be called often."""

    async def checkpoints(self) -> dict[str, Any]:
        """What earlier attempts of this task saved, by key."""

    async def checkpoint(self, key: str, value: Any) -> None:
        """Save a finished part (JSON value), so that the next attempt need not repeat it. Raises
        LeaseLost.
        """

    async def visual_results(self) -> list[dict[str, Any]]:
        """This document's rows of visual_analysis_results, by slide_number; empty when there are
        none (yet).
        """

    async def template(self, template_id: str | None) -> dict[str, Any] | None:
        """The analysis template (chapters, questions, weights) with that id, or the default one;
        None when unknown.
        """
