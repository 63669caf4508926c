-- What the task $1 wrote in the transaction that completed it, a row per slide, kind or analysis.
SELECT 'slide' AS kind, to_jsonb(r) AS result FROM visual_analysis_results r WHERE r.task_id = $1
UNION ALL SELECT 'feedback', to_jsonb(r) FROM slide_feedback r WHERE r.task_id = $1
UNION ALL SELECT 'extraction', to_jsonb(r) FROM extraction_results r WHERE r.task_id = $1
UNION ALL SELECT 'template analysis', to_jsonb(r) FROM template_analysis_results r WHERE r.task_id = $1
UNION ALL SELECT 'specialised analysis', to_jsonb(r) FROM specialized_analysis_results r WHERE r.task_id = $1
