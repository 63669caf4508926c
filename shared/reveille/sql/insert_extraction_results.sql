-- Result rows $1 (a JSON array) of a task that has just been settled in this transaction.
INSERT INTO extraction_results (
    task_id, document_id,
    kind, value, normalized_value, unit, evidence_page, evidence_quote, evidence_verified, confidence, model,
    model_digest
)
SELECT
    task_id, document_id,
    kind, value, normalized_value, unit, evidence_page, evidence_quote, coalesce(evidence_verified, false),
    confidence, model, model_digest
FROM jsonb_populate_recordset(NULL::extraction_results, $1)
