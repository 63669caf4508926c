-- The slides of the document $1 as its newest visual analysis saw them.
SELECT r.* FROM visual_analysis_results r
WHERE r.document_id = $1 AND r.task_id = (SELECT max(task_id) FROM visual_analysis_results WHERE document_id = $1)
ORDER BY r.slide_number
