"""specialized_regulatory: which approvals the product needs, and how far the company is."""

from reveille.task_types.spec import TaskType
from reveille.task_types.specialized import Aspect, SpecializedAnalysis

TASK_TYPE = TaskType(
    name="specialized_regulatory",
    pool="text",
    model_setting="text",
    timeout_seconds=1200,
    description="Regulatory pathway: class, route, status, quality system, reimbursement",
)

ANALYSIS = SpecializedAnalysis(
    analysis_type="regulatory_pathway",
    role="You are a regulatory affairs expert for medical products in Europe and the USA.",
    aspects=(
        Aspect(
            name="Classification",
            looks_for="class I, class IIa, class IIb, class III, risk class, medical device, MDR",
        ),
        Aspect(
            name="Pathway",
            looks_for="FDA, 510(k), De Novo, PMA, CE mark, MDR, IVDR, notified body, predicate",
        ),
        Aspect(
            name="Status and timeline",
            looks_for="submission, submitted, clearance, approval, pre-submission, filed, planned",
        ),
        Aspect(
            name="Quality and data protection",
            looks_for="ISO 13485, quality management system, IEC 62304, GDPR, HIPAA, audit",
        ),
        Aspect(
            name="Reimbursement",
            looks_for="reimbursement, CPT, DRG, DiGA, payer, insurer, health technology assessment",
        ),
    ),
    keywords=(
        "regulat", "fda", "510(k)", "ce mark", "mdr", "ivdr", "iso 13485", "approval",
        "clearance", "notified body", "reimburse", "gdpr", "hipaa", "class ii",
    ),
)  # fmt: skip
