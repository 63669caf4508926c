-- Result rows $1 (a JSON array) of a task that has just been settled in this transaction.
INSERT INTO slide_feedback (
    task_id, document_id,
    slide_number, slide_filename, feedback_text, feedback_type, has_issues, model, model_digest
)
SELECT
    task_id, document_id,
    slide_number, slide_filename, feedback_text, feedback_type, coalesce(has_issues, false), model,
    model_digest
FROM jsonb_populate_recordset(NULL::slide_feedback, $1)
