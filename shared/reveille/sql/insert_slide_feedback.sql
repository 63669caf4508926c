-- Result rows $1 (a JSON array) of a task that has just been settled in this transaction.
-- Set back after it had been completed, a task has older ones: these take their place.
WITH earlier AS (
    DELETE FROM slide_feedback WHERE task_id = ANY (ARRAY(SELECT (r ->> 'task_id')::bigint FROM jsonb_array_elements($1) AS r))
    RETURNING id
), gone AS (SELECT count(*) FROM earlier)  -- read below, so that the DELETE comes first
INSERT INTO slide_feedback (
    task_id, document_id,
    slide_number, slide_filename, feedback_text, feedback_type, has_issues, model, model_digest
)
SELECT
    task_id, document_id,
    slide_number, slide_filename, feedback_text, feedback_type, coalesce(has_issues, false), model,
    model_digest
FROM jsonb_populate_recordset(NULL::slide_feedback, $1), gone
