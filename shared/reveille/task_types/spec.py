"""What a task type is: one frozen spec that routing, validation and workers read, and nothing else.

The same numbers stand in the database table `task_types`, which the insert trigger reads; a
contract test compares the two.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from reveille.task import Pool

ModelSetting = Literal["vision", "text"]


class TaskOptions(BaseModel):
    """`processing_queue.processing_options` of a task type without options of its own.

    Unknown keys are refused, so that a misspelt option fails loudly instead of being ignored. The
    keys below are accepted by every task type: an existing backend sends the same object with each
    task of a document. Only the ones a task type redefines have a meaning to it; `depends_on` is
    read by the insert trigger, before any worker sees the task.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    depends_on: int | list[int] | None = None
    template_id: str | None = None
    company_id: str | None = None
    document_id: int | str | None = None
    file_path: str | None = None
    user_id: int | str | None = None
    priority: int | str | None = None
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskType:
    """One row of the routing table, and what a worker needs to run such a task.

    `timeout_seconds` bounds one attempt. `max_retries` counts attempts after the first.
    `model_setting` names the setting that names the model (REVEILLE_VISION_MODEL or
    REVEILLE_TEXT_MODEL).
    """

    name: str
    pool: Pool
    model_setting: ModelSetting
    timeout_seconds: int
    description: str
    options: type[TaskOptions] = TaskOptions
    max_retries: int = 3
    default_priority: int = 1
