"""specialized_science: is the scientific hypothesis stated, plausible and tested."""

from reveille.task_types.spec import TaskType
from reveille.task_types.specialized import Aspect, SpecializedAnalysis

TASK_TYPE = TaskType(
    name="specialized_science",
    pool="text",
    model_setting="text",
    timeout_seconds=1200,
    description="Scientific hypothesis: mechanism, evidence, reproducibility, novelty",
)

ANALYSIS = SpecializedAnalysis(
    analysis_type="scientific_hypothesis",
    role="You are a scientist who reviews grant proposals.",
    aspects=(
        Aspect(
            name="Hypothesis",
            looks_for="hypothesis, we show that, because, mechanism, principle, biomarker, cause",
        ),
        Aspect(
            name="Method",
            looks_for="method, algorithm, model, assay, pipeline, data, trained on, measurement",
        ),
        Aspect(
            name="Evidence",
            looks_for="results, data set, published, peer-reviewed, experiment, accuracy, coverage",
        ),
        Aspect(
            name="Reproducibility",
            looks_for="reproducible, open data, replication, independent, validated, open source",
        ),
        Aspect(
            name="Novelty and protection",
            looks_for="novel, new approach, patent, intellectual property, licence, unique",
        ),
    ),
    keywords=(
        "science", "hypothes", "mechanism", "data", "algorithm", "model", "method", "publi",
        "patent", "result", "experiment", "reproduc", "valid",
    ),
)  # fmt: skip
