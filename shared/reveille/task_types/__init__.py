"""The task types, one module each: what a task may carry, what its model is asked and answers.

To add one: write its module here, add it to `TASK_TYPES`, write the handler of the same name in the
worker of its pool, and add the row to the table `task_types` by a migration. The contract test
compares the three.
"""

from reveille.task_types import (
    company_offering_extraction,
    deck_date_extraction,
    extractions_and_template,
    funding_amount_extraction,
    healthcare_classification,
    slide_feedback,
    specialized_clinical,
    specialized_regulatory,
    specialized_science,
    startup_name_extraction,
    template_analysis,
    visual_analysis,
)
from reveille.task_types.spec import ModelSetting, TaskOptions, TaskType

TASK_TYPES: tuple[TaskType, ...] = (
    visual_analysis.TASK_TYPE,
    slide_feedback.TASK_TYPE,
    company_offering_extraction.TASK_TYPE,
    startup_name_extraction.TASK_TYPE,
    healthcare_classification.TASK_TYPE,
    funding_amount_extraction.TASK_TYPE,
    deck_date_extraction.TASK_TYPE,
    template_analysis.TASK_TYPE,
    specialized_clinical.TASK_TYPE,
    specialized_regulatory.TASK_TYPE,
    specialized_science.TASK_TYPE,
    extractions_and_template.TASK_TYPE,
)

_BY_NAME = {task_type.name: task_type for task_type in TASK_TYPES}


def task_type(name: str) -> TaskType:
    """The spec of that name. Raises KeyError with the list of known ones."""
    try:
        return _BY_NAME[name]
    except KeyError:
        known = ", ".join(sorted(_BY_NAME))
        raise KeyError(f"unknown task type {name!r}; known are: {known}") from None


__all__ = ["TASK_TYPES", "ModelSetting", "TaskOptions", "TaskType", "task_type"]
