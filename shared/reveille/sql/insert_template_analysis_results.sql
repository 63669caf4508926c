-- Result rows $1 (a JSON array) of a task that has just been settled in this transaction.
-- Set back after it had been completed, a task has older ones: these take their place.
WITH earlier AS (
    DELETE FROM template_analysis_results WHERE task_id = ANY (ARRAY(SELECT (r ->> 'task_id')::bigint FROM jsonb_array_elements($1) AS r))
    RETURNING id
), gone AS (SELECT count(*) FROM earlier)  -- read below, so that the DELETE comes first
INSERT INTO template_analysis_results (
    task_id, document_id,
    template_id, template_name, overall_score, chapters, model, model_digest
)
SELECT
    task_id, document_id,
    template_id, template_name, overall_score, coalesce(chapters, '[]'), model, model_digest
FROM jsonb_populate_recordset(NULL::template_analysis_results, $1), gone
