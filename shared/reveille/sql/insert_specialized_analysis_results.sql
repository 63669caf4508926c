-- Result rows $1 (a JSON array) of a task that has just been settled in this transaction.
INSERT INTO specialized_analysis_results (
    task_id, document_id,
    analysis_type, analysis_result, structured_result, confidence_score, model_used, processing_time, model,
    model_digest
)
SELECT
    task_id, document_id,
    analysis_type, analysis_result, coalesce(structured_result, '{}'), confidence_score, model_used,
    processing_time, model, model_digest
FROM jsonb_populate_recordset(NULL::specialized_analysis_results, $1)
