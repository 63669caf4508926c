-- Result rows $1 (a JSON array) of a task that has just been settled in this transaction.
-- Set back after it had been completed, a task has older ones: these take their place.
WITH earlier AS (
    DELETE FROM extraction_results WHERE task_id = ANY (ARRAY(SELECT (r ->> 'task_id')::bigint FROM jsonb_array_elements($1) AS r))
    RETURNING id
), gone AS (SELECT count(*) FROM earlier)  -- read below, so that the DELETE comes first
INSERT INTO extraction_results (
    task_id, document_id,
    kind, value, normalized_value, unit, evidence_page, evidence_quote, evidence_verified, confidence, model,
    model_digest
)
SELECT
    task_id, document_id,
    kind, value, normalized_value, unit, evidence_page, evidence_quote, coalesce(evidence_verified, false),
    confidence, model, model_digest
FROM jsonb_populate_recordset(NULL::extraction_results, $1), gone
