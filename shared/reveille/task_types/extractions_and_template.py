"""extractions_and_template: the five extractions and the template in one task.

It is what the existing backend enqueues.
"""

from reveille.task_types import (
    company_offering_extraction,
    deck_date_extraction,
    funding_amount_extraction,
    healthcare_classification,
    startup_name_extraction,
)
from reveille.task_types.extraction import Extraction
from reveille.task_types.spec import TaskType
from reveille.task_types.template_analysis import TemplateOptions

TASK_TYPE = TaskType(
    name="extractions_and_template",
    pool="text",
    model_setting="text",
    timeout_seconds=3600,
    options=TemplateOptions,
    description="The five extractions and the template analysis in one task",
)

EXTRACTIONS: tuple[Extraction, ...] = (
    company_offering_extraction.EXTRACTION,
    startup_name_extraction.EXTRACTION,
    healthcare_classification.EXTRACTION,
    funding_amount_extraction.EXTRACTION,
    deck_date_extraction.EXTRACTION,
)
