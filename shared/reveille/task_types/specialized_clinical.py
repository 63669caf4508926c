"""specialized_clinical: how well the deck's clinical claims are validated."""

from reveille.task_types.spec import TaskType
from reveille.task_types.specialized import Aspect, SpecializedAnalysis

TASK_TYPE = TaskType(
    name="specialized_clinical",
    pool="text",
    model_setting="text",
    timeout_seconds=1200,
    description="Clinical validation: studies, endpoints, comparators, results",
)

ANALYSIS = SpecializedAnalysis(
    analysis_type="clinical_validation",
    role="You are a clinical researcher.",
    aspects=(
        Aspect(
            name="Clinical need",
            looks_for="patients, disease, prevalence, standard of care, unmet need, mortality",
        ),
        Aspect(
            name="Study design",
            looks_for="study, trial, randomised, cohort, pilot, prospective, patients enrolled",
        ),
        Aspect(
            name="Endpoints and results",
            looks_for="endpoint, sensitivity, specificity, accuracy, reduction, outcome, p-value",
        ),
        Aspect(
            name="Comparator",
            looks_for="compared with, versus, control, gold standard, reference method",
        ),
        Aspect(
            name="Clinical partners",
            looks_for="hospital, university clinic, principal investigator, clinical advisory board",
        ),
        Aspect(
            name="Safety",
            looks_for="adverse events, safety, risk, tolerability, non-invasive, complications",
        ),
    ),
    keywords=(
        "clinic", "patient", "trial", "study", "hospital", "sensitivity", "specificity",
        "endpoint", "outcome", "cohort", "safety", "validation",
    ),
)  # fmt: skip
