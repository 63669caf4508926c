-- Result rows $1 (a JSON array) of a task that has just been settled in this transaction.
-- Set back after it had been completed, a task has older ones: these take their place.
WITH earlier AS (
    DELETE FROM visual_analysis_results WHERE task_id = ANY (ARRAY(SELECT (r ->> 'task_id')::bigint FROM jsonb_array_elements($1) AS r))
    RETURNING id
), gone AS (SELECT count(*) FROM earlier)  -- read below, so that the DELETE comes first
INSERT INTO visual_analysis_results (
    task_id, document_id,
    slide_number, slide_filename, title, slide_type, description, key_points, metrics, text_content,
    has_hidden_text, image_width, image_height, confidence, analysis, model, model_digest
)
SELECT
    task_id, document_id,
    slide_number, slide_filename, title, slide_type, description, coalesce(key_points, '[]'),
    coalesce(metrics, '[]'), text_content, coalesce(has_hidden_text, false), image_width, image_height,
    confidence, coalesce(analysis, '{}'), model, model_digest
FROM jsonb_populate_recordset(NULL::visual_analysis_results, $1), gone
