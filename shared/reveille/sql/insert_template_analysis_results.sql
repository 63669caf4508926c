-- Result rows $1 (a JSON array) of a task that has just been settled in this transaction.
INSERT INTO template_analysis_results (
    task_id, document_id,
    template_id, template_name, overall_score, chapters, model, model_digest
)
SELECT
    task_id, document_id,
    template_id, template_name, overall_score, coalesce(chapters, '[]'), model, model_digest
FROM jsonb_populate_recordset(NULL::template_analysis_results, $1)
