-- Result rows $1 (a JSON array) of a task that has just been settled in this transaction.
-- Set back after it had been completed, a task has older ones: these take their place.
WITH earlier AS (
    DELETE FROM specialized_analysis_results WHERE task_id = ANY (ARRAY(SELECT (r ->> 'task_id')::bigint FROM jsonb_array_elements($1) AS r))
    RETURNING id
), gone AS (SELECT count(*) FROM earlier)  -- read below, so that the DELETE comes first
INSERT INTO specialized_analysis_results (
    task_id, document_id,
    analysis_type, analysis_result, structured_result, confidence_score, model_used, processing_time, model,
    model_digest
)
SELECT
    task_id, document_id,
    analysis_type, analysis_result, coalesce(structured_result, '{}'), confidence_score, model_used,
    processing_time, model, model_digest
FROM jsonb_populate_recordset(NULL::specialized_analysis_results, $1), gone
