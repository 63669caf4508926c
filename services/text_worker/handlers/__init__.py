"""The handlers of the pool `text`, by task type.

The extractions differ only in their specs, and so do the specialised analyses.
"""

from reveille.task_types import (
    company_offering_extraction,
    deck_date_extraction,
    funding_amount_extraction,
    healthcare_classification,
    specialized_clinical,
    specialized_regulatory,
    specialized_science,
    startup_name_extraction,
)
from reveille.task_types.handling import Handler
from text_worker.handlers import (
    extraction,
    extractions_and_template,
    specialized,
    template_analysis,
)

HANDLERS: dict[str, Handler] = {
    "company_offering_extraction": extraction.handler(company_offering_extraction.EXTRACTION),
    "startup_name_extraction": extraction.handler(startup_name_extraction.EXTRACTION),
    "healthcare_classification": extraction.handler(healthcare_classification.EXTRACTION),
    "funding_amount_extraction": extraction.handler(funding_amount_extraction.EXTRACTION),
    "deck_date_extraction": extraction.handler(deck_date_extraction.EXTRACTION),
    "template_analysis": template_analysis.handle,
    "specialized_clinical": specialized.handler(specialized_clinical.ANALYSIS),
    "specialized_regulatory": specialized.handler(specialized_regulatory.ANALYSIS),
    "specialized_science": specialized.handler(specialized_science.ANALYSIS),
    "extractions_and_template": extractions_and_template.handle,
}
